"""Stored sightings, and what learning reads of them: minutes of close contact, slot by slot."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from edge.store.connection import Connection, transaction
from edge.store.errors import StoreFull
from edge.store.listening import COMPLETE_SHARE
from edge.store.meta import Meta
from edge.store.slots import CLOSE_DBM, SLOT_S, WINDOW_S, WINDOWS_PER_SLOT

STALE = "sightings.stale"
"""Name of the fact that rows were deleted and the table is still to be written anew."""


class SightingRow(Protocol):
    """What is stored of a sighting; `edge.sensing.sightings.Sighting` is one."""

    @property
    def identifier(self) -> bytes: ...
    @property
    def window(self) -> int: ...
    @property
    def frames(self) -> int: ...
    @property
    def rssi_sum(self) -> int: ...
    @property
    def rssi_max(self) -> int: ...


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

    def add(self, rows: Iterable[SightingRow], logged_at: float) -> int:
        """Store whole windows; a sighting that is already there stays as it is, so adding twice is adding once.

        Args:
            logged_at: wall clock, seconds; retention counts from here.

        Returns:
            How many were new.
        """
        before = self.connection.total_changes
        with transaction(self.connection):
            self.connection.executemany(
                "INSERT INTO sightings (window_index, identifier, frames, rssi_sum, rssi_max, logged_at) "
                "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                ((row.window, row.identifier, row.frames, row.rssi_sum, row.rssi_max, logged_at) for row in rows),
            )
        return self.connection.total_changes - before

    def count(self) -> int:
        return int(self.connection.execute("SELECT count(*) FROM sightings").fetchone()[0])

    def close_minutes(self) -> list[tuple[int, float]]:
        """Person-minutes of close contact of each complete slot, in order: `[(slot, minutes), ...]`.

        A sighting counts `WINDOW_S` where its mean RSSI is at least `CLOSE_DBM`. A slot is complete, and its number
        final, once it is over and the node listened for `COMPLETE_SHARE` of it; a quiet one has 0 minutes. Other slots
        are absent: that nothing was heard there means nothing.
        """
        rows = self.connection.execute(
            "WITH close AS (SELECT window_index / :per_slot AS slot, count(*) AS windows FROM sightings "
            "               WHERE rssi_sum >= :close_dbm * frames GROUP BY 1) "
            "SELECT listened.slot, coalesce(close.windows, 0) * :window_s / 60.0 "
            "FROM listened LEFT JOIN close USING (slot) "
            "WHERE listened.seconds >= :enough_s "
            "  AND (listened.slot + 1) * :slot_s <= (SELECT max(until_s) FROM listened) "
            "ORDER BY listened.slot",
            {
                "per_slot": WINDOWS_PER_SLOT,
                "close_dbm": CLOSE_DBM,
                "window_s": WINDOW_S,
                "enough_s": COMPLETE_SHARE * SLOT_S,
                "slot_s": SLOT_S,
            },
        )
        return [(int(slot), float(minutes)) for slot, minutes in rows]

    def purge(self, before_logged_at: float) -> Purged:
        """Delete what was logged before, so that its bytes are gone from the file and from the write-ahead log.

        A slot goes as a whole with its first row, that no half of it passes for a quiet one.

        SQLite's secure_delete overwrites the deleted cells and pages. It misses the copies that a page keeps in its
        free space from when it was balanced (seen: one identifier in some hundred), so what stays is written anew.

        Raises:
            RuntimeError: inside a transaction, where the WAL cannot be emptied.
            StoreFull: there is no room for the deletion itself; nothing was deleted.
        """
        if self.connection.in_transaction:
            raise RuntimeError("purge cannot run inside a transaction: commit first")
        with transaction(self.connection):
            slots = self.connection.execute(
                "SELECT slot FROM listened WHERE first_logged_at < :before "
                "UNION SELECT window_index / :per_slot FROM sightings WHERE logged_at < :before",
                {"before": before_logged_at, "per_slot": WINDOWS_PER_SLOT},
            ).fetchall()
            sightings = self.connection.executemany(
                "DELETE FROM sightings WHERE window_index >= ?1 * ?2 AND window_index < (?1 + 1) * ?2",
                [(slot, WINDOWS_PER_SLOT) for (slot,) in slots],
            ).rowcount
            self.connection.executemany("DELETE FROM listened WHERE slot = ?", slots)
            if slots:
                Meta(self.connection).set(STALE, b"yes")
        try:
            if Meta(self.connection).get(STALE):
                self._rewrite()
            busy = self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except StoreFull:
            busy = True
        return Purged(max(sightings, 0), len(slots), overwritten=not busy)

    def _rewrite(self) -> None:
        """Write every row anew: emptying a table frees its pages, and a page that is freed is overwritten whole."""
        with transaction(self.connection):
            self.connection.execute("CREATE TABLE kept AS SELECT * FROM sightings")
            self.connection.execute("DELETE FROM sightings")
            self.connection.execute("INSERT INTO sightings SELECT * FROM kept ORDER BY window_index, identifier")
            self.connection.execute("DROP TABLE kept")
            Meta(self.connection).set(STALE, b"")
