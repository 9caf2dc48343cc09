"""How the store counts time and nearness; the numbers that sensing, storing and learning must agree on.

Time `t` is in seconds since the epoch (in a replay: since the data set's own origin), UTC.
"""

from __future__ import annotations

WINDOW_S = 20
"""Length of a sighting window, seconds. SocioPatterns tags report at this resolution, so a replay loses nothing."""

SLOT_S = 1800
"""Length of a slot, seconds: the privacy unit, and what a node logs or does not log as a whole."""

DAY_S = 86400
"""Length of a day, seconds."""

CLOSE_DBM = -70
"""A sighting whose mean RSSI is at least this loud counts as close contact, dBm."""

WINDOWS_PER_SLOT = SLOT_S // WINDOW_S


def slot_of(t: float) -> int:
    """Index of the slot that holds time `t` (seconds)."""
    return int(t // SLOT_S)


def day_of(t: float) -> int:
    """Index of the day that holds time `t` (seconds)."""
    return int(t // DAY_S)
