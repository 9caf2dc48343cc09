"""Retention: deletes what was logged too long ago, by a clock that setting the wall clock does not move.

One call deletes at most the oldest day of records. In normal operation that is all there is: an hour's worth each hour.
After a long time without power it takes as many calls as days are left, and each says that there is more. So a clock
that fooled even `edge.store.trusted_clock` takes a day's records an hour, while the page and the log say so.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from edge.store.app_states import AppStates
from edge.store.calibration import Calibrations
from edge.store.connection import Connection, transaction
from edge.store.meta import Meta
from edge.store.sightings import Purged, Sightings
from edge.store.slots import DAY_S
from edge.store.trusted_clock import DATED, TrustedClock

PURGE_EVERY_S = 3600.0
"""Retention is enforced this often, and before records are read if it was not for so long, seconds."""
MOST_S = float(DAY_S)
"""One call deletes records of at most so long a time, from the oldest on, seconds."""
ENFORCED_AT = "retention enforced"
_TIME = struct.Struct(">d")


@dataclass(frozen=True, slots=True)
class Enforced:
    """What one call did.

    Attributes:
        sightings, slots, sessions: deleted.
        dated_anew: rows that were dated in the future, and count from now on.
        more: whether there is more to delete, which the next call does.
        overwritten: whether the bytes are gone from the disk too; see `edge.store.sightings.Purged`.
    """

    sightings: int
    slots: int
    sessions: int
    dated_anew: int
    more: bool
    overwritten: bool


@dataclass(frozen=True, slots=True)
class Retention:
    """The retention of one store.

    Attributes:
        kept_s: how long a record lives, seconds.
    """

    connection: Connection
    clock: TrustedClock
    kept_s: float

    def enforce(self) -> Enforced:
        """Look at the clock, and delete what is due.

        Raises:
            RuntimeError: inside a transaction, where the bytes of what is deleted cannot be overwritten.
            StoreFull, StoreUnavailable: some of it may be deleted; the next call goes on.
        """
        if self.connection.in_transaction:
            raise RuntimeError("retention cannot be enforced inside a transaction: commit first")
        with transaction(self.connection):
            now = self.clock.look()
            oldest, newest = self._span()
            dated_anew = self._date_future_rows(now) if newest > now else 0
        due = now - self.kept_s
        before = min(due, oldest + MOST_S)
        sessions = Calibrations(self.connection).purge(before)
        AppStates(self.connection).purge(before)
        sightings = Sightings(self.connection)
        # To look for what to delete takes seconds on a large store, and most of the time nothing is due.
        purged = sightings.purge(before) if oldest < before else Purged(0, 0, sightings.overwrite())
        if before == due:
            Meta(self.connection).set(ENFORCED_AT, _TIME.pack(now))
        return Enforced(
            purged.sightings, purged.slots, sessions, dated_anew, more=before < due, overwritten=purged.overwritten
        )

    def enforce_if_due(self, every_s: float = PURGE_EVERY_S) -> Enforced | None:
        """The same if it was not done for so long, or left more to do; None if it was."""
        stored = Meta(self.connection).get(ENFORCED_AT)
        if stored is not None and 0 <= self.clock.now() - float(_TIME.unpack(stored)[0]) < every_s:
            return None
        return self.enforce()

    def _date_future_rows(self, now: float) -> int:
        """Rows of before this clock was there, logged by one that was ahead: they count from now on.

        No entry of the ledger has read them by this clock: its time is never later than now.
        """
        changed = 0
        for table, column in DATED:
            query = f"UPDATE {table} SET {column} = ?1 WHERE {column} > ?1"  # noqa: S608 - our own names
            changed += self.connection.execute(query, (now,)).rowcount
        return changed

    def _span(self) -> tuple[float, float]:
        """When the oldest and the newest record were logged; infinity and its negative if there is none."""
        oldest, newest = math.inf, -math.inf
        for table, column in DATED:
            query = f"SELECT min({column}), max({column}) FROM {table}"  # noqa: S608 - our own names
            first, last = self.connection.execute(query).fetchone()
            if first is not None:
                oldest, newest = min(oldest, float(first)), max(newest, float(last))
        return oldest, newest
