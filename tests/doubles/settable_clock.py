"""A machine's two clocks: one that runs on, and one that can be set."""

from __future__ import annotations

from dataclasses import dataclass

from edge.sensing.clock import Clock


@dataclass
class Machine:
    """What `edge.sensing.clock.Clock` asks of a machine.

    Attributes:
        monotonic_s: now, seconds since the machine booted.
        offset_s: wall clock minus that, seconds.
        synchronized: whether a time server has set it.
    """

    monotonic_s: float = 1000.0
    offset_s: float = 1_000_000.0
    synchronized: bool = True
    boot: str = "this boot"

    def clock(self) -> Clock:
        return Clock(self.monotonic, self.wall, lambda: self.synchronized, self.boot)

    def monotonic(self) -> float:
        return self.monotonic_s

    def wall(self) -> float:
        return self.monotonic_s + self.offset_s
