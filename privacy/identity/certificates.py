"""Who a party is: an X.509 certificate that names it, its role, and both of its public keys.

The same certificate opens the TLS connection, verifies envelopes and tells others what to seal to, so there is one
chain of trust to explain, to renew and to revoke. The subject says federation (O), role (OU) and party (CN); the
sealing key rides in an extension of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509.oid import NameOID

from privacy.identity.keys import BadKey, SealingPublicKey

SEALING_KEY = x509.ObjectIdentifier("2.25.119684993390906723658126957365554368901")
"""Extension with the raw sealing key; an arc made from a UUID (ITU-T X.667), which needs no registration."""


class UntrustedCertificate(ValueError):
    """A certificate that this federation's authority did not issue, has expired, or does not say what it must."""


class Role(StrEnum):
    """What a party may do; brokers' access rules and `boundary.messages` go by it."""

    NODE = "node"
    LEADER = "leader"
    HELPER = "helper"
    HEALTH = "health"
    OBSERVER = "observer"
    BROKER = "broker"


HELPER_PARTY = "helper"
"""The name of the second aggregator of secure sums: nodes look for its presence, and brokers' access rules name it."""
HEALTH_PARTY = "health"
"""The health authority's name: nodes look for its presence, and brokers' access rules name it."""


def node_party(node_id: int) -> str:
    """The party name of a node: `node-` and its uint64 id in 16 hex digits."""
    if not 1 < node_id < 2**64:  # 1 is the server side, in Flower
        raise ValueError(f"a node id is a uint64 above 1, got {node_id}")
    return f"node-{node_id:016x}"


def node_id_of(party: str) -> int:
    """The inverse of `node_party`.

    Raises:
        ValueError: not the name of a node.
    """
    prefix, _, digits = party.partition("-")
    try:
        node_id = int(digits, 16)
        if (
            prefix == "node" and node_party(node_id) == party
        ):  # `int` also takes 0x, _, + and spaces: one id, many names
            return node_id
    except ValueError:
        pass
    raise ValueError(f"{party!r} is not the name of a node")


def check_name(party: str, role: Role) -> None:
    """A node is called by its id, and nobody else is.

    Raises:
        UntrustedCertificate: name and role contradict each other.
    """
    if role is not Role.NODE and not party.startswith("node-"):
        return
    try:
        node_id_of(party)
    except ValueError as why:
        raise UntrustedCertificate(str(why)) from why
    if role is not Role.NODE:
        raise UntrustedCertificate(f"{party} is the name of a node, and a {role} is none")


@dataclass(frozen=True, slots=True)
class Certificate:
    """A verified certificate: everything others need to know of a party."""

    party: str
    role: Role
    federation: str
    verify_key: Ed25519PublicKey
    sealing_key: SealingPublicKey | None
    not_before: datetime
    not_after: datetime
    serial: int
    der: bytes

    @property
    def pem(self) -> bytes:
        return x509.load_der_x509_certificate(self.der).public_bytes(serialization.Encoding.PEM)

    @property
    def node_id(self) -> int:
        return node_id_of(self.party)


@dataclass(frozen=True, slots=True)
class TrustAnchor:
    """The authority's own certificate, and the serial numbers that it has revoked."""

    authority: x509.Certificate
    revoked: frozenset[int] = frozenset()

    @classmethod
    def from_pem(cls, pem: bytes) -> TrustAnchor:
        try:
            return cls(x509.load_pem_x509_certificate(pem))
        except ValueError as why:
            raise UntrustedCertificate(f"the authority's certificate cannot be read: {why}") from why

    @property
    def federation(self) -> str:
        return _subject(self.authority, NameOID.ORGANIZATION_NAME)

    def verify(self, der: bytes, *, at: datetime | None = None) -> Certificate:
        """Check issuer, signature, time and contents.

        Raises:
            UntrustedCertificate: with the reason.
        """
        try:
            presented = x509.load_der_x509_certificate(der)
            presented.verify_directly_issued_by(self.authority)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.InvalidVersion) as why:
            detail = str(why) or type(why).__name__
            raise UntrustedCertificate(f"not issued by this federation's authority: {detail}") from why
        now = at or datetime.now(UTC)
        party = _subject(presented, NameOID.COMMON_NAME)
        if not presented.not_valid_before_utc <= now <= presented.not_valid_after_utc:
            raise UntrustedCertificate(
                f"certificate of {party} is valid {presented.not_valid_before_utc:%Y-%m-%d %H:%M} to "
                f"{presented.not_valid_after_utc:%Y-%m-%d %H:%M}, and it is {now:%Y-%m-%d %H:%M} UTC: "
                "renew it, or set this machine's clock"
            )
        if presented.serial_number in self.revoked:
            raise UntrustedCertificate(f"certificate of {party} was revoked")
        key = presented.public_key()
        if not isinstance(key, Ed25519PublicKey):
            raise UntrustedCertificate(f"certificate of {party} holds no Ed25519 key")
        try:
            role = Role(_subject(presented, NameOID.ORGANIZATIONAL_UNIT_NAME))
            check_name(party, role)
            sealing = _sealing_key(presented)
        except (ValueError, BadKey) as why:
            raise UntrustedCertificate(f"certificate of {party}: {why}") from why
        if _subject(presented, NameOID.ORGANIZATION_NAME) != self.federation:
            raise UntrustedCertificate(f"certificate of {party} is for another federation than {self.federation}")
        return Certificate(
            party=party,
            role=role,
            federation=self.federation,
            verify_key=key,
            sealing_key=sealing,
            not_before=presented.not_valid_before_utc,
            not_after=presented.not_valid_after_utc,
            serial=presented.serial_number,
            der=der,
        )


def _subject(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> str:
    values = certificate.subject.get_attributes_for_oid(oid)
    if len(values) != 1:
        raise UntrustedCertificate(f"a subject names {oid._name} once, this one {len(values)} times")
    return str(values[0].value)


def _sealing_key(certificate: x509.Certificate) -> SealingPublicKey | None:
    try:
        extension = certificate.extensions.get_extension_for_oid(SEALING_KEY).value
    except x509.ExtensionNotFound:
        return None
    if not isinstance(extension, x509.UnrecognizedExtension):
        raise BadKey("its sealing key extension cannot be read")
    return SealingPublicKey(extension.value)
