"""What every node of a cohort does in a round, for all of them at once: DP-SGD as `edge.learning.dpsgd`, or plain SGD.

Randomness comes from a generator that the engine seeds, so a simulation can be repeated; a node's own comes from its
operating system. Both have the same distribution, and with neither noise nor sampling both compute the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from edge.learning.clipping import SLACK
from edge.learning.dpsgd import DpSgdPlan
from edge.learning.plain import PlainPlan
from edge.learning.tasks.task import Task
from simulations.engine.cohort import CohortExamples
from simulations.engine.derivative import Loss

SPARSE = 0.5
"""Below this sampling rate a step's examples are gathered first; above, all are computed and some count for nothing."""


class ModelOfMany(Protocol):
    """`batched.ModelOfNodes` or `vmapped.VmappedModel`."""

    def load(self, state: Mapping[str, Tensor], nodes: int) -> None: ...
    def parameters(self) -> dict[str, Tensor]: ...
    def step(
        self,
        loss: Loss,
        x: Tensor,
        y: Tensor,
        weights: Tensor,
        rate: float,
        clip_norm: float | None,
        pieces: Tensor | None = None,
    ) -> None: ...


class LocalTraining(Protocol):
    """One round's work on the nodes."""

    def run(self, model: ModelOfMany, task: Task, examples: CohortExamples, generator: torch.Generator) -> None:
        """Train the loaded models in place."""
        ...


@dataclass(frozen=True, slots=True)
class PrivateTraining:
    """`edge.learning.dpsgd.train` of every node; of days as its unit if the examples have pieces."""

    plan: DpSgdPlan

    def run(self, model: ModelOfMany, task: Task, examples: CohortExamples, generator: torch.Generator) -> None:
        plan = self.plan
        rate = plan.learning_rate / plan.lot_size
        unit_pieces = task.unit_examples if examples.pieces is None else 1
        noise_std = plan.noise_multiplier * unit_pieces * plan.clip_norm * (1 + SLACK)
        for _ in range(plan.steps):
            x, y, weights = _lot(examples, plan.sampling_rate, generator)
            model.step(task.loss, x, y, weights, rate, plan.clip_norm, examples.pieces)
            if noise_std:
                for parameter in model.parameters().values():
                    noise = torch.empty_like(parameter).normal_(generator=generator)
                    parameter.sub_(noise, alpha=noise_std * rate)


@dataclass(frozen=True, slots=True)
class PlainTraining:
    """`edge.learning.plain.train_plainly` of every node."""

    plan: PlainPlan = field(default_factory=PlainPlan)

    def run(self, model: ModelOfMany, task: Task, examples: CohortExamples, generator: torch.Generator) -> None:
        plan = self.plan
        for _ in range(plan.epochs):
            x, y, present = examples.x, examples.y, examples.present
            if plan.shuffled:
                x, y, present = _in_order(examples, torch.rand(y.shape, generator=generator))
            for begun in range(0, y.shape[1], plan.batch_size):
                batch = slice(begun, begun + plan.batch_size)
                counted = present[:, batch].float()
                weights = counted / counted.sum(1, keepdim=True).clamp_(min=1)
                model.step(task.loss, x[:, batch], y[:, batch], weights, plan.learning_rate, None)


@dataclass(frozen=True, slots=True)
class LayersOnly:
    """Another training, of which some parameters alone remain: the others stay as they came.

    Attributes:
        names: of the parameters that are trained.
    """

    inner: LocalTraining
    names: frozenset[str]

    def run(self, model: ModelOfMany, task: Task, examples: CohortExamples, generator: torch.Generator) -> None:
        self.inner.run(_Held(model, self.names), task, examples, generator)


class _Held:
    """A model that takes back, after each step, what is not to be trained."""

    def __init__(self, model: ModelOfMany, names: frozenset[str]) -> None:
        self._model = model
        self._kept = {name: value.clone() for name, value in model.parameters().items() if name not in names}

    def load(self, state: Mapping[str, Tensor], nodes: int) -> None:
        self._model.load(state, nodes)

    def parameters(self) -> dict[str, Tensor]:
        return self._model.parameters()

    def step(
        self,
        loss: Loss,
        x: Tensor,
        y: Tensor,
        weights: Tensor,
        rate: float,
        clip_norm: float | None,
        pieces: Tensor | None = None,
    ) -> None:
        self._model.step(loss, x, y, weights, rate, clip_norm, pieces)
        now = self._model.parameters()
        for name, value in self._kept.items():
            now[name].copy_(value)


def _lot(examples: CohortExamples, rate: float, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """The examples of one step and the weight of each, 1 or 0: every piece enters with probability `rate`."""
    if rate == 1:
        return examples.x, examples.y, examples.present.float()
    if examples.pieces is not None:
        of_piece = torch.rand(len(examples), int(examples.pieces.max()) + 1, generator=generator)
        enters = of_piece.gather(1, examples.pieces) < rate
        return examples.x, examples.y, (examples.present & enters).float()
    drawn = torch.rand(examples.y.shape, generator=generator)
    if rate >= SPARSE:
        return examples.x, examples.y, (examples.present & (drawn < rate)).float()
    x, y, present = _in_order(examples, drawn)
    drawn = drawn.masked_fill(~examples.present, math.inf).sort(1).values
    most = max(1, int((drawn < rate).sum(1).max()))
    return x[:, :most], y[:, :most], (present & (drawn < rate))[:, :most].float()


def _in_order(examples: CohortExamples, keys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Each node's examples in the order of their keys, what is absent last."""
    order = keys.masked_fill(~examples.present, math.inf).argsort(1)
    x = examples.x.gather(1, order.unsqueeze(2).expand(-1, -1, examples.x.shape[2]))
    return x, examples.y.gather(1, order), examples.present.gather(1, order)
