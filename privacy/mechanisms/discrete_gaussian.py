"""Exact samples of the discrete Gaussian: P(x) proportional to exp(-x^2 / (2 sigma^2)) on the whole numbers.

The algorithm is that of Canonne, Kamath and Steinke 2020 (arXiv:2004.00010, algorithms 1 to 3), for many samples at
once. It rests on coins that fall on heads with probability exp(-x). Such a coin is a uniform number compared with
exp(-x), and is exact here: 64 bits of the number decide unless they are within `MARGIN` of the float64 value of
exp(-x), which covers every rounding error; then further bits are drawn and exp(-x) is worked out to as many digits as
it takes.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from privacy.mechanisms.randomness import RandomWords

MARGIN = 1e-12
MOST_SIGMA = 2**40
Ints = NDArray[np.int64]


def sample(sigma: int, n: int, random: RandomWords | None = None) -> Ints:
    """n samples, int64 [n].

    Args:
        sigma: a whole number, so that every probability is of a rational number.

    Raises:
        ValueError: sigma is not in 1..2**40.
    """
    if not 1 <= sigma <= MOST_SIGMA:
        raise ValueError(f"sigma {sigma} is not a whole number in 1..2**40")
    random = random or RandomWords()
    t = sigma + 1
    square = sigma * sigma

    def exponent(y: int) -> Fraction:
        return (abs(y) - Fraction(square, t)) ** 2 / (2 * square)

    found = np.empty(0, np.int64)
    while len(found) < n:
        y = _laplace(t, n - len(found), random)
        x = (np.abs(y) - square / t) ** 2 / (2.0 * square)
        kept = _coins(x, lambda place, y=y: exponent(int(y[place])), random)  # type: ignore[misc]
        found = np.concatenate((found, y[kept]))
    return found


def _laplace(t: int, n: int, random: RandomWords) -> Ints:
    """Discrete Laplace of scale t, P(x) proportional to exp(-|x| / t); at least one sample, at most about n."""
    u = random.below(t, max(n, 16) * 2)
    u = u[_coins(u / t, lambda place, u=u: Fraction(int(u[place]), t), random)]  # type: ignore[misc]
    x = u + t * _geometric(len(u), random)
    negative = (random.words(len(x)) & np.uint64(1)).astype(bool)
    kept = ~(negative & (x == 0))
    signed: Ints = np.where(negative, -x, x)[kept][:n]
    return signed


def _geometric(n: int, random: RandomWords) -> Ints:
    """How many heads before the first tails, of coins with probability exp(-1)."""
    counts = np.zeros(n, np.int64)
    going = np.arange(n)
    while len(going):
        heads = _coins(np.ones(len(going)), lambda _: Fraction(1), random)
        going = going[heads]
        counts[going] += 1
    return counts


def _coins(x: NDArray[np.float64], exactly: Callable[[int], Fraction], random: RandomWords) -> NDArray[np.bool_]:
    """Heads with probability exp(-x), each; x from 0 up.

    Args:
        exactly: the rational number that x[place] stands for, to within its rounding.
    """
    words = random.words(len(x))
    uniform, p = words * 2.0**-64, np.exp(-x)
    heads = uniform < p
    for place in np.flatnonzero(np.abs(uniform - p) <= MARGIN):
        heads[place] = _coin(int(words[place]), exactly(int(place)), random)
    return heads


def _coin(word: int, x: Fraction, random: RandomWords) -> bool:
    """Whether the uniform number whose first 64 bits are `word` is below exp(-x), with as many bits as it takes."""
    bits = 64
    while True:
        low, high = _exp(x, bits)
        if Fraction(word + 1, 1 << bits) <= low:
            return True
        if Fraction(word, 1 << bits) >= high:
            return False
        word = (word << 64) | int(random.words(1)[0])
        bits += 64


def _exp(x: Fraction, bits: int) -> tuple[Fraction, Fraction]:
    """Bounds of exp(-x), less than 2**-bits apart."""
    with decimal.localcontext() as context:
        context.prec = math.ceil(bits * 0.302) + 20
        value = Fraction((-decimal.Decimal(x.numerator) / decimal.Decimal(x.denominator)).exp())
    slack = Fraction(1, 1 << (bits + 8))
    return value - slack, value + slack
