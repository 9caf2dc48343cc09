"""Exposure Notification by Google and Apple: service data 0xFD6F, a rolling proximity identifier and 4 encrypted bytes.

Source: "Exposure Notification, Bluetooth Specification" v1.2, April 2020.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge.sensing.advertisement import IDENTIFIER_BYTES, METADATA_BYTES
from edge.sensing.formats.ad import SERVICE_DATA_16, Broken, join

SERVICE = bytes.fromhex("6ffd")
"""0xFD6F, little-endian as it is on the air."""
BYTES = IDENTIFIER_BYTES + METADATA_BYTES


@dataclass(frozen=True, slots=True)
class Gaen:
    """One frame.

    Attributes:
        identifier: the rolling proximity identifier, 16 bytes.
        metadata: the associated encrypted metadata, 4 bytes.
    """

    identifier: bytes
    metadata: bytes
    format = "gaen"


def parse(data: bytes) -> Gaen | Broken:
    """The frame in service data, without its UUID."""
    if len(data) != BYTES:
        return Broken("gaen")
    return Gaen(data[:IDENTIFIER_BYTES], data[IDENTIFIER_BYTES:])


def encode(identifier: bytes, metadata: bytes) -> bytes:
    """Advertising data, as a phone sends it.

    Raises:
        ValueError: one has the wrong length.
    """
    if len(identifier) != IDENTIFIER_BYTES or len(metadata) != METADATA_BYTES:
        raise ValueError(
            f"an identifier of {len(identifier)} and metadata of {len(metadata)} bytes: they have "
            f"{IDENTIFIER_BYTES} and {METADATA_BYTES}"
        )
    return join((0x01, b"\x1a"), (0x03, SERVICE), (SERVICE_DATA_16, SERVICE + identifier + metadata))
