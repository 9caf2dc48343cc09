"""What an attack gives back, and the statistics that it rests on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of the table.

    Attributes:
        attack: what was tried.
        saw: what the attacker had.
        without: advantage without our protection, 0 (a coin) to 1 (certainty).
        protected: the same with it.
        limit: what `protected` may be at most for the protection to hold, chance included; None where no protection
            claims to hold, and the figure is shown for what it is.
        note: how to read it.
    """

    attack: str
    saw: str
    without: float
    protected: float
    limit: float | None
    note: str = ""

    @property
    def works(self) -> bool:
        """Whether the attack succeeds where nothing stops it: else it shows nothing."""
        return self.without > 0.5

    @property
    def held(self) -> bool:
        return self.works and (self.limit is None or self.protected <= self.limit)


@dataclass(frozen=True, slots=True)
class Audit:
    """A mechanism under audit.

    Attributes:
        mechanism: which, and how it was broken if it was.
        audited: lower bound of its epsilon at `delta`, with 95 % confidence.
        accounted: what the ledger would charge.
        broken: whether it was broken on purpose.
    """

    mechanism: str
    audited: float
    accounted: float
    delta: float
    broken: bool = False

    @property
    def flagged(self) -> bool:
        """The audit shows more than was accounted for."""
        return self.audited > self.accounted

    @property
    def held(self) -> bool:
        return self.flagged is self.broken


def advantage(right: int, tries: int) -> float:
    """Of an attacker who guesses one of two, from how often it was right: 2 accuracy - 1, at least 0."""
    return max(0.0, 2 * right / tries - 1)


def chance(tries: int) -> float:
    """The advantage that a coin has in one of a million runs: an audit that is run daily must not cry wolf."""
    return 2 * 4.75 * math.sqrt(0.25 / tries)


def best_advantage(ins: NDArray[np.float64], outs: NDArray[np.float64]) -> float:
    """True positives minus false ones at the best threshold, found on one half of the scores, measured on the other."""
    half = min(len(ins), len(outs)) // 2
    thresholds = np.unique(np.concatenate((ins[:half], outs[:half])))
    gains = [(ins[:half] >= t).mean() - (outs[:half] >= t).mean() for t in thresholds]
    best = thresholds[int(np.argmax(gains))]
    return max(0.0, float((ins[half:] >= best).mean() - (outs[half:] >= best).mean()))


def clopper_pearson(k: int, n: int, alpha: float) -> tuple[float, float]:
    """Exact one-sided bounds, each with confidence 1 - alpha, of a binomial rate (Clopper and Pearson 1934)."""
    lower = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, alpha))
    upper = 1.0 if k == n else float(betaincinv(k + 1, n - k, 1 - alpha))
    return lower, upper


def audited_epsilon(ins: NDArray[np.float64], outs: NDArray[np.float64], delta: float) -> float:
    """A lower bound of epsilon that holds with 95 % confidence, from an attacker's scores with and without a canary.

    The threshold is chosen on the first half of the scores and judged on the second. A mechanism that is
    (epsilon, delta)-private has TPR <= e^epsilon FPR + delta, and the same turned round (Kairouz et al. 2015).
    """
    half = min(len(ins), len(outs)) // 2
    candidates = np.quantile(np.concatenate((ins[:half], outs[:half])), np.linspace(0.01, 0.99, 99))
    best = max(candidates, key=lambda t: _epsilon_at(ins[:half], outs[:half], float(t), delta, 0.5))
    return _epsilon_at(ins[half:], outs[half:], float(best), delta, 1 - CONFIDENCE)


def _epsilon_at(
    ins: NDArray[np.float64], outs: NDArray[np.float64], threshold: float, delta: float, alpha: float
) -> float:
    above_in, above_out, n_in, n_out = int((ins > threshold).sum()), int((outs > threshold).sum()), len(ins), len(outs)
    bounds = []
    for hits, n_hits, misses, n_misses in (
        (above_in, n_in, above_out, n_out),
        (n_out - above_out, n_out, n_in - above_in, n_in),
    ):
        true = clopper_pearson(hits, n_hits, alpha / 4)[0] - delta
        false = clopper_pearson(misses, n_misses, alpha / 4)[1]
        bounds.append(math.log(true / false) if true > 0 and false > 0 else 0.0)
    return max(0.0, *bounds)
