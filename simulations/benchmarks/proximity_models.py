"""The models that the benchmark holds side by side: central ones, chosen without the place they are judged on, and the
federated one that nodes train under privacy.

What is looked up is decided beforehand: `RECIPES` for central models, one setting of the federated one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edge.learning.dpsgd import METRICS_NOISE, DpSgdPlan
from edge.learning.tasks.proximity import Unit
from edge.learning.tasks.task import Examples, Task
from edge.proximity.calibration import Corrections, Prior, estimate
from edge.proximity.features import FEATURES
from privacy.accounting.composition import noise_multiplier_for
from privacy.accounting.events import SampledGaussian
from simulations.baselines import federate
from simulations.benchmarks.proximity_figures import Array, Judged, auc, balanced_threshold
from simulations.datasets.proximity import heard_units
from simulations.datasets.windows import Place
from simulations.world.pretraining import State

RIDGE = 1.0
"""Weight of the squared weights in a central fit, in windows; hardly felt."""

PLACE_RIDGE = 0.1
"""The same of a place's own intercept: nearly free."""

ROUNDS = 20
DELTA = 1e-6


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to make a central model.

    Attributes:
        name: in the table.
        prior: of what phones add to RSSI, estimated in the other training places; None: RSSI as it is.
        standing: whether standing among the others is used.
    """

    name: str
    prior: float | None
    standing: bool

    @property
    def used(self) -> Array:
        """1 for features that are used, [3]."""
        return np.array([1.0, 1.0, float(self.standing)])


PLAIN = Recipe("loudness, reception", None, standing=False)
UNCALIBRATED = Recipe("with standing", None, standing=True)
RECIPES = (
    PLAIN,
    UNCALIBRATED,
    Recipe("calibrated (20), no standing", 20.0, standing=False),
    Recipe("calibrated (60), no standing", 60.0, standing=False),
    Recipe("calibrated (20)", 20.0, standing=True),
    Recipe("calibrated (60)", 60.0, standing=True),
)


@dataclass(frozen=True, slots=True)
class Logistic:
    """Weights of the three features, and an intercept."""

    weights: Array
    intercept: float

    def probabilities(self, x: Array) -> Array:
        found: Array = 1 / (1 + np.exp(-np.clip(x @ self.weights + self.intercept, -40, 40)))
        return found


def fit(x: Sequence[Array], near: Sequence[Array]) -> Logistic:
    """Logistic regression over several places, in which each has an intercept of its own while weights are found.

    How many are near differs by place, whatever the radio says: a place's own intercept takes that up. The intercept
    that is kept is then the one that fits all places together.
    """
    design = np.vstack(x)
    own = np.repeat(np.eye(len(x)), [len(rows) for rows in x], axis=0)
    y = np.concatenate(near)
    ridge = np.concatenate([np.full(design.shape[1], RIDGE), np.full(len(x), PLACE_RIDGE), [1e-6]])
    weights = _newton(np.hstack([design, own, np.ones((len(y), 1))]), y, ridge, np.zeros(len(y)))[: design.shape[1]]
    intercept = _newton(np.ones((len(y), 1)), y, np.zeros(1), design @ weights)
    return Logistic(weights, float(intercept[0]))


def _newton(design: Array, y: Array, ridge: Array, offset: Array) -> Array:
    found = np.zeros(design.shape[1])
    for _ in range(50):
        said = 1 / (1 + np.exp(-np.clip(design @ found + offset, -40, 40)))
        gradient = design.T @ (said - y) + ridge * found
        curvature = (design * (said * (1 - said))[:, None]).T @ design + np.diag(ridge)
        step = np.linalg.solve(curvature, gradient)
        found -= step
        if np.abs(step).max() < 1e-9:
            break
    return found


@dataclass(slots=True)
class Scenes:
    """Places that share phones; features and corrections of each combination are made once."""

    places: Mapping[str, Place]
    _features: dict[tuple[str, frozenset[str], float | None], Array] = field(default_factory=dict)
    _near: dict[str, Array] = field(default_factory=dict)

    def corrections(self, of: frozenset[str], prior: float) -> Corrections:
        """Estimated in these places, as if their distances had been calibration sessions."""
        readings = [reading for name in sorted(of) for reading in self.places[name].readings()]
        return estimate(readings, Prior(prior, prior))

    def features(self, name: str, calibrated_in: frozenset[str], prior: float | None) -> Array:
        """Features of one place [windows, 3], corrected by what other places say."""
        key = (name, calibrated_in if prior is not None else frozenset(), prior)
        if key not in self._features:
            corrections = None if prior is None else self.corrections(calibrated_in, prior)
            self._features[key] = self.places[name].features(corrections)
        return self._features[key]

    def near(self, name: str) -> Array:
        if name not in self._near:
            self._near[name] = self.places[name].near
        return self._near[name]

    def centrally(self, recipe: Recipe, train: frozenset[str]) -> tuple[Logistic, float]:
        """A model of these places, and its threshold.

        A training place is corrected by the other training places, as a held-out place is.
        """
        names = sorted(train)
        x = [self.features(name, train - {name}, recipe.prior) * recipe.used for name in names]
        near = [self.near(name) for name in names]
        model = fit(x, near)
        return model, balanced_threshold(near, [model.probabilities(rows) for rows in x])

    def held_out(self, recipe: Recipe, held_out: str, train: frozenset[str]) -> Judged:
        """A model of the training places, on another."""
        model, threshold = self.centrally(recipe, train)
        said = model.probabilities(self.features(held_out, train, recipe.prior) * recipe.used)
        return Judged(self.near(held_out), said, threshold, self.places[held_out].groups)

    def chosen(self, train: frozenset[str]) -> Recipe:
        """The recipe with the highest mean AUC where each training place is held out in turn."""

        def inner(recipe: Recipe) -> float:
            judged = [self.held_out(recipe, name, train - {name}) for name in sorted(train)]
            return float(np.mean([auc(one.near, one.probability) for one in judged]))

        return max(RECIPES, key=inner)

    def units(self, train: frozenset[str]) -> dict[str, list[Unit]]:
        """What each phone, a node, learns from: a unit is what it heard in one window, of RSSI as it is."""
        nodes: dict[str, list[Unit]] = {}
        for name in sorted(train):
            place = self.places[name]
            for phone, units in heard_units(place, self.features(name, frozenset(), None)).items():
                nodes.setdefault(phone, []).extend(units)
        return nodes


@dataclass(frozen=True, slots=True)
class Setting:
    """How nodes train. Decided once, for every data set and budget.

    Attributes:
        clip_norm: of one example's gradient.
        lot_size: public divisor of a node's sum of gradients.
        learning_rate: of SGD, one full step a round; less where there is much noise, see `noise_step`.
        noise_step: learning rate times noise multiplier, at most.
    """

    clip_norm: float = 0.75
    lot_size: int = 128
    learning_rate: float = 0.75
    noise_step: float = 3.0

    def plan(self, noise_multiplier: float) -> DpSgdPlan:
        return DpSgdPlan(
            noise_multiplier=noise_multiplier,
            clip_norm=self.clip_norm,
            learning_rate=min(self.learning_rate, self.noise_step / max(noise_multiplier, 1e-9)),
            lot_size=self.lot_size,
            metrics_noise_multiplier=METRICS_NOISE * noise_multiplier,
        )

    def within(self, epsilon: float, unit_examples: int) -> DpSgdPlan:
        """The plan whose whole run, noised metrics included, costs a unit `epsilon` at `DELTA`."""

        def whole_run(z: float) -> list[SampledGaussian]:
            return (self.plan(z).events(unit_examples) + self.plan(z).metrics_events()) * ROUNDS

        return self.plan(noise_multiplier_for(epsilon, DELTA, whole_run))


FEDERATED_THRESHOLD = 0.5
"""Said "near" from here on: a threshold that is found on nodes' data would have to be paid for as well."""


def federated(task: Task, nodes: Sequence[Examples], plan: DpSgdPlan) -> Logistic:
    """`ROUNDS` rounds from the task's fresh model, through the node's own mechanism."""
    start: State = {name: values.numpy().copy() for name, values in task.model().state_dict().items()}
    state = federate(task, nodes, start, plan, ROUNDS)
    weights = state["linear.weight"].astype(np.float64).reshape(len(FEATURES))
    return Logistic(weights, float(state["linear.bias"][0]))
