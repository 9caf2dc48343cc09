"""Raw captures of a controller: btsnoop files, as `btmon -w` and Android's HCI log write them.

The format is RFC 1761's with Bluetooth's data links: 1002 is H4 (a byte says what kind of packet follows), 2001 is the
Linux monitor (the flags say it, with the adapter's index). Times are microseconds since the year 0.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from edge.sensing.advertisement import RadioFrame
from edge.sensing.formats.hci import reports
from edge.sensing.hearing import Counts
from edge.sensing.scanners.recording import BadRecording

MAGIC = b"btsnoop\0"
H4, MONITOR = 1002, 2001
H4_EVENT, MONITOR_EVENT = 4, 3
UNIX_EPOCH_US = 0x00DCDDB30F2F8000
"""The Unix epoch on a capture's time line, microseconds."""

HEADER = struct.Struct(">8sII")
RECORD = struct.Struct(">IIIIq")
LONGEST_PACKET = 1 << 16


def capture(path: Path, counts: Counts) -> Iterator[RadioFrame]:
    """Advertising reports of a capture, in its order. The number of an adapter is its receiver number.

    Args:
        counts: a file that ends within a record is counted as malformed once.

    Raises:
        BadRecording: the file cannot be read or is no btsnoop of these kinds.
    """
    try:
        with path.open("rb") as file:
            link = _link_of(path, file)
            for flags, at_us, packet in _records(file, counts):
                if link == MONITOR:
                    if flags & 0xFFFF != MONITOR_EVENT:
                        continue
                    event, receiver = packet, min(flags >> 16, 255)
                elif packet[:1] == bytes((H4_EVENT,)):
                    event, receiver = packet[1:], 0
                else:
                    continue
                for report in reports(event):
                    yield RadioFrame(report.ad, (at_us - UNIX_EPOCH_US) / 1e6, report.rssi_dbm, receiver)
    except OSError as why:
        raise BadRecording(f"{path}: cannot be read ({why.strerror}): check the path") from why


def _link_of(path: Path, file: BinaryIO) -> int:
    header = file.read(HEADER.size)
    if len(header) < HEADER.size or not header.startswith(MAGIC):
        raise BadRecording(f"{path}: no btsnoop file: record one with `btmon -w {path.name}`")
    _, version, link = HEADER.unpack(header)
    if version != 1 or link not in (H4, MONITOR):
        raise BadRecording(
            f"{path}: btsnoop version {version}, data link {link}: only version 1 with {H4} or {MONITOR}"
        )
    return int(link)


def _records(file: BinaryIO, counts: Counts) -> Iterator[tuple[int, int, bytes]]:
    """Flags, time and packet of each record."""
    while header := file.read(RECORD.size):
        if len(header) == RECORD.size:
            _, size, flags, _, at_us = RECORD.unpack(header)
            packet = file.read(size) if size <= LONGEST_PACKET else b""
            if len(packet) == size:
                yield flags, at_us, packet
                continue
        counts.malformed += 1
        return
