"""Facts about the machine's clocks: whether something keeps the wall clock right, and what counts as setting it.

systemd-timesyncd leaves a mark once it has set the clock; of other daemons (chrony, ntpd) the kernel knows that they
steer it.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

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
