"""Gaussian differential privacy: what a shift of one Gaussian costs, exactly.

A mechanism is mu-GDP if telling two neighbours apart by its output is at most as easy as telling N(0, 1) from N(mu, 1)
(Dong, Roth and Su 2022). Gaussians compose to one whose mu squared is the sum of theirs. That also holds if each mu is
chosen by what was released before, as long as the sum of squares stays within a number that was fixed in advance (the
GDP filter: Smith and Thakurta 2022, arXiv:2210.17520; Koskela, Tobaben and Honkela 2023, arXiv:2209.15596). So a
filter costs nothing over fixed numbers here. Of trade-off functions that are not Gaussian the like does not hold in
general (arXiv:2602.06756), so sampled sums go another way (`privacy.accounting.renyi`).
"""

from __future__ import annotations

import math

MARGIN = 1e-9
"""Relative, on delta and on epsilon: over what float64 rounds, which is below 1e-11 of either."""
TRACE = 1e-12
"""Added to every epsilon: over what a sum of fine discrete Gaussians differs from a continuous one
(`SharedGaussian.shift`)."""


def gaussian_epsilon(noise_multiplier: float, delta: float) -> float:
    """Epsilon at `delta` of one Gaussian mechanism, rounded up (Balle and Wang 2018, theorem 8).

    Args:
        noise_multiplier: standard deviation of the noise over the most that the neighbours' sums differ.
    """
    if noise_multiplier == 0 or math.isinf(1 / noise_multiplier):
        return math.inf
    low, high = 0.0, 1.0
    if _delta(noise_multiplier, low) <= delta:
        return TRACE
    while _delta(noise_multiplier, high) > delta:
        low, high = high, 2 * high
    while high - low > MARGIN * high:
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if _delta(noise_multiplier, middle) > delta else (low, middle)
    return high * (1 + MARGIN) + TRACE


def _delta(noise_multiplier: float, at_epsilon: float) -> float:
    """Delta of a Gaussian at epsilon, rounded up.

    The theorem's e^epsilon Phi(-b) is written as e^(-a^2 / 2) erfcx(b / sqrt(2)) / 2, for b^2 - a^2 is 2 epsilon: that
    neither overflows nor vanishes.
    """
    shift = 1 / noise_multiplier
    a, b = shift / 2 - at_epsilon / shift, shift / 2 + at_epsilon / shift
    upper = math.erfc(-a / math.sqrt(2)) / 2
    lower = math.exp(-a * a / 2) * _erfcx(b / math.sqrt(2)) / 2
    return (upper - lower) * (1 + MARGIN)


def _erfcx(x: float) -> float:
    """Scaled complementary error function of x >= 0, exp(x^2) erfc(x); from 5 on by its continued fraction."""
    if x < 5:
        return math.exp(x * x) * math.erfc(x)
    tail = x
    for term in range(60, 0, -1):
        tail = x + term / 2 / tail
    return 1 / (math.sqrt(math.pi) * tail)
