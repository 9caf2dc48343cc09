"""Apple's iBeacon ("Proximity Beacon Specification", 2015): manufacturer data of Apple, type 2, 21 bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from edge.sensing.formats.ad import FLAGS, MANUFACTURER_DATA, Broken, join

COMPANY = bytes.fromhex("4c00")
KIND = bytes.fromhex("0215")
LAYOUT = struct.Struct(">16sHHb")


@dataclass(frozen=True, slots=True)
class IBeacon:
    """One frame.

    Attributes:
        uuid: of whoever runs the beacons, 16 bytes.
        major: 0..65535.
        minor: 0..65535.
        power_dbm: RSSI at 1 m.
    """

    uuid: bytes
    major: int
    minor: int
    power_dbm: int
    format = "ibeacon"


def parse(data: bytes) -> IBeacon | Broken | None:
    """The frame in manufacturer data, behind the company; None where it is another of Apple's frames."""
    if not data.startswith(KIND):
        return None
    # Some beacons add a byte, such as their battery.
    if len(data) < len(KIND) + LAYOUT.size:
        return Broken("ibeacon")
    return IBeacon(*LAYOUT.unpack_from(data, len(KIND)))


def encode(beacon: IBeacon) -> bytes:
    """Advertising data, as a beacon sends it."""
    body = LAYOUT.pack(beacon.uuid, beacon.major, beacon.minor, beacon.power_dbm)
    return FLAGS + join((MANUFACTURER_DATA, COMPANY + KIND + body))
