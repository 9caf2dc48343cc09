"""The time of day of a machine that may have no clock while it is off.

Wall time is anchored on the monotonic clock, which nobody can set: what is heard gets its date from the two together,
and a wall clock that is set shows as a change of the offset between them. (Slow corrections do not show: Linux steers
both clocks together.)

Whether the wall clock is right can be known in one direction only. It is trusted once systemd-timesyncd has left its
mark, or the kernel says that some daemon (chrony, ntpd) steers it; then until the machine is off. Set by hand it is
better than before, and still not trusted.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from pathlib import Path

from edge.sensing.advertisement import ClockReading
from edge.store.guesses import boot_id

JUMP_S = 2.0
"""A wall clock that is off by more than this against the monotonic clock was set, seconds."""

TIMESYNCD_MARK = Path("/run/systemd/timesync/synchronized")
TIME_ERROR = 5
"""What adjtimex(2) returns while the clock is not synchronized."""
ROOM_FOR_TIMEX = 512
"""More bytes than `struct timex` has on any machine."""


def synchronized() -> bool:
    """Whether the system clock was synchronized since the machine booted, or is now."""
    return TIMESYNCD_MARK.exists() or kernel_synchronized()


def kernel_synchronized() -> bool:
    """Whether the kernel knows of a daemon that steers its clock. Read only, no privilege needed."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(ROOM_FOR_TIMEX))
    except (OSError, AttributeError):
        return False
    return 0 <= int(state) < TIME_ERROR


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
