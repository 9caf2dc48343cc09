"""Advertising data: a row of structures, each a length, a type and its data (Core 5.4, vol. 3, part C, 11)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

INCOMPLETE_UUIDS_128, COMPLETE_UUIDS_128 = 0x06, 0x07
SERVICE_DATA_16, SERVICE_DATA_128 = 0x16, 0x21
MANUFACTURER_DATA = 0xFF
"""Types of structures (Bluetooth Assigned Numbers, 2.3)."""

FLAGS = bytes((0x02, 0x01, 0x06))
"""A whole structure: generally discoverable, no classic Bluetooth."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A frame that begins as one of a format and is not.

    Attributes:
        format: its name, `ad` for advertising data that is cut off.
    """

    format: str


def split(ad: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The structures, each its type and data; and what is left at the end that is no whole structure.

    A length of zero ends the significant part; what is after it is padding and no rest. Never raises.
    """
    structures: list[tuple[int, bytes]] = []
    at, end = 0, len(ad)
    while at < end:
        length = ad[at]
        if length == 0:
            return structures, b""
        after = at + 1 + length
        if after > end:
            return structures, ad[at:]
        structures.append((ad[at + 1], ad[at + 2 : after]))
        at = after
    return structures, b""


def join(*structures: tuple[int, bytes]) -> bytes:
    """Advertising data of these structures.

    Raises:
        ValueError: one is too long.
    """
    longest = max((len(data) for _, data in structures), default=0)
    if longest > 254:
        raise ValueError(f"a structure holds 254 bytes, not {longest}")
    return b"".join(bytes((len(data) + 1, kind)) + data for kind, data in structures)


def uuid_128(text: str) -> bytes:
    """A 128-bit UUID as it is on the air: little-endian."""
    return uuid.UUID(text).bytes[::-1]
