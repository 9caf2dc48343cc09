"""When the node listened: only where it did does silence mean that nobody was there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edge.store.connection import Connection, transaction
from edge.store.slots import SLOT_S, slot_of

COMPLETE_SHARE = 0.9
"""A slot counts as listened from this share of its seconds on: a restart of the node does not lose the slot."""


@dataclass(frozen=True, slots=True)
class Listening:
    """The listened stretches of a node, added up by slot."""

    connection: Connection

    def add(self, from_s: float, until_s: float, logged_at: float) -> None:
        """The node listened from `from_s` to `until_s`; what is known of that already does not count again.

        Args:
            logged_at: the store's own time, seconds (`edge.store.trusted_clock`); retention counts from the first one
                of a slot.

        Raises:
            ValueError: the stretch is empty or runs backwards.
        """
        if until_s <= from_s:
            raise ValueError(f"listening from {from_s} to {until_s} s is no stretch of time")
        with transaction(self.connection):
            self.connection.executemany(
                "INSERT INTO listened (slot, seconds, until_s, first_logged_at) VALUES (?1, ?3 - ?2, ?3, ?4) "
                "ON CONFLICT (slot) DO UPDATE SET "
                "seconds = seconds + max(0, ?3 - max(?2, until_s)), until_s = max(?3, until_s), "
                "first_logged_at = min(first_logged_at, ?4)",
                [(slot, start, end, logged_at) for slot, start, end in by_slot(from_s, until_s)],
            )
            self.reached(until_s)

    def until(self) -> float | None:
        """End of the stretch added last, seconds: where a replay goes on. None before the first."""
        row = self.connection.execute("SELECT until_s FROM listening_mark").fetchone()
        return None if row is None else float(row[0])

    def seconds(self) -> dict[int, float]:
        """Seconds listened, by slot; those that were dated by a guess are among them."""
        return {int(s): float(seconds) for s, seconds in self.connection.execute("SELECT slot, seconds FROM listening")}

    def saved_page(self, run: bytes) -> int:
        """Number of the last page that this run of the sensing process saved, 0 before the first."""
        row = self.connection.execute("SELECT page FROM saved_page WHERE run = ?", (run,)).fetchone()
        return 0 if row is None else int(row[0])

    def page_saved(self, run: bytes, page: int) -> None:
        """This page and those before are saved; to be called in the transaction that saves them."""
        self.connection.execute(
            "INSERT INTO saved_page (one, run, page) VALUES (1, ?, ?) "
            "ON CONFLICT (one) DO UPDATE SET run = excluded.run, page = excluded.page",
            (run, page),
        )

    def reached(self, until_s: float) -> None:
        """A replay is through up to here, seconds, whether or not the node listened: from here on it goes on."""
        self.connection.execute(
            "INSERT INTO listening_mark (one, until_s) VALUES (1, ?) "
            "ON CONFLICT (one) DO UPDATE SET until_s = excluded.until_s",
            (until_s,),
        )


def by_slot(from_s: float, until_s: float) -> Iterator[tuple[int, float, float]]:
    """The stretch cut at the ends of slots: `(slot, from, until)`, seconds."""
    start = from_s
    while start < until_s:
        slot = slot_of(start)
        end = min(until_s, (slot + 1) * SLOT_S)
        yield slot, start, end
        start = end
