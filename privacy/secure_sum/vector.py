"""A node's contribution as one vector: what a weighted mean needs, and nothing that is per node.

The arrays of an update enter as `weight / weight_bound * (value - base)`, where `base` is what the round began with: an
update is small, so it is coded finely. Its weight and its metrics, times the weight, enter as further elements, in a
ring of 64 bits of their own. The sum of such vectors gives the weighted mean of the updates and of the metrics; what
any one node weighed is in no message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from privacy.secure_sum.fixed_point import FixedPoint, NotEncodable, Ring

SCALAR_BITS = 64
ROUNDING = 1e-9
"""Relative; of a sum of weights as a float64."""


class VectorMismatch(ValueError):
    """Arrays or metrics of a contribution are not those that the round is about."""


class ImpossibleSum(ValueError):
    """A sum that nodes which keep to their plan cannot have; the message says why. Nobody can tell which did not."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How contributions of one round are coded; the same for every node, and public.

    Attributes:
        bound: largest change of one element by one node's update. What is beyond is set to it.
        most: of how many nodes a sum may be made.
        bits: width of the arrays' ring.
        weight_bound: largest weight of one node. What is beyond counts as this.
        metric_bound: largest absolute value of one metric.
    """

    bound: float
    most: int
    bits: int = 32
    weight_bound: float = 1.0
    metric_bound: float = 1e6

    @property
    def code(self) -> FixedPoint:
        return FixedPoint(self.bound, self.bits, self.most)

    @property
    def weight_code(self) -> FixedPoint:
        return FixedPoint(self.weight_bound, SCALAR_BITS, self.most)

    @property
    def metric_code(self) -> FixedPoint:
        return FixedPoint(self.metric_bound, SCALAR_BITS, self.most)


@dataclass(frozen=True, slots=True)
class Vector:
    """A contribution, or a sum of contributions, in ring elements.

    Attributes:
        elements: of the arrays, one after the other.
        scalars: the weight, then the metrics in the order of their names.
        saturated: how many values were beyond their bound. Stays on the node.
    """

    elements: Ring
    scalars: Ring
    saturated: int = 0


def contribution(
    plan: Plan,
    base: Mapping[str, NDArray[np.floating]],
    arrays: Mapping[str, NDArray[np.floating]],
    weight: float,
    metrics: Mapping[str, float],
) -> Vector:
    """Code one node's update.

    Args:
        base: the arrays that the round began with.
        arrays: the arrays after training, of the same names and shapes, in whatever order.
        weight: of this node, at least 0.

    Raises:
        VectorMismatch: names or shapes differ from the base's, or the weight is negative.
        NotEncodable: a value is not finite.
    """
    if arrays.keys() != base.keys() or any(arrays[name].shape != base[name].shape for name in base):
        raise VectorMismatch(f"arrays {_shapes(arrays)} do not go with the round's {_shapes(base)}")
    if not weight >= 0:
        raise VectorMismatch(f"weight {weight} is not a number from 0 up")
    if weight == float("inf"):
        raise NotEncodable("the weight is not finite")
    share = min(weight, plan.weight_bound) / plan.weight_bound
    changes = [share * (arrays[name].astype(np.float64) - base[name]).ravel() for name in base]
    coded = plan.code.encode(np.concatenate(changes) if changes else np.zeros(0))
    heavy = plan.weight_code.encode(np.array([weight]))
    measured = plan.metric_code.encode(share * np.array([metrics[name] for name in sorted(metrics)], np.float64))
    saturated = coded.saturated + heavy.saturated + measured.saturated
    return Vector(coded.elements, np.concatenate((heavy.elements, measured.elements)), saturated)


def check_weight(plan: Plan, total: Vector, nodes: int) -> None:
    """That a sum's weight is one that so many nodes can have.

    A share is masked, so a node may send anything. With a weight below zero it would turn the others' updates around or
    blow them up, with a very large one it would outweigh them.

    Raises:
        ImpossibleSum: it is not.
    """
    weight, most = float(plan.weight_code.decode(total.scalars[:1])[0]), nodes * plan.weight_bound
    if not 0 <= weight <= most * (1 + ROUNDING):
        raise ImpossibleSum(f"its weight is {weight:.6g}, and {nodes} nodes have 0 to {most:.6g} together")


@dataclass(frozen=True, slots=True)
class Mean:
    """What a sum of contributions says.

    Attributes:
        arrays: base plus the weighted mean change, float64, shapes of the base; the base itself where no weight came.
            A change beyond the plan's bound, which only somebody can make who does not keep to it, is set to it.
        weight: total weight.
        metrics: weighted means; empty where no weight came.
    """

    arrays: dict[str, NDArray[np.float64]]
    weight: float
    metrics: dict[str, float]


def mean(plan: Plan, base: Mapping[str, NDArray[np.floating]], names: Sequence[str], total: Vector) -> Mean:
    """The weighted mean of what was summed.

    Args:
        names: of the metrics.

    Raises:
        VectorMismatch: the sum has other lengths than base and names demand.
    """
    elements = sum(prod(array.shape) for array in base.values())
    if len(total.elements) != elements or len(total.scalars) != 1 + len(names):
        raise VectorMismatch(
            f"a sum of {len(total.elements)} elements and {len(total.scalars)} scalars, expected {elements} and "
            f"{1 + len(names)}"
        )
    weight = float(plan.weight_code.decode(total.scalars[:1])[0])
    share = weight / plan.weight_bound
    if share <= 0:
        return Mean({name: array.astype(np.float64) for name, array in base.items()}, 0.0, {})
    change = np.clip(plan.code.decode(total.elements) / share, -plan.bound, plan.bound)
    arrays, at = {}, 0
    for name, array in base.items():
        arrays[name] = array.astype(np.float64) + change[at : at + array.size].reshape(array.shape)
        at += array.size
    measured = np.clip(plan.metric_code.decode(total.scalars[1:]) / share, -plan.metric_bound, plan.metric_bound)
    return Mean(arrays, weight, dict(zip(sorted(names), map(float, measured), strict=True)))


def _shapes(arrays: Mapping[str, NDArray[np.floating]]) -> str:
    return ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items()) or "none"
