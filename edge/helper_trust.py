"""Whom this node takes for the second organisation of a secure sum.

The certificate comes over the wire, as everybody's. Its authority may be run by the first organisation, which could
sign a helper of its own making; a node whose owner has `helper_key` in its configuration seals to those keys alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from privacy.boundary.directory import Directory
from privacy.boundary.envelope import Rejected
from privacy.identity.certificates import HELPER_PARTY, Certificate, Role


@dataclass(frozen=True, slots=True)
class HelperTrust:
    """The helper as this node knows it.

    Attributes:
        key: fingerprint of its keys (`Certificate.fingerprint`), where the node's owner insists on them.
    """

    directory: Directory
    key: str | None = None

    def certificate(self) -> Certificate | None:
        """The helper's certificate; None where there is none that is valid, a helper's, and of the right keys."""
        try:
            known = self.directory.certificate(HELPER_PARTY)
        except Rejected:
            return None
        trusted = known.role is Role.HELPER and known.sealing_key is not None
        return known if trusted and self.key in (None, known.fingerprint) else None
