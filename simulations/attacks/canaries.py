"""Canaries on the task `crowding`: pairs of stores that differ in one unit, and the model at which they differ most.

The leader chooses the model, so it chooses in which direction an example's clipped gradient points; and an attacker who
knows all other records chooses the unit's content. A slot that is replaced turns the gradient of its own example round,
and that of the example after it: the sum moves by nearly 2 k C, twice as far as if the slot is removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edge.learning.dpsgd import DpSgdPlan, train
from edge.learning.tasks.crowding import CLOCK_MARKS, MINUTES_SCALE, SLOTS_A_DAY, TASK
from edge.learning.tasks.task import Examples
from edge.learning.tasks.units import RECORD, Pieces, PrivacyUnit, pieces_of, unit_of
from privacy.accounting.events import DAY

Log = list[tuple[int, float]]
Vector = NDArray[np.float64]

SLOT = 23
"""Its example and the next one lie within an hour of the same mark of the clock, so their gradients point alike."""
DAY_UNITS = (SLOTS_A_DAY - 1) / TASK.unit_examples
"""The most that a day moves the sum, over the most that one slot does: each of its 47 examples by C."""
SLOT_WEIGHTS = (-8.0, *[0.2] * CLOCK_MARKS)
"""A forecast that falls steeply with the last slot: of a quiet slot above 0, of a busy one below."""
DAY_ROOT = 20.0
DAY_WEIGHTS = (0.0, *[DAY_ROOT] * CLOCK_MARKS)
"""A constant forecast; with so many minutes every gradient points along the last slot's feature, up or down."""


@dataclass(frozen=True)
class Canary:
    """Two stores, as a node's task reads them, and the model that the leader sends.

    Attributes:
        name: what the two differ in.
        inside: log of one node.
        outside: its neighbour.
        weights: of the model.
        units: how many times the most that one unit moves a sum, added or removed, the group of records does.
        nodes: how many nodes hold the same canary, each with noise of its own.
        unit: what the plan protects, `record` or `day`.
    """

    name: str
    inside: Log
    outside: Log
    weights: tuple[float, ...]
    units: float = 1.0
    nodes: int = 1
    unit: str = RECORD

    @cached_property
    def examples(self) -> tuple[Examples, Examples]:
        """Of the inside and of the outside."""
        return TASK.examples(self.inside), TASK.examples(self.outside)

    @cached_property
    def pieces(self) -> tuple[Pieces, Pieces]:
        """Of the inside and of the outside, as the plan's unit cuts examples."""
        inside, outside = (pieces_of(TASK, examples, self.unit) for examples in self.examples)
        return inside, outside

    @cached_property
    def bound(self) -> PrivacyUnit:
        """What the plan protects."""
        return unit_of(TASK, self.unit)

    def model(self) -> nn.Module:
        """Return a fresh copy of the leader's model."""
        model = TASK.model()
        with torch.no_grad():
            model.get_parameter("linear.weight").copy_(torch.tensor([self.weights]))
        return model

    def update(self, plan: DpSgdPlan, *, inside: bool) -> Vector:
        """Train as a node does and return the update."""
        pieces = self.pieces[0 if inside else 1]
        examples = pieces.examples
        outcome = train(self.model(), examples.x, examples.y, TASK.loss, plan, self.bound.pieces, pieces.groups)
        update: Vector = outcome.state["linear.weight"][0].astype(np.float64) - np.array(self.weights)
        return update

    def direction(self, plan: DpSgdPlan) -> Vector:
        """Return the unit vector from the outside's update to the inside's, without noise or sampling."""
        difference = self._difference(plan)
        unit: Vector = difference / np.linalg.norm(difference)
        return unit

    def reach(self, plan: DpSgdPlan) -> float:
        """Return how far apart the two sums are, over the most that the plan's unit moves them, added or removed."""
        rate = plan.learning_rate / plan.lot_size
        return float(np.linalg.norm(self._difference(plan)) / (rate * self.bound.pieces * plan.clip_norm))

    def _difference(self, plan: DpSgdPlan) -> Vector:
        clear = replace(plan, noise_multiplier=0.0, sampling_rate=1.0, steps=1)
        return self.update(clear, inside=True) - self.update(clear, inside=False)


def slot_replaced(nodes: int = 1) -> Canary:
    """Return the canary of one half hour whose content is another: 16 person-minutes for none."""
    name = "a slot replaced" if nodes == 1 else f"a slot replaced at {nodes} nodes"
    return Canary(name, _slot_log(16.0), _slot_log(0.0), SLOT_WEIGHTS, nodes=nodes)


def slot_removed() -> Canary:
    """Return the canary of one half hour that is there or not."""
    without = [row for row in _slot_log(0.0) if row[0] != SLOT]
    return Canary("a slot removed", _slot_log(0.0), without, SLOT_WEIGHTS)


def days_replaced(days: int = 1, nodes: int = 1) -> Canary:
    """Return the canary of whole days at each of some nodes: all slots a little livelier or quieter than forecast."""
    name = "a day replaced" if days == 1 else f"{days} days replaced"
    high, low = (_days(range(days), DAY_ROOT + shift) for shift in (0.1, -0.1))
    return Canary(name if nodes == 1 else f"{name} at {nodes} nodes", high, low, DAY_WEIGHTS, days * DAY_UNITS, nodes)


def day_removed() -> Canary:
    """Return the canary of a day that is there or not, beside another."""
    other = _days((1,), 1.0)
    return Canary("a day removed", [*_days((0,), DAY_ROOT + 0.1), *other], other, DAY_WEIGHTS, DAY_UNITS)


def of_days(canary: Canary) -> Canary:
    """Return a canary of whole days against a plan whose unit is the day."""
    return replace(canary, name=f"{canary.name}, unit day", units=canary.units / DAY_UNITS, unit=DAY)


def _slot_log(minutes: float) -> Log:
    return [(slot, minutes if slot == SLOT else 0.0) for slot in range(SLOTS_A_DAY)]


def _days(days: Sequence[int], root: float) -> Log:
    minutes = MINUTES_SCALE * root**2
    return [(SLOTS_A_DAY * day + slot, minutes) for day in days for slot in range(SLOTS_A_DAY)]
