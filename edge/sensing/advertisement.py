"""What a radio hears, and what is left of it once it was understood.

Device addresses end at the scanner: nothing here has a field for one. Frames come by the thousand a second, so these
are msgspec structs: five times as quick to make as a frozen dataclass, and invisible to the garbage collector.
"""

from __future__ import annotations

import msgspec

from edge.store.sighting import IDENTIFIER_BYTES, METADATA_BYTES, RSSI_RANGE_DBM

__all__ = [
    "HEARTBEAT_S",
    "IDENTIFIER_BYTES",
    "METADATA_BYTES",
    "NO_RSSI",
    "RSSI_RANGE_DBM",
    "SILENCE_S",
    "Advertisement",
    "ClockJump",
    "ClockReading",
    "Heard",
    "Heartbeat",
    "RadioFrame",
]

NO_RSSI = 127
"""What a controller reports where it does not know the RSSI (the same place)."""


class RadioFrame(msgspec.Struct, frozen=True, gc=False):
    """One advertising report, as a radio scanner yields it.

    Attributes:
        ad: advertising data: length-type-value structures, without the device's address.
        heard_at_s: seconds; `time.monotonic()` of a live scanner, a recording's own time line.
        rssi_dbm: how loud, dBm; `NO_RSSI` where the controller does not know. Checked by `decode`.
        receiver: which ear of this site heard it; 0 is the node's own first adapter.
    """

    ad: bytes
    heard_at_s: float
    rssi_dbm: int
    receiver: int = 0


class Advertisement(msgspec.Struct, frozen=True, gc=False):
    """One frame of one rotating identifier.

    Attributes:
        identifier: 16 bytes as advertised (GAEN: the RPI). Never a device address.
        heard_at_s: when, seconds since the epoch (in a replay: since its origin).
        rssi_dbm: how loud, dBm.
        metadata: 4 bytes as advertised (GAEN: the encrypted metadata), or none.
        receiver: which ear of this site heard it, 0..255.
    """

    identifier: bytes
    heard_at_s: float
    rssi_dbm: int
    metadata: bytes = b""
    receiver: int = 0

    def __post_init__(self) -> None:
        if len(self.identifier) != IDENTIFIER_BYTES:
            raise ValueError(f"an identifier has {IDENTIFIER_BYTES} bytes, this one has {len(self.identifier)}")
        if not -127 <= self.rssi_dbm <= 20:
            low, high = RSSI_RANGE_DBM
            raise ValueError(f"RSSI {self.rssi_dbm} dBm is outside {low}..{high} dBm")
        if self.metadata and len(self.metadata) != METADATA_BYTES:
            raise ValueError(f"metadata has {METADATA_BYTES} bytes or none, this has {len(self.metadata)}")


class ClockReading(msgspec.Struct, frozen=True, gc=False):
    """What a live scanner knows of its clock.

    Attributes:
        boot: which boot of the machine; monotonic times of two boots have nothing to do with each other.
        offset_s: seconds since the epoch minus `time.monotonic()`.
        trusted: whether the system clock was synchronized since the machine booted. Until then times are a guess.
    """

    boot: str
    offset_s: float
    trusted: bool


class Heartbeat(msgspec.Struct, frozen=True, gc=False):
    """The scanner listened until now, whether or not anybody was there.

    Attributes:
        at_s: now, seconds. No frame that follows was heard before, but after a `ClockJump`.
        clock: the clock it is told by; None in a recording.
    """

    at_s: float
    clock: ClockReading | None = None


class ClockJump(msgspec.Struct, frozen=True, gc=False):
    """The system clock was set; what follows is on the new time. A heartbeat on the new time comes next.

    Attributes:
        by_s: new time minus old time, seconds.
    """

    by_s: float


Heard = Advertisement | Heartbeat | ClockJump

HEARTBEAT_S = 60
"""A scanner's heart beats this often, seconds."""

SILENCE_S = 3 * HEARTBEAT_S
"""Between two heartbeats further apart than this the scanner was not listening, seconds."""
