"""Recordings at known distances as federations for the task `proximity`: who is a node, and what is held out.

Nothing of what is held out is in what is learnt from: features are of RSSI as it is, and none of them looks beyond its
own unit. Neither a correction nor a threshold is estimated here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from edge.learning.tasks.proximity import UNIT_EXAMPLES, Observation, Unit
from edge.proximity.calibration import Corrections, ReferenceCurve
from simulations.datasets.exp34 import SCENES, Scene
from simulations.datasets.federated import FederatedData, SiteData
from simulations.datasets.nist import Stretch
from simulations.datasets.windows import Array, Place, scene_windows, stretch_windows

TRAINING_SCENES = SCENES[:3]
"""The first half of the six, as they were played one after the other; the others are held out."""

TRAINING_PI, HELD_OUT_PI = "A", "B"
TRAINING_M = (0.5, 1.5, 2.5, 3.5)
HELD_OUT_M = (1.0, 2.0, 3.0, 4.0)
"""Distances, metres. Both Pis recorded a stretch at once, each the other's frames: another Pi alone would be the same
hours over the same path, in the other direction."""

SESSION_GROUPS = 3
"""As many as there are sessions of the training Pi at half a metre: every node has one of each distance."""

PI_DB = -36.0
"""Added to the RSSI of either Pi: a round figure that takes this radio to the scale of phones, as a public table of
models would. It centres what nodes train on; a central fit is the same without it."""

UNIT_WINDOWS = 10
"""A calibration session of a Pi is as many windows in a row at one distance."""


def exp34_sites(name: str, scenes: Sequence[Scene]) -> FederatedData:
    """A node is a phone; it learns in `TRAINING_SCENES` and is judged on what it heard in the others.

    A unit is all that a phone heard in one window. Of a unit that is learnt from the task takes ten examples; what is
    held out protects nobody, so there longer ones are cut into several and every window counts.
    """
    training, held_out = dict[str, list[Unit]](), dict[str, list[Unit]]()
    for scene in scenes:
        place = scene_windows(scene)
        into = training if scene.name in TRAINING_SCENES else held_out
        for phone, units in heard_units(place, place.features()).items():
            into.setdefault(phone, []).extend(units)
    sites = tuple(
        SiteData(f"phone {phone}", training.get(phone, []), _cut(held_out.get(phone, []), UNIT_EXAMPLES))
        for phone in sorted(training.keys() | held_out.keys())
    )
    return FederatedData(name, "proximity", sites)


def nist_sites(name: str, stretches: Sequence[Stretch]) -> FederatedData:
    """A node is a group of sessions of one Pi; it is judged on the other Pi's, at other distances and hours.

    Sessions at a distance go to the groups in turn, so each group has every distance.
    """

    def groups(device: str, distances: Sequence[float]) -> list[list[Unit]]:
        own = [stretch for stretch in stretches if stretch.device == device and stretch.distance_m in distances]
        found: list[list[Unit]] = [[] for _ in range(SESSION_GROUPS)]
        for at_distance in sessions(stretch_windows(own)).values():
            for number, unit in enumerate(at_distance):
                found[number % SESSION_GROUPS].append(unit)
        return found

    pairs = zip(groups(TRAINING_PI, TRAINING_M), groups(HELD_OUT_PI, HELD_OUT_M), strict=True)
    sites = tuple(SiteData(f"group {number}", *pair) for number, pair in enumerate(pairs, 1))
    return FederatedData(name, "proximity", sites)


def heard_units(place: Place, rows: Array) -> dict[str, list[Unit]]:
    """Of each receiver, what it heard, a unit a window; with the features of all windows, [windows, 3]."""
    gathered: dict[tuple[str, int], list[Observation]] = {}
    for window, row in zip(place.windows, rows, strict=True):
        seen = Observation(tuple(row.tolist()), window.near)
        gathered.setdefault((window.receiver, window.index), []).append(seen)
    units: dict[str, list[Unit]] = {}
    for (receiver, _), unit in gathered.items():
        units.setdefault(receiver, []).append(unit)
    return units


def sessions(place: Place) -> Mapping[float, list[Unit]]:
    """Of one of NIST's Pis, by distance, metres: a session is a unit."""
    seen = [
        (window.distance_m, Observation(tuple(row.tolist()), window.near))
        for window, row in zip(place.windows, pi_features(place), strict=True)
    ]
    return {
        distance: _cut([[observation for _, observation in stretch]], UNIT_WINDOWS)
        for distance, stretch in groupby(seen, key=lambda pair: pair[0])
    }


def pi_features(place: Place) -> Array:
    """Features [windows, 3] of one of NIST's Pis, with `PI_DB` added."""
    receivers = {window.receiver for window in place.windows}
    return place.features(Corrections(dict.fromkeys(receivers, PI_DB), {}, ReferenceCurve(0.0, 1.0)))


def _cut(units: Iterable[Unit], length: int) -> list[Unit]:
    return [unit[at : at + length] for unit in units for at in range(0, len(unit), length)]
