"""Privacy ledger: records what a node's records have cost, and refuses work that would exceed the budget.

**Theorem.** Take a privacy unit whose rows were logged in [b, b + s], s the spread of such a unit (`UNIT_SPREAD_S`; of
a person's day `DAY_SPREAD_S`). All that was ever released is together (epsilon, delta)-differentially private for what
the unit holds, with that unit's limit in the budget, also if each request was chosen by what was released before. So a
node can learn for years, and what counts for a unit is the worst window of one record lifetime and its spread.

*Proof.* Work of an entry that was reserved at r reads rows that were logged in (r - L, r], L the record lifetime
(`reading_window`), and no others. So an entry can touch the unit only if b <= r < b + s + L. Ledger time never goes
back from one row to the next, so entries are reserved in the order of their times. Let e be the last one that touched
the unit, at r. Every other that touched it was reserved before e and later than r - L - s, so its events were among
those that the budget's filter (`privacy.accounting.composition.fits`) let through together with e's. A filter that lets
a set through lets every part of it through. So the events that touched the unit passed a filter whose numbers the
budget fixes, and that is what a filter proves. Nothing is released without a spent entry, and no work reads before the
spend.

It does not matter when the work runs, whether it ends, or what the clock says: a row keeps the time it was logged at.

*Assumptions.* (1) Work reads only rows in the reading window of its entry, and only of what its purpose names. (2) A
row keeps its `logged_at`, and the rows of one unit are logged within its spread. (3) Each event bounds what its work
does to one unit, and what it says of a day (`day_units`) is so. (4) Work that is charged to one unit reads no rows of
another: a `slot` is made of sightings, a `session` of calibrations; what is charged to a day or a site counts for all
smaller units. Of the whole `site` the theorem speaks only where nothing was charged to parts of it: those outputs say
something of the site, too.

A crash never under-counts: a reservation counts from the moment it is written, and nothing can take it back. A second
attempt at the same message needs a second reservation if it reads rows, for the first attempt's output may have been
seen; one that reads none takes the first (`edge.learning.work.pay`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from privacy.accounting.composition import Adjacency, epsilon, fits
from privacy.accounting.events import (
    DAY,
    SITE,
    Event,
    SampledGaussian,
    counts_for,
    decode_events,
    encode_events,
)
from privacy.accounting.persons import of_person
from privacy.journal import Connection, Head, Journal, transaction

UNIT_SPREAD_S, DAY_SPREAD_S = 86400.0, 2 * 86400.0
"""The rows of one unit are logged within this many seconds, late ones of a satellite included; those of a day, within a
day more."""

_TABLE = "privacy_ledger"
_COLUMNS = {
    "kind": "TEXT",
    "at": "REAL",
    "message_id": "BLOB",
    "purpose": "TEXT",
    "events": "BLOB",
    "entry": "INTEGER",
}


class LedgerError(Exception):
    """The ledger does not do what was asked of it."""


class BudgetSpent(LedgerError):
    """The budget does not hold what was asked for.

    Attributes:
        spent: epsilon of the worst record alive, before.
        asked: epsilon of the new events alone.
        total: epsilon of both together, which is less than their sum.
        allowed: epsilon of the budget.
        unit: whose budget it is; empty where no event names a unit.
    """

    def __init__(self, spent: float, asked: float, total: float, budget: Budget, unit: str) -> None:
        limit = budget.of(unit)
        whose = f" for one {unit}" if unit else ""
        super().__init__(
            f"epsilon {spent:.4g} is spent and this asks for {asked:.4g} more, {total:.4g} together, of "
            f"{limit.epsilon:g} (delta {limit.delta:g}){whose} in {budget.record_lifetime_s / 86400:g} days: "
            "ask for more noise or fewer steps, or wait until older entries have left the record lifetime"
        )
        self.spent, self.asked, self.total, self.allowed, self.unit = spent, asked, total, limit.epsilon, unit


class UnknownEntry(LedgerError):
    """No reservation has this number."""


class AlreadySpent(LedgerError):
    """The reservation was spent before: its one release has happened."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The most that may be learnt of one privacy unit.

    Attributes:
        epsilon: above 0.
        delta: between 0 and 1.
    """

    epsilon: float
    delta: float

    def __post_init__(self) -> None:
        if not 0 < self.epsilon < float("inf"):
            raise ValueError(f"a budget's epsilon must be finite and above 0, got {self.epsilon}")
        if not 0 < self.delta < 1:
            raise ValueError(f"a budget's delta must be between 0 and 1, got {self.delta}")


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that may be learnt of one privacy unit, whichever it is, and of some in particular.

    Attributes:
        epsilon, delta: of units that `units` does not name.
        record_lifetime_s: seconds for which a record is read.
        units: limits of single units, by name. One for `day` bounds what is learnt of a person's day at this site.
        nodes_of_site: by how many nodes of the site one person may be heard; a day is charged for all of them.
    """

    epsilon: float
    delta: float
    record_lifetime_s: float
    units: Mapping[str, Limit] = field(default_factory=dict)
    nodes_of_site: int = 1

    def __post_init__(self) -> None:
        Limit(self.epsilon, self.delta)
        if self.nodes_of_site < 1:
            raise ValueError(f"nodes_of_site must be at least 1, got {self.nodes_of_site}")
        if not 0 < self.record_lifetime_s < float("inf"):
            raise ValueError(f"record_lifetime_s must be finite and above 0, got {self.record_lifetime_s}")

    def of(self, unit: str) -> Limit:
        """The limit of one unit."""
        return self.units.get(unit) or Limit(self.epsilon, self.delta)

    def window_s(self, unit: str) -> float:
        """Seconds before now from which entries still count for a unit."""
        return self.record_lifetime_s + (DAY_SPREAD_S if unit == DAY else UNIT_SPREAD_S)

    def charged(self, events: Sequence[Event], unit: str) -> list[Event]:
        """What of `events` counts for one unit, as it counts for it."""
        mine = [event for event in events if counts_for(event, unit)]
        return [of_person(event, nodes=self.nodes_of_site) for event in mine] if unit == DAY else mine


