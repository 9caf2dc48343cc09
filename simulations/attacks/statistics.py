"""Statistics of attacks and audits: exact intervals, what they prove of (epsilon, delta), and a fit of Gaussian DP.

A **proof** here is a bound that holds with the stated confidence whatever the mechanism is. It rests on exact binomial
intervals (Clopper and Pearson 1934) of an attacker's true and false positive rates at one threshold, which was chosen
on other runs. An **estimate** also assumes that the mechanism is Gaussian.

Gaussian DP (Dong, Roth and Su 2022): a mechanism is mu-GDP if no test of neighbours does better than a test of N(0, 1)
against N(mu, 1). So TPR and FPR of any test show mu >= z(TPR) - z(FPR), with z the normal quantile (Nasr et al. 2023).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtri

from privacy.accounting.composition import epsilon, gaussian_epsilon
from privacy.accounting.events import Event

CONFIDENCE = 0.95
ALARM = 1e-6
"""How often a verdict may be wrong by chance, for each row: a table that runs daily must not cry wolf."""
DELTAS = (1e-6, 1e-2, 0.05, 0.1, 0.2)
"""An accountant's epsilon is a claim at every delta; small deltas cannot be tested with some thousand runs."""
RESAMPLES = 4000
LARGEST_MU = 64.0

Interval = tuple[float, float]
Scores = NDArray[np.float64]


def clopper_pearson(k: int, n: int, alpha: float) -> Interval:
    """Return exact one-sided bounds of a binomial rate, each with confidence 1 - alpha (Clopper and Pearson 1934)."""
    lower = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, alpha))
    upper = 1.0 if k == n else float(betaincinv(k + 1, n - k, 1 - alpha))
    return lower, upper


def rate_interval(k: int, n: int, confidence: float = CONFIDENCE) -> Interval:
    """Return the exact two-sided interval of a binomial rate."""
    return clopper_pearson(k, n, (1 - confidence) / 2)


def advantage(right: int, tries: int) -> float:
    """Return the advantage of an attacker who guesses one of two: 2 accuracy - 1, at least 0."""
    return max(0.0, 2 * right / tries - 1)


def advantage_interval(right: int, tries: int) -> Interval:
    """Return the exact interval of `advantage`."""
    low, high = rate_interval(right, tries)
    return max(0.0, 2 * low - 1), max(0.0, 2 * high - 1)


def chance(tries: int) -> float:
    """Return the advantage that a coin has in one of a million runs."""
    return 2 * 4.75 * math.sqrt(0.25 / tries)


def mean_interval(values: Sequence[float] | Scores, seed: int = 0, confidence: float = CONFIDENCE) -> Interval:
    """Return the percentile bootstrap interval of a mean (Efron 1979)."""
    drawn = np.asarray(values, np.float64)
    places = np.random.default_rng(seed).integers(0, len(drawn), (RESAMPLES, len(drawn)))
    low, high = np.quantile(drawn[places].mean(1), ((1 - confidence) / 2, (1 + confidence) / 2))
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class Charge:
    """What the product's accountant charges for some events, as a limit for every test of neighbours."""

    events: tuple[Event, ...]

    def epsilon(self, delta: float) -> float:
        """Return the accounted epsilon; 0 for no events."""
        return _epsilon(self.events, delta)

    def mu(self, delta: float) -> float:
        """Return the mu of the Gaussian mechanism that has the accounted epsilon at `delta`."""
        return mu_of(self.epsilon(delta), delta)

    def most_true_positives(self, false_positives: float) -> float:
        """Return the largest true positive rate that the charge allows (Kairouz, Oh and Viswanath 2015)."""
        most = 1.0
        for delta in DELTAS:
            factor = math.exp(min(self.epsilon(delta), 700))
            most = min(most, factor * false_positives + delta, 1 - (1 - false_positives - delta) / factor)
        return max(0.0, most)


@lru_cache(maxsize=1024)
def _epsilon(events: tuple[Event, ...], delta: float) -> float:
    return epsilon(events, delta)


