"""What the nodes of a run do for privacy, and how much noise is on their sum; for nodes, the engine and run files.

These ways are known, by mechanism and by what the unit is:

- `dp-sgd`, a record or a day: every node adds all the noise itself (`edge.learning.dpsgd`). Nobody need be trusted.
- `shared-noise`, a record or a day: distributed DP-SGD. In a round a node adds up the clipped gradients of all its
  pieces, in whole steps of the secure sum's code, and its share of a noise of which the sum has enough
  (`privacy.mechanisms.shared_noise`, with the theorem). A sum over n nodes then has the noise of about one node.
- `shared-noise`, the site: a node's whole update is the unit (`edge.learning.plain`).

A record is the task's own unit (`crowding`: a slot), a day is everything of one calendar day at a node
(`edge.learning.tasks.units`). A unit touches k pieces, so a round of the second moves an update by at most k C learning
rate / lot size where a unit is added or removed, and by twice that where its content is replaced.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from edge.learning.clipping import clipped_sum, trained
from edge.learning.dpsgd import METRICS_NOISE
from edge.learning.tasks.units import RECORD
from privacy.accounting.composition import noise_multiplier_for
from privacy.accounting.events import ANY, DAY, SITE, Event, SampledGaussian, SharedGaussian
from privacy.mechanisms.shared_noise import NoiseReport, SharedNoise, Steps, honest_of
from privacy.secure_sum.fixed_point import FixedPoint, Ring

DP_SGD, SHARED_NOISE = "dp-sgd", "shared-noise"
"""Values of `mechanism` in a `[train]` table; the first where it says nothing."""
WAYS = ((DP_SGD, RECORD), (DP_SGD, DAY), (SHARED_NOISE, RECORD), (SHARED_NOISE, DAY), (SHARED_NOISE, SITE))
"""Mechanism and unit of each."""
FINE = 2**20
"""Steps of a sensitivity, where no code is at hand: its rounding is far below what is asked for."""


@dataclass(frozen=True, slots=True)
class Protection:
    """How the nodes of one run protect one privacy unit. All of it is public.

    Attributes:
        mechanism: `dp-sgd` or `shared-noise`.
        unit: `record`, `day` or `site`.
        noise_multiplier: z, standard deviation of the noise over the most that one unit moves a round's sum: of each
            node's own noise, or where noise is shared of what two thirds of a cohort have together.
        cohort: of how many nodes a secure sum is at least. Where noise is not shared it changes nothing.
    """

    mechanism: str
    unit: str
    noise_multiplier: float
    cohort: int

    def __post_init__(self) -> None:
        if (self.mechanism, self.unit) not in WAYS:
            raise ValueError(
                f"mechanism {self.mechanism!r} with unit {self.unit!r} is not known: take {DP_SGD!r} with {RECORD!r} "
                f"or {DAY!r}, or {SHARED_NOISE!r} with {RECORD!r}, {DAY!r} or {SITE!r}"
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

    def events(self, unit_pieces: int = 1, unit: str = ANY, day_units: float = 0.0) -> list[Event]:
        """What one full-batch round costs a unit, where the code of a sum is finer than `FINE` steps a sensitivity.

        Args:
            unit_pieces, unit, day_units: `pieces`, `name` and `day_units` of the `PrivacyUnit`, for the ledger; not
                needed for the site.
        """
        if self.unit == SITE:
            unit, day_units = SITE, 1.0
        if not self.shares:
            return [SampledGaussian(self.noise_multiplier, 1.0, 1, unit_pieces, unit, day_units)]
        sigma = max(self.node_multiplier * FINE, 1)
        return [SharedGaussian(FINE, sigma, honest_of(self.cohort), 1, unit, day_units)]


@dataclass(frozen=True, slots=True)
class RecordPlan:
    """One round of distributed DP-SGD on a node: one step over all its examples. Everything here is public.

    Attributes:
        lot_size: the public divisor, about how many examples a node has. It has no default, for a step is over all
            of them: a divisor that is much smaller makes steps that are too long.
        clip_norm: C, bound of one piece's gradient: an example's, or a whole day's.
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

    def noise(
        self, protection: Protection, unit: str, unit_pieces: int, weight: float = 1.0, day_units: float = 0.0
    ) -> SharedNoise:
        """The mechanism for a task with that unit.

        Args:
            unit, unit_pieces, day_units: `name`, `pieces` and `day_units` of the `PrivacyUnit`.
            weight: of this node's update in the sum, in (0, 1]: its weight over the largest one.

        Raises:
            ValueError: no noise, or a cohort of one.
        """
        norm = self.clip_norm * self.rate * weight
        return SharedNoise(protection.noise_multiplier, norm, protection.cohort, unit, unit_pieces, day_units)


@dataclass(frozen=True, slots=True)
class NoisedSum:
    """What goes into a secure sum in the place of an update: the sum of coded pieces, and a share of noise on it."""

    noise: SharedNoise
    total: Steps

    def add(self, elements: Ring, code: FixedPoint) -> NoiseReport:
        """Write it into the encoded update, whose elements are all 0, for the app's arrays did not change."""
        return self.noise.put(self.total, elements, code)


def summed_pieces(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    plan: RecordPlan,
    noise: SharedNoise,
    code: FixedPoint,
    names: Sequence[str],
    groups: Sequence[int] | None = None,
) -> NoisedSum:
    """The update of one round, by each piece's clipped gradient in whole steps: without its noise.

    Every piece is worked out by itself. In a batch the last bits of its gradient hang on the others, and the proof
    needs a piece that does not; a sum of floating point numbers would have to be paid for, too.

    Args:
        x: [n, features]; n may be 0.
        y: [n].
        loss: prediction, y -> [n].
        names: of the model's arrays, in the order of the sum. Those that are not trained stay as they are, but for
            noise.
        groups: number of each example's piece (`Pieces.groups`); None: each example is a piece.
    """
    state = model.state_dict()
    starts = dict(zip(names, np.cumsum([0, *(state[name].numel() for name in names)]), strict=False))
    total = np.zeros(sum(state[name].numel() for name in names), np.int64)
    named = {id(parameter): name for name, parameter in model.named_parameters()}
    places = np.concatenate(
        [np.arange(parameter.numel()) + starts[named[id(parameter)]] for parameter in trained(model)]
    )
    scale = -noise.clip_norm / plan.clip_norm
    numbers = np.arange(len(x)) if groups is None else np.asarray(groups, np.int64)
    with clipped_sum(model, loss, plan.clip_norm) as gradients:
        for number in np.unique(numbers):
            rows = torch.from_numpy(np.flatnonzero(numbers == number))
            parts = gradients(x.index_select(0, rows), y.index_select(0, rows))
            piece = np.concatenate([part.numpy().ravel() for part in parts])
            total[places] += noise.coded(piece * scale, code)  # clips the piece as a whole
    return NoisedSum(noise, total)
