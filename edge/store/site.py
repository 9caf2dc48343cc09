"""How this node was used, and since when: what it heard means something else in each mode."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from edge.store.connection import Connection, transaction

Mode = Literal["zone", "room", "person"]
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True, slots=True)
class ModeStretch:
    """One way of use.

    Attributes:
        mode: `zone`, `room` or `person`.
        from_s: since when, seconds; -inf for the first, which also holds for what was heard before it was declared.
        until_s: when the next one was declared; inf for the last.
    """

    mode: Mode
    from_s: float
    until_s: float


@dataclass(frozen=True, slots=True)
class SiteModes:
    """The history of a node's modes."""

    connection: Connection

    def declare(self, mode: Mode, now: float) -> bool:
        """The node starts in this mode; returns whether it is another one than before.

        Args:
            now: wall clock, seconds. Where the clock went back, the mode counts from the last declaration on.

        Raises:
            ValueError: there is no such mode.
        """
        if mode not in MODES:
            raise ValueError(f"mode {mode!r} is unknown: choose one of {', '.join(MODES)}")
        with transaction(self.connection):
            last = self.connection.execute("SELECT since, mode FROM site_modes ORDER BY since DESC LIMIT 1").fetchone()
            if last is not None and last[1] == mode:
                return False
            since = now if last is None else max(now, math.nextafter(float(last[0]), math.inf))
            self.connection.execute("INSERT INTO site_modes (since, mode) VALUES (?, ?)", (since, mode))
        return last is not None

    def stretches(self) -> list[ModeStretch]:
        """The whole history, in order; empty where the node never started."""
        rows = self.connection.execute("SELECT since, mode FROM site_modes ORDER BY since").fetchall()
        begins = [-math.inf, *(float(since) for since, _ in rows[1:])]
        ends = [*begins[1:], math.inf]
        return [ModeStretch(mode, begin, end) for (_, mode), begin, end in zip(rows, begins, ends, strict=False)]

    def during(self, from_s: float, until_s: float) -> list[ModeStretch]:
        """The modes between two times, cut to them."""
        return [
            ModeStretch(one.mode, max(one.from_s, from_s), min(one.until_s, until_s))
            for one in self.stretches()
            if one.from_s < until_s and one.until_s > from_s
        ]
