"""DP-3T's experiment 34: exposure notification frames between phones that people carried, distances from cameras.

What is in it and what it can answer is on its card: `jaga-sim data show exp34`. Files and altered copies of them are no
part of this project: their licence, CC BY-ND, does not allow it.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SCENES = ("lunch", "train", "office", "queue", "party", "movement")
SCENE_FILES = {name: f"scenario{number:02d}-{name}.sqlite" for number, name in enumerate(SCENES, 1)}
FARTHEST_M = 100.0
SOURCE = "github.com/DP-3T/bt-measurements, experiment 34"


class BadExp34(ValueError):
    """The scenes are not there, or a file is none; the message says which, and where they are published."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Frames of one scene, in the order of time; one entry a frame in every array.

    Attributes:
        name: `lunch`, for one.
        receivers, transmitters: number of the phone.
        at_s: seconds since the epoch, float64.
        rssi_dbm: int64.
        distance_m: float64; NaN where the cameras did not see both, or it is beyond `FARTHEST_M`.
    """

    name: str
    receivers: NDArray[np.int64]
    transmitters: NDArray[np.int64]
    at_s: NDArray[np.float64]
    rssi_dbm: NDArray[np.int64]
    distance_m: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.at_s)


def load_exp34(folder: Path) -> tuple[Scene, ...]:
    """All six scenes.

    Raises:
        BadExp34: a file is missing, or not what it should be.
    """
    return tuple(read_scene(folder / file, name) for name, file in SCENE_FILES.items())


def read_scene(path: Path, name: str) -> Scene:
    """One scene.

    Raises:
        BadExp34: there is no such file, or it is not what it should be.
    """
    if not path.is_file():
        raise BadExp34(f"{path}: no such file; get the six scenes from {SOURCE}, and name their folder")
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            rows = connection.execute(
                "SELECT CAST(receiver_id AS INTEGER), CAST(transmitter_id AS INTEGER), timestamp, rssi, "
                "ground_truth_distance FROM results ORDER BY timestamp, db_id"
            ).fetchall()
        finally:
            connection.close()
    except sqlite3.DatabaseError as why:
        raise BadExp34(f"{path}: no scene of {SOURCE}: {why}") from why
    if not rows:
        raise BadExp34(f"{path}: it holds no frame; get it again from {SOURCE}")
    try:
        table = np.array([(*row[:4], np.nan if row[4] is None else row[4]) for row in rows], dtype=np.float64)
    except (TypeError, ValueError) as why:
        raise BadExp34(f"{path}: a value is not a number: {why}") from why
    receivers, transmitters, at_s, rssi, distance = table.T
    if not np.isfinite(at_s).all() or np.any((rssi < -127) | (rssi > 20)):
        raise BadExp34(f"{path}: a time is not finite or an RSSI outside -127..20 dBm; get it again from {SOURCE}")
    distance = np.where((distance >= 0) & (distance <= FARTHEST_M), distance, np.nan)
    phones = (receivers.astype(np.int64), transmitters.astype(np.int64))
    return Scene(name, *phones, at_s, rssi.astype(np.int64), distance)