@dataclass(frozen=True, slots=True)
class Entry:
    """One reservation as it stands now.

    Attributes:
        number: its row in the ledger.
        reserved_at: seconds since the epoch.
        spent_at: the same, or None for a reservation that was not seen to finish.
    """

    number: int
    message_id: bytes
    purpose: str
    events: tuple[Event, ...]
    reserved_at: float
    spent_at: float | None


def create_tables(connection: Connection) -> None:
    """Make the ledger's table where it is missing."""
    Journal(connection, _TABLE, _COLUMNS).create_table()
    # The database refuses a second spend of one entry too.
    connection.execute(f"CREATE UNIQUE INDEX IF NOT EXISTS {_TABLE}_spent_once ON {_TABLE} (entry)")
    connection.execute(f"CREATE INDEX IF NOT EXISTS {_TABLE}_by_message ON {_TABLE} (message_id, kind)")
    connection.execute(f"CREATE INDEX IF NOT EXISTS {_TABLE}_by_time ON {_TABLE} (kind, at)")


class PrivacyLedger:
    """Reserve before the work, spend after it, release only what was spent.

    Append-only: a spend is a row of its own. Several processes may hold one each on the same file.

    Args:
        clock: seconds since the epoch. If it goes back, time stands still in the ledger until it has caught up.
        newest_record: when the newest record that may be read was logged. Ledger time is never before it.
    """

    def __init__(
        self,
        connection: Connection,
        budget: Budget,
        clock: Callable[[], float] = time.time,
        newest_record: Callable[[], float] = lambda: -math.inf,
    ) -> None:
        self._journal = Journal(connection, _TABLE, _COLUMNS)
        self._connection = connection
        self._clock = clock
        self._newest_record = newest_record
        self._verified: Head | None = None
        self.budget = budget
        create_tables(connection)

    def reserve(self, message_id: bytes, purpose: str, events: Sequence[Event]) -> int:
        """Set budget aside for work that is about to run, durably; returns the entry's number.

        Raises:
            BudgetSpent: it does not fit; nothing was written.
            BrokenChain: the ledger was tampered with; nothing was written. All rows are looked at once, later new ones.
            LedgerError: called inside a transaction, where a crash could take the reservation back after the work ran.
        """
        if self._connection.in_transaction:
            raise LedgerError("reserve inside an open transaction would not be durable before the work runs: commit it")
        self._verified = self._journal.verify(self._verified)
        with transaction(self._connection):
            self._journal.verify(self._verified)
            self._refuse_unless_it_fits(events)
            row = ("reserve", self._now(), message_id, purpose, encode_events(events), None)
            return self._journal.append(row)

    def spend(self, entry: int) -> None:
        """Record that the work of `entry` may run now, and what it gives may be released.

        May be part of the caller's own transaction.

        Raises:
            UnknownEntry, AlreadySpent: nothing was written.
        """
        if self._connection.in_transaction:
            self._spend(entry)
            return
        with transaction(self._connection):
            self._spend(entry)

    def reading_window(self, entry: int) -> tuple[float, float]:
        """The (after, until] of the times at which a row that the work of `entry` may read was logged.

        Raises:
            UnknownEntry: it is no reservation.
        """
        reserved_at = self._entry(entry).reserved_at
        return reserved_at - self.budget.record_lifetime_s, reserved_at

    def forfeit(self, why: str) -> int:
        """Count all of every budget as spent for a record lifetime from now on; returns the entry's number.

        For a ledger that is known to have forgotten something: nothing is granted until all that could be forgotten
        has left the record lifetime.
        """
        everything = [SampledGaussian(0.0, 1.0, 1), SampledGaussian(0.0, 1.0, 1, 1, SITE)]
        with transaction(self._connection):
            return self._journal.append(
                ("reserve", self._now(), b"", f"forfeited: {why}", encode_events(everything), None)
            )

    def epsilon(self) -> float:
        """Epsilon, at its unit's delta, of the worst record alive now; reservations count."""
        return max(self.by_unit().values(), default=0.0)

    def by_unit(self, adjacency: Adjacency = Adjacency.REPLACED) -> dict[str, float]:
        """The same for each unit that anything was charged to, or that has a limit of its own."""
        now = self._now()
        return {unit: self._epsilon(self._counting(unit, now), unit, adjacency) for unit in self._units(now, ())}

    def entries(self) -> list[Entry]:
        """All reservations, oldest first."""
        return self._entries("1", ())

    def entries_of(self, message_id: bytes) -> list[Entry]:
        """The reservations made for one message, oldest first; several attempts make several."""
        return self._entries("reserved.message_id = ?", (message_id,))

    def spent_entries(self, message_id: bytes) -> list[int]:
        """Numbers of the entries of one message whose work has run."""
        return [entry.number for entry in self.entries_of(message_id) if entry.spent_at is not None]

    def verify(self) -> tuple[int, bytes]:
        """Follow the hash chain; returns number and hash of the last row.

        Raises:
            BrokenChain: names the first row that was tampered with.
        """
        return self._journal.verify()

    def _spend(self, number: int) -> None:
        entry = self._entry(number)
        if entry.spent_at is not None:
            raise AlreadySpent(f"entry {number} was spent before: reserve again for another attempt")
        self._journal.append(("spend", self._now(), entry.message_id, "", b"", number))

    def _entry(self, number: int) -> Entry:
        found = self._entries("reserved.row = ?", (number,))
        if not found:
            raise UnknownEntry(f"entry {number} is no reservation in this ledger: reserve first, spend its number")
        return found[0]

    def _refuse_unless_it_fits(self, events: Sequence[Event]) -> None:
        now = self._now()
        for unit in self._units(now, events):
            asked = self.budget.charged(events, unit)
            if not asked:
                continue
            limit, counting = self.budget.of(unit), self._counting(unit, now)
            if not fits([*counting, *asked], limit.epsilon, limit.delta):
                spent, alone, total = (epsilon(part, limit.delta) for part in (counting, asked, [*counting, *asked]))
                raise BudgetSpent(spent, alone, total, self.budget, unit)

    def _units(self, now: float, asked: Sequence[Event]) -> list[str]:
        """Whose budgets count now, in order."""
        alive = self._alive(now - max(self.budget.window_s(DAY), self.budget.window_s(SITE)))
        named = {event.unit for entry in alive for event in entry.events if self._counts(entry, event.unit, now)}
        return sorted(named | {event.unit for event in asked} | set(self.budget.units))

    def _counts(self, entry: Entry, unit: str, now: float) -> bool:
        return entry.reserved_at >= now - self.budget.window_s(unit)

    def _epsilon(self, charged: Sequence[Event], unit: str, adjacency: Adjacency) -> float:
        return epsilon(charged, self.budget.of(unit).delta, adjacency)

    def _counting(self, unit: str, now: float) -> list[Event]:
        """What all entries that can have touched a unit of which rows may still be read cost it."""
        entries = self._alive(now - self.budget.window_s(unit))
        return self.budget.charged([event for entry in entries for event in entry.events], unit)

    def _alive(self, oldest: float) -> list[Entry]:
        return self._entries("reserved.at >= ?", (oldest,))

    def _entries(self, where: str, parameters: Sequence[object]) -> list[Entry]:
        rows = self._connection.execute(
            f"SELECT reserved.row, reserved.message_id, reserved.purpose, reserved.events, reserved.at, spent.at "  # noqa: S608
            f"FROM {_TABLE} AS reserved LEFT JOIN {_TABLE} AS spent ON spent.entry = reserved.row "
            f"WHERE reserved.kind = 'reserve' AND {where} ORDER BY reserved.row",
            parameters,
        )
        return [Entry(row[0], row[1], row[2], decode_events(row[3]), row[4], row[5]) for row in rows]

    def _now(self) -> float:
        """Never before the last row, nor before the newest record that is to be read."""
        last = self._connection.execute(f"SELECT at FROM {_TABLE} ORDER BY row DESC LIMIT 1").fetchone()  # noqa: S608
        return max(float(self._clock()), float(self._newest_record()), *(last or ()))
