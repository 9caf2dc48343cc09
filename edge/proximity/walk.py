"""One walk of calibration: a tag at one distance after the other, first in sight and then behind a body."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from edge.proximity.calibration import Corrections, Reading, ReferenceCurve, estimate
from edge.proximity.ears import Ear
from edge.proximity.session import Session, Step
from edge.proximity.stats import Stats
from edge.store.slots import DAY_S, WINDOW_S
from privacy.tokens.tags import identifiers

DISTANCES_M = (0.5, 1.0, 2.0, 3.0, 4.0)
LEAST_FRAMES = 10
"""Fewer frames than this are no mean: the spread of single frames is some 7 dB."""

LEAST_STEPS = 4

Progress = Callable[[float, int, float], None]
"""Told, while a step lasts: seconds passed, frames heard, their mean RSSI (dBm; NaN before the first)."""


class TooFewSteps(ValueError):
    """A walk that says too little about its adapter."""


@dataclass(slots=True)
class KnownTag:
    """Which identifiers are those of one tag.

    Attributes:
        label: of the tag.
        secret: 32 bytes.
    """

    label: str
    secret: bytes = field(repr=False)
    _days: dict[int, frozenset[bytes]] = field(default_factory=dict, repr=False)

    def is_it(self, identifier: bytes, at_s: float) -> bool:
        """Whether the tag advertises this; its clock may be a day off."""
        today = int(at_s // DAY_S)
        return any(identifier in self._of(day) for day in (today, today - 1, today + 1) if day >= 0)

    def _of(self, day: int) -> frozenset[bytes]:
        if day not in self._days:
            self._days[day] = frozenset(identifiers(self.secret, day))
        return self._days[day]


def hold_still(ear: Ear, tag: KnownTag, receiver: int, seconds: float, progress: Progress) -> Stats | None:
    """Listen to a tag that is held still; None where no frame of it came.

    Raises:
        NothingLeft: the recording is at its end.
    """
    levels: list[int] = []
    windows: set[int] = set()
    total = 0
    for passed, frame in ear.listen(seconds):
        if frame is not None and frame.receiver == receiver and tag.is_it(frame.identifier, frame.heard_at_s):
            levels.append(frame.rssi_dbm)
            total += frame.rssi_dbm
            windows.add(int(passed // WINDOW_S))
        progress(passed, len(levels), total / len(levels) if levels else float("nan"))
    if not levels:
        return None
    listened = max(round(seconds / WINDOW_S), len(windows))
    return Stats.of_frames(levels, len(windows), listened)


def finished(adapter: str, tag: KnownTag, started_at: float, steps: list[Step], near_m: float) -> Session:
    """The walk as a session.

    Raises:
        TooFewSteps: there are fewer than `LEAST_STEPS`, or all are near, or all are far.
    """
    distances = [step.distance_m for step in steps]
    if len(steps) < LEAST_STEPS or not min(distances) <= near_m < max(distances):
        raise TooFewSteps(
            f"{len(steps)} steps, which is too few: at least {LEAST_STEPS} are needed, some within {near_m:g} m and "
            f"some beyond; nothing was saved / {len(steps)} langkah, terlalu sedikit: perlu minimal {LEAST_STEPS}, "
            f"sebagian di dalam {near_m:g} m dan sebagian di luarnya; tidak ada yang disimpan"
        )
    return Session(adapter, tag.label, started_at, tuple(steps))


def corrections_of(sessions: list[Session], curve: ReferenceCurve) -> Corrections:
    """What all walks of this node say of its adapters and tags.

    Raises:
        TooFewReadings: there is no session.
    """
    readings = [
        Reading(session.adapter, session.transmitter, step.distance_m, step.stats.rssi_mean)
        for session in sessions
        for step in session.steps
    ]
    return estimate(readings, curve=curve)
