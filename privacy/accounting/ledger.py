"""The book that says what a node's records have cost so far, and no when that would be too much.

**Theorem.** For every record, the outputs that were made while the record was in the store and that were released are
together (epsilon, delta)-differentially private for the record's privacy unit, with that unit's epsilon and delta in
the budget. So a node can learn for years, and what counts for a record is the worst window of one record lifetime.

*Proof.* An entry may touch the records alive between its reservation r and its end: the time e of its spend, at the
latest r + `HOLD_S`, for a later spend is refused. Take a record that lives from b to at most b + L (L the record
lifetime), and of all entries that touched it the one reserved last, at r <= b + L. That reservation was granted after
composing the events of its unit, of no unit and of the whole site, of all entries whose end, known or latest possible,
is r - L or later. Every entry that touched the record ended
at b >= r - L or later, and was reserved no later than r, so it was among them. Nothing is released without a spend.

*Assumptions.* (1) Retention deletes a record at the latest L after it was made, by the same clock, before any later
entry reads the store. (2) Each event bounds what its work did to one privacy unit. (3) The events' numbers are public
and do not depend on earlier outputs; the outputs may (adaptive composition). (4) Only work with a spent entry is
released. (5) Work that is charged to one unit reads no records of another: a `slot` is made of sightings, a `session`
of calibrations (the entry's purpose names the columns, and SQLite held the work to them). Of the whole `site` the
theorem speaks only where nothing was charged to parts of it: those outputs say something of the site, too.

A crash never under-counts: a reservation without a spend keeps counting exactly as a spent one would that ended at the
last moment allowed, and nothing can take it back. A second attempt at the same message needs a second reservation,
for the first attempt's work may have run and its output may have been seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from privacy.accounting.composition import epsilon
from privacy.accounting.events import ANY, Event, counts_for, decode_events, encode_events
from privacy.journal import Connection, Journal, transaction

HOLD_S = 86400.0
"""A reservation must be spent within this many seconds, or its work must be thrown away."""

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


class ReservationExpired(LedgerError):
    """The work took longer than a reservation holds; its output must not be released."""


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
        record_lifetime_s: seconds after which retention has deleted a record.
        units: limits of single units, by name.
    """

    epsilon: float
    delta: float
    record_lifetime_s: float
    units: Mapping[str, Limit] = field(default_factory=dict)

    def __post_init__(self) -> None:
        Limit(self.epsilon, self.delta)
        if not 0 < self.record_lifetime_s < float("inf"):
            raise ValueError(f"record_lifetime_s must be finite and above 0, got {self.record_lifetime_s}")

    def of(self, unit: str) -> Limit:
        """The limit of one unit."""
        return self.units.get(unit) or Limit(self.epsilon, self.delta)


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
        clock: seconds since the epoch. Where it goes back, time stands still in the ledger until it has caught up.
    """

    def __init__(self, connection: Connection, budget: Budget, clock: Callable[[], float] = time.time) -> None:
        self._journal = Journal(connection, _TABLE, _COLUMNS)
        self._connection = connection
        self._clock = clock
        self.budget = budget
        create_tables(connection)

    def reserve(self, message_id: bytes, purpose: str, events: Sequence[Event]) -> int:
        """Set budget aside for work that is about to run, durably; returns the entry's number.

        Raises:
            BudgetSpent: it does not fit; nothing was written.
            LedgerError: called inside a transaction, where a crash could take the reservation back after the work ran.
        """
        if self._connection.in_transaction:
            raise LedgerError("reserve inside an open transaction would not be durable before the work runs: commit it")
        # Composing takes up to a second, and others wait for the lock: this fills the cache before it is taken.
        self._refuse_unless_it_fits(events)
        with transaction(self._connection):
            self._refuse_unless_it_fits(events)
            row = ("reserve", self._now(), message_id, purpose, encode_events(events), None)
            return self._journal.append(row)

    def spend(self, entry: int) -> None:
        """Record that the work of `entry` has run, which its release needs.

        May be part of the caller's own transaction, so that the output is stored if and only if it is paid for.

        Raises:
            UnknownEntry, AlreadySpent: nothing was written.
            ReservationExpired: throw the output away.
        """
        if self._connection.in_transaction:
            self._spend(entry)
            return
        with transaction(self._connection):
            self._spend(entry)

    def epsilon(self) -> float:
        """Epsilon, at its unit's delta, of the worst record alive now; reservations count."""
        counting = self._counting()
        return max((self._epsilon(counting, unit) for unit in self._units(counting)), default=0.0)

    def by_unit(self) -> dict[str, float]:
        """The same for each unit that anything was charged to."""
        counting = self._counting()
        return {unit: self._epsilon(counting, unit) for unit in self._units(counting)}

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
        found = self._entries("reserved.row = ?", (number,))
        if not found:
            raise UnknownEntry(f"entry {number} is no reservation in this ledger: reserve first, spend its number")
        entry, now = found[0], self._now()
        if entry.spent_at is not None:
            raise AlreadySpent(f"entry {number} was spent before: reserve again for another attempt")
        if now > entry.reserved_at + HOLD_S:
            raise ReservationExpired(
                f"entry {number} was reserved {now - entry.reserved_at:.0f} s ago and holds for {HOLD_S:.0f} s: "
                "throw its output away and reserve again"
            )
        self._journal.append(("spend", now, entry.message_id, "", b"", number))

    def _refuse_unless_it_fits(self, events: Sequence[Event]) -> None:
        counting = self._counting()
        for unit in self._units([*counting, *events]):
            if not any(counts_for(event, unit) for event in events):
                continue
            total = self._epsilon([*counting, *events], unit)
            if not total <= self.budget.of(unit).epsilon:
                spent, asked = self._epsilon(counting, unit), self._epsilon(events, unit)
                raise BudgetSpent(spent, asked, total, self.budget, unit)

    def _units(self, events: Sequence[Event]) -> list[str]:
        """Whose budgets these events are charged to, in order; one without a name where none names any."""
        named = {event.unit for event in events if event.unit != ANY} | set(self.budget.units)
        return sorted(named) or ([ANY] if events else [])

    def _epsilon(self, events: Sequence[Event], unit: str) -> float:
        # What is charged to part of a site says nothing about the whole of it.
        mine = [event for event in events if counts_for(event, unit)]
        return epsilon(mine, self.budget.of(unit).delta)

    def _counting(self) -> list[Event]:
        """Events of all entries whose end, known or latest possible, is within one record lifetime."""
        oldest = self._now() - self.budget.record_lifetime_s
        entries = self._entries("reserved.at >= ? AND coalesce(spent.at, ?) >= ?", (oldest - HOLD_S, oldest, oldest))
        return [event for entry in entries for event in entry.events]

    def _entries(self, where: str, parameters: Sequence[object]) -> list[Entry]:
        rows = self._connection.execute(
            f"SELECT reserved.row, reserved.message_id, reserved.purpose, reserved.events, reserved.at, spent.at "  # noqa: S608
            f"FROM {_TABLE} AS reserved LEFT JOIN {_TABLE} AS spent ON spent.entry = reserved.row "
            f"WHERE reserved.kind = 'reserve' AND {where} ORDER BY reserved.row",
            parameters,
        )
        return [Entry(row[0], row[1], row[2], decode_events(row[3]), row[4], row[5]) for row in rows]

    def _now(self) -> float:
        """Never before the last row: a clock that went back must not bring an expired entry's time closer."""
        last = self._connection.execute(f"SELECT at FROM {_TABLE} ORDER BY row DESC LIMIT 1").fetchone()  # noqa: S608
        now = float(self._clock())
        return max(now, last[0]) if last else now
