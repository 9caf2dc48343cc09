"""NIST's two Pis: learnt on one, judged on the other, and the reverse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

import numpy as np

from edge.learning.dpsgd import DpSgdPlan
from edge.learning.tasks.proximity import Observation, Unit
from edge.learning.tasks.task import Task
from edge.proximity.calibration import Corrections, ReferenceCurve
from edge.proximity.closeness import NEAR_M
from simulations.benchmarks.proximity_figures import Array, Judged, balanced_threshold
from simulations.benchmarks.proximity_models import FEDERATED_THRESHOLD, Logistic, federated, fit
from simulations.benchmarks.proximity_windows import Place
from simulations.datasets.nist import DEVICES, Stretch

PI_DB = -36.0
"""Added to the RSSI of either Pi: a round figure that takes this radio to the scale of phones, as a public table of
models would. It centres what nodes train on; a central fit is the same without it."""

UNIT_WINDOWS = 10
"""A calibration session of a Pi is as many windows in a row at one distance."""


def single_frames(stretches: Sequence[Stretch]) -> list[Judged]:
    """One frame, one judgement: the threshold in dBm that is best on the one Pi, on the other."""
    judged = []
    for train, held_out in (("A", "B"), ("B", "A")):
        level, near, _ = _frames(stretches, train)
        cut = max(np.unique(level), key=lambda dbm: (level >= dbm)[near == 1].mean() + (level < dbm)[near == 0].mean())
        level, near, groups = _frames(stretches, held_out)
        # A frame has no probability: its loudness on a scale of 0 to 1 ranks alike.
        judged.append(Judged(near, (level + 127) / 147, float((cut + 127) / 147), groups))
    return judged


def _frames(stretches: Sequence[Stretch], device: str) -> tuple[Array, Array, tuple[str, ...]]:
    own = [stretch for stretch in stretches if stretch.device == device]
    level = np.concatenate([stretch.rssi_dbm for stretch in own]).astype(np.float64)
    near = np.concatenate([np.full(len(stretch), float(stretch.distance_m <= NEAR_M)) for stretch in own])
    return level, near, tuple(f"{stretch.distance_m:g} m" for stretch in own for _ in range(len(stretch)))


def held_out_device(pis: dict[str, Place]) -> list[Judged]:
    """Windows, a central fit."""
    return _each_way(pis, lambda train: _central(_rows(pis[train]), pis[train].near))


def held_out_device_and_distance(pis: dict[str, Place]) -> list[Judged]:
    """The harder question: neither the Pi nor the distance was learnt from."""
    judged = []
    for train, held_out in (("A", "B"), ("B", "A")):
        rows, distances = _rows(pis[train]), np.array([window.distance_m for window in pis[train].windows])
        tested = np.array([window.distance_m for window in pis[held_out].windows])
        margin = np.zeros(len(tested))
        for distance in np.unique(tested):
            kept = distances != distance
            model, threshold = _central(rows[kept], pis[train].near[kept])
            at = tested == distance
            said = np.clip(model.probabilities(_rows(pis[held_out])[at]), 1e-9, 1 - 1e-9)
            # Each distance has a model of its own, so what is compared is the odds over that model's threshold.
            margin[at] = np.log(said / (1 - said)) - np.log(threshold / (1 - threshold))
        judged.append(Judged(pis[held_out].near, 1 / (1 + np.exp(-margin)), 0.5, pis[held_out].groups))
    return judged


def held_out_device_federated(task: Task, pis: dict[str, Place], plan: DpSgdPlan) -> list[Judged]:
    """Windows, one node that trains as nodes do."""

    def learn(train: str) -> tuple[Logistic, float]:
        return federated(task, [task.examples(_units(pis[train]))], plan), FEDERATED_THRESHOLD

    return _each_way(pis, learn)


def _each_way(pis: dict[str, Place], learn: Callable[[str], tuple[Logistic, float]]) -> list[Judged]:
    judged = []
    for train, held_out in (DEVICES, DEVICES[::-1]):
        model, threshold = learn(train)
        place = pis[held_out]
        judged.append(Judged(place.near, model.probabilities(_rows(place)), threshold, place.groups))
    return judged


def _central(rows: Array, near: Array) -> tuple[Logistic, float]:
    model = fit([rows], [near])
    return model, balanced_threshold([near], [model.probabilities(rows)])


def _rows(place: Place) -> Array:
    receivers = {window.receiver for window in place.windows}
    return place.features(Corrections(dict.fromkeys(receivers, PI_DB), {}, ReferenceCurve(0.0, 1.0)))


def _units(place: Place) -> list[Unit]:
    seen = [
        (window.distance_m, Observation(tuple(row.tolist()), window.near))
        for window, row in zip(place.windows, _rows(place), strict=True)
    ]
    units: list[Unit] = []
    for _, stretch in groupby(seen, key=lambda pair: pair[0]):
        observations = [observation for _, observation in stretch]
        units += [observations[at : at + UNIT_WINDOWS] for at in range(0, len(observations), UNIT_WINDOWS)]
    return units
