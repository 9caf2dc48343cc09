"""What researchers hand to the central team: a first model with its card, and what nodes are to do with it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import tomli_w
from flwr.app import Array, ArrayRecord

from aggregator.records.tensors import to_safetensors
from edge.learning.app import PLAN_KEYS
from edge.learning.dpsgd import DpSgdPlan
from edge.learning.tasks.task import Task
from edge.learning.tasks.units import RECORD, PrivacyUnit, unit_of, units_of
from privacy.accounting.events import DAY
from simulations.world.pretraining import State, pretrain_public_model

SUM_BOUND = 64.0
"""Largest change of one parameter by one node in a secure sum."""
DAY_CLIP = 1.0
"""Bound of the gradient of a whole day (docs/person-day.md)."""


@dataclass(frozen=True, slots=True)
class StartModel:
    """A first model that costs no privacy, as `jaga-central models add` takes it.

    Attributes:
        data: the arrays, in safetensors.
        card: name, task, made_by, data, licence.
    """

    data: bytes
    card: dict[str, str]

    @classmethod
    def of(cls, task: Task, state: State) -> StartModel:
        arrays = ArrayRecord({name: Array(values) for name, values in state.items()})
        card = {
            "name": f"{task.name}-public",
            "task": task.name,
            "made_by": "jaga-sim",
            "data": "generated worlds, in which nobody lives",
            "licence": "CC0-1.0",
        }
        return cls(to_safetensors(arrays), card)

    @classmethod
    def pretrained(cls, task: Task, seed: int) -> StartModel:
        """Fit the task's model to generated worlds; equal seeds give equal bytes. Takes a few seconds."""
        return cls.of(task, pretrain_public_model(task, seed))

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write `NAME.safetensors` and `NAME.json`; returns both paths."""
        folder.mkdir(parents=True, exist_ok=True)
        model, card = (folder / f"{self.card['name']}.{ending}" for ending in ("safetensors", "json"))
        model.write_bytes(self.data)
        card.write_bytes(msgspec.json.format(msgspec.json.encode(self.card)) + b"\n")
        return model, card


@dataclass(frozen=True, slots=True)
class RecommendedPlan:
    """What a run is to ask of nodes.

    Attributes:
        asked: value of `unit` in the `[train]` table.
        unit: what is protected.
    """

    plan: DpSgdPlan
    asked: str
    unit: PrivacyUnit

    @classmethod
    def within(cls, task: Task, epsilon: float, delta: float, rounds: int) -> RecommendedPlan:
        """The plan for a run that costs a unit `epsilon` at `delta`: a person's day if the task offers it, and
        otherwise the task's own unit.

        Raises:
            NoiseNotFound: no noise keeps to the budget.
        """
        asked = DAY if DAY in units_of(task) else RECORD
        unit = unit_of(task, asked)
        plan = DpSgdPlan.within(epsilon, delta, rounds, unit.pieces)
        return cls(replace(plan, clip_norm=DAY_CLIP) if asked == DAY else plan, asked, unit)

    def table(self) -> dict[str, float | str]:
        """The `[train]` table of a run file that asks nodes for this plan."""
        return {"unit": self.asked, **{key: getattr(self.plan, field) for key, field in PLAN_KEYS.items()}}


def run_file(
    task: Task,
    plan: RecommendedPlan,
    *,
    name: str,
    model: str,
    rounds: int,
    min_nodes: int,
    sum_bound: float | None = None,
) -> str:
    """A whole run file, to be read and changed by people.

    Args:
        sum_bound: largest change of one parameter in a secure sum; None for a run without one.
    """
    tables: dict[str, dict[str, Any]] = {
        "run": {"name": name, "task": task.name, "model": model, "rounds": rounds},
        "cohort": {"min_nodes": min_nodes, "deadline_s": 3600.0},
        "train": plan.table(),
    }
    if sum_bound is not None:
        tables["secure_sum"] = {"bound": sum_bound, "min_cohort": max(min_nodes, 2)}
    return tomli_w.dumps(tables)
