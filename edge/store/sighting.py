"""What is stored of one who was heard, as a value and in bulk."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

IDENTIFIER_BYTES = 16
METADATA_BYTES = 4
RSSI_RANGE_DBM = (-127, 20)
"""Range of a signed RSSI in Bluetooth's advertising report (Core 5.4, vol. 4, part E, 7.7.65.2)."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One rotating identifier heard by one receiver during one window.

    Attributes:
        identifier: 16 bytes as advertised (GAEN: the RPI). Never a device address.
        window: index of the window, `seconds // WINDOW_S`.
        frames: how many frames were heard, at least 1.
        rssi_sum: sum of RSSI over the frames, dBm (negative).
        rssi_square_sum: sum of the squares of RSSI over the frames, dBm squared.
        rssi_min: faintest frame, dBm.
        rssi_max: loudest frame, dBm.
        metadata: 4 bytes as advertised, or none.
        receiver: which ear of this site heard it, 0..255.
    """

    identifier: bytes
    window: int
    frames: int
    rssi_sum: int
    rssi_square_sum: int
    rssi_min: int
    rssi_max: int
    metadata: bytes = b""
    receiver: int = 0

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise ValueError(f"a sighting needs at least one frame, got {self.frames}")
        low, high = RSSI_RANGE_DBM
        if not low <= self.rssi_min <= self.rssi_max <= high:
            raise ValueError(f"rssi_min {self.rssi_min} to rssi_max {self.rssi_max} dBm is outside {low}..{high} dBm")
        if not self.frames * self.rssi_min <= self.rssi_sum <= self.frames * self.rssi_max:
            raise ValueError(f"rssi_sum {self.rssi_sum} dBm is not that of {self.frames} frames of this range")
        if self.frames * self.rssi_square_sum < self.rssi_sum * self.rssi_sum:
            raise ValueError(f"rssi_square_sum {self.rssi_square_sum} is too small for rssi_sum {self.rssi_sum} dBm")
        if len(self.identifier) != IDENTIFIER_BYTES or len(self.metadata) not in (0, METADATA_BYTES):
            raise ValueError(
                f"an identifier has {IDENTIFIER_BYTES} bytes and metadata {METADATA_BYTES} or none, these have "
                f"{len(self.identifier)} and {len(self.metadata)}"
            )

    def __add__(self, other: Sighting) -> Sighting:
        """The two together; where both have metadata and it differs, the first one's stays."""
        if (self.identifier, self.window, self.receiver) != (other.identifier, other.window, other.receiver):
            raise ValueError(
                f"windows {self.window} and {other.window} at receivers {self.receiver} and {other.receiver}, or of "
                "two identifiers, do not add up"
            )
        return Sighting(
            self.identifier,
            self.window,
            self.frames + other.frames,
            self.rssi_sum + other.rssi_sum,
            self.rssi_square_sum + other.rssi_square_sum,
            min(self.rssi_min, other.rssi_min),
            max(self.rssi_max, other.rssi_max),
            self.metadata or other.metadata,
            self.receiver,
        )

    @property
    def rssi_mean(self) -> float:
        """Mean RSSI, dBm."""
        return self.rssi_sum / self.frames


@dataclass(frozen=True, slots=True)
class SightingColumns:
    """Many sightings, column by column: no object a row, and `numpy.frombuffer` takes each one as it is.

    Attributes:
        identifiers: 16 bytes a row, as advertised.
        metadata: 4 bytes a row, zero where there was none.
        windows: 'q', index of the window.
        receivers: 'B'.
        frames: 'q'.
        rssi_sums: 'q', dBm.
        rssi_square_sums: 'q', dBm squared.
        rssi_min: 'b', dBm.
        rssi_max: 'b', dBm.
    """

    identifiers: bytes = b""
    metadata: bytes = b""
    windows: array[int] = field(default_factory=lambda: array("q"))
    receivers: array[int] = field(default_factory=lambda: array("B"))
    frames: array[int] = field(default_factory=lambda: array("q"))
    rssi_sums: array[int] = field(default_factory=lambda: array("q"))
    rssi_square_sums: array[int] = field(default_factory=lambda: array("q"))
    rssi_min: array[int] = field(default_factory=lambda: array("b"))
    rssi_max: array[int] = field(default_factory=lambda: array("b"))

    def __len__(self) -> int:
        return len(self.windows)
