"""Frames of one rotating identifier, folded into one row per window.

A busy waiting room sends about a thousand frames a second and nobody needs them one by one. What a node stores is a
`Sighting`: who (a rotating identifier), when, how often, how loud. Folding is a sum, so it streams.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from edge.sensing.advertisement import RSSI_RANGE_DBM, Advertisement, Heard, Heartbeat
from edge.store.slots import CLOSE_DBM, SLOT_S, WINDOW_S

__all__ = ["CLOSE_DBM", "SLOT_S", "WINDOW_S", "ClockWentBack", "Folding", "Sighting", "fold"]


class ClockWentBack(ValueError):
    """A frame is older than the window that was already closed; the node's clock jumped."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One rotating identifier heard during one window.

    Attributes:
        identifier: 16 bytes as advertised (GAEN: the RPI). Never a device address.
        window: index of the window, `seconds // WINDOW_S`.
        frames: how many frames were heard, at least 1.
        rssi_sum: sum of RSSI over the frames, dBm (negative).
        rssi_max: loudest frame, dBm.
    """

    identifier: bytes
    window: int
    frames: int
    rssi_sum: int
    rssi_max: int

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise ValueError(f"a sighting needs at least one frame, got {self.frames}")
        low, high = RSSI_RANGE_DBM
        if not low <= self.rssi_max <= high:
            raise ValueError(f"rssi_max {self.rssi_max} dBm is outside {low}..{high} dBm")

    @classmethod
    def of(cls, frame: Advertisement) -> Sighting:
        return cls(frame.identifier, _window_of(frame.heard_at_s), 1, frame.rssi_dbm, frame.rssi_dbm)

    def __add__(self, other: Sighting) -> Sighting:
        if (self.identifier, self.window) != (other.identifier, other.window):
            raise ValueError(f"windows {self.window} and {other.window} of two identifiers do not add up")
        return Sighting(
            self.identifier,
            self.window,
            self.frames + other.frames,
            self.rssi_sum + other.rssi_sum,
            max(self.rssi_max, other.rssi_max),
        )

    @property
    def rssi_mean(self) -> float:
        """Mean RSSI, dBm."""
        return self.rssi_sum / self.frames


class Folding:
    """Folds what is heard, in time order, into sightings; memory is bounded by the identifiers of one window."""

    def __init__(self) -> None:
        self._window = -1
        self._open: dict[bytes, Sighting] = {}

    def add(self, heard: Heard) -> list[Sighting]:
        """Take one frame or heartbeat; returns the window that it closes, empty where it closes none.

        Raises:
            ClockWentBack: the frame belongs to a window that is already closed.
        """
        window = _window_of(heard.at_s if isinstance(heard, Heartbeat) else heard.heard_at_s)
        if window < self._window:
            raise ClockWentBack(f"frame of window {window} after window {self._window}")
        closed: list[Sighting] = []
        if window > self._window:
            closed = self.rest()
            self._window = window
        if isinstance(heard, Advertisement):
            sighting = Sighting.of(heard)
            known = self._open.get(heard.identifier)
            self._open[heard.identifier] = sighting if known is None else known + sighting
        return closed

    def rest(self) -> list[Sighting]:
        """Close the open window."""
        closed = list(self._open.values())
        self._open.clear()
        return closed


def fold(heard: Iterable[Heard]) -> Iterator[Sighting]:
    """Fold a whole stream; a window is yielded as soon as a frame or heartbeat of a later one comes.

    Raises:
        ClockWentBack: a frame belongs to a window that was already yielded.
    """
    folding = Folding()
    for one in heard:
        yield from folding.add(one)
    yield from folding.rest()


def _window_of(t: float) -> int:
    return int(t // WINDOW_S)
