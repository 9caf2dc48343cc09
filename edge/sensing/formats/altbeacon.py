"""AltBeacon 1.0 (github.com/AltBeacon/spec): manufacturer data of any company, code 0xBEAC."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from edge.sensing.formats.ad import Broken

CODE = bytes.fromhex("beac")
LAYOUT = struct.Struct(">20sbB")


@dataclass(frozen=True, slots=True)
class AltBeacon:
    """One frame.

    Attributes:
        company: of whoever made the beacon.
        identifier: 20 bytes; often the 16 of a UUID, and a major and a minor number of 2 bytes each, big-endian.
        power_dbm: RSSI at 1 m.
        reserved: for the manufacturer, 0..255.
    """

    company: int
    identifier: bytes
    power_dbm: int
    reserved: int
    format = "altbeacon"


def parse(company: bytes, data: bytes) -> AltBeacon | Broken | None:
    """The frame in manufacturer data, behind the company (2 bytes, little-endian); None where it is something else."""
    if not data.startswith(CODE):
        return None
    if len(data) != len(CODE) + LAYOUT.size:
        # Two bytes of chance are too few to call another company's frame a broken beacon, if it is not even near.
        return Broken("altbeacon") if len(data) > LAYOUT.size // 2 else None
    return AltBeacon(int.from_bytes(company, "little"), *LAYOUT.unpack_from(data, len(CODE)))
