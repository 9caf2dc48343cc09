"""NIST's two Raspberry Pis: exposure notification frames from one to the other at known distances, line of sight.

What is in it and what it can answer is on its card: `jaga-sim data show nist-pi`.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DEVICES = ("A", "B")
DISTANCES_CM = (50, 100, 150, 200, 250, 300, 350, 400)
STRETCH_FILES = {(d, cm): f"ContactTracingData_{cm}cm_Device_{d}.csv" for d in DEVICES for cm in DISTANCES_CM}
"""By device and distance, cm."""

SOURCE = "github.com/ececli/Exposure-Notification-on-RPi"
COLUMNS = ("Timestamp", "RSSI")


class BadNist(ValueError):
    """The recordings are not there, or a file is none; the message says which, and where they are published."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """What one Pi heard of the other at one distance, in the order of time.

    Attributes:
        device: that listened, `A` or `B`.
        distance_m: metres.
        at_s: seconds since the epoch, float64.
        rssi_dbm: int64.
    """

    device: str
    distance_m: float
    at_s: NDArray[np.float64]
    rssi_dbm: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.at_s)


def load_nist(folder: Path) -> tuple[Stretch, ...]:
    """All sixteen stretches: of device A by distance, then of B.

    Raises:
        BadNist: a file is missing, or not what it should be.
    """
    return tuple(read_stretch(folder / file, device, cm / 100) for (device, cm), file in STRETCH_FILES.items())


def read_stretch(path: Path, device: str, distance_m: float) -> Stretch:
    """One stretch.

    Raises:
        BadNist: there is no such file, or it is not what it should be.
    """
    if not path.is_file():
        raise BadNist(f"{path}: no such file; get the recordings from {SOURCE}, and name their folder")
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        if missing := [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
            raise BadNist(f"{path}: no column {', '.join(missing)}; get it again from {SOURCE}")
        try:
            frames = [(float(row["Timestamp"]), int(row["RSSI"])) for row in rows]
        except (TypeError, ValueError) as why:
            raise BadNist(f"{path}, line {rows.line_num}: {why}; get it again from {SOURCE}") from why
    # What the controller's driver misread is far outside the range of an RSSI (-4294967234).
    valid = sorted(frame for frame in frames if -127 <= frame[1] <= 20)
    if not valid:
        raise BadNist(f"{path}: it holds no valid frame; get it again from {SOURCE}")
    at_s, rssi = zip(*valid, strict=True)
    return Stretch(device, distance_m, np.array(at_s), np.array(rssi, dtype=np.int64))
