"""A node's certificate while its clock may be wrong: what waiting can mend, and what it cannot."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from privacy.identity.authority import Identity
from privacy.identity.certificates import TrustAnchor, UntrustedCertificate


class WaitsForClock(Exception):
    """Only the clock is to blame: the certificate is good at another time than the wall clock shows."""


def load_identity(folder: Path, *, clock_trusted: bool) -> Identity:
    """Read the node's identity.

    Raises:
        WaitsForClock: the certificate is not valid now, and a clock that is not trusted says when that is.
        BadKey, UntrustedCertificate: as `Identity.load`; waiting does not mend it.
    """
    try:
        return Identity.load(folder)
    except UntrustedCertificate as why:
        if not clock_trusted and _good_at_its_time(folder):
            raise WaitsForClock(f"{why} (the wall clock is not trusted; the node waits)") from why
        raise


def _good_at_its_time(folder: Path) -> bool:
    presented = x509.load_pem_x509_certificate((folder / "party.pem").read_bytes())
    anchor = TrustAnchor.from_pem((folder / "authority.pem").read_bytes())
    try:
        anchor.verify(presented.public_bytes(Encoding.DER), at=presented.not_valid_before_utc)
    except UntrustedCertificate:
        return False
    return True
