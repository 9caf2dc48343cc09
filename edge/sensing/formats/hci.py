"""Advertising reports as a Bluetooth controller gives them (Core 5.4, vol. 4, part E, 7.7.65.2 and 7.7.65.13).

Device addresses are stepped over: they are in none of what this returns.
"""

from __future__ import annotations

from typing import NamedTuple

META_EVENT = 0x3E
LEGACY, EXTENDED = 0x02, 0x0D

_LEGACY_HEAD = 9
"""Event type, address type, address and the data's length; data and RSSI follow."""
_EXTENDED_HEAD = 24
"""Event type (2), address (7), layers (2), set, power, RSSI, interval (2), direct address (7), data's length."""
_EXTENDED_RSSI = 13
_STATUS = 5
"""Where in an extended event type the data status begins, bits; anything but zero is a part or a cut."""


class Report(NamedTuple):
    """One advertisement.

    Attributes:
        ad: advertising data.
        rssi_dbm: dBm; 127 is "not available".
    """

    ad: bytes
    rssi_dbm: int


def reports(event: bytes) -> list[Report]:
    """The advertising reports of one HCI event (event code first, without the byte that H4 puts before it).

    Reports of cut or partial data are left out. What is cut off or no advertising report gives no reports; nothing
    raises.
    """
    if len(event) < 4 or event[0] != META_EVENT or event[1] != len(event) - 2:
        return []
    number, body = event[3], event[4:]
    if event[2] == LEGACY:
        return _legacy(number, body)
    return _extended(number, body) if event[2] == EXTENDED else []


def _legacy(number: int, body: bytes) -> list[Report]:
    # One report is what controllers send. For several the specification lists field by field, all event types first,
    # but what is on record (BlueZ and others read it so) is report after report.
    found = []
    at = 0
    for _ in range(number):
        rssi_at = at + _LEGACY_HEAD + _byte(body, at + _LEGACY_HEAD - 1)
        if rssi_at >= len(body):
            break
        found.append(Report(body[at + _LEGACY_HEAD : rssi_at], _signed(body[rssi_at])))
        at = rssi_at + 1
    return found


def _extended(number: int, body: bytes) -> list[Report]:
    found = []
    at = 0
    for _ in range(number):
        start = at + _EXTENDED_HEAD
        end = start + _byte(body, start - 1)
        if start > len(body) or end > len(body):
            break
        if not int.from_bytes(body[at : at + 2], "little") >> _STATUS & 0b11:
            found.append(Report(body[start:end], _signed(body[at + _EXTENDED_RSSI])))
        at = end
    return found


def _byte(body: bytes, at: int) -> int:
    return body[at] if at < len(body) else 0


def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte
