"""What a private federated model is measured against, all on held-out later days.

The error is the mean absolute error in person-minutes, a slot and a node, over slots in which the node listened: the
site's opening hours. Hours in which a site is closed are not in it, so nothing is won by forecasting empty nights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from edge.learning.dpsgd import DpSgdPlan, train
from edge.learning.tasks.task import Examples, Task
from simulations.datasets.federated import Split
from simulations.world.pretraining import State, fit, model_with, pooled

CENTRAL_PULL = 0.03
"""Holds the central model near its start: it would overfit a few days otherwise, and be a weaker baseline."""


@dataclass(frozen=True, slots=True)
class HeldOutError:
    """Sum of errors on held-out examples; adds up over nodes.

    Attributes:
        minutes: sum of errors, as the task counts them.
        slots: how many slots were forecast.
    """

    minutes: float
    slots: int

    def __add__(self, other: HeldOutError) -> HeldOutError:
        return HeldOutError(self.minutes + other.minutes, self.slots + other.slots)

    @property
    def mean(self) -> float:
        """Mean error; NaN where nothing could be forecast."""
        return self.minutes / self.slots if self.slots else float("nan")


def persistence(task: Task, federation: Split) -> HeldOutError:
    """The forecast that the next half hour is as the last one."""
    examples = held_out_examples(task, federation)
    return _error(task, task.baseline(examples.x), examples.y)


def evaluate(task: Task, state: State, federation: Split) -> HeldOutError:
    """The model with these arrays, on the same slots as `persistence`."""
    examples = held_out_examples(task, federation)
    model = model_with(task, state)
    with torch.no_grad():
        return _error(task, task.forecast(model(examples.x)), examples.y)


def train_centrally(task: Task, federation: Split, start: State) -> State:
    """The same model from the same start, fitted to all nodes' training days in one place and without privacy."""
    return fit(task, training_examples(task, federation), start, CENTRAL_PULL)


def train_privately(task: Task, federation: Split, start: State, plan: DpSgdPlan, rounds: int) -> State:
    """The federated private model without the wire: every zone trains as its node would, and the updates are averaged.

    All nodes weigh the same, as in a round of FedAvg whose replies say `num-examples` 1.
    """
    return federate(task, [task.examples(site.training) for site in federation.sites], start, plan, rounds)


def federate(task: Task, nodes: Sequence[Examples], start: State, plan: DpSgdPlan, rounds: int) -> State:
    """Rounds of FedAvg over these nodes' examples, each trained on as a node trains."""
    state = start
    for _ in range(rounds):
        replies = [train(model_with(task, state), n.x, n.y, task.loss, plan, task.unit_examples).state for n in nodes]
        state = {name: np.mean([reply[name] for reply in replies], axis=0) for name in state}
    return state


def training_examples(task: Task, federation: Split) -> Examples:
    """Examples of all nodes' training days, pooled; no real deployment could make this."""
    return pooled([task.examples(site.training) for site in federation.sites])


def held_out_examples(task: Task, federation: Split) -> Examples:
    """Examples of all nodes' later days, pooled."""
    return pooled([task.examples(site.held_out) for site in federation.sites])


def _error(task: Task, forecast: Tensor, observed: Tensor) -> HeldOutError:
    return HeldOutError(float(task.error(forecast, observed).sum()), len(observed))
