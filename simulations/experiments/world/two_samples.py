"""How far two samples are from each other, and whether a test tells them apart.

The distance is Kolmogorov and Smirnov's: the largest gap between two cumulative shares, 0 to 1. Rows are not
independent: a pair has many contacts, a link many scans, and a test that took them all for independent would reject
whatever it is shown. So every unit (pair, person, zone, link) gives one row, drawn at random, and a test sees at most
`UNITS` units a side. That is done many times over. Twice the median of the p-values is a p-value again, however
dependent they are (Rüschendorf, Random variables with maximum sums, 1982).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from simulations.world.episodes import Ints

UNITS = 200
DRAWS = 99
LEAST = 8
"""Fewer units than this a side are no sample."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Values [n], and of which unit each is [n]: rows of different units are taken for independent."""

    values: NDArray[np.float64]
    units: Ints

    def __post_init__(self) -> None:
        if self.values.shape != self.units.shape or self.values.ndim != 1:
            raise ValueError(f"every value is of one unit, got {self.values.shape} and {self.units.shape}")

    def __len__(self) -> int:
        return len(self.values)

    def by_unit(self) -> tuple[NDArray[np.float64], Ints, Ints]:
        """Values in the order of their units [n], where each unit begins, and how many it has [units]."""
        order = np.argsort(self.units, kind="stable")
        _, first, count = np.unique(self.units[order], return_index=True, return_counts=True)
        return self.values[order], first, count


def pooled(samples: Sequence[Sample], *, apart: bool = False) -> Sample:
    """All rows. `apart`: those of different samples are of different units, though numbered alike."""
    most = 1 + max((int(one.units.max()) for one in samples if len(one)), default=0)
    units = [one.units + (most * number if apart else 0) for number, one in enumerate(samples)]
    return Sample(np.concatenate([one.values for one in samples]), np.concatenate(units))


def distance(one: Sample, other: Sample) -> float:
    """Kolmogorov and Smirnov's, of all rows; NaN where one has none."""
    if not (len(one) and len(other)):
        return float("nan")
    return float(ks_2samp(one.values, other.values, method="asymp").statistic)


def p_value(one: Sample, other: Sample, rng: np.random.Generator) -> tuple[float, int]:
    """That both are of one distribution, a unit one row; and how many units a side it is from. NaN where too few."""
    sides = [one.by_unit(), other.by_unit()]
    size = min(UNITS, *(len(first) for _, first, _ in sides))
    if size < LEAST:
        return float("nan"), size
    found = [
        ks_2samp(*(_drawn(*side, size, rng) for side in sides), method="asymp").pvalue  # ties: the exact one has none
        for _ in range(DRAWS)
    ]
    return min(1.0, 2 * float(np.median(found))), size


def _drawn(
    values: NDArray[np.float64], first: Ints, count: Ints, size: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    those = rng.choice(len(first), size, replace=False)
    found: NDArray[np.float64] = values[first[those] + rng.integers(0, count[those])]
    return found
