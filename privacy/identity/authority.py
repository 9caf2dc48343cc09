"""The certificate authority of one federation, and the enrolment that gives a party its identity.

Private keys are made where they are used: a party writes a request (PKCS #10) with both public keys, and only that
travels to the authority. The authority decides name and role; what the request says of them is ignored.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from privacy.identity.certificates import (
    SEALING_KEY,
    Certificate,
    Role,
    TrustAnchor,
    UntrustedCertificate,
    check_name,
)
from privacy.identity.keys import BadKey, PrivateKeys, SealingPublicKey, write_private
from privacy.identity.passphrase import ENCRYPTED_PEM, encrypted_pem
from privacy.identity.revocation import DEFAULT_VALIDITY, LONGEST_VALIDITY, RevocationList

PARTY_LIFETIME = timedelta(days=398)
AUTHORITY_LIFETIME = timedelta(days=3650)
KEY_FILE = "authority.key"
CLOCK_SLACK = timedelta(hours=1)
"""A Pi without a battery clock can be behind: certificates count as valid a little before they were made."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A party as itself: its private keys, its certificate, and the authority it trusts."""

    keys: PrivateKeys
    certificate: Certificate
    anchor: TrustAnchor

    @property
    def party(self) -> str:
        return self.certificate.party

    def save(self, folder: Path) -> None:
        """Write `signing.key`, `sealing.key`, `party.pem`, `authority.pem` into `folder`."""
        self.keys.save(folder)
        (folder / "party.pem").write_bytes(self.certificate.pem)
        (folder / "authority.pem").write_bytes(self.anchor.authority.public_bytes(serialization.Encoding.PEM))

    @classmethod
    def load(cls, folder: Path) -> Identity:
        """Read what `save` wrote.

        Raises:
            BadKey: files are missing, or key and certificate do not belong together.
            UntrustedCertificate: the certificate is expired or not of this authority.
        """
        keys = PrivateKeys.load(folder)
        try:
            anchor = TrustAnchor.from_pem((folder / "authority.pem").read_bytes())
            presented = x509.load_pem_x509_certificate((folder / "party.pem").read_bytes())
        except (OSError, ValueError, x509.InvalidVersion) as why:
            raise BadKey(f"{folder}: no usable certificate: {why}; enrol this party again") from why
        certificate = anchor.verify(presented.public_bytes(serialization.Encoding.DER))
        if certificate.verify_key != keys.signing.public_key() or (
            certificate.sealing_key is not None and certificate.sealing_key != keys.sealing_public
        ):
            raise BadKey(f"{folder}: party.pem is the certificate of other keys than signing.key and sealing.key")
        return cls(keys, certificate, anchor)


def request(keys: PrivateKeys) -> bytes:
    """A certificate request (PEM) with both public keys, signed by the signing key."""
    builder = x509.CertificateSigningRequestBuilder(
        x509.Name([]), [x509.Extension(SEALING_KEY, False, _extension(keys.sealing_public))]
    )
    return builder.sign(keys.signing, None).public_bytes(serialization.Encoding.PEM)


