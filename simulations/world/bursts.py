"""When two people meet: encounters, each a burst of short contacts with gaps between them.

Face-to-face contacts come in bursts: most last one window of 20 s, a few last long, and most gaps between two contacts
of a pair are short while some last hours (Cattuto et al. 2010; Barrat et al. 2013). Here a pair has a Poisson number of
encounters a day. How many contacts an encounter is (a "train" of them: Karsai et al. 2012), how long each lasts and how
long the gap after it is are discrete power laws with a shift. How often a pair meets is a product of log-normal
factors: of both people, who differ in how sociable they are; of the pair, who meet again day after day because they
know each other; and of the pair on that day.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from simulations.world.episodes import Ints

RESOLUTION = 1 << 16
"""A draw is an entry of a table of quantiles: ten times faster than inverting a distribution anew."""


@dataclass(frozen=True, slots=True)
class ShiftedPower:
    """Windows n = 1..longest with a probability proportional to (n + shift) to the power -exponent."""

    shift: float
    exponent: float
    longest: int

    def __post_init__(self) -> None:
        if self.shift <= -1 or self.exponent <= 0 or self.longest < 1:
            raise ValueError(
                f"a shifted power law needs shift > -1, exponent > 0 and longest >= 1, got {self.shift}, "
                f"{self.exponent} and {self.longest}"
            )

    def mass(self) -> NDArray[np.float64]:
        """Probability of each n [longest]."""
        weight = np.power(np.arange(1, self.longest + 1, dtype=np.float64) + self.shift, -self.exponent)
        found: NDArray[np.float64] = weight / weight.sum()
        return found

    def draw(self, rng: np.random.Generator, n: int) -> Ints:
        """Windows [n]."""
        return _quantiles(self)[rng.integers(0, RESOLUTION, n, dtype=np.uint16)]


@lru_cache(maxsize=64)  # a search for better laws makes thousands of them, half a megabyte each
def _quantiles(law: ShiftedPower) -> Ints:
    middles = (np.arange(RESOLUTION) + 0.5) / RESOLUTION
    return np.searchsorted(np.cumsum(law.mass())[:-1], middles) + 1


@dataclass(frozen=True, slots=True)
class Bursts:
    """The fitted numbers of one kind of place.

    Attributes:
        lasting: length of a contact, windows.
        gap: windows between two contacts of an encounter.
        train: contacts of an encounter.
        person_spread: standard deviation, log scale, of how sociable people are.
        pair_spread: of how well a pair know each other, the same on all days.
        circles: how much less those of a zone meet whose likings differ: people are drawn in a plane, with a standard
            deviation of 1 each way, and the factor falls by e for every 1 / circles. It makes friends' friends friends.
        day_spread: of how much a pair have to do with each other on one day.
    """

    lasting: ShiftedPower
    gap: ShiftedPower
    train: ShiftedPower
    person_spread: float
    pair_spread: float
    circles: float
    day_spread: float

    def __post_init__(self) -> None:
        spreads = (self.person_spread, self.pair_spread, self.circles, self.day_spread)
        if min(spreads) < 0:
            raise ValueError(f"spreads and circles are never negative, got {spreads}")

    def unfold(self, begins: Ints, rng: np.random.Generator) -> tuple[Ints, Ints, Ints]:
        """The contacts of encounters that begin in these windows [encounters].

        Returns:
            of each contact its encounter, first window and length [contacts].
        """
        counts = self.train.draw(rng, len(begins))
        encounter = np.repeat(np.arange(len(begins)), counts)
        length = self.lasting.draw(rng, len(encounter))
        step = length + self.gap.draw(rng, len(encounter))
        before = np.cumsum(step) - step
        before += (begins - before[np.cumsum(counts) - counts])[encounter]
        return encounter, before, length


def spread(rng: np.random.Generator, deviation: float, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Log-normal factors of mean 1."""
    factor = rng.standard_normal(shape, dtype=np.float32)
    factor *= np.float32(deviation)
    factor -= np.float32(deviation**2 / 2)
    return np.exp(factor, out=factor)
