"""What researchers hand to the central team: a first model with its card, and what nodes are to do with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import tomli_w
from flwr.app import Array, ArrayRecord

from aggregator.records.tensors import to_safetensors
from edge.learning.app import PLAN_KEYS
from edge.learning.dpsgd import DpSgdPlan
from edge.learning.tasks.task import Task
from simulations.world.pretraining import State, pretrain_public_model


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


def train_table(plan: DpSgdPlan) -> dict[str, float]:
    """The `[train]` table of a run file that asks nodes for this plan."""
    return {key: getattr(plan, field) for key, field in PLAN_KEYS.items()}


def run_file(task: Task, plan: DpSgdPlan, *, name: str, model: str, rounds: int, min_nodes: int) -> str:
    """A whole run file, to be read and changed by people."""
    return tomli_w.dumps(
        {
            "run": {"name": name, "task": task.name, "model": model, "rounds": rounds},
            "cohort": {"min_nodes": min_nodes, "deadline_s": 3600.0},
            "train": train_table(plan),
        }
    )
