"""Stored sightings: added whole windows at a time, read by time or day, and deleted so that the bytes are gone.

What is stored of an identifier is sealed under the key of its day (`edge.store.day_keys`); callers give and get it in
clear.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from edge.store.connection import Connection, transaction
from edge.store.day_keys import STALE, WINDOWS_PER_DAY, DayKey, DayKeys
from edge.store.errors import StoreFull
from edge.store.listening import COMPLETE_SHARE
from edge.store.meta import Meta
from edge.store.sealed_rows import BATCH, READ, add, blocks, move, opened, unmasked
from edge.store.sighting import IDENTIFIER_BYTES, Sighting, SightingColumns
from edge.store.slots import CLOSE_DBM, DAY_S, SLOT_S, WINDOW_S, WINDOWS_PER_SLOT

__all__ = ["Purged", "Sighting", "SightingColumns", "Sightings"]


FUTURE_S = float(DAY_S)
"""The store's own time may be behind the wall clock that dates sightings by this much; what is dated later is set aside
until it is that late, and deleted when it is due as everything else: retention goes by when it was logged."""


@dataclass(frozen=True, slots=True)
class Purged:
    """What retention deleted.

    Attributes:
        sightings: rows deleted.
        slots: slots deleted, quiet ones included.
        overwritten: whether the bytes are gone from the disk too. False while another process reads, or where there is
            no room to rewrite the table: the rows are deleted, their bytes go with the next purge that says True.
    """

    sightings: int
    slots: int
    overwritten: bool


@dataclass(frozen=True, slots=True)
class Sightings:
    """The sightings of a node."""

    connection: Connection

    def add(self, rows: Iterable[Sighting], logged_at: float) -> int:
        """Store sightings; where one of the same identifier, window and receiver is there, the two add up.

        Args:
            logged_at: the store's own time, seconds (`edge.store.trusted_clock`); retention counts from here.

        Returns:
            How many were added.
        """
        return add(self.connection, rows, logged_at, guessed=False)

    def count(self) -> int:
        return int(self.connection.execute("SELECT count(*) FROM sightings").fetchone()[0])

    def days(self) -> list[int]:
        """Days of which there are sightings, in order; `seconds // DAY_S`."""
        return DayKeys(self.connection).days()

    def between(self, from_s: float, until_s: float) -> Iterator[Sighting]:
        """Sightings of the windows that begin at `from_s` or later and before `until_s`, in the order of windows."""
        for day in self.days():
            starts_s, ends_s = day * DAY_S, (day + 1) * DAY_S
            first = math.ceil(max(from_s, starts_s) / WINDOW_S) if from_s < ends_s else WINDOWS_PER_DAY * (day + 1)
            end = math.ceil(min(until_s, ends_s) / WINDOW_S) if until_s > starts_s else WINDOWS_PER_DAY * day
            key = DayKeys(self.connection).find(day)
            if key is not None and first < end:
                cursor = self.connection.execute(READ, (first, end))
                while rows := cursor.fetchmany(BATCH):
                    yield from opened(rows, key)

    def columns(self, day: int) -> SightingColumns:
        """All sightings of a day in bulk, in the order of windows."""
        columns = SightingColumns()
        key = DayKeys(self.connection).find(day)
        if key is None:
            return columns
        numbers = (
            columns.windows,
            columns.receivers,
            columns.frames,
            columns.rssi_sums,
            columns.rssi_square_sums,
            columns.rssi_min,
            columns.rssi_max,
        )
        identifiers, metadata = bytearray(), bytearray()
        cursor = self.connection.execute(READ, (day * WINDOWS_PER_DAY, (day + 1) * WINDOWS_PER_DAY))
        while rows := cursor.fetchmany(BATCH):
            windows, seals, *others, masked = zip(*rows, strict=True)
            clear = key.open(b"".join(seals))
            identifiers += clear
            metadata += unmasked(masked, clear, key)
            for column, values in zip(numbers, (windows, *others), strict=True):
                column.extend(values)
        return replace(columns, identifiers=bytes(identifiers), metadata=bytes(metadata))

    def close_minutes(self, after: float = -math.inf, until: float = math.inf) -> list[tuple[int, float]]:
        """Person-minutes of close contact of each complete slot, in order: `[(slot, minutes), ...]`.

        An identifier counts `WINDOW_S` in a window if its mean RSSI is at least `CLOSE_DBM` at the receiver that heard
        it loudest. A slot is complete, and its number final, once it is over and the node listened for
        `COMPLETE_SHARE` of it; a quiet one has 0 minutes. Other slots are absent: that nothing was heard there means
        nothing. So are slots of which anything is dated by a guess, or which begin more than `FUTURE_S` after `until`.

        Args:
            after, until: the store's own time, seconds: a slot is read if the first of its rows was logged after
                `after` and no later than `until`; whole, or not at all.
        """
        rows = self.connection.execute(
            "WITH close AS (SELECT window_index / :per_slot AS slot, count(*) AS windows FROM "
            "    (SELECT DISTINCT window_index, identifier FROM sightings WHERE rssi_sum >= :close_dbm * frames) "
            "    GROUP BY 1), "
            "heard AS (SELECT window_index / :per_slot AS slot, min(logged_at) AS first_logged_at, "
            "    max(guessed) AS guessed FROM sightings GROUP BY 1) "
            "SELECT listened.slot, coalesce(close.windows, 0) * :window_s / 60.0 "
            "FROM listened LEFT JOIN close USING (slot) LEFT JOIN heard USING (slot) "
            "WHERE listened.seconds >= :enough_s "
            "  AND listened.slot * :slot_s <= :latest_s "
            "  AND (listened.slot + 1) * :slot_s <= "
            "    (SELECT max(until_s) FROM listened WHERE slot * :slot_s <= :latest_s) "
            "  AND coalesce(min(listened.first_logged_at, heard.first_logged_at), listened.first_logged_at) > :after "
            "  AND coalesce(min(listened.first_logged_at, heard.first_logged_at), listened.first_logged_at) <= :until "
            "  AND coalesce(heard.guessed, 0) = 0 AND listened.slot NOT IN (SELECT slot FROM guessed_stretches) "
            "ORDER BY listened.slot",
            {
                "per_slot": WINDOWS_PER_SLOT,
                "close_dbm": CLOSE_DBM,
                "window_s": WINDOW_S,
                "enough_s": COMPLETE_SHARE * SLOT_S,
                "slot_s": SLOT_S,
                "after": after,
                "until": until,
                "latest_s": until + FUTURE_S,
            },
        )
        return [(int(slot), float(minutes)) for slot, minutes in rows]

    def in_the_future(self, now: float) -> int:
        """How many sightings a clock that was ahead has dated more than `FUTURE_S` after `now`, seconds."""
        first = math.floor((now + FUTURE_S) / WINDOW_S) + 1
        return int(
            self.connection.execute("SELECT count(*) FROM sightings WHERE window_index >= ?", (first,)).fetchone()[0]
        )

    def purge(self, before_logged_at: float) -> Purged:
        """Delete what was logged before, so that its bytes are gone from the file and from the write-ahead log.

        A slot goes as a whole with its first row, that no half of it passes for a quiet one; the key of a day goes with
        the day's last row.

        Raises:
            RuntimeError: inside a transaction, where the WAL cannot be emptied.
            StoreFull: there is no room for the deletion itself; nothing was deleted.
        """
        if self.connection.in_transaction:
            raise RuntimeError("purge cannot run inside a transaction: commit first")
        with transaction(self.connection):
            slots = self.connection.execute(
                "SELECT slot FROM listening WHERE first_logged_at < :before "
                "UNION SELECT window_index / :per_slot FROM sightings WHERE logged_at < :before",
                {"before": before_logged_at, "per_slot": WINDOWS_PER_SLOT},
            ).fetchall()
            sightings = self.connection.executemany(
                "DELETE FROM sightings WHERE window_index >= ?1 * ?2 AND window_index < (?1 + 1) * ?2",
                [(slot, WINDOWS_PER_SLOT) for (slot,) in slots],
            ).rowcount
            self.connection.executemany("DELETE FROM listened WHERE slot = ?", slots)
            self.connection.executemany("DELETE FROM guessed_stretches WHERE slot = ?", slots)
            DayKeys(self.connection).drop_empty()
            if slots:
                Meta(self.connection).set(STALE, b"yes")
        return Purged(max(sightings, 0), len(slots), overwritten=self.overwrite())

    def erase(self, identifiers: Iterable[bytes]) -> int:
        """Delete all sightings of these identifiers, of whichever day.

        A day that had one gets a new key for what stays of it, so that a remnant of the erased cannot be opened. The
        bytes are overwritten too, before this returns, but where it runs inside a transaction: call `overwrite` after
        the commit, or leave it to the next purge.

        Returns:
            How many sightings were deleted.
        """
        wanted = sorted(set(identifiers))
        erased = 0
        with transaction(self.connection):
            for day in self.days():
                key = DayKeys(self.connection).get(day)
                first, end = day * WINDOWS_PER_DAY, (day + 1) * WINDOWS_PER_DAY
                found = 0
                for at in range(0, len(wanted), BATCH):
                    sealed = blocks(key.seal(b"".join(wanted[at : at + BATCH])), IDENTIFIER_BYTES)
                    marks = ", ".join("?" * len(sealed))
                    # The plus keeps SQLite from looking each identifier up in each window.
                    found += self.connection.execute(
                        f"DELETE FROM sightings WHERE window_index >= ? AND window_index < ? AND +identifier IN ({marks})",  # noqa: E501, S608
                        (first, end, *sealed),
                    ).rowcount
                if found:
                    self._change_key(day, key)
                erased += found
            if erased:
                DayKeys(self.connection).drop_empty()
                Meta(self.connection).set(STALE, b"yes")
        if not self.connection.in_transaction:
            self.overwrite()
        return erased

    def shred(self, day: int) -> int:
        """Delete a whole day and its key; see `DayKeys.shred`. Returns how many sightings it was."""
        rows = DayKeys(self.connection).shred(day)
        if not self.connection.in_transaction:
            self.overwrite()
        return rows

    def overwrite(self) -> bool:
        """Let the bytes of what was deleted be gone from the file and the write-ahead log; says whether they are.

        SQLite's secure_delete overwrites the deleted cells and pages. It misses the copies that a page keeps in its
        free space from when it was balanced (seen: one identifier in some hundred), so what stays is written anew.

        Raises:
            RuntimeError: inside a transaction, where the WAL cannot be emptied.
        """
        if self.connection.in_transaction:
            raise RuntimeError("overwrite cannot run inside a transaction: commit first")
        try:
            if Meta(self.connection).get(STALE):
                self._rewrite()
            busy = self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except StoreFull:
            busy = True
        return not busy

    def _rewrite(self) -> None:
        """Write every row anew: emptying a table frees its pages, and a page that is freed is overwritten whole."""
        with transaction(self.connection):
            for table, order in (("sightings", "window_index, identifier, receiver, guessed"), ("day_keys", "day")):
                self.connection.execute(f"CREATE TABLE kept AS SELECT * FROM {table}")  # noqa: S608 - our own names
                self.connection.execute(f"DELETE FROM {table}")  # noqa: S608
                self.connection.execute(f"INSERT INTO {table} SELECT * FROM kept ORDER BY {order}")  # noqa: S608
                self.connection.execute("DROP TABLE kept")
            Meta(self.connection).set(STALE, b"")

    def _change_key(self, day: int, old: DayKey) -> None:
        """Seal a day's rows anew under a new key."""
        self.connection.execute("DELETE FROM day_keys WHERE day = ?", (day,))
        first = day * WINDOWS_PER_DAY
        for start in range(first, first + WINDOWS_PER_DAY, WINDOWS_PER_SLOT):
            move(self.connection, start, start + WINDOWS_PER_SLOT, lambda _: old)
