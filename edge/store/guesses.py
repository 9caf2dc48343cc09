"""What was dated by a clock that was not yet set, and how it gets its right date.

A Pi has no clock that runs without power: it boots with a time of the past, and learns the right one over the network,
or from somebody who sets it. What it hears until then is stored by that guess. The guess is wrong by one number for all
of it, and that number shows when the clock is set: by how much the offset between wall clock and monotonic clock, which
runs on undisturbed, has changed. So all of it moves by as many whole windows, and ends at most one window off.

When it was logged does not move: that is told by the store's own clock (`edge.store.trusted_clock`), not by the wall.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.store.connection import Connection, transaction
from edge.store.day_keys import DayKeys
from edge.store.listening import Listening, by_slot
from edge.store.sealed_rows import add, move
from edge.store.sighting import Sighting
from edge.store.slots import WINDOW_S, WINDOWS_PER_SLOT

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Which boot of the machine this is; Linux draws it anew each time."""
    return BOOT_ID.read_text("ascii").strip()


def offset_s() -> float:
    """Wall clock minus monotonic clock, seconds; it changes when the wall clock is set, and not otherwise."""
    return time.time() - time.monotonic()


def windows_off(offset_s: float, guessed_s: float) -> int:
    """By how many windows a guess was off.

    Args:
        offset_s: wall clock minus monotonic clock, seconds.
        guessed_s: the same when the guess was made.
    """
    return round((offset_s - guessed_s) / WINDOW_S)


@dataclass(frozen=True, slots=True)
class Guesses:
    """What a node has stored by a guess."""

    connection: Connection

    def follow(self, boot: str, offset_s: float, trusted: bool) -> None:
        """Move what was guessed to where the clock has it now; where that is certain, it is a guess no more.

        What is left of an earlier boot stays where it is: by how much it is off, nobody can tell any more.

        Args:
            boot: which boot of the machine this is.
            offset_s: wall clock minus monotonic clock now, seconds.
            trusted: whether the clock was set since the machine booted.
        """
        with transaction(self.connection):
            mark = self.connection.execute("SELECT boot, offset_s, first_window, last_window FROM guess").fetchone()
            if mark is None:
                return
            guessed_boot, guessed_s, first, last = mark
            off = windows_off(offset_s, guessed_s) if boot == guessed_boot else 0
            still = boot == guessed_boot and not trusted
            if still and not off:
                return
            # From the far end on, so that nothing lands where something has yet to leave.
            chunks = range(first, last + 1, WINDOWS_PER_SLOT)
            for start in reversed(chunks) if off > 0 else chunks:
                end = min(start + WINDOWS_PER_SLOT, last + 1)
                move(
                    self.connection,
                    start,
                    end,
                    DayKeys(self.connection).find,
                    only_guessed=True,
                    by_windows=off,
                    guessed=still,
                )
            DayKeys(self.connection).drop_empty()
            self._move_stretches(off * WINDOW_S, still)
            self.connection.execute("DELETE FROM guess")
            if still:
                self._mark(boot, guessed_s + off * WINDOW_S, first + off, last + off)

    def add(
        self,
        rows: Sequence[Sighting],
        stretches: Iterable[tuple[float, float]],
        logged_at: float,
        *,
        boot: str,
        offset_s: float,
    ) -> None:
        """Store what is dated by a guess; call `follow` with the same clock before.

        Args:
            stretches: when the node listened, each from and until, seconds.
            logged_at: the store's own time, seconds; see `edge.store.trusted_clock`.
            boot: which boot of the machine this is.
            offset_s: wall clock minus monotonic clock, as the guess has it, seconds.
        """
        with transaction(self.connection):
            add(self.connection, rows, logged_at, guessed=True)
            windows = [row.window for row in rows]
            for from_s, until_s in stretches:
                self._add_stretch(from_s, until_s, logged_at)
                windows += [int(from_s // WINDOW_S), int(until_s // WINDOW_S)]
            if windows:
                self._mark(boot, offset_s, min(windows), max(windows))

    def _mark(self, boot: str, offset_s: float, first: int, last: int) -> None:
        self.connection.execute(
            "INSERT INTO guess (one, boot, offset_s, first_window, last_window) VALUES (1, ?, ?, ?, ?) "
            "ON CONFLICT (one) DO UPDATE SET first_window = min(first_window, excluded.first_window), "
            "last_window = max(last_window, excluded.last_window)",
            (boot, offset_s, first, last),
        )

    def _add_stretch(self, from_s: float, until_s: float, logged_at: float) -> None:
        for slot, start, end in by_slot(from_s, until_s):
            longer = self.connection.execute(
                "UPDATE guessed_stretches SET until_s = max(until_s, ?), logged_at = min(logged_at, ?) "
                "WHERE slot = ? AND from_s <= ? AND until_s >= ?",
                (end, logged_at, slot, start, start),
            ).rowcount
            if not longer:
                self.connection.execute(
                    "INSERT INTO guessed_stretches (from_s, until_s, slot, logged_at) VALUES (?, ?, ?, ?)",
                    (start, end, slot, logged_at),
                )

    def _move_stretches(self, by_s: float, still: bool) -> None:
        query = "SELECT from_s, until_s, logged_at FROM guessed_stretches ORDER BY from_s"
        stretches = self.connection.execute(query).fetchall()
        self.connection.execute("DELETE FROM guessed_stretches")
        for from_s, until_s, logged_at in stretches:
            if still:
                self._add_stretch(from_s + by_s, until_s + by_s, logged_at)
            else:
                Listening(self.connection).add(from_s + by_s, until_s + by_s, logged_at)
