"""Book of the authority: which certificates it has taken back, and the signed lists that it makes of it.

It lies beside the authority's key, on a machine that nodes cannot reach. Certificates that have ended since leave it:
nobody believes them anyway.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from aggregator.config import BadConfig
from privacy.identity.authority import PARTY_LIFETIME, CertificateAuthority
from privacy.identity.keys import write_private
from privacy.identity.revocation import DEFAULT_VALIDITY, BadRevocationList, RevocationList

KEPT_S = (PARTY_LIFETIME + timedelta(days=2)).total_seconds()
BOOK, LIST, BROKER_LIST = "revoked.json", "revocations.pem", "crl.pem"


class Revoked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A certificate that was taken back: when, and whose it was."""

    at: float
    party: str


@dataclass(frozen=True, slots=True)
class RevokedBook:
    """The book in an authority's folder."""

    folder: Path

    def entries(self) -> dict[int, Revoked]:
        """The certificates by serial number.

        Raises:
            BadConfig: the book is damaged.
        """
        try:
            written = msgspec.json.decode((self.folder / BOOK).read_bytes(), type=dict[str, Revoked])
            return {int(serial, 16): entry for serial, entry in written.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as why:
            raise BadConfig(f"{self.folder / BOOK} cannot be read ({why}): restore it from a backup") from why

    def add(self, revoked: Mapping[int, Revoked]) -> None:
        """Take certificates back; one that was taken back before keeps its time."""
        known = self.entries()
        oldest = time.time() - KEPT_S
        every = {serial: entry for serial, entry in {**revoked, **known}.items() if entry.at > oldest}
        write_private(
            self.folder / BOOK, msgspec.json.encode({f"{serial:x}": entry for serial, entry in every.items()})
        )

    def issue(
        self, authority: CertificateAuthority, *copies: Path, valid: timedelta = DEFAULT_VALIDITY
    ) -> RevocationList:
        """Sign the next list, and the broker's; write them here, and the list to `copies`, too.

        Its number is above that of every list that lies in one of these places.

        Raises:
            ValueError: `valid` is too long.
        """
        serials = {serial: datetime.fromtimestamp(entry.at, UTC) for serial, entry in self.entries().items()}
        before = [self._number(path, authority) for path in (self.folder / LIST, *copies)]
        newest = authority.revocation_list(serials, number=max(int(time.time()), *(n + 1 for n in before)), valid=valid)
        for path in (self.folder / LIST, *copies):
            write_private(path, newest.pem)
        write_private(self.folder / BROKER_LIST, authority.broker_revocation_list(serials))
        return newest

    def _number(self, path: Path, authority: CertificateAuthority) -> int:
        try:
            return RevocationList.load(path, authority.anchor).number
        except (BadRevocationList, OSError):
            return 0
