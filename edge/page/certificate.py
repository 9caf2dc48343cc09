"""A certificate for the page, made by the node itself: no authority vouches for it; staff compare its fingerprint."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edge.page.address import IpAddress
from privacy.identity.keys import write_private

VALID_DAYS = 800
"""Apple's systems refuse what is valid for more than 825 days (support.apple.com/103769)."""


class BadCertificate(ValueError):
    """A certificate or its key cannot be used, or would be overwritten; the message says what to do."""


def make(certificate: Path, key: Path, names: Sequence[str], addresses: Sequence[IpAddress]) -> None:
    """Write a self-signed certificate (ECDSA P-256) and its key, readable by the owner only.

    Raises:
        BadCertificate: one of the files is there already.
    """
    # The page's process never needs these: they weigh ten times what the rest of this module does.
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID  # noqa: PLC0415

    for file in (certificate, key):
        if file.exists():
            raise BadCertificate(f"{file} is there already, and browsers may know it: remove it to make a new one")
    private = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        # A Pi's clock may be behind that of the phones that look at this.
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=VALID_DAYS))
        .add_extension(
            x509.SubjectAlternativeName([*map(x509.DNSName, names), *map(x509.IPAddress, addresses)]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(private, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    write_private(key, private.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    certificate.write_bytes(made.public_bytes(pem))


def fingerprint(certificate: Path) -> str:
    """SHA-256 of the certificate, as browsers show it: 32 bytes in hex, with colons.

    Raises:
        BadCertificate: there is none.
    """
    try:
        first, end, _ = certificate.read_text("ascii").strip().partition(ssl.PEM_FOOTER)
        der = ssl.PEM_cert_to_DER_cert(first + end)
    except (OSError, ValueError) as why:
        raise BadCertificate(
            f"{certificate}: no certificate there ({why}); make one with `jaga-node page NODE.toml --make-certificate`"
        ) from why
    return ":".join(f"{byte:02X}" for byte in hashlib.sha256(der).digest())


def check_pair(certificate: Path, key: Path) -> None:
    """Try certificate and key as the server will.

    Raises:
        BadCertificate: they are missing, unreadable, or do not belong together.
    """
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as why:
        raise BadCertificate(
            f"{certificate} and {key} do not serve for TLS ({why}): make them with "
            "`jaga-node page NODE.toml --make-certificate`"
        ) from why
