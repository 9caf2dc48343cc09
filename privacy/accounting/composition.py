"""How much privacy a list of events costs together: epsilon at delta.

Every figure is an upper bound. Three ways lead to one, and the smallest is taken:

- Gaussians without sampling compose to one Gaussian whose epsilon is known exactly (Balle and Wang 2018, Theorem 8).
  This needs nothing but `math`.
- The privacy loss distribution, rounded pessimistically (Doroshenko et al. 2022). Where several examples draw on one
  unit, each sampled on its own, the dominating pair is the mixture of Gaussians of Ganesh 2024 (arXiv:2401.10294).
- Renyi DP (Mironov et al. 2019), which also holds where delta is too small for the first one's FFT, and which noise
  shared by several nodes needs: it is concentrated DP, Renyi DP of order a at cost rho a.

Assumption: an event's numbers do not depend on the outputs of earlier events (a run's configuration fixes them);
what is released may depend on all of them.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from privacy.accounting.events import Event, SharedGaussian

# The FFT of a privacy loss distribution rounds at about 1e-15; far above that its delta can be trusted.
LEAST_DELTA_FOR_PLD = 1e-10
# Step of the privacy loss grid where epsilon is about 10; it grows and shrinks with epsilon, so that memory does not.
# Mixtures take ten times as long, so theirs is coarser; from an epsilon of 0.3 up that costs less than 0.2 % of it.
PLD_INTERVAL, PLD_INTERVAL_OF_MIXTURES = 1e-3, 3e-3
RDP_ORDERS = (*range(2, 65), 80, 96, 128, 192, 256, 384, 512, 768, 1024)
# No bisection looks outside of these noise multipliers.
LEAST_NOISE, MOST_NOISE = 0.05, 1e6


class NoiseNotFound(ValueError):
    """No amount of noise brings the composition under the wanted epsilon."""


class _Step(NamedTuple):
    """One application of a mechanism: what identical events have in common."""

    noise_multiplier: float
    sampling_rate: float
    examples_per_unit: int


def epsilon(events: Iterable[Event], delta: float) -> float:
    """Smallest proven epsilon at `delta` of all `events` composed.

    Returns:
        0 for no events, infinity where one of them adds no noise.
    """
    if not 0 < delta < 1:
        raise ValueError(f"delta {delta} is not between 0 and 1")
    counts: Counter[_Step] = Counter()
    precision = rho = 0.0
    for event in events:
        if isinstance(event, SharedGaussian):
            rho += event.rho
            continue
        if event.noise_multiplier == 0:
            return math.inf
        if event.sampling_rate == 1:
            precision += event.steps / event.noise_multiplier**2
        else:
            counts[_Step(event.noise_multiplier, event.sampling_rate, event.examples_per_unit)] += event.steps
    if rho:
        rho += precision / 2
        return _renyi_epsilon(tuple(sorted(counts.items())), delta, grouped=True, rho=rho)
    if not counts:
        return gaussian_epsilon(1 / math.sqrt(precision), delta) if precision else 0.0
    if precision:
        counts[_Step(1 / math.sqrt(precision), 1.0, 1)] = 1
    return _composed(tuple(sorted(counts.items())), delta)


def gaussian_epsilon(noise_multiplier: float, delta: float) -> float:
    """Epsilon at `delta` of one Gaussian mechanism; exact to 1e-9, rounded up (Balle and Wang 2018, Theorem 8)."""
    low, high = 0.0, 1.0
    if _gaussian_delta(noise_multiplier, low) <= delta:
        return 0.0
    while _gaussian_delta(noise_multiplier, high) > delta:
        low, high = high, 2 * high
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if _gaussian_delta(noise_multiplier, middle) > delta else (low, middle)
    return high


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


def _gaussian_delta(noise_multiplier: float, at_epsilon: float) -> float:
    """Delta of a Gaussian at epsilon; where the negative term would overflow it is left out, which errs upwards."""
    shift = 1 / noise_multiplier
    upper = _normal_cdf(shift / 2 - at_epsilon / shift)
    lower = _normal_cdf(-shift / 2 - at_epsilon / shift)
    return upper - math.exp(at_epsilon) * lower if at_epsilon < 700 else upper


def _normal_cdf(x: float) -> float:
    return math.erfc(-x / math.sqrt(2)) / 2


@lru_cache(maxsize=256)
def _composed(counts: tuple[tuple[_Step, int], ...], delta: float) -> float:
    bound = _renyi_epsilon(counts, delta, grouped=True)
    if delta < LEAST_DELTA_FOR_PLD:
        return bound
    # Only the size of the grid hangs on this estimate, never whether the result is a bound.
    estimate = _renyi_epsilon(counts, delta, grouped=False)
    mixed = any(step.examples_per_unit > 1 for step, _ in counts)
    interval = (PLD_INTERVAL_OF_MIXTURES if mixed else PLD_INTERVAL) * max(0.1, estimate / 10)
    return min(bound, _loss_distribution_epsilon(counts, delta, interval))


def _renyi_epsilon(counts: tuple[tuple[_Step, int], ...], delta: float, *, grouped: bool, rho: float = 0.0) -> float:
    """Epsilon by Renyi DP at whole orders, where the formula is exact.

    Args:
        rho: of what is concentrated DP beside the steps.
        grouped: take a unit's examples to be sampled all together as soon as one is (a bound); otherwise as though the
            unit had one example (an estimate where it has more).
    """
    import dp_accounting  # noqa: PLC0415  (85 MB that a node which only logs does not need)
    from dp_accounting import rdp  # noqa: PLC0415

    accountant = rdp.RdpAccountant(RDP_ORDERS, dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE)
    if rho:
        accountant.compose(dp_accounting.ZCDpEvent(rho, 0.0))
    for step, count in counts:
        examples = step.examples_per_unit if grouped else 1
        rate = -math.expm1(examples * math.log1p(-step.sampling_rate)) if step.sampling_rate < 1 else 1.0
        gaussian = dp_accounting.GaussianDpEvent(step.noise_multiplier)
        accountant.compose(gaussian if rate == 1 else dp_accounting.PoissonSampledDpEvent(rate, gaussian), count)
    return float(accountant.get_epsilon(delta))


def _loss_distribution_epsilon(counts: tuple[tuple[_Step, int], ...], delta: float, interval: float) -> float:
    import dp_accounting  # noqa: PLC0415
    from dp_accounting import pld  # noqa: PLC0415

    accountant = pld.PLDAccountant(dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE, interval)
    for step, count in counts:
        noise, rate, examples = step
        event: dp_accounting.DpEvent
        if rate == 1:
            event = dp_accounting.GaussianDpEvent(noise)
        elif examples == 1:
            event = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(noise))
        else:
            drawn = range(examples + 1)
            event = dp_accounting.dp_event.MixtureOfGaussiansDpEvent(
                noise,
                [j / examples for j in drawn],
                [math.comb(examples, j) * rate**j * (1 - rate) ** (examples - j) for j in drawn],
            )
        accountant.compose(event, count)
    return float(accountant.get_epsilon(delta))
