"""A party's private keys: one that signs (and speaks TLS), one that opens what was sealed to it.

The signing key is Ed25519. The sealing key is the hybrid of ML-KEM-768 and X25519 (HPKE, RFC 9180, suite
`MLKEM768-X25519`): what is recorded on the wire today stays closed to a quantum computer of tomorrow.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
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


class BadKey(ValueError):
    """A key file or a key's bytes cannot be used; the message names the file or the lengths."""


@dataclass(frozen=True, slots=True)
class SealingPublicKey:
    """The key that others seal to: ML-KEM-768 (1184 bytes), then X25519 (32 bytes)."""

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != MLKEM_PUBLIC_BYTES + X25519_BYTES:
            raise BadKey(f"a sealing key has {MLKEM_PUBLIC_BYTES + X25519_BYTES} bytes, got {len(self.raw)}")

    def seal(self, plaintext: bytes | memoryview, *, info: bytes) -> bytes:
        """Close `plaintext` for the key's owner; `info` must be the same at both ends.

        Raises:
            BadKey: the bytes are no valid public key.
        """
        try:
            public = MLKEM768X25519PublicKey(
                MLKEM768PublicKey.from_public_bytes(self.raw[:MLKEM_PUBLIC_BYTES]),
                X25519PublicKey.from_public_bytes(self.raw[MLKEM_PUBLIC_BYTES:]),
            )
            return SUITE.encrypt(plaintext, public, info=info)  # ValueError: an X25519 point of low order
        except ValueError as why:
            raise BadKey(f"not a valid sealing key: {why}") from why


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

    def open(self, sealed: bytes | memoryview, *, info: bytes) -> bytes:
        """Open what was sealed to this party.

        Raises:
            cryptography.exceptions.InvalidTag: sealed to someone else, damaged, or `info` differs.
        """
        return SUITE.decrypt(sealed, MLKEM768X25519PrivateKey(self.mlkem, self.x25519), info=info)

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
