"""Random numbers that no output of ours can reveal: the noise and the sampling of every mechanism on a node.

torch seeds its generator with 32 bits, and a Mersenne twister can be run backwards. Here every call takes a fresh
256-bit key from the operating system and draws from AES-256 in counter mode, the construction of NIST's CTR_DRBG.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from privacy.mechanisms.randomness import RandomWords

BATCH = 65_536
"""About how many values are drawn at once."""


def drawn(n: int, rate: float) -> NDArray[np.int64]:
    """Which of n enter a Poisson sample, in order: each with probability `rate`, on its own.

    By 32 bits each, and rounded down: never more often than `rate` says, at most 2^-32 less often.
    """
    if rate >= 1:
        return np.arange(n)
    words = RandomWords().words((n + 1) // 2).view(np.uint32)[:n]
    found: NDArray[np.int64] = np.flatnonzero(words < np.uint32(int(rate * 2**32)))
    return found


def uniform(n: int) -> NDArray[np.float64]:
    """n values in [0, 1), 53 random bits each."""
    values: NDArray[np.float64] = _bits(n).double().mul_(2.0**-53).numpy()
    return values


def gaussian(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Standard normal values, float64, by Box and Muller's formula.

    Which floating point numbers a noised value can be depends on the value without noise, and their gaps can betray it
    (Mironov 2012; Jin et al. 2022). So a caller adds this noise in float64 and releases float32: every number that is
    released stands for half a billion neighbours of the grid that the noise was on, whatever the value was.
    """
    n = math.prod(shape)
    pairs = (n + 1) // 2
    bits = _bits(2 * pairs).double()  # torch's logarithm and cosine are vectorised, several times as fast as numpy's
    radius = bits[:pairs].add_(1).mul_(2.0**-53).log_().mul_(-2).sqrt_()
    angle = bits[pairs:].mul_(2 * math.pi * 2.0**-53)
    values: NDArray[np.float64] = torch.cat((angle.cos().mul_(radius), angle.sin().mul_(radius))).numpy()
    return values[:n].reshape(shape)


def gaussian_rows(rows: int, length: int) -> Iterator[NDArray[np.float64]]:
    """`rows` times `gaussian((length,))`, one by one, drawn many at once where they are short: half the price."""
    at_once = max(1, BATCH // max(length, 1))
    for begun in range(0, rows, at_once):
        yield from gaussian((min(at_once, rows - begun), length))


def _bits(n: int) -> torch.Tensor:
    """n integers of 53 random bits."""
    return torch.from_numpy(RandomWords().words(n).view(np.int64)).bitwise_and_((1 << 53) - 1)
