"""Made-up frames of made-up devices, for benchmarks and drills: seeded, so every run of one seed is the same."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from edge.sensing.advertisement import RadioFrame
from edge.sensing.rotating import Format, Rotating, secret_of

MOST_DEVICES = 100_000
NEAR_DBM, FAR_DBM, JITTER_DB = -45, -95, 6


def device_secret(seed: int, number: int) -> bytes:
    """The secret of a generated device: who publishes its day's key (`privacy.tokens.tags`) drills an exposure."""
    return secret_of(seed, f"generated {number}")


def generated(
    devices: int,
    frames_per_s: float,
    seed: int,
    *,
    shown_as: Format = "gaen",
    from_s: float = 0.0,
    seconds: float | None = None,
) -> Iterator[RadioFrame]:
    """Frames of `devices` devices in turn, evenly spaced, each device at a level of its own with some jitter.

    Args:
        frames_per_s: of all devices together.
        from_s: time of the first frame, seconds since the epoch.
        seconds: None is without end.

    Raises:
        ValueError: a number is out of range.
    """
    if not 1 <= devices <= MOST_DEVICES:
        raise ValueError(f"{devices} devices are not within 1..{MOST_DEVICES}")
    if not 0 < frames_per_s < float("inf") or from_s < 0:
        raise ValueError(f"{frames_per_s} frames a second from {from_s} s: they are positive, from the epoch on")
    random = Random(seed)  # noqa: S311  (not secret: the secrets come from `device_secret`)
    crowd = [Rotating(device_secret(seed, n), shown_as) for n in range(devices)]
    levels = [random.randint(FAR_DBM, NEAR_DBM) for _ in range(devices)]
    number = 0
    while seconds is None or number < seconds * frames_per_s:
        at_s = from_s + number / frames_per_s
        device = number % devices
        number += 1
        yield RadioFrame(crowd[device].ad(at_s), at_s, levels[device] + random.randrange(-JITTER_DB, JITTER_DB + 1))
