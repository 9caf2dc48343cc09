"""What the nodes of a run do for privacy, and how much noise is on their sum; for nodes, the engine and run files.

Three ways are known, by mechanism and by what the unit is:

- `dp-sgd`, a record: every node adds all the noise itself (`edge.learning.dpsgd`). Nobody need be trusted.
- `shared-noise`, a record: distributed DP-SGD. In a round a node adds up the clipped gradients of all its examples, in
  whole steps of the secure sum's code, and its share of a noise of which the sum has enough
  (`privacy.mechanisms.shared_noise`, with the theorem). A sum over n nodes then has the noise of about one node.
- `shared-noise`, the site: a node's whole update is the unit (`edge.learning.plain`).

A record is the task's own unit (`crowding`: a slot). Of it k = `unit_examples` examples draw, so a round of the second
moves an update by at most k C learning rate / lot size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from torch import Tensor, nn

from edge.learning.clipping import clipped_sum, trained
from edge.learning.dpsgd import METRICS_NOISE
from privacy.accounting.composition import noise_multiplier_for
from privacy.accounting.events import ANY, SITE, Event, SampledGaussian, SharedGaussian
from privacy.mechanisms.shared_noise import NoiseReport, SharedNoise, Steps, honest_of
from privacy.secure_sum.fixed_point import FixedPoint, Ring

DP_SGD, SHARED_NOISE = "dp-sgd", "shared-noise"
"""Values of `mechanism` in a `[train]` table; the first where it says nothing."""
RECORD = "record"
"""Beside `SITE`, a value of `unit` in a `[train]` table: the task's own unit."""
FINE = 2**20
"""Steps of a sensitivity, where no code is at hand: its rounding is far below what is asked for."""


@dataclass(frozen=True, slots=True)
class Protection:
    """How the nodes of one run protect one privacy unit. All of it is public.

    Attributes:
        mechanism: `dp-sgd` or `shared-noise`.
        unit: `record` or `site`.
        noise_multiplier: z, standard deviation of the noise over the most that one unit moves a round's sum: of each
            node's own noise, or where noise is shared of what two thirds of a cohort have together.
        cohort: of how many nodes a secure sum is at least. Where noise is not shared it changes nothing.
    """

    mechanism: str
    unit: str
    noise_multiplier: float
    cohort: int

    def __post_init__(self) -> None:
        if (self.mechanism, self.unit) not in ((DP_SGD, RECORD), (SHARED_NOISE, RECORD), (SHARED_NOISE, SITE)):
            raise ValueError(
                f"mechanism {self.mechanism!r} with unit {self.unit!r} is not known: take {DP_SGD!r} with {RECORD!r}, "
                f"or {SHARED_NOISE!r} with {RECORD!r} or {SITE!r}"
            )
        if not 0 <= self.noise_multiplier < math.inf:
            raise ValueError(f"noise_multiplier is {self.noise_multiplier}; it must be finite and at least 0")
        if self.cohort < 1 + self.shares:
            raise ValueError(f"cohort is {self.cohort}: noise is shared by at least 2 nodes, and there is at least 1")

    @classmethod
    def of(cls, config: Mapping[str, Any], cohort: int) -> Self:
        """What a `[train]` table asks of a node.

        Raises:
            ValueError: the table names no mechanism that is known, or no noise.
        """
        mechanism = str(config.get("mechanism", DP_SGD))
        unit = str(config.get("unit", SITE if mechanism == SHARED_NOISE else RECORD))
        if "noise-multiplier" not in config:
            raise ValueError(f"{mechanism} needs a noise-multiplier")
        return cls(mechanism, unit, float(config["noise-multiplier"]), cohort)

    @classmethod
    def within(
        cls, mechanism: str, unit: str, epsilon: float, delta: float, rounds: int, cohort: int, *, metrics: int = 0
    ) -> Self:
        """The least noise with which a run of `rounds` full-batch rounds costs each unit `epsilon` at `delta`.

        The node's own ledger decides; this only finds the noise that a run of this length needs.

        Args:
            metrics: how many noised metrics a node releases beside (`dp-sgd` alone), each with `METRICS_NOISE` z.

        Raises:
            ValueError: a combination that is not known, or metrics where noise is shared: then none are reported.
        """
        if mechanism == SHARED_NOISE and metrics:
            raise ValueError(f"metrics is {metrics}: nodes that share noise report none")
        z = noise_multiplier_for(
            epsilon,
            delta,
            lambda z: [
                *cls(mechanism, unit, z, cohort).events() * rounds,
                *[SampledGaussian(METRICS_NOISE * z, 1.0, 1)] * metrics,
            ],
        )
        return cls(mechanism, unit, z, cohort)

    @property
    def shares(self) -> bool:
        """Whether nodes share the noise, and so need a secure sum."""
        return self.mechanism == SHARED_NOISE

    @property
    def node_multiplier(self) -> float:
        """Standard deviation of one node's noise over the most that a unit moves the sum."""
        return self.noise_multiplier / math.sqrt(honest_of(self.cohort)) if self.shares else self.noise_multiplier

    def sum_multiplier(self, nodes: int) -> float:
        """The same of the noise on a sum over `nodes` nodes that all keep to their part: never below z."""
        return self.node_multiplier * math.sqrt(nodes)

    def events(self, unit_examples: int = 1, unit: str = ANY) -> list[Event]:
        """What one full-batch round costs a unit, where the code of a sum is finer than `FINE` steps a sensitivity.

        Args:
            unit: name of the task's unit, for the ledger.
        """
        if not self.shares:
            return [SampledGaussian(self.noise_multiplier, 1.0, 1, unit_examples, unit)]
        sigma = max(self.node_multiplier * FINE, 1)
        return [SharedGaussian(FINE, sigma, honest_of(self.cohort), 1, SITE if self.unit == SITE else unit)]


