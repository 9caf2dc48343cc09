"""Google's Eddystone (github.com/google/eddystone): service data 0xFEAA, five kinds of frames, all big-endian."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from edge.sensing.formats.ad import Broken

SERVICE = bytes.fromhex("aafe")
"""0xFEAA, little-endian as it is on the air."""

UID, URL, TLM, EID = 0x00, 0x10, 0x20, 0x30
PLAIN, ENCRYPTED = 0, 1
NO_TEMPERATURE = -32768

SCHEMES = ("http://www.", "https://www.", "http://", "https://")
ENDINGS = (".com", ".org", ".edu", ".net", ".info", ".biz", ".gov")
"""Byte n of a URL stands for ending n and a slash, byte n + 7 for the ending alone."""

_UID = struct.Struct(">b10s6s")
_TLM = struct.Struct(">HhII")
_ETLM = struct.Struct(">12s2s2s")
_EID = struct.Struct(">b8s")


@dataclass(frozen=True, slots=True)
class EddystoneUid:
    """Attributes:
    power_dbm: RSSI at 0 m.
    namespace: 10 bytes.
    instance: 6 bytes.
    """

    power_dbm: int
    namespace: bytes
    instance: bytes
    format = "eddystone_uid"


@dataclass(frozen=True, slots=True)
class EddystoneUrl:
    """Attributes:
    power_dbm: RSSI at 0 m.
    url: written out.
    """

    power_dbm: int
    url: str
    format = "eddystone_url"


@dataclass(frozen=True, slots=True)
class EddystoneTlm:
    """Telemetry.

    Attributes:
        battery_mv: 0 where it is not supported.
        temperature_c: None where it is not supported.
        frames: sent since the beacon was switched on.
        up_s: since the beacon was switched on, seconds.
    """

    battery_mv: int
    temperature_c: float | None
    frames: int
    up_s: float
    format = "eddystone_tlm"


@dataclass(frozen=True, slots=True)
class EddystoneEncryptedTlm:
    """Attributes:
    encrypted: 12 bytes.
    salt: 2 bytes.
    check: message integrity code, 2 bytes.
    """

    encrypted: bytes
    salt: bytes
    check: bytes
    format = "eddystone_etlm"


@dataclass(frozen=True, slots=True)
class EddystoneEid:
    """A rotating identifier of a beacon, which its owner alone can tell.

    Attributes:
        power_dbm: RSSI at 0 m.
        identifier: 8 bytes.
    """

    power_dbm: int
    identifier: bytes
    format = "eddystone_eid"


Eddystone = EddystoneUid | EddystoneUrl | EddystoneTlm | EddystoneEncryptedTlm | EddystoneEid


def parse(data: bytes, rest: bytes = b"") -> Eddystone | Broken | None:
    """The frame in service data, without its UUID; None where it is of no known kind.

    Args:
        rest: what follows all whole structures. Some beacons send an encrypted telemetry frame under the length of a
            plain one, and its last four bytes are there.
    """
    kind, body = data[:1], data[1:]
    if kind == bytes((UID,)):
        # The specification reserves two bytes at the end, which old beacons leave out.
        return EddystoneUid(*_UID.unpack_from(body)) if len(body) in (_UID.size, _UID.size + 2) else Broken("eddystone")
    if kind == bytes((URL,)):
        return _url(body)
    if kind == bytes((TLM,)):
        return _tlm(body, rest)
    if kind == bytes((EID,)):
        return EddystoneEid(*_EID.unpack_from(body)) if len(body) in (_EID.size, _EID.size + 1) else Broken("eddystone")
    return None


def _tlm(body: bytes, rest: bytes) -> EddystoneTlm | EddystoneEncryptedTlm | Broken:
    version = body[:1]
    if version == bytes((PLAIN,)) and len(body) == 1 + _TLM.size:
        battery, temperature, frames, tenths = _TLM.unpack_from(body, 1)
        return EddystoneTlm(battery, None if temperature == NO_TEMPERATURE else temperature / 256, frames, tenths / 10)
    if version == bytes((ENCRYPTED,)):
        if len(body) == 1 + _TLM.size and len(rest) == 4:
            body += rest
        if len(body) == 1 + _ETLM.size:
            return EddystoneEncryptedTlm(*_ETLM.unpack_from(body, 1))
    return Broken("eddystone")


def _url(body: bytes) -> EddystoneUrl | Broken:
    if len(body) < 3 or body[1] >= len(SCHEMES):
        return Broken("eddystone")
    url = SCHEMES[body[1]]
    for byte in body[2:]:
        if byte < 2 * len(ENDINGS):
            url += ENDINGS[byte % len(ENDINGS)] + ("/" if byte < len(ENDINGS) else "")
        elif 0x20 < byte < 0x7F:
            url += chr(byte)
        else:
            return Broken("eddystone")
    return EddystoneUrl(int.from_bytes(body[:1], "big", signed=True), url)