@dataclass(frozen=True, slots=True)
class CertificateAuthority:
    """Issues the certificates of one federation. Its key belongs on a machine that nodes cannot reach."""

    key: Ed25519PrivateKey
    certificate: x509.Certificate

    @classmethod
    def create(cls, federation: str) -> CertificateAuthority:
        key = Ed25519PrivateKey.generate()
        name = _name(federation, "authority", f"{federation} authority")
        public = key.public_key()
        builder = (
            _builder(name, name, public, public, AUTHORITY_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
        )
        return cls(key, builder.sign(key, None))

    @property
    def anchor(self) -> TrustAnchor:
        return TrustAnchor(self.certificate)

    def sign(
        self,
        request_pem: bytes,
        *,
        party: str,
        role: Role,
        hosts: Sequence[str] = (),
        lifetime: timedelta = PARTY_LIFETIME,
    ) -> bytes:
        """Issue a certificate (PEM) for a request.

        Args:
            hosts: DNS names or addresses, for a broker's certificate.

        Raises:
            UntrustedCertificate: the request is damaged or not signed by its own key, name and role contradict each
                other, or the authority itself has expired.
        """
        check_name(party, role)
        end = self.certificate.not_valid_after_utc
        remaining = end - datetime.now(UTC)
        if remaining <= timedelta():
            raise UntrustedCertificate(f"the authority expired on {end:%Y-%m-%d}: make a new one, and enrol all again")
        key, sealing = _requested(request_pem)
        builder = _builder(
            _name(self.anchor.federation, role, party),
            self.certificate.subject,
            key,
            self.key.public_key(),
            min(lifetime, remaining, PARTY_LIFETIME),  # a revoked certificate leaves the list when all have ended
        )
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
        builder = (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(usage, critical=False)
            .add_extension(_extension(sealing), critical=False)
        )
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName([_host(h) for h in hosts]), critical=False)
        return builder.sign(self.key, None).public_bytes(serialization.Encoding.PEM)

    def enrol(self, party: str, role: Role, hosts: Sequence[str] = ()) -> Identity:
        """Keys, request and certificate in one step, for a party on this same machine."""
        keys = PrivateKeys.generate()
        pem = self.sign(request(keys), party=party, role=role, hosts=hosts)
        der = x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)
        return Identity(keys, self.anchor.verify(der), self.anchor)

    def broker_revocation_list(self, serials: Mapping[int, datetime]) -> bytes:
        """The certificates that were taken back, and when, as the list (PEM) that a broker reads as its `crlfile`.

        It is as valid as the authority itself: a broker that gets no new one must not shut everybody out. It has no
        number, so no party takes it for the list that nodes want.
        """
        return self._list(serials, self.certificate.not_valid_after_utc).public_bytes(serialization.Encoding.PEM)

    def revocation_list(
        self,
        serials: Mapping[int, datetime] | None = None,
        *,
        number: int | None = None,
        valid: timedelta = DEFAULT_VALIDITY,
    ) -> RevocationList:
        """The same for nodes, leader and helper: numbered, and good for a short time.

        Args:
            number: above that of every list before; by default the seconds since the epoch, which grow by themselves.

        Raises:
            ValueError: `valid` is not above 0 and at most `LONGEST_VALIDITY`.
        """
        if not timedelta() < valid <= LONGEST_VALIDITY:
            raise ValueError(f"a revocation list is valid for up to {LONGEST_VALIDITY.days} days, not {valid}")
        now = datetime.now(UTC)
        crl = self._list(serials or {}, now + valid, int(now.timestamp()) if number is None else number)
        return RevocationList.read(crl.public_bytes(serialization.Encoding.DER), self.anchor)

    def _list(
        self, serials: Mapping[int, datetime], until: datetime, number: int | None = None
    ) -> x509.CertificateRevocationList:
        begin = datetime.now(UTC) - CLOCK_SLACK
        builder = x509.CertificateRevocationListBuilder(self.certificate.subject, begin, until)
        if number is not None:
            builder = builder.add_extension(x509.CRLNumber(number), critical=False)
        for serial, at in serials.items():
            builder = builder.add_revoked_certificate(x509.RevokedCertificateBuilder(serial, at).build())
        return builder.sign(self.key, None)

    def save(self, folder: Path, passphrase: bytes | None = None) -> None:
        """Write `authority.key` (owner only; encrypted if there is a passphrase) and `authority.pem`."""
        pem = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_private(folder / KEY_FILE, pem if passphrase is None else encrypted_pem(self.key, passphrase))
        (folder / "authority.pem").write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    @classmethod
    def load(cls, folder: Path, passphrase: bytes | None = None) -> CertificateAuthority:
        """Read what `save` wrote; a passphrase that is not needed is not looked at.

        Raises:
            BadKey: a file is missing or is no Ed25519 authority, the passphrase is missing or wrong, or key and
                certificate do not belong together.
        """
        try:
            pem = (folder / KEY_FILE).read_bytes()
            encrypted = ENCRYPTED_PEM in pem
            if encrypted and passphrase is None:
                raise BadKey(f"{folder / KEY_FILE} is encrypted, and there is no passphrase")
            key = serialization.load_pem_private_key(pem, passphrase if encrypted else None)
            certificate = x509.load_pem_x509_certificate((folder / "authority.pem").read_bytes())
        except BadKey:
            raise
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as why:
            raise BadKey(f"{folder}: no usable authority: {why}") from why
        if not isinstance(key, Ed25519PrivateKey):
            raise BadKey(f"{folder}: {KEY_FILE} is not Ed25519")
        if certificate.public_key() != key.public_key():
            raise BadKey(f"{folder}: authority.pem is the certificate of another key than {KEY_FILE}")
        return cls(key, certificate)


def _requested(request_pem: bytes) -> tuple[Ed25519PublicKey, SealingPublicKey]:
    """Both public keys of a request, each fit for use.

    Raises:
        UntrustedCertificate: they are not.
    """
    try:
        asked = x509.load_pem_x509_csr(request_pem)
        key, signed = asked.public_key(), asked.is_signature_valid
        extension = asked.extensions.get_extension_for_oid(SEALING_KEY).value
    except (
        ValueError,
        UnsupportedAlgorithm,
        x509.InvalidVersion,
        x509.DuplicateExtension,
        x509.ExtensionNotFound,
    ) as why:
        raise UntrustedCertificate(f"not a request that `jaga-node enroll` made: {why}") from why
    if not signed or not isinstance(key, Ed25519PublicKey):
        raise UntrustedCertificate("the request is not signed by its own Ed25519 key")
    if not isinstance(extension, x509.UnrecognizedExtension):
        raise UntrustedCertificate("the request's sealing key cannot be read")
    try:
        sealing = SealingPublicKey(extension.value)
        sealing.seal(b"", info=b"")  # a key that nobody can seal to would stop the centre, not its owner
    except BadKey as why:
        raise UntrustedCertificate(f"the request's sealing key: {why}") from why
    return key, sealing


def _name(federation: str, role: str, party: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, federation),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, role),
            x509.NameAttribute(NameOID.COMMON_NAME, party),
        ]
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Ed25519PublicKey, issuer_key: Ed25519PublicKey, lifetime: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    serial = x509.random_serial_number()
    builder = x509.CertificateBuilder(issuer, subject, key, serial, now - CLOCK_SLACK, now + lifetime)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False).add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """What OpenSSL's strict mode, the default from Python 3.13 on, asks of a certificate (RFC 5280)."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _extension(key: SealingPublicKey) -> x509.UnrecognizedExtension:
    return x509.UnrecognizedExtension(SEALING_KEY, key.raw)


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
