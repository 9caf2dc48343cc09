"""Auditing with one training run (Steinke, Nasr and Jagielski 2023, arXiv:2305.08846, Theorem 5.2).

Each of m canaries is in or out by a fair coin of its own (or holds one of two contents). All of them are trained on
together, once. The attacker guesses r of the m coins and abstains from the others. If the mechanism is (epsilon,
delta)-private for one canary, v correct guesses are hardly likelier than of r coins with bias e^epsilon / (1 +
e^epsilon): by at most 2 m delta alpha, with alpha as below. No independence of the canaries' effects is assumed.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import binom

from simulations.attacks.statistics import CONFIDENCE, Scores

SHARES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)


def p_value(canaries: int, guesses: int, correct: int, epsilon: float, delta: float) -> float:
    """Return a bound of the probability of so many correct guesses under (epsilon, delta)-DP.

    Args:
        canaries: m, each in or out by a fair coin.
        guesses: r, those from which the attacker does not abstain.
        correct: v.
    """
    if not 0 <= correct <= guesses <= canaries:
        raise ValueError(f"{correct} correct of {guesses} guesses about {canaries} canaries: these must not fall")
    bias = 1 / (1 + math.exp(-epsilon))
    beta = float(binom.sf(correct - 1, guesses, bias))
    if not delta or not correct:
        return min(1.0, beta)
    # P[v > Binomial(r, bias) >= v - i], and what of it each of i shifts costs.
    below = np.cumsum(binom.pmf(np.arange(correct - 1, -1, -1), guesses, bias))
    alpha = float((below / np.arange(1, correct + 1)).max())
    return min(1.0, beta + 2 * canaries * delta * alpha)


def epsilon_at_least(canaries: int, guesses: int, correct: int, delta: float, alpha: float = 1 - CONFIDENCE) -> float:
    """Return the largest epsilon that is refuted with confidence 1 - alpha; 0 if none is."""
    low, high = 0.0, 1.0
    if p_value(canaries, guesses, correct, low, delta) > alpha:
        return 0.0
    while p_value(canaries, guesses, correct, high, delta) <= alpha and high < 64:
        low, high = high, 2 * high
    for _ in range(40):
        middle = (low + high) / 2
        refuted = p_value(canaries, guesses, correct, middle, delta) <= alpha
        low, high = (middle, high) if refuted else (low, middle)
    return low


def guesses_for(canaries: int, mu: float, delta: float) -> int:
    """Return how many guesses prove the most, if each canary shifts its own score by `mu` standard deviations.

    It depends on what is public alone, so choosing it costs no confidence.
    """
    return max(
        (max(1, round(share * canaries)) for share in SHARES),
        key=lambda guesses: epsilon_at_least(canaries, guesses, _expected(guesses, guesses / canaries, mu), delta),
    )


def count_correct(scores: Scores, coins: NDArray[np.bool_], guesses: int) -> int:
    """Return how many guesses are right, if the attacker guesses where it is surest.

    Args:
        scores: [m], above 0 if the canary seems to be in, below if it seems to be out.
        coins: [m], whether it is in.
    """
    surest = np.argsort(-np.abs(scores))[:guesses]
    return int(((scores[surest] > 0) == coins[surest]).sum())


def _expected(guesses: int, share: float, mu: float) -> int:
    """Correct guesses among the share of largest |score| of an even mixture of N(mu/2, 1) and N(-mu/2, 1)."""
    half = mu / 2
    low, high = 0.0, half - float(ndtri(1e-12))
    for _ in range(60):
        middle = (low + high) / 2
        above = float(ndtr(half - middle) + ndtr(-half - middle))
        low, high = (middle, high) if above > share else (low, middle)
    right = float(ndtr(half - low))
    return round(guesses * right / (right + float(ndtr(-half - low))))
