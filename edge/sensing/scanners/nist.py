"""NIST's recordings of two Raspberry Pi that exchange GAEN frames (ececli/Exposure-Notification-on-RPi), as CSV.

The `MAC` column is not read. Rows whose RSSI is below what a controller can report are handed on as "not available" and
counted as such: -4294967234 is +62 dBm as bluepy 1.3.0 misreads it, and no such level is real.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from edge.sensing.advertisement import NO_RSSI, RSSI_RANGE_DBM, RadioFrame
from edge.sensing.formats.gaen import encode
from edge.sensing.hearing import Counts
from edge.sensing.scanners.recording import BadRecording

SOURCE = "https://github.com/ececli/Exposure-Notification-on-RPi"
COLUMNS = {"Timestamp", "RSSI", "RPI", "Version", "TX_Power", "Reserved"}


def nist(path: Path, counts: Counts) -> Iterator[RadioFrame]:
    """Frames of one file, in its order, seconds since the epoch.

    Args:
        counts: rows that cannot be read are counted as malformed.

    Raises:
        BadRecording: the file cannot be read, or has other columns.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            if missing := COLUMNS - set(rows.fieldnames or ()):
                raise BadRecording(f"{path}: no column {', '.join(sorted(missing))}: get a file from {SOURCE}")
            for row in rows:
                frame = _frame(row)
                if frame is None:
                    counts.malformed += 1
                else:
                    yield frame
    except (OSError, UnicodeDecodeError, csv.Error) as why:
        raise BadRecording(f"{path}: cannot be read ({why}): get a file from {SOURCE}") from why


def _frame(row: dict[str, str]) -> RadioFrame | None:
    try:
        at_s, rssi = float(row["Timestamp"]), int(row["RSSI"])
        metadata = bytes.fromhex(row["Version"] + row["TX_Power"] + row["Reserved"])
        ad = encode(bytes.fromhex(row["RPI"]), metadata)
    except (TypeError, ValueError):
        return None
    low, high = RSSI_RANGE_DBM
    return RadioFrame(ad, at_s, rssi if low <= rssi <= high else NO_RSSI)
