"""What becomes of nodes' updates on their way to a strategy, for a whole piece of a cohort at once.

    trained parameters -> update -> (a liar's lie) -> (coded) -> (bounded and noised) -> sum over a group

A strategy that averages needs one sum over everybody. One that takes replies apart is given each group's: single nodes
where nothing hides them, the groups of a secure sum where one does. Coding and sums are a secure sum's own
(`privacy.secure_sum`) without its masks, which cancel: of the same updates comes the same sum to the bit. Where nodes
share the noise of a record, a node codes each example's gradient, and here its whole update is coded at once: they are
half a step of the code apart for each example at most.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from privacy.accounting.events import SITE
from privacy.mechanisms.shared_noise import SLACK, SharedNoise
from privacy.secure_sum.fixed_point import FixedPoint
from simulations.engine.bench import State


class PartialSums(NamedTuple):
    """Of one piece, by group.

    Attributes:
        groups: int64 [k], each once.
        totals: summed updates, float64 [k, elements]; whole steps where they are coded.
        counts: nodes in each sum, int64 [k].
    """

    groups: NDArray[np.int64]
    totals: NDArray[np.float64]
    counts: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Updates:
    """The way of one round's updates; called in the engine's workers (`simulations.engine.bench.Reduce`).

    Attributes:
        base: what the round began with.
        groups: of each node that takes part, int64 [nodes].
        factors: what each node's update is multiplied with, 1 of the honest, float64 [nodes].
        code: of a secure sum; None: updates are summed as they are.
        noise: that nodes share; needs a code.
        seed: of the noise.
    """

    base: State
    groups: NDArray[np.int64]
    factors: NDArray[np.float64]
    code: FixedPoint | None = None
    noise: SharedNoise | None = None
    seed: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(self.groups) != len(self.factors):
            raise ValueError(f"{len(self.groups)} nodes have a group, and {len(self.factors)} a factor")
        if self.noise is not None and self.code is None:
            raise ValueError("shared noise is added in steps of a secure sum's code, and there is none")

    def __call__(self, places: slice, parameters: dict[str, Tensor]) -> PartialSums:
        rows = np.concatenate(
            [
                (parameters[name].numpy().astype(np.float64) - base).reshape(len(self.groups[places]), -1)
                for name, base in self.base.items()
            ],
            axis=1,
        )
        rows *= self.factors[places, None]
        finite = np.isfinite(rows).all(1)  # a node refuses to send anything else
        rows, groups = rows[finite], self.groups[places][finite]
        if self.code is not None:
            rows = self._coded(rows, self.code, places.start)
        found, place = np.unique(groups, return_inverse=True)
        totals = np.zeros((len(found), rows.shape[1]))
        np.add.at(totals, place, rows)
        return PartialSums(found, totals, np.bincount(place, minlength=len(found)))

    def _coded(self, rows: NDArray[np.float64], code: FixedPoint, place: int) -> NDArray[np.float64]:
        """Whole steps, as a node codes them, and with its share of the noise."""
        steps: NDArray[np.float64] = np.clip(np.rint(rows / code.step), -code.top, code.top)
        if self.noise is None:
            return steps
        if self.noise.unit == SITE:  # the whole update is the one piece that is bounded
            most = self.noise.bound(code) * (1 - SLACK)
            norms = np.linalg.norm(steps, axis=1, keepdims=True)
            steps = np.where(norms > most, np.trunc(steps * (most / np.maximum(norms, 1))), steps)
        # Rounded normal numbers in the place of a discrete Gaussian: their variance is a twelfth of a step^2 larger.
        random = np.random.default_rng([*self.seed, place])
        noised: NDArray[np.float64] = steps + np.rint(random.normal(0, self.noise.sigma(code), steps.shape))
        return noised


class GroupMean(NamedTuple):
    """What a strategy is given of one group.

    Attributes:
        group: its number.
        parameters: float32, of the shapes of the base.
        nodes: whose mean it is.
    """

    group: int
    parameters: dict[str, NDArray[np.float32]]
    nodes: int


@dataclass(slots=True)
class GroupMeans:
    """Adds pieces up, and makes a mean of each group.

    Args:
        base: what the round began with.
        code: as in `Updates`.
    """

    base: State
    code: FixedPoint | None

    def of(self, parts: Iterable[PartialSums]) -> list[GroupMean]:
        """In the order of the groups' numbers."""
        totals: dict[int, NDArray[np.float64]] = {}
        counts: dict[int, int] = {}
        for part in parts:
            for group, total, count in zip(part.groups.tolist(), part.totals, part.counts.tolist(), strict=True):
                totals[group] = totals[group] + total if group in totals else total
                counts[group] = counts.get(group, 0) + count
        return [GroupMean(group, self._mean(totals[group], counts[group]), counts[group]) for group in sorted(totals)]

    def _mean(self, total: NDArray[np.float64], count: int) -> dict[str, NDArray[np.float32]]:
        if self.code is None:
            update = total / count
        else:  # in this order, as `privacy.secure_sum.vector.mean` does it: another one rounds otherwise
            update = np.clip(total * self.code.step / count, -self.code.bound, self.code.bound)
        found, at = {}, 0
        for name, base in self.base.items():
            changed = base.astype(np.float64) + update[at : at + base.size].reshape(base.shape)
            found[name], at = changed.astype(np.float32), at + base.size
        return found
