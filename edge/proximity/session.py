"""One walk with a tape measure: what one adapter heard of one tag at known distances."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edge.proximity.stats import Stats

FARTHEST_M = 50.0


@dataclass(frozen=True, slots=True)
class Step:
    """Standing still once.

    Attributes:
        distance_m: between adapter and tag, metres.
        blocked: whether a body stood between them.
        stats: of the frames; a window of it is one of `edge.store.slots.WINDOW_S`, as everywhere.
    """

    distance_m: float
    blocked: bool
    stats: Stats

    def __post_init__(self) -> None:
        if not (math.isfinite(self.distance_m) and 0 <= self.distance_m <= FARTHEST_M):
            raise ValueError(f"a distance of {self.distance_m} m is not within 0..{FARTHEST_M:g} m")


@dataclass(frozen=True, slots=True)
class Session:
    """One walk. It is the privacy unit of the learning task `proximity`: it is there as a whole, or not at all.

    Attributes:
        adapter: name of the receiver.
        transmitter: label of the tag; a pseudonym, or what it is.
        started_at: wall clock, seconds.
        steps: in the order in which they were taken, each place and posture once.
    """

    adapter: str
    transmitter: str
    started_at: float
    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        if not self.adapter or not self.transmitter:
            raise ValueError("a session names its adapter and its tag")
        taken = {(step.distance_m, step.blocked) for step in self.steps}
        if not self.steps or len(taken) < len(self.steps):
            raise ValueError(f"{len(self.steps)} steps at {len(taken)} places: one step or more, each place once")

    @property
    def frames_per_window(self) -> float:
        """Frames heard in a window listened in, at the step where reception was best."""
        return max(step.stats.frames / step.stats.windows_listened for step in self.steps)
