"""How a run keeps its promise of privacy: what nodes train, what noise comes on it, and what that costs.

[privacy], [train] -> Mechanism: training on the nodes, noise on their way to the sum, events for the accountant
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from edge.learning.dpsgd import DpSgdPlan
from edge.learning.plain import PlainPlan
from edge.learning.shared import SHARED_NOISE, Protection, RecordPlan
from edge.learning.tasks.task import Task
from edge.learning.tasks.units import RECORD, UnknownUnit, unit_of
from privacy.accounting.composition import NoiseNotFound, epsilon
from privacy.accounting.events import SITE, Event
from privacy.mechanisms.shared_noise import NoRoom, SharedNoise
from privacy.secure_sum.fixed_point import FixedPoint
from simulations.engine.local import LocalTraining, PlainTraining, PrivateTraining
from simulations.runs.experiment import BadExperiment, Experiment

DP_SGD_KEYS = frozenset({"clip_norm", "steps", "learning_rate", "sampling_rate", "lot_size"})
RECORD_KEYS = frozenset({"clip_norm", "learning_rate", "lot_size"})
PLAIN_KEYS = frozenset({"epochs", "batch_size", "learning_rate"})
CLIP_NORM = 0.5
"""Of a site's whole update, where an experiment does not say it."""


@dataclass(frozen=True, slots=True)
class Mechanism:
    """What `[privacy]` and `[train]` come to.

    Attributes:
        training: of every node.
        shared: noise that nodes add on the way into the sum; None: they add none there.
        events: what one round costs a node that takes part.
        unit: `record`, `day` or `site`, as tasks name their units; `record` where nothing is protected.
        own_noise_std: of the noise that training leaves on each element of one node's update, 0 for none.
    """

    training: LocalTraining
    shared: SharedNoise | None
    events: tuple[Event, ...]
    own_noise_std: float
    unit: str = RECORD

    def epsilon(self, rounds: int, delta: float) -> float:
        """Of a node that took part so often; NaN where nothing is promised."""
        if not self.events:
            return math.nan
        return _epsilon(self.events, rounds, delta)


def mechanism(settings: Experiment, task: Task, elements: int, code: FixedPoint | None) -> Mechanism:
    """The mechanism of a run.

    Args:
        elements: parameters of the model.
        code: of the secure sum.

    Raises:
        BadExperiment: a key belongs to another mechanism, or no noise keeps to the budget.
    """
    given = settings.train.model_dump(exclude_none=True)
    try:
        match settings.privacy.mechanism:
            case "dp-sgd":
                return _dp_sgd(settings, task, _only(given, DP_SGD_KEYS, "dp-sgd"))
            case "none":
                return Mechanism(PlainTraining(PlainPlan(**_only(given, PLAIN_KEYS, "none"))), None, (), 0.0)
            case "shared-noise":
                if code is None or settings.secure_sum is None:
                    raise BadExperiment("privacy.mechanism: shared-noise needs a table [secure_sum]")
                return _shared(settings, task, elements, code, given)
    except UnknownUnit as why:
        raise BadExperiment(f"privacy.unit: {why}") from why
    except NoiseNotFound as why:
        raise BadExperiment(f"privacy.epsilon: {why}") from why
    except NoRoom as why:
        raise BadExperiment(f"secure_sum.bound: {why}") from why
    except ValueError as why:
        raise BadExperiment(f"train: {why}") from why


def _dp_sgd(settings: Experiment, task: Task, given: dict[str, Any]) -> Mechanism:
    """Every node noises its own update, and releases one noised error a round, as Jaga's app does."""
    privacy, rounds = settings.privacy, settings.experiment.rounds
    unit = unit_of(task, privacy.unit or RECORD)
    steps, rate = given.get("steps", 1), given.get("sampling_rate", 1.0)
    plan = DpSgdPlan.within(privacy.epsilon, privacy.delta, rounds, unit.pieces, steps=steps, sampling_rate=rate)
    plan = replace(plan, **given)
    std = plan.learning_rate / plan.lot_size * plan.noise_multiplier * unit.pieces * plan.clip_norm
    events = (
        *plan.events(unit.pieces, unit.name, unit.day_units),
        *plan.metrics_events(unit.name, unit.day_units),
    )
    return Mechanism(PrivateTraining(plan), None, events, std * math.sqrt(plan.steps), privacy.unit or RECORD)


def _shared(settings: Experiment, task: Task, elements: int, code: FixedPoint, given: dict[str, Any]) -> Mechanism:
    """Nodes share the noise of a secure sum: of a record or a day (distributed DP-SGD), or of a whole site."""
    privacy, cohort = settings.privacy, settings.secure_sum.min_cohort if settings.secure_sum else 0
    rounds, asked = settings.experiment.rounds, privacy.unit or RECORD
    protection = Protection.within(SHARED_NOISE, asked, privacy.epsilon, privacy.delta, rounds, cohort)
    training: LocalTraining
    if asked != SITE:
        unit = unit_of(task, asked)
        if "lot_size" not in given:
            raise BadExperiment(
                f"train.lot-size: shared-noise of a {asked} needs it, about how many examples a node has"
            )
        record = RecordPlan(**_only(given, RECORD_KEYS, f"shared-noise of a {asked}"))
        noise = record.noise(protection, unit.name, unit.pieces, day_units=unit.day_units)
        step = DpSgdPlan(0.0, record.clip_norm, learning_rate=record.learning_rate, lot_size=record.lot_size)
        training = PrivateTraining(step)
    else:
        clip_norm = _only(given, PLAIN_KEYS | {"clip_norm"}, "shared-noise of a site").pop("clip_norm", CLIP_NORM)
        noise = SharedNoise(protection.noise_multiplier, clip_norm, cohort)
        training = PlainTraining(PlainPlan(**{key: value for key, value in given.items() if key in PLAIN_KEYS}))
    return Mechanism(training, noise, (noise.event(code, elements),), 0.0, asked)


def _only(given: dict[str, Any], keys: frozenset[str], name: str) -> dict[str, Any]:
    if foreign := sorted(key.replace("_", "-") for key in given.keys() - keys):
        known = ", ".join(sorted(key.replace("_", "-") for key in keys))
        raise BadExperiment(f"train.{foreign[0]}: mechanism {name} has no such setting; it has {known}")
    return given


@lru_cache(maxsize=4096)
def _epsilon(events: tuple[Event, ...], rounds: int, delta: float) -> float:
    return epsilon([*events] * rounds, delta)
