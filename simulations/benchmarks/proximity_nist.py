"""NIST's two Pis: learnt on one, judged on the other, and the reverse."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edge.learning.dpsgd import DpSgdPlan
from edge.learning.tasks.proximity import Unit
from edge.learning.tasks.task import Task
from edge.proximity.closeness import NEAR_M
from simulations.benchmarks.proximity_figures import Array, Judged, balanced_threshold
from simulations.benchmarks.proximity_models import FEDERATED_THRESHOLD, Logistic, federated, fit
from simulations.datasets.nist import DEVICES, Stretch
from simulations.datasets.proximity import pi_features, sessions
from simulations.datasets.windows import Place


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
    return _each_way(pis, lambda train: _central(pi_features(pis[train]), pis[train].near))


def held_out_device_and_distance(pis: dict[str, Place]) -> list[Judged]:
    """The harder question: neither the Pi nor the distance was learnt from."""
    judged = []
    for train, held_out in (("A", "B"), ("B", "A")):
        rows, distances = pi_features(pis[train]), np.array([window.distance_m for window in pis[train].windows])
        tested = np.array([window.distance_m for window in pis[held_out].windows])
        margin = np.zeros(len(tested))
        for distance in np.unique(tested):
            kept = distances != distance
            model, threshold = _central(rows[kept], pis[train].near[kept])
            at = tested == distance
            said = np.clip(model.probabilities(pi_features(pis[held_out])[at]), 1e-9, 1 - 1e-9)
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
        judged.append(Judged(place.near, model.probabilities(pi_features(place)), threshold, place.groups))
    return judged


def _central(rows: Array, near: Array) -> tuple[Logistic, float]:
    model = fit([rows], [near])
    return model, balanced_threshold([near], [model.probabilities(rows)])


def _units(place: Place) -> list[Unit]:
    return [unit for at_distance in sessions(place).values() for unit in at_distance]
