"""Our own tags: manufacturer data with an identifier and metadata that are made as Exposure Notification's are.

Company 0xFFFF is the Bluetooth SIG's number for tests, which anybody may use; hence the `JG` and a version behind it. A
roll-out needs a number of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge.sensing.advertisement import IDENTIFIER_BYTES, METADATA_BYTES
from edge.sensing.formats.ad import FLAGS, MANUFACTURER_DATA, Broken, join

COMPANY = bytes.fromhex("ffff")
MAGIC = b"JG"
VERSION = 1
BYTES = len(MAGIC) + 1 + IDENTIFIER_BYTES + METADATA_BYTES


@dataclass(frozen=True, slots=True)
class Tag:
    """One frame.

    Attributes:
        identifier: rolling, 16 bytes.
        metadata: encrypted, 4 bytes.
    """

    identifier: bytes
    metadata: bytes
    format = "tag"


def parse(data: bytes) -> Tag | Broken | None:
    """The frame in manufacturer data, behind the company; None where it is not ours."""
    if not data.startswith(MAGIC):
        return None
    if len(data) != BYTES or data[2] != VERSION:
        return Broken("tag")
    return Tag(data[3 : 3 + IDENTIFIER_BYTES], data[3 + IDENTIFIER_BYTES :])


def encode(identifier: bytes, metadata: bytes) -> bytes:
    """Advertising data, as a tag sends it: 28 bytes of the 31 that there is room for.

    Raises:
        ValueError: one has the wrong length.
    """
    if len(identifier) != IDENTIFIER_BYTES or len(metadata) != METADATA_BYTES:
        raise ValueError(
            f"an identifier of {len(identifier)} and metadata of {len(metadata)} bytes: they have "
            f"{IDENTIFIER_BYTES} and {METADATA_BYTES}"
        )
    return FLAGS + join((MANUFACTURER_DATA, COMPANY + MAGIC + bytes((VERSION,)) + identifier + metadata))