@dataclass(frozen=True, slots=True)
class Test:
    """How often a test, whose threshold was fixed before, said "in" for each of two neighbours.

    Attributes:
        hits: true positives of `ins` runs.
        false: false positives of `outs` runs.
    """

    hits: int
    ins: int
    false: int
    outs: int

    __test__ = False  # not one of pytest's

    @classmethod
    def at(cls, threshold: float, ins: Scores, outs: Scores) -> Test:
        """Count scores above a threshold."""
        return cls(int((ins > threshold).sum()), len(ins), int((outs > threshold).sum()), len(outs))

    @property
    def advantage(self) -> float:
        """True positive rate minus false positive rate, at least 0."""
        return max(0.0, self.hits / self.ins - self.false / self.outs)

    def advantage_interval(self, confidence: float = CONFIDENCE) -> Interval:
        """Return an interval of `advantage`: both rates lie in their exact intervals together."""
        (low_hit, high_hit), (low_false, high_false) = self.rates(1 - confidence)
        return max(0.0, low_hit - high_false), max(0.0, high_hit - low_false)

    def rates(self, alpha: float) -> tuple[Interval, Interval]:
        """Return intervals of the true and the false positive rate that hold together with confidence 1 - alpha."""
        return clopper_pearson(self.hits, self.ins, alpha / 4), clopper_pearson(self.false, self.outs, alpha / 4)

    def epsilon(self, delta: float, alpha: float = 1 - CONFIDENCE) -> float:
        """Return a lower bound of epsilon at `delta`: a proof with confidence 1 - alpha.

        An (epsilon, delta)-private mechanism has TPR <= e^epsilon FPR + delta, and the same of the negatives.
        """
        (low_hit, _), (_, high_false) = self.rates(alpha)
        return max(0.0, _log_ratio(low_hit - delta, high_false), _log_ratio(1 - high_false - delta, 1 - low_hit))

    def mu(self, alpha: float = 1 - CONFIDENCE) -> Interval:
        """Return an interval of z(TPR) - z(FPR) with confidence 1 - alpha.

        Its lower end is a proof that the mechanism is not mu-GDP for any smaller mu. Its upper end bounds what this
        test shows; it bounds the mechanism's mu only if the scores are the mechanism's sufficient statistic.
        """
        (low_hit, high_hit), (low_false, high_false) = self.rates(alpha)
        low, high = float(ndtri(low_hit) - ndtri(high_false)), float(ndtri(high_hit) - ndtri(low_false))
        return max(0.0, low), max(0.0, high)

    def refutes(self, charge: Charge, alpha: float = ALARM) -> bool:
        """Whether these counts prove the charge wrong at some delta, with confidence 1 - alpha."""
        return self.margin(charge, alpha) > 0

    def margin(self, charge: Charge, alpha: float = ALARM) -> float:
        """Return by how much the true positive rate surely exceeds what the charge allows; below 0 if it may not."""
        (low_hit, _), (_, high_false) = self.rates(alpha)
        return low_hit - charge.most_true_positives(high_false)


def _log_ratio(above: float, below: float) -> float:
    return math.log(above / below) if above > 0 and below > 0 else 0.0


def best_test(ins: Scores, outs: Scores, gain: Callable[[Test], float]) -> Test:
    """Choose a threshold by `gain` on the first half of the scores and count on the second."""
    half = min(len(ins), len(outs)) // 2
    thresholds = np.unique(np.quantile(np.concatenate((ins[:half], outs[:half])), np.linspace(0.005, 0.995, 199)))
    best = max(thresholds, key=lambda threshold: gain(Test.at(float(threshold), ins[:half], outs[:half])))
    return Test.at(float(best), ins[half:], outs[half:])


def advantage_test(ins: Scores, outs: Scores) -> Test:
    """Return the test of largest advantage."""
    return best_test(ins, outs, lambda test: test.advantage)


def epsilon_test(ins: Scores, outs: Scores, delta: float) -> Test:
    """Return the test that proves the largest epsilon."""
    return best_test(ins, outs, lambda test: test.epsilon(delta, 0.5))


def mu_test(ins: Scores, outs: Scores) -> Test:
    """Return the test that proves the largest mu."""
    return best_test(ins, outs, lambda test: test.mu()[0])


def refuting_test(ins: Scores, outs: Scores, charge: Charge) -> Test:
    """Return the test that comes nearest to proving the charge wrong."""
    return best_test(ins, outs, lambda test: test.margin(charge))


def epsilon_of_mu(mu: float, delta: float) -> float:
    """Return epsilon of a mu-GDP mechanism."""
    if mu <= 0:
        return 0.0
    return gaussian_epsilon(1 / mu, delta) if mu < LARGEST_MU else math.inf


def mu_of(epsilon: float, delta: float) -> float:
    """Return the mu whose Gaussian has this epsilon."""
    low, high = 0.0, LARGEST_MU
    if epsilon_of_mu(high * (1 - 1e-9), delta) < epsilon:
        return math.inf
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if epsilon_of_mu(middle, delta) < epsilon else (low, middle)
    return high
