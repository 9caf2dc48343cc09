"""Windows of 150 seconds out of the recordings: what models of closeness learn from and are judged on.

A window is one transmitter at one receiver during one stretch of `WINDOW_S` of the epoch, where at least one frame's
distance is known. It is near where the median of these distances is at most `NEAR_M`. Features come from all frames of
the window, and standing from everything else that the receiver heard in it, known distance or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from edge.proximity.calibration import Corrections, Reading
from edge.proximity.closeness import NEAR_M, WINDOW_S
from edge.proximity.features import ALONE, FEATURES, PHONE_FRAMES, features, standings
from edge.proximity.stats import Stats
from simulations.datasets.exp34 import Scene
from simulations.datasets.nist import Stretch

SCAN_PAUSE_S = 10.0
"""A phone that hears nothing of anybody for this long, seconds, is between two scans."""

NIST_FRAMES = 2.0
"""Frames heard at best in a window of 20 seconds of NIST's recordings: one comes every ten seconds."""

NIST_WINDOWS = 7
"""Windows of 20 seconds in one of `WINDOW_S`, all of which NIST's Pis listened in."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Window:
    """One window.

    Attributes:
        receiver, transmitter: names.
        index: seconds of the epoch // `WINDOW_S`.
        stats: of all its frames.
        distance_m: median of the known distances, metres; NaN where none is known.
    """

    receiver: str
    transmitter: str
    index: int
    stats: Stats
    distance_m: float

    @property
    def near(self) -> bool:
        return self.distance_m <= NEAR_M


@dataclass(frozen=True, slots=True)
class Place:
    """Windows of one scene, or of one of NIST's receivers.

    Attributes:
        name: of it.
        heard: everything that was heard, known distance or not, by receiver and index.
        frames_per_window: see `edge.proximity.features.features`.
        crowded: whether standing among the others says anything.
    """

    name: str
    heard: tuple[Window, ...]
    frames_per_window: float
    crowded: bool

    @property
    def windows(self) -> tuple[Window, ...]:
        """Those with a known distance, in the order in which `features` has them."""
        return tuple(window for window in self.heard if np.isfinite(window.distance_m))

    @property
    def near(self) -> Array:
        """1 where near, else 0, [windows]."""
        return np.array([float(window.near) for window in self.windows])

    @property
    def groups(self) -> tuple[str, ...]:
        """Windows of one group are not independent: a pair of phones in either direction; of NIST, a distance."""
        if not self.crowded:
            return tuple(f"{self.name} {window.distance_m:g} m" for window in self.windows)
        return tuple(f"{self.name} {'-'.join(sorted((w.receiver, w.transmitter)))}" for w in self.windows)

    def features(self, corrections: Corrections | None = None) -> Array:
        """Features [windows, 3], of RSSI as it is or corrected; the node's own code makes them."""
        rows: list[Array] = []
        for _, heard in groupby(self.heard, key=lambda window: (window.receiver, window.index)):
            together = list(heard)
            added = [0.0 if corrections is None else corrections.of(w.receiver, w.transmitter) for w in together]
            loudest = [window.stats.rssi_max + db for window, db in zip(together, added, strict=True)]
            places = standings(loudest) if self.crowded else [ALONE] * len(together)
            rows += [
                features(window.stats, correction_db=db, standing=float(s), frames_per_window=self.frames_per_window)
                for window, db, s in zip(together, added, places, strict=True)
                if np.isfinite(window.distance_m)
            ]
        return np.array(rows).reshape(len(rows), len(FEATURES))

    def readings(self) -> list[Reading]:
        """For calibration: what was heard at known distances."""
        return [Reading(w.receiver, w.transmitter, w.distance_m, w.stats.rssi_mean, self.name) for w in self.windows]


def scene_windows(scene: Scene) -> Place:
    """Of one scene."""
    index = (scene.at_s // WINDOW_S).astype(np.int64)
    scans = _scans(scene, index)
    order = np.lexsort((scene.at_s, scene.transmitters, index, scene.receivers))
    heard = []
    keys = zip(scene.receivers[order], index[order], scene.transmitters[order], order, strict=True)
    for (receiver, at, transmitter), rows in groupby(keys, key=lambda key: key[:3]):
        frames = [row[3] for row in rows]
        distances = scene.distance_m[frames]
        known = distances[np.isfinite(distances)]
        listened = scans[int(receiver), int(at)]
        stats = Stats.of_frames(scene.rssi_dbm[frames].tolist(), 1, listened)
        distance = float(np.median(known)) if len(known) else float("nan")
        heard.append(Window(f"{receiver:02d}", f"{transmitter:02d}", int(at), stats, distance))
    return Place(scene.name, tuple(heard), PHONE_FRAMES, crowded=True)


def stretch_windows(stretches: Sequence[Stretch]) -> Place:
    """Of all stretches of one of NIST's receivers."""
    device = stretches[0].device
    heard = [
        Window(
            device,
            "B" if device == "A" else "A",
            int(at),
            Stats.of_frames(frames, min(len(frames), NIST_WINDOWS), NIST_WINDOWS),
            stretch.distance_m,
        )
        for stretch in stretches
        for at in np.unique(stretch.at_s // WINDOW_S)
        if (frames := stretch.rssi_dbm[stretch.at_s // WINDOW_S == at].tolist())
    ]
    return Place(f"Pi {device}", tuple(heard), NIST_FRAMES, crowded=False)


def _scans(scene: Scene, index: NDArray[np.int64]) -> dict[tuple[int, int], int]:
    """How many times each receiver scanned in each window, of those in which it heard anything."""
    order = np.lexsort((scene.at_s, scene.receivers))
    scans: dict[tuple[int, int], int] = {}
    last: tuple[int, int, float] | None = None
    for receiver, at, when in zip(scene.receivers[order], index[order], scene.at_s[order], strict=True):
        key = (int(receiver), int(at))
        if last is None or last[:2] != key or when - last[2] > SCAN_PAUSE_S:
            scans[key] = scans.get(key, 0) + 1
        last = (*key, float(when))
    return scans
