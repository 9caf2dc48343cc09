"""What one receiver heard of one transmitter over a while, as sums: the one input of closeness and of calibration."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

RSSI_RANGE_DBM = (-127, 20)


class Heard(Protocol):
    """What a window of the store says; `edge.sensing.sightings.Sighting` is one."""

    @property
    def frames(self) -> int: ...
    @property
    def rssi_sum(self) -> int: ...
    @property
    def rssi_square_sum(self) -> int: ...
    @property
    def rssi_min(self) -> int: ...
    @property
    def rssi_max(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Stats:
    """Frames of one transmitter at one receiver. It adds up: over windows, never over transmitters or receivers.

    Attributes:
        frames: how many were heard, at least 1.
        rssi_sum: of RSSI over the frames, dBm.
        rssi_square_sum: of its square, dBm squared.
        rssi_min: quietest frame, dBm.
        rssi_max: loudest frame, dBm.
        windows_heard: windows with a frame of it, at least 1.
        windows_listened: windows in which the receiver listened, whether or not it heard this one.
    """

    frames: int
    rssi_sum: int
    rssi_square_sum: int
    rssi_min: int
    rssi_max: int
    windows_heard: int = 1
    windows_listened: int = 1

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise ValueError(f"statistics are of one frame or more, got {self.frames}")
        low, high = RSSI_RANGE_DBM
        if not low <= self.rssi_min <= self.rssi_max <= high:
            raise ValueError(f"RSSI from {self.rssi_min} to {self.rssi_max} dBm is no range within {low}..{high} dBm")
        if not self.frames * self.rssi_min <= self.rssi_sum <= self.frames * self.rssi_max:
            raise ValueError(
                f"{self.frames} frames of {self.rssi_min}..{self.rssi_max} dBm cannot add up to {self.rssi_sum} dBm"
            )
        if self.rssi_square_sum * self.frames < self.rssi_sum**2:
            raise ValueError(f"squares add up to {self.rssi_square_sum}, less than {self.frames} frames' mean allows")
        if not 1 <= self.windows_heard <= min(self.windows_listened, self.frames):
            raise ValueError(
                f"heard in {self.windows_heard} windows, listened in {self.windows_listened}, frames {self.frames}: "
                "it is heard in one window at least, and in none without listening or without a frame"
            )

    @classmethod
    def of(cls, sightings: Iterable[Heard], windows_listened: int) -> Stats:
        """Of the sightings of one transmitter at one receiver, each of a window of its own.

        Raises:
            ValueError: there are none, or more than windows in which the receiver listened.
        """
        rows = list(sightings)
        if not rows:
            raise ValueError("no sighting: a transmitter that was not heard has no statistics")
        return cls(
            frames=sum(row.frames for row in rows),
            rssi_sum=sum(row.rssi_sum for row in rows),
            rssi_square_sum=sum(row.rssi_square_sum for row in rows),
            rssi_min=min(row.rssi_min for row in rows),
            rssi_max=max(row.rssi_max for row in rows),
            windows_heard=len(rows),
            windows_listened=windows_listened,
        )

    @classmethod
    def of_frames(cls, rssi_dbm: Iterable[int], windows_heard: int = 1, windows_listened: int = 1) -> Stats:
        """Of the RSSI of single frames, dBm."""
        levels = list(rssi_dbm)
        if not levels:
            raise ValueError("no frame: a transmitter that was not heard has no statistics")
        return cls(
            frames=len(levels),
            rssi_sum=sum(levels),
            rssi_square_sum=sum(level * level for level in levels),
            rssi_min=min(levels),
            rssi_max=max(levels),
            windows_heard=windows_heard,
            windows_listened=windows_listened,
        )

    def __add__(self, other: Stats) -> Stats:
        return Stats(
            self.frames + other.frames,
            self.rssi_sum + other.rssi_sum,
            self.rssi_square_sum + other.rssi_square_sum,
            min(self.rssi_min, other.rssi_min),
            max(self.rssi_max, other.rssi_max),
            self.windows_heard + other.windows_heard,
            self.windows_listened + other.windows_listened,
        )

    @property
    def rssi_mean(self) -> float:
        """Mean RSSI, dBm."""
        return self.rssi_sum / self.frames

    @property
    def rssi_std(self) -> float:
        """Standard deviation of RSSI over the frames, dB; 0 of a single frame."""
        return math.sqrt(max(self.rssi_square_sum / self.frames - self.rssi_mean**2, 0.0))
