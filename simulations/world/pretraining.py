"""A first model that costs no privacy: fitted to sites of our own, in which nobody lives and nobody's records are.

Sites of both kinds are taken, and each one's clock is turned around the day in even steps: a deployment logs in UTC and
a published data set counts from an origin of its own, so the hour of day is not something to know beforehand. The model
learns how crowding lasts and fades; the hours themselves are learnt by the federation.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from edge.learning.tasks.task import Examples, Task
from edge.sensing.contacts import days
from simulations.datasets.sociopatterns import zone_minutes
from simulations.world.assumed import AssumedSite
from simulations.world.timetables import SLOTS_A_DAY

SITES_OF_A_KIND = 5
ZONES, DAYS = 4, 3
TURN = 4
"""Slots by which a site's clock is turned from one copy of it to the next."""

STEPS = 100

State = dict[str, NDArray[np.float32]]
"""A model's arrays, by the names of its `state_dict`."""


def pretrain_public_model(task: Task, seed: int) -> State:
    """Fit the task's model to generated sites; equal seeds give equal models. Takes a few seconds."""
    seeds = random.Random(seed)
    examples: list[Examples] = []
    for kind in ("school", "ward") * SITES_OF_A_KIND:
        contacts = AssumedSite(seeds.getrandbits(32), ZONES, DAYS, kind).contacts()
        for minutes in zone_minutes(contacts, days(contacts)).values():
            for turn in range(0, SLOTS_A_DAY, TURN):
                examples.append(task.examples([(slot + turn, value) for slot, value in minutes]))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums over several threads round otherwise: equal seeds would not give equal models
    try:
        return fit(task, pooled(examples))
    finally:
        torch.set_num_threads(threads)


def fit(task: Task, examples: Examples, start: State | None = None, pull: float = 0.0) -> State:
    """Least mean loss on `examples` without clipping or noise, from `start` or from the task's fresh model.

    Args:
        pull: weight of the squared distance from the start; more of it overfits less.
    """
    model = task.model() if start is None else model_with(task, start)
    origin = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=STEPS, line_search_fn="strong_wolfe")

    def mean_loss() -> torch.Tensor:
        optimizer.zero_grad()
        moved = sum((now - then).square().sum() for now, then in zip(model.parameters(), origin, strict=True))
        loss = task.loss(model(examples.x), examples.y).mean() + pull * moved
        torch.autograd.backward(loss)
        return loss

    optimizer.step(mean_loss)  # type: ignore[no-untyped-call]
    return {name: values.detach().numpy().copy() for name, values in model.state_dict().items()}


def model_with(task: Task, state: State) -> torch.nn.Module:
    """The task's model with these arrays, which stay as they are."""
    model = task.model()
    model.load_state_dict({name: torch.from_numpy(values.copy()) for name, values in state.items()})
    return model


def pooled(nodes: Sequence[Examples]) -> Examples:
    """The examples of several nodes in one; a deployment never does this."""
    return Examples(
        torch.cat([node.x for node in nodes]),
        torch.cat([node.y for node in nodes]),
        tuple(unit for node in nodes for unit in node.units),
    )
