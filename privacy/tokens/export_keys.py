"""Who signs exports, and whose signatures are believed: ECDSA on P-256 with SHA-256, under a name and a version."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

ECDSA_SHA256 = "1.2.840.10045.4.3.2"
"""Object identifier of ecdsa-with-SHA256, as exports name it."""

_ALGORITHM = ec.ECDSA(SHA256())


class BadSigningKey(ValueError):
    """A key that exports cannot be signed or verified with; the message says what is needed."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A health authority's public key.

    Attributes:
        key_id: its name in exports (many use their mobile country code, 510 for Indonesia).
        version: which of its keys; a new one gets a new version.
    """

    public_key: ec.EllipticCurvePublicKey
    key_id: str
    version: str = "v1"

    def __post_init__(self) -> None:
        _check(self.public_key.curve, self.key_id, self.version)

    @classmethod
    def of_pem(cls, pem: bytes, key_id: str, version: str = "v1") -> Authority:
        """From a PEM file.

        Raises:
            BadSigningKey: not a public key on P-256.
        """
        try:
            key = load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm) as why:
            raise BadSigningKey("no public key in PEM (-----BEGIN PUBLIC KEY-----)") from why
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise BadSigningKey("a public key of another kind; exports are signed with ECDSA on P-256")
        return cls(key, key_id, version)

    def is_named_by(self, said: Any) -> bool:
        """Whether a SignatureInfo message speaks of this key."""
        return bool(
            (said.verification_key_id, said.verification_key_version, said.signature_algorithm)
            == (self.key_id, self.version, ECDSA_SHA256)
        )

    def verifies(self, signature: bytes, contents: bytes) -> bool:
        """Whether the contents were signed with this key."""
        try:
            self.public_key.verify(signature, contents, _ALGORITHM)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Signer:
    """A health authority's private key, under the name and version by which its public key is known."""

    private_key: ec.EllipticCurvePrivateKey = field(repr=False)
    key_id: str
    version: str = "v1"

    def __post_init__(self) -> None:
        _check(self.private_key.curve, self.key_id, self.version)

    @classmethod
    def create(cls, key_id: str, version: str = "v1") -> Signer:
        """With a new key."""
        return cls(ec.generate_private_key(ec.SECP256R1()), key_id, version)

    @classmethod
    def of_pem(cls, pem: bytes, key_id: str, version: str = "v1") -> Signer:
        """From a PEM file without a password.

        Raises:
            BadSigningKey: not a private key on P-256, or one with a password.
        """
        try:
            key = load_pem_private_key(pem, None)
        except (TypeError, ValueError, UnsupportedAlgorithm) as why:
            raise BadSigningKey("no private key in PEM without a password (-----BEGIN PRIVATE KEY-----)") from why
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise BadSigningKey("a private key of another kind; exports are signed with ECDSA on P-256")
        return cls(key, key_id, version)

    @property
    def authority(self) -> Authority:
        """What others need to verify."""
        return Authority(self.private_key.public_key(), self.key_id, self.version)

    @property
    def names(self) -> dict[str, str]:
        """The fields of a SignatureInfo message."""
        return {
            "verification_key_version": self.version,
            "verification_key_id": self.key_id,
            "signature_algorithm": ECDSA_SHA256,
        }

    def sign(self, contents: bytes) -> bytes:
        """X9.62 (DER) signature."""
        return self.private_key.sign(contents, _ALGORITHM)


def _check(curve: ec.EllipticCurve, key_id: str, version: str) -> None:
    if not isinstance(curve, ec.SECP256R1):
        raise BadSigningKey(f"a key on the curve {curve.name}; exports are signed on P-256 (prime256v1)")
    if not key_id or not version:
        raise BadSigningKey("a signing key needs a name and a version, by which those who verify know it")
