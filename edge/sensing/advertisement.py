"""What a scanner hears. Device addresses end at the scanner: nothing here has a field for one."""

from __future__ import annotations

from dataclasses import dataclass

IDENTIFIER_BYTES = 16
RSSI_RANGE_DBM = (-127, 20)
"""Range of a signed RSSI in Bluetooth's advertising report (Core 5.4, vol. 4, part E, 7.7.65.2)."""


@dataclass(frozen=True, slots=True)
class Advertisement:
    """One frame of one rotating identifier.

    Attributes:
        identifier: 16 bytes as advertised (GAEN: the RPI). Never a device address.
        heard_at_s: when, seconds.
        rssi_dbm: how loud, dBm.
    """

    identifier: bytes
    heard_at_s: float
    rssi_dbm: int

    def __post_init__(self) -> None:
        if len(self.identifier) != IDENTIFIER_BYTES:
            raise ValueError(f"an identifier has {IDENTIFIER_BYTES} bytes, this one has {len(self.identifier)}")
        low, high = RSSI_RANGE_DBM
        if not low <= self.rssi_dbm <= high:
            raise ValueError(f"RSSI {self.rssi_dbm} dBm is outside {low}..{high} dBm")


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The scanner listened until now, whether or not anybody was there.

    Attributes:
        at_s: now, seconds. No frame that follows was heard before.
    """

    at_s: float


Heard = Advertisement | Heartbeat

HEARTBEAT_S = 60
"""A scanner's heart beats this often, seconds."""

SILENCE_S = 3 * HEARTBEAT_S
"""Between two heartbeats further apart than this the scanner was not listening, seconds."""
