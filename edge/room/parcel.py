"""A parcel of sightings from a satellite to its hub: sealed to the hub, signed by the satellite, good for minutes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidSignature, InvalidTag

from edge.sensing.sightings import Sighting
from privacy.identity.authority import Identity
from privacy.identity.certificates import Certificate, Role, UntrustedCertificate

INFO = b"jaga sightings 1\x00"
CONTEXT = b"jaga sightings parcel 1\x00"
LIFETIME_S = 600.0
"""A parcel that is older, or from further ahead, is turned away; the satellite packs its rows again."""
MOST_ROWS = 25_000
"""More than a node keeps of one window, so that a parcel can always hold whole windows."""
MOST_BYTES = 2 * 1024 * 1024

Identifier = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Rssi = Annotated[int, msgspec.Meta(ge=-127, le=20)]


class BadParcel(ValueError):
    """A parcel that is not believed; the message says why and holds nothing of its content."""


class _Row(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    identifier: Identifier
    window: int
    frames: Annotated[int, msgspec.Meta(ge=1)]
    rssi_sum: int
    rssi_square_sum: Annotated[int, msgspec.Meta(ge=0)]
    rssi_min: Rssi
    rssi_max: Rssi
    metadata: Annotated[bytes, msgspec.Meta(max_length=4)]


class _Content(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    packed_at: float
    until_window: int
    rows: Annotated[list[_Row], msgspec.Meta(max_length=MOST_ROWS)]


class _Outside(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    certificate: bytes
    sealed: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Parcel:
    """Everything that a satellite heard in a stretch of whole windows.

    Attributes:
        until_window: the first window that is not in it.
        sightings: in the order of windows, at most `MOST_ROWS`.
    """

    until_window: int
    sightings: Sequence[Sighting]


def pack(sender: Identity, hub: Certificate, parcel: Parcel, *, now: float | None = None) -> bytes:
    """Seal and sign a parcel.

    Raises:
        ValueError: too many rows, or the hub's certificate has no sealing key.
    """
    rows = parcel.sightings
    if len(rows) > MOST_ROWS or hub.sealing_key is None:
        raise ValueError(f"{len(rows)} sightings for {hub.party}: at most {MOST_ROWS}, and a hub with a sealing key")
    packed = [
        _Row(
            row.identifier,
            row.window,
            row.frames,
            row.rssi_sum,
            row.rssi_square_sum,
            row.rssi_min,
            row.rssi_max,
            row.metadata,
        )
        for row in rows
    ]
    content = msgspec.msgpack.encode(_Content(time.time() if now is None else now, parcel.until_window, packed))
    sealed = hub.sealing_key.seal(content, info=_info(sender.party, hub.party))
    signature = sender.keys.signing.sign(CONTEXT + hashlib.sha256(sealed).digest())
    return msgspec.msgpack.encode(_Outside(sender.certificate.der, sealed, signature))


def sender_of(hub: Identity, payload: bytes) -> Certificate:
    """The satellite that signed a parcel, verified; nothing is opened yet.

    Raises:
        BadParcel: it is malformed, or not signed by a node of this federation.
    """
    parcel = _decode(payload)
    try:
        sender = hub.anchor.verify(parcel.certificate)
    except UntrustedCertificate as why:
        raise BadParcel(str(why)) from why
    if sender.role is not Role.NODE:
        raise BadParcel(f"{sender.party} is a {sender.role}, and only nodes are satellites")
    try:
        sender.verify_key.verify(parcel.signature, CONTEXT + hashlib.sha256(parcel.sealed).digest())
    except InvalidSignature as why:
        raise BadParcel(f"{sender.party} did not sign this parcel") from why
    return sender


def unpack(hub: Identity, sender: Certificate, payload: bytes, *, receiver: int, now: float | None = None) -> Parcel:
    """A parcel that `sender_of` believed, as heard by `receiver`.

    Raises:
        BadParcel: it is for another hub, out of date, or says what no satellite can have heard.
    """
    try:
        plain = hub.keys.open(_decode(payload).sealed, info=_info(sender.party, hub.party))
        content = msgspec.msgpack.decode(plain, type=_Content)
    except InvalidTag as why:
        raise BadParcel(f"a parcel of {sender.party} for another hub") from why
    except (msgspec.DecodeError, UnicodeDecodeError) as why:
        raise BadParcel(f"a parcel of {sender.party} with content that is none of ours") from why
    at = time.time() if now is None else now
    if not abs(at - content.packed_at) <= LIFETIME_S:
        raise BadParcel(
            f"a parcel of {sender.party} packed {at - content.packed_at:.0f} s ago: set the clocks of both nodes"
        )
    try:
        sightings = [
            Sighting(
                row.identifier,
                row.window,
                row.frames,
                row.rssi_sum,
                row.rssi_square_sum,
                row.rssi_min,
                row.rssi_max,
                row.metadata,
                receiver,
            )
            for row in content.rows
        ]
        return Parcel(content.until_window, sightings)
    except ValueError as why:
        raise BadParcel(f"a parcel of {sender.party}: {why}") from why


def _decode(payload: bytes) -> _Outside:
    if len(payload) > MOST_BYTES:
        raise BadParcel(f"a parcel of {len(payload)} bytes; at most {MOST_BYTES} are taken")
    try:
        return msgspec.msgpack.decode(payload, type=_Outside)
    except (msgspec.DecodeError, UnicodeDecodeError) as why:
        raise BadParcel("not a parcel of sightings") from why


def _info(sender: str, hub: str) -> bytes:
    return INFO + sender.encode() + b"\x00" + hub.encode()
