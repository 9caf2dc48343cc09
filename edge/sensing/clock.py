"""The time of day of a machine that may have no clock while it is off.

Wall time is anchored on the monotonic clock, which nobody can set: what is heard gets its date from the two together,
and a wall clock that is set shows as a change of the offset between them. (Slow corrections do not show: Linux steers
both clocks together.)

Whether the wall clock is right can be known in one direction only. It is trusted once something has synchronized it
(`edge.store.machine_clock`); then until the machine is off. Set by hand it is better than before, and not trusted yet:
the store's own clock (`edge.store.trusted_clock`) vouches for it once it has been steady for a day.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from edge.sensing.advertisement import ClockReading
from edge.store.guesses import boot_id
from edge.store.machine_clock import JUMP_S, synchronized


class Clock:
    """Wall time of monotonic times.

    Args:
        monotonic: seconds; nobody sets it.
        wall: seconds since the epoch.
        synchronized: whether the wall clock can be trusted by now.
        boot: which boot of the machine this is; None asks the kernel.
    """

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        synchronized: Callable[[], bool] = synchronized,
        boot: str | None = None,
    ) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._synchronized = synchronized
        # Whether it is trusted is asked first: where the two change together, the jump is then seen no later.
        trusted = synchronized()
        self.reading = ClockReading(boot_id() if boot is None else boot, wall() - monotonic(), trusted)

    @property
    def offset_s(self) -> float:
        """Wall time minus monotonic time, seconds."""
        return self.reading.offset_s

    def look(self) -> float:
        """By how much the wall clock was set since the last look, seconds; 0 where it was not."""
        before = self.reading
        trusted = before.trusted or self._synchronized()
        offset_s = self._wall() - self._monotonic()
        jump_s = offset_s - before.offset_s
        if abs(jump_s) <= JUMP_S:
            jump_s, offset_s = 0.0, before.offset_s
        if jump_s or trusted != before.trusted:
            self.reading = ClockReading(before.boot, offset_s, trusted)
        return jump_s
