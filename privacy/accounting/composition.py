"""How much privacy a list of events costs together: epsilon at delta. Every figure is an upper bound, rounded up.

What is secret of a privacy unit is what it holds, so by default two neighbours differ in the content of one unit
(`Adjacency.REPLACED`): a sum moves by up to twice of what it moves by when the unit is added or removed.

**What is decided by it.** A leader chooses later tasks by what earlier ones gave. Composition of fixed numbers does not
hold then; a privacy filter does, whose rule and numbers are fixed in advance. A budget (epsilon, delta) is kept by two:

1. All events as Gaussians, with delta less a twentieth: their shifts, squared, add up, and the sum stays below what
   (epsilon, delta) allows (the GDP filter, see `privacy.accounting.gaussian`). A sampled sum counts as though it were
   of everything: telling the coins tells no less. For Gaussians this is exact.
2. All events by Renyi DP at one order that hangs on (epsilon, delta) alone, with the other twentieth of delta: costs at
   that order add up, and the sum stays below what (epsilon, delta) allows (Feldman and Zrnic 2021, arXiv:2008.11193;
   Lecuyer 2021, arXiv:2103.01379). Sampling is worth something here.

An event may run as long as all so far fit one of them. *Proof that both together cost delta:* split what can be seen in
the end into A, that the first filter would have let through, and B, the rest, which the second let through. Stop the
interaction before it breaks the first filter's rule: what is left is mu-GDP, so P(S and A) <= e^epsilon Q(S and A) plus
its part of delta; the same for B; the sum is the claim. The parts cost unsampled sums about .2 % of epsilon.

*Assumed:* given everything seen before, each event's numbers bound what its work does to one unit.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from privacy.accounting.events import Event, SampledGaussian
from privacy.accounting.gaussian import gaussian_epsilon
from privacy.accounting.renyi import order_for, renyi_epsilon, sampled_cost

__all__ = ["Adjacency", "NoiseNotFound", "epsilon", "fits", "gaussian_epsilon", "noise_multiplier_for"]

SHARE_OF_RENYI = 0.05
"""Of delta, for the second filter."""
# No bisection looks outside of these noise multipliers.
LEAST_NOISE, MOST_NOISE = 0.05, 1e6


class Adjacency(Enum):
    """How two neighbours differ; the value is how far apart their sums are, in what one unit moves a sum by."""

    REPLACED = 2.0
    """What one unit holds is something else."""
    ADDED_OR_REMOVED = 1.0
    """One unit is there, or is not."""


class NoiseNotFound(ValueError):
    """No amount of noise brings the composition under the wanted epsilon."""


class _Step(NamedTuple):
    """One application of a sampled mechanism: what identical events have in common."""

    noise_multiplier: float
    sampling_rate: float
    examples_per_unit: int


@dataclass
class _Charge:
    """The sum of events.

    Attributes:
        adjacency: of the neighbours.
        squares: sum of the squared shifts of Gaussians without sampling, each over its standard deviation.
        rho: of concentrated DP that is not Gaussian (noise that nodes share in few coarse steps).
        sampled: how often each sampled step ran.
        empty: nothing was charged.
    """

    adjacency: Adjacency
    squares: float = 0.0
    rho: float = 0.0
    sampled: Counter[_Step] = field(default_factory=Counter)
    empty: bool = True

    def add(self, event: Event) -> None:
        self.empty = False
        apart = self.adjacency.value
        if not isinstance(event, SampledGaussian):
            shift = event.shift(apart)
            if shift is None:
                self.rho += event.concentrated(apart)
            else:
                self.squares += shift * shift
        elif event.sampling_rate == 1 or event.noise_multiplier == 0:
            self.squares += self._square(event.noise_multiplier) * event.steps
        else:
            step = _Step(event.noise_multiplier, event.sampling_rate, event.examples_per_unit)
            self.sampled[step] += event.steps

    def gaussian(self, delta: float) -> float:
        """Epsilon of all as Gaussians, sampled ones as though of everything."""
        if self.rho:
            return math.inf
        squares = self.squares + sum(self._square(step.noise_multiplier) * n for step, n in self.sampled.items())
        return gaussian_epsilon(1 / math.sqrt(squares), delta) if squares else 0.0

    def renyi(self, order: int) -> float:
        """Cost at an order."""
        cost = order * (self.squares / 2 + self.rho)
        for step, n in self.sampled.items():
            cost += n * sampled_cost(*step, order, replaced=self.adjacency is Adjacency.REPLACED)
        return cost

    def fits_renyi(self, epsilon: float, delta: float) -> bool:
        order = order_for(epsilon, delta)
        return renyi_epsilon(self.renyi(order), order, delta) <= epsilon

    def renyi_epsilon(self, delta: float, below: float) -> float:
        """The smallest epsilon that `fits_renyi`, rounded up; infinity unless it is less than `below`."""
        if (not self.rho and not self.sampled) or self.squares == math.inf:
            return math.inf  # it is never less than the other way
        low, high = 0.0, 1.0
        while not self.fits_renyi(high, delta):
            low, high = high, 2 * high
            if low > below or math.isinf(high):
                return math.inf
        while high - low > 1e-6 * high:
            middle = (low + high) / 2
            low, high = (low, middle) if self.fits_renyi(middle, delta) else (middle, high)
        return high

    def _square(self, noise_multiplier: float) -> float:
        shift = self.adjacency.value / noise_multiplier if noise_multiplier else math.inf
        return shift * shift


def _charge(events: Iterable[Event], adjacency: Adjacency) -> _Charge:
    charge = _Charge(adjacency)
    for event in events:
        charge.add(event)
    return charge


def epsilon(events: Iterable[Event], delta: float, adjacency: Adjacency = Adjacency.REPLACED) -> float:
    """Smallest epsilon whose budget at `delta` all `events` together fit (`fits`), rounded up.

    Returns:
        0 for no events, infinity if one of them adds no noise.
    """
    if not 0 < delta < 1:
        raise ValueError(f"delta {delta} is not between 0 and 1")
    charge = _charge(events, adjacency)
    if charge.empty:
        return 0.0
    gaussian = charge.gaussian(delta * (1 - SHARE_OF_RENYI))
    return min(gaussian, charge.renyi_epsilon(delta * SHARE_OF_RENYI, gaussian))


def fits(events: Iterable[Event], within: float, delta: float) -> bool:
    """Whether the filter of the budget (`within`, `delta`) lets all `events` through, see the module's docstring.

    It may be asked again with more events, and whoever chose them may have seen what the ones before gave.
    """
    charge = _charge(events, Adjacency.REPLACED)
    if charge.gaussian(delta * (1 - SHARE_OF_RENYI)) <= within:
        return True
    return charge.fits_renyi(within, delta * SHARE_OF_RENYI)


def noise_multiplier_for(epsilon_at_most: float, delta: float, compose: Callable[[float], Sequence[Event]]) -> float:
    """A noise multiplier whose composition costs at most `epsilon_at_most` and at least 99 % of it.

    Args:
        compose: the events of the whole run, given the noise multiplier. More noise must not cost more.

    Returns:
        `LEAST_NOISE` where even that little costs less than asked for. Where the cost jumps over the wanted range, the
        noise just above the jump.

    Raises:
        NoiseNotFound: a part of the composition that does not depend on the noise already costs too much.
    """
    if not 0 < epsilon_at_most < math.inf:
        raise ValueError(f"epsilon {epsilon_at_most} is not a finite number above 0")
    low, high, noise = 0.0, math.inf, 1.0
    for attempt in itertools.count(1):
        cost = epsilon(compose(noise), delta)
        if cost <= epsilon_at_most:
            high = noise
            if cost >= 0.99 * epsilon_at_most or noise <= LEAST_NOISE:
                break
        elif noise >= MOST_NOISE:
            raise NoiseNotFound(
                f"epsilon {epsilon_at_most} at delta {delta} cannot be met: {cost:.4g} remains however much noise "
                "is added; take fewer steps or allow more"
            )
        else:
            low = noise
        if high <= low * (1 + 1e-9):
            break  # The cost jumps over the wanted range, as where `compose` changes its steps with the noise.
        # Epsilon falls about as one over the noise, which makes this Newton's method on a logarithmic scale; every
        # third step halves the bracket, for the compositions that do not.
        factor = min(max(cost / (0.995 * epsilon_at_most), 1 / 8), 8)
        noise = min(max(noise * factor, LEAST_NOISE), MOST_NOISE)
        if high < math.inf and (attempt % 3 == 0 or not low < noise < high):
            noise = max(math.sqrt(max(low, LEAST_NOISE / 8) * high), LEAST_NOISE)
    return high
