"""A party's private keys: one that signs (and speaks TLS), one that opens what was sealed to it.

The signing key is Ed25519. The sealing key is the hybrid of ML-KEM-768 and X25519 (HPKE, RFC 9180, suite
`MLKEM768-X25519`): what is recorded on the wire today stays closed to a quantum computer of tomorrow.

A sealed message is `SEALED_KEY_BYTES` of HPKE, which hold a fresh key, then the message under that key (AES-256-GCM).
So a model is encrypted where it lies, and opened where it lies: HPKE alone would make a copy at both ends. The key is
used once, hence the constant nonce.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
MLKEM_SEED_BYTES = 64
MLKEM_PUBLIC_BYTES = 1184
X25519_BYTES = 32
CONTENT_KEY_BYTES = 32
TAG_BYTES = 16
SEALED_KEY_BYTES = 1088 + X25519_BYTES + CONTENT_KEY_BYTES + TAG_BYTES
"""ML-KEM-768's ciphertext, X25519's public key, and the content key with its tag."""
NONCE = bytes(12)


class BadKey(ValueError):
    """A key file or a key's bytes cannot be used; the message names the file or the lengths."""


@dataclass(frozen=True, slots=True)
class SealingPublicKey:
    """The key that others seal to: ML-KEM-768 (1184 bytes), then X25519 (32 bytes)."""

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != MLKEM_PUBLIC_BYTES + X25519_BYTES:
            raise BadKey(f"a sealing key has {MLKEM_PUBLIC_BYTES + X25519_BYTES} bytes, got {len(self.raw)}")

    @property
    def fingerprint(self) -> str:
        """SHA-256 in hex, to compare by telephone."""
        return hashlib.sha256(self.raw).hexdigest()

    def seal(self, plaintext: bytes | bytearray | memoryview, *, info: bytes) -> bytes:
        """Close `plaintext` for the key's owner; `info` must be the same at both ends.

        Raises:
            BadKey: the bytes are no valid public key.
        """
        room = bytearray(SEALED_KEY_BYTES + len(plaintext) + TAG_BYTES)
        room[SEALED_KEY_BYTES:-TAG_BYTES] = plaintext
        self.seal_in_place(memoryview(room), info=info)
        return bytes(room)

    def seal_in_place(self, room: memoryview, *, info: bytes) -> None:
        """Close what lies in `room` after `SEALED_KEY_BYTES` and before the last `TAG_BYTES`, which are filled in.

        Raises:
            BadKey: the bytes are no valid public key.
        """
        try:
            public = MLKEM768X25519PublicKey(
                MLKEM768PublicKey.from_public_bytes(self.raw[:MLKEM_PUBLIC_BYTES]),
                X25519PublicKey.from_public_bytes(self.raw[MLKEM_PUBLIC_BYTES:]),
            )
            content_key = os.urandom(CONTENT_KEY_BYTES)
            room[:SEALED_KEY_BYTES] = SUITE.encrypt(content_key, public, info=info)
        except ValueError as why:  # an X25519 point of low order, for one
            raise BadKey(f"not a valid sealing key: {why}") from why
        AESGCM(content_key).encrypt_into(NONCE, room[SEALED_KEY_BYTES:-TAG_BYTES], None, room[SEALED_KEY_BYTES:])


@dataclass(frozen=True, slots=True)
class PrivateKeys:
    """Both private keys of one party. Never leaves the machine that made it."""

    signing: Ed25519PrivateKey
    mlkem: MLKEM768PrivateKey
    x25519: X25519PrivateKey

    @classmethod
    def generate(cls) -> PrivateKeys:
        return cls(Ed25519PrivateKey.generate(), MLKEM768PrivateKey.generate(), X25519PrivateKey.generate())

    @property
    def sealing_public(self) -> SealingPublicKey:
        return SealingPublicKey(
            self.mlkem.public_key().public_bytes_raw() + self.x25519.public_key().public_bytes_raw()
        )

    def open(self, sealed: bytes | bytearray | memoryview, *, info: bytes) -> bytes:
        """Open what was sealed to this party.

        Raises:
            cryptography.exceptions.InvalidTag: sealed to someone else, damaged, or `info` differs.
        """
        content_key = self._content_key(sealed, info)
        return AESGCM(content_key).decrypt(NONCE, memoryview(sealed)[SEALED_KEY_BYTES:], None)

    def open_in_place(self, sealed: memoryview, *, info: bytes) -> memoryview:
        """Open what was sealed to this party into the memory where it lies; nobody can open it again.

        Raises:
            cryptography.exceptions.InvalidTag: sealed to someone else, damaged, or `info` differs.
        """
        content_key = self._content_key(sealed, info)
        plain = sealed[SEALED_KEY_BYTES:-TAG_BYTES]
        AESGCM(content_key).decrypt_into(NONCE, sealed[SEALED_KEY_BYTES:], None, plain)
        return plain

    def _content_key(self, sealed: bytes | bytearray | memoryview, info: bytes) -> bytes:
        if len(sealed) < SEALED_KEY_BYTES + TAG_BYTES:
            raise InvalidTag
        private = MLKEM768X25519PrivateKey(self.mlkem, self.x25519)
        return SUITE.decrypt(memoryview(sealed)[:SEALED_KEY_BYTES], private, info=info)

    def save(self, folder: Path) -> None:
        """Write `signing.key` (PEM, for TLS too) and `sealing.key` (raw), readable by the owner only."""
        pem = self.signing.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_private(folder / "signing.key", pem)
        write_private(folder / "sealing.key", self.mlkem.private_bytes_raw() + self.x25519.private_bytes_raw())

    @classmethod
    def load(cls, folder: Path) -> PrivateKeys:
        """Read both keys from `folder`.

        Raises:
            BadKey: a file is missing or is not what it should be.
        """
        try:
            signing = serialization.load_pem_private_key((folder / "signing.key").read_bytes(), None)
            sealing = (folder / "sealing.key").read_bytes()
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as why:
            raise BadKey(f"{folder}: no usable keys: {why}; enrol this party again") from why
        length = MLKEM_SEED_BYTES + X25519_BYTES
        if not isinstance(signing, Ed25519PrivateKey) or len(sealing) != length:
            raise BadKey(f"{folder}: signing.key must be Ed25519 and sealing.key {length} bytes")
        return cls(
            signing,
            MLKEM768PrivateKey.from_seed_bytes(sealing[:MLKEM_SEED_BYTES]),
            X25519PrivateKey.from_private_bytes(sealing[MLKEM_SEED_BYTES:]),
        )


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, from its first byte on; a power cut leaves the old one or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, unfinished = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # made with mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(unfinished).replace(path)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise
