"""Renyi differential privacy at whole orders: what Poisson-sampled Gaussians cost, and what that is as epsilon.

Whole orders have exact formulas. All is in closed form, so that an event with absurd numbers takes no longer than
another; steps multiply.

**One step of a sampled sum.** Of a unit k examples draw, each enters with probability q on its own and moves the sum by
at most 1 / k of what the noise is scaled to; z is the noise multiplier. Replacing what the unit holds keeps the coins
and changes what each example that enters adds: by at most 2 / k. Two bounds hold at order a:

- *Coins told.* The output is a function of the coins and of a Gaussian, so it tells no more than both do:
  log E[exp(a (a - 1) (2 J / k)^2 / (2 z^2))] / (a - 1), J the number of the unit's examples that enter, binomial. It is
  never above the Gaussian without sampling, whose J is k always.
- *By way of the unit removed.* Mironov 2017 (arXiv:1702.07476), corollary 4: D_a(P, Q) <= (a - 1/2) / (a - 1)
  D_2a(P, R) + D_2a-1(R, Q). Each step of it is an addition or removal, which for one example costs what Mironov, Talwar
  and Zhang 2019 (arXiv:1908.10530, sections 3.1 to 3.3) state in both directions. With k examples one takes all of them
  to enter as soon as one does, which happens with probability 1 - (1 - q)^k: a larger shift only tells more (Ganesh
  2024, arXiv:2401.10294).

The lesser of two bounds is a bound. The pair that `dp_accounting` 0.6 offers for REPLACE_ONE (+1 against -1 with
probability q) is a lower bound, and used as one by the tests: that it dominates every pair of directions is nowhere
proven that we know of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from privacy.accounting.gaussian import MARGIN, TRACE

ORDERS: tuple[int, ...] = (*range(2, 65), 80, 96, 128, 192, 256, 384, 512, 768, 1024)
ROUNDING = 1e-13
"""Added to every step's cost, relative and absolute: over what float64 rounds in the sums below."""


def overhead(order: int, delta: float) -> float:
    """What is added to the cost at an order for an epsilon at `delta` (Canonne, Kamath and Steinke 2020,
    arXiv:2004.00010, proposition 12)."""
    return math.log1p(-1 / order) - (math.log(delta) + math.log(order)) / (order - 1)


def order_for(epsilon: float, delta: float) -> int:
    """The order at which most Gaussian noise fits into (epsilon, delta). It hangs on the budget alone, as the order of
    a filter must."""
    return max(ORDERS, key=lambda order: (epsilon - overhead(order, delta)) / order)


@lru_cache(maxsize=65536)
def sampled_cost(noise_multiplier: float, rate: float, examples: int, order: int, *, replaced: bool) -> float:
    """Renyi divergence of one step at `order`: the least of the bounds above.

    Args:
        examples: of one unit, k.
        replaced: the unit's content is replaced; otherwise the unit is added or removed.
    """
    told = _coins_told(noise_multiplier, rate, examples, order, 2.0 if replaced else 1.0)
    any_enters = -math.expm1(examples * math.log1p(-rate))
    if not replaced:
        return _rounded_up(min(told, _removed(noise_multiplier, any_enters, order)))
    there = _removed(noise_multiplier, any_enters, 2 * order)
    back = _removed(noise_multiplier, any_enters, 2 * order - 1)
    return _rounded_up(min(told, (order - 0.5) / (order - 1) * there + back))


def _coins_told(noise_multiplier: float, rate: float, examples: int, order: int, shift: float) -> float:
    step = shift / (examples * noise_multiplier)
    terms = [
        _log_binomial(examples, entered, rate) + order * (order - 1) * (entered * step) * (entered * step) / 2
        for entered in range(examples + 1)
    ]
    return _log_sum(terms) / (order - 1)


def _removed(noise_multiplier: float, rate: float, order: int) -> float:
    precision = 1 / noise_multiplier / noise_multiplier
    if rate >= 1:
        return order * precision / 2
    terms = [_log_binomial(order, i, rate) + (i * i - i) * precision / 2 for i in range(order + 1)]
    return _log_sum(terms) / (order - 1)


def _log_binomial(n: int, i: int, rate: float) -> float:
    """Log of the probability of i among n."""
    ways = math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1)
    return ways + i * math.log(rate) + (n - i) * math.log1p(-rate)


def _log_sum(terms: Sequence[float]) -> float:
    most = max(terms)
    return most if math.isinf(most) else most + math.log(math.fsum(math.exp(term - most) for term in terms))


def _rounded_up(cost: float) -> float:
    return max(cost, 0.0) * (1 + ROUNDING) + ROUNDING


def renyi_epsilon(cost: float, order: int, delta: float) -> float:
    """Epsilon at `delta` of what costs `cost` at `order`, rounded up."""
    return max(cost + overhead(order, delta), 0.0) * (1 + MARGIN) + TRACE
