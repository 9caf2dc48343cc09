"""Calibration sessions of a node, and the corrections that were made of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from edge.proximity.session import Session, Step
from edge.proximity.stats import Stats
from edge.store.connection import Connection, transaction


@dataclass(frozen=True, slots=True)
class Calibrations:
    """The sessions."""

    connection: Connection

    def add(self, session: Session, logged_at: float | None = None) -> int:
        """Store one session, all of it or nothing; returns its number.

        Args:
            logged_at: the store's own time, seconds (`edge.store.trusted_clock`); retention counts from here. None
                takes the session's start.
        """
        with transaction(self.connection):
            row = self.connection.execute(
                "INSERT INTO calibration_sessions (adapter, transmitter, started_at, logged_at) VALUES (?, ?, ?, ?) "
                "RETURNING id",
                (
                    session.adapter,
                    session.transmitter,
                    session.started_at,
                    session.started_at if logged_at is None else logged_at,
                ),
            ).fetchone()
            number = int(row[0])
            self.connection.executemany(
                "INSERT INTO calibration_steps VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (number, position, step.distance_m, int(step.blocked), *_sums(step.stats))
                    for position, step in enumerate(session.steps)
                ],
            )
        return number

    def sessions(self, after: float = -math.inf, until: float = math.inf) -> list[Session]:
        """Sessions that were logged after `after` and no later than `until`, in the order in which they were stored."""
        rows = self.connection.execute(
            "SELECT id, adapter, transmitter, started_at, distance_m, blocked, frames, rssi_sum, rssi_square_sum, "
            "       rssi_min, rssi_max, windows_heard, windows_listened "
            "FROM calibration_sessions JOIN calibration_steps ON session = id "
            "WHERE logged_at > ? AND logged_at <= ? ORDER BY id, position",
            (after, until),
        ).fetchall()
        return [
            Session(
                *head[1:],
                tuple(_step(row) for row in steps),
            )
            for head, steps in groupby(rows, key=lambda row: (int(row[0]), str(row[1]), str(row[2]), float(row[3])))
        ]

    def purge(self, before: float) -> int:
        """Delete the sessions that were logged before, seconds; corrections stay. Returns how many there were."""
        with transaction(self.connection):
            old = self.connection.execute("SELECT id FROM calibration_sessions WHERE logged_at < ?", (before,))
            numbers = old.fetchall()
            # Not left to ON DELETE CASCADE, which SQLite follows only where a connection asked for foreign keys.
            self.connection.executemany("DELETE FROM calibration_steps WHERE session = ?", numbers)
            self.connection.executemany("DELETE FROM calibration_sessions WHERE id = ?", numbers)
        return len(numbers)


@dataclass(frozen=True, slots=True)
class StoredCorrections:
    """What is added to RSSI, dB, by adapter and by transmitter."""

    connection: Connection

    def set(
        self,
        adapters: Mapping[str, float],
        transmitters: Mapping[str, float],
        now: float,
        frames_per_window: Mapping[str, float] | None = None,
    ) -> None:
        """Set corrections; those of other names stay as they are.

        Args:
            frames_per_window: how many frames of one tag an adapter hears at best in a window, by adapter.

        Raises:
            ValueError: one is not a finite number.
        """
        best = frames_per_window or {}
        rows = [
            (kind, name, offset, now, best.get(name) if kind == "adapter" else None)
            for kind, offsets in (("adapter", adapters), ("transmitter", transmitters))
            for name, offset in offsets.items()
        ]
        for kind, name, offset, *_ in rows:
            if not math.isfinite(offset):
                raise ValueError(f"correction of {kind} {name!r} is {offset} dB; it is a finite number")
        with transaction(self.connection):
            self.connection.executemany(
                "INSERT INTO corrections (kind, name, offset_db, set_at, frames_per_window) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (kind, name) DO UPDATE SET offset_db = excluded.offset_db, set_at = excluded.set_at, "
                "frames_per_window = excluded.frames_per_window",
                rows,
            )

    def of(self, adapter: str, transmitter: str = "") -> float | None:
        """What to add to the RSSI of a transmitter at an adapter, dB.

        None where the adapter was never calibrated: closeness then says little. A transmitter without a correction
        counts as one like the others.
        """
        found = {
            str(kind): float(offset)
            for kind, offset in self.connection.execute(
                "SELECT kind, offset_db FROM corrections "
                "WHERE (kind = 'adapter' AND name = ?) OR (kind = 'transmitter' AND name = ?)",
                (adapter, transmitter),
            )
        }
        if "adapter" not in found:
            return None
        return found["adapter"] + found.get("transmitter", 0.0)

    def frames_per_window(self, adapter: str) -> float | None:
        """How many frames of one tag an adapter hears at best in a window; None where it was never calibrated."""
        row = self.connection.execute(
            "SELECT frames_per_window FROM corrections WHERE kind = 'adapter' AND name = ?", (adapter,)
        ).fetchone()
        return None if row is None or row[0] is None else float(row[0])

    def transmitters(self) -> dict[str, float]:
        """What to add for each transmitter that was calibrated, dB, by its name."""
        rows = self.connection.execute("SELECT name, offset_db FROM corrections WHERE kind = 'transmitter'")
        return {str(name): float(offset) for name, offset in rows}

    def forget_transmitter(self, name: str) -> None:
        """A tag left the site: its correction goes."""
        self.connection.execute("DELETE FROM corrections WHERE kind = 'transmitter' AND name = ?", (name,))


def _sums(stats: Stats) -> tuple[int, ...]:
    return (
        stats.frames,
        stats.rssi_sum,
        stats.rssi_square_sum,
        stats.rssi_min,
        stats.rssi_max,
        stats.windows_heard,
        stats.windows_listened,
    )


def _step(row: tuple[Any, ...]) -> Step:
    distance, blocked, *sums = row[4:]
    return Step(float(distance), bool(blocked), Stats(*map(int, sums)))
