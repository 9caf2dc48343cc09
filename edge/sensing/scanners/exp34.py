"""DP-3T's measurements with camera ground truth (DP-3T/bt-measurements, exp34): one receiving phone's frames.

The file names transmitters by number; here each shows identifiers that rotate as GAEN's do, derived from a seed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge.sensing.advertisement import RadioFrame
from edge.sensing.rotating import Rotating, secret_of
from edge.sensing.scanners.recording import BadRecording

SOURCE = "https://github.com/DP-3T/bt-measurements, exp34"


def receivers(path: Path) -> list[str]:
    """The phones that listened.

    Raises:
        BadRecording: the file is none of these.
    """
    return [str(name) for (name,) in _rows(path, "SELECT DISTINCT receiver_id FROM results ORDER BY receiver_id")]


def exp34(path: Path, receiver: str, seed: int) -> Iterator[RadioFrame]:
    """Frames that one phone heard, in the order of time, seconds since the epoch.

    Raises:
        BadRecording: the file is none of these, or has no such receiver.
    """
    if receiver not in (there := receivers(path)):
        raise BadRecording(f"{path}: no receiver {receiver!r}: choose one of {', '.join(there)}")
    phones: dict[str, Rotating] = {}
    query = "SELECT transmitter_id, timestamp, rssi FROM results WHERE receiver_id = ? ORDER BY timestamp, db_id"
    for transmitter, at_s, rssi in _rows(path, query, receiver):
        phone = phones.get(transmitter)
        if phone is None:
            phone = phones[transmitter] = Rotating(secret_of(seed, f"exp34 {transmitter}"), "gaen")
        yield RadioFrame(phone.ad(at_s), at_s, rssi)


def _rows(path: Path, query: str, *values: str) -> Iterator[tuple[Any, ...]]:
    if not path.is_file():
        raise BadRecording(f"{path}: no such file: get one from {SOURCE}")
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        yield from connection.execute(query, values)
    except sqlite3.DatabaseError as why:
        raise BadRecording(f"{path}: not one of exp34's databases ({why}): get one from {SOURCE}") from why
    finally:
        connection.close()
