"""What is on the air, one module a format.

Tokens, that is rotating identifiers of people's devices, are what a node keeps. The others are decoded for room
beacons, calibration and counts, and never stored: a stable identifier of somebody's gadget would be a tracker.
"""

from __future__ import annotations

from edge.sensing.advertisement import METADATA_BYTES
from edge.sensing.formats import altbeacon, bluetrace, eddystone, gaen, ibeacon, tag
from edge.sensing.formats.ad import (
    COMPLETE_UUIDS_128,
    INCOMPLETE_UUIDS_128,
    MANUFACTURER_DATA,
    SERVICE_DATA_16,
    SERVICE_DATA_128,
    Broken,
    split,
)
from edge.sensing.formats.altbeacon import AltBeacon
from edge.sensing.formats.bluetrace import BlueTrace
from edge.sensing.formats.eddystone import Eddystone
from edge.sensing.formats.gaen import Gaen
from edge.sensing.formats.ibeacon import IBeacon
from edge.sensing.formats.tag import Tag

__all__ = [
    "AltBeacon",
    "BlueTrace",
    "Broken",
    "Eddystone",
    "Frame",
    "Gaen",
    "IBeacon",
    "Tag",
    "Token",
    "parse",
    "read",
    "token",
]

Token = Gaen | Tag
Frame = Token | IBeacon | AltBeacon | Eddystone | BlueTrace


def parse(ad: bytes) -> Frame | None:
    """The frame in advertising data, None where there is none that is known and whole. Never raises."""
    found = read(ad)
    return None if isinstance(found, Broken) else found


def read(ad: bytes) -> Frame | Broken | None:
    """As `parse`, and tells a broken frame from an unknown one. Of several frames in one report a token comes first."""
    structures, rest = split(ad)
    first: Frame | Broken | None = None
    for kind, data in structures:
        found = _frame(kind, data, rest)
        if isinstance(found, Gaen | Tag):
            return found
        if first is None or (isinstance(first, Broken) and found is not None):
            first = found
    return Broken("ad") if first is None and rest else first


def token(ad: bytes) -> tuple[bytes, bytes] | None:
    """Identifier and metadata of a rotating identifier; the same that `read` finds, and nothing else, in a third of its
    time: in a crowd it is asked thousands of times a second."""
    at, end = 0, len(ad)
    while at < end:
        length = ad[at]
        after = at + 1 + length
        if not length or after > end:
            return None
        if (length == _GAEN_LENGTH and ad.startswith(_GAEN, at + 1)) or (
            length == _TAG_LENGTH and ad.startswith(_TAG, at + 1)
        ):
            return ad[after - gaen.BYTES : after - METADATA_BYTES], ad[after - METADATA_BYTES : after]
        at = after
    return None


_GAEN = bytes((SERVICE_DATA_16,)) + gaen.SERVICE
_GAEN_LENGTH = len(_GAEN) + gaen.BYTES
_TAG = bytes((MANUFACTURER_DATA,)) + tag.COMPANY + tag.MAGIC + bytes((tag.VERSION,))
_TAG_LENGTH = 1 + len(tag.COMPANY) + tag.BYTES


def _frame(kind: int, data: bytes, rest: bytes) -> Frame | Broken | None:  # noqa: PLR0911 - one a format
    if kind == SERVICE_DATA_16:
        service = data[:2]
        if service == gaen.SERVICE:
            return gaen.parse(data[2:])
        return eddystone.parse(data[2:], rest) if service == eddystone.SERVICE else None
    if kind == MANUFACTURER_DATA:
        company, body = data[:2], data[2:]
        if company == tag.COMPANY and (found := tag.parse(body)):
            return found
        if company == ibeacon.COMPANY:
            return ibeacon.parse(body)
        return altbeacon.parse(company, body)
    if kind in (COMPLETE_UUIDS_128, INCOMPLETE_UUIDS_128):
        return bluetrace.parse_services(data)
    return bluetrace.parse_service_data(data) if kind == SERVICE_DATA_128 else None