@dataclass(frozen=True, slots=True)
class RecordPlan:
    """One round of distributed DP-SGD on a node: one step over all its examples. Everything here is public.

    Attributes:
        lot_size: the public divisor, about how many examples a node has. It has no default, for a step is over all
            of them: a divisor that is much smaller makes steps that are too long.
        clip_norm: C, bound of one example's gradient.
        learning_rate: of plain SGD on `clipped sum / lot_size`.
    """

    lot_size: int
    clip_norm: float = 0.3
    learning_rate: float = 1.0

    def __post_init__(self) -> None:
        for name in ("clip_norm", "learning_rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be finite and above 0")
        if self.lot_size < 1:
            raise ValueError(f"lot_size ({self.lot_size}) must be at least 1")

    @property
    def rate(self) -> float:
        """What a clipped gradient is multiplied with."""
        return self.learning_rate / self.lot_size

    def noise(self, protection: Protection, unit: str, unit_examples: int, weight: float = 1.0) -> SharedNoise:
        """The mechanism for a task with that unit.

        Args:
            weight: of this node's update in the sum, in (0, 1]: its weight over the largest one.

        Raises:
            ValueError: no noise, or a cohort of one.
        """
        norm = self.clip_norm * self.rate * weight
        return SharedNoise(protection.noise_multiplier, norm, protection.cohort, unit, unit_examples)


@dataclass(frozen=True, slots=True)
class NoisedSum:
    """What goes into a secure sum in the place of an update: the sum of coded pieces, and a share of noise on it."""

    noise: SharedNoise
    total: Steps

    def add(self, elements: Ring, code: FixedPoint) -> NoiseReport:
        """Write it into the encoded update, whose elements are all 0, for the app's arrays did not change."""
        return self.noise.put(self.total, elements, code)


def summed_examples(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    plan: RecordPlan,
    noise: SharedNoise,
    code: FixedPoint,
    names: Sequence[str],
) -> NoisedSum:
    """The update of one round, by each example's clipped gradient in whole steps: without its noise.

    Every example is worked out by itself. In a batch the last bits of its gradient hang on the others, and the proof
    needs a piece that does not; a sum of floating point numbers would have to be paid for, too.

    Args:
        x: [n, features]; n may be 0.
        y: [n].
        loss: prediction, y -> [n].
        names: of the model's arrays, in the order of the sum. Those that are not trained stay as they are, but for
            noise.
    """
    state = model.state_dict()
    starts = dict(zip(names, np.cumsum([0, *(state[name].numel() for name in names)]), strict=False))
    total = np.zeros(sum(state[name].numel() for name in names), np.int64)
    named = {id(parameter): name for name, parameter in model.named_parameters()}
    places = np.concatenate(
        [np.arange(parameter.numel()) + starts[named[id(parameter)]] for parameter in trained(model)]
    )
    scale = -noise.clip_norm / plan.clip_norm
    with clipped_sum(model, loss, plan.clip_norm) as gradients:
        for example in range(len(x)):
            one = gradients(x[example : example + 1].clone(), y[example : example + 1].clone())
            piece = np.concatenate([gradient.numpy().ravel() for gradient in one]).astype(np.float64)
            total[places] += noise.coded(piece * scale, code)
    return NoisedSum(noise, total)
