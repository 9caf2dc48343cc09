"""Privacy by noise that nodes share: each adds a little to its part of a secure sum, and the sum has enough.

A node's part is made of PIECES, each bounded to norm C in whole steps of the sum's code. Where the unit is the whole
site there is one piece, the node's update; where it is a record, each training example's clipped gradient is a piece,
and one unit touches at most k of them. Then each node adds discrete Gaussian noise of its own, before it is masked.
Nobody sees it alone (`privacy.secure_sum`); in a sum over at least `cohort` nodes of which a third may have dropped
their noise or be in league with the centre, the noise of the others has standard deviation z k C at least.

**Theorem.** Assume that in a sum at least `honest` nodes add their noise and do not tell it, that a unit is of one node
and touches at most k of its pieces, and that a piece depends on its own example and on what is public alone. Then the
sum is rho-concentrated DP for one unit added or removed, with the rho of `SharedGaussian(k C, sigma, honest, ...)`.

Proof. All is in whole numbers. A coded piece has norm at most C steps: it is scaled to below C and truncated towards
zero, which shortens every element. Pieces are added exactly, so a unit moves a node's sum by at most k C (it moves no
other node's). Setting each element of the node's sum to a range moves two sums no further apart. To the sum of all
nodes `honest` independent discrete Gaussians of sigma = ceil(z k C / sqrt(honest)) are added: theorem 1 of Kairouz, Liu
and Steinke 2021 (arXiv:2102.06387) bounds what their sum differs from one discrete Gaussian by tau, which for a sigma
of many steps is far below any rounding. The other nodes' noise, the ring's modulus and the decoding come after it. No
floating point number is between the pieces and the sum, so there is no rounding to pay for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privacy.accounting.events import SITE, SharedGaussian
from privacy.mechanisms.discrete_gaussian import MOST_SIGMA, sample
from privacy.secure_sum.fixed_point import EXACT, FixedPoint, Ring

STRAY = 10.0
"""Noise of a sum further out than this many standard deviations does not happen (below 1e-22)."""
SLACK = 1e-9
"""Relative; of a norm that was worked out in float64."""

Steps = NDArray[np.int64]
"""Whole steps of a sum's code, signed."""


class NoRoom(ValueError):
    """The code of the sum has no room for the noise; the message says what to raise."""


@dataclass(frozen=True, slots=True)
class NoiseReport:
    """What the mechanism did. Stays on the node, but for the first four, which are public.

    Attributes:
        cohort: fewest nodes of a sum that the noise is scaled to.
        sigma: standard deviation of the noise that this node added, in whole steps of the code.
        noise_std: of the noise that this node added, in the unit of the update.
        sum_noise_std: of what is in the sum at least, in the same unit.
        clipped: whether the update was longer than C, or a sum of pieces beyond the code's range.
        snr: norm of what went in over the expected norm of this node's noise.
    """

    cohort: int
    sigma: int
    noise_std: float
    sum_noise_std: float
    clipped: bool
    snr: float


@dataclass(frozen=True, slots=True)
class SharedNoise:
    """The mechanism.

    Attributes:
        noise_multiplier: z, noise of the sum over the most that one unit moves it.
        clip_norm: C, bound of a piece.
        cohort: of how many nodes the helper makes a sum at least, as its own organisation promises.
        unit: name of the privacy unit.
        unit_pieces: k, how many pieces one unit touches at most; 1 where the unit is the whole site.
        day_units: how much a day moves the sum, as in `SharedGaussian`; a whole site covers every day.
    """

    noise_multiplier: float
    clip_norm: float
    cohort: int
    unit: str = SITE
    unit_pieces: int = 1
    day_units: float = 0.0

    def __post_init__(self) -> None:
        for name in ("noise_multiplier", "clip_norm"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be finite and above 0")
        if self.cohort < 2:
            raise ValueError(f"cohort {self.cohort}: noise is shared by at least 2 nodes")
        if self.unit_pieces < 1 or (self.unit == SITE and self.unit_pieces > 1):
            raise ValueError(f"unit_pieces {self.unit_pieces} of unit {self.unit!r}: at least 1, and 1 of a site")

    @property
    def honest(self) -> int:
        """Nodes whose noise is counted on: two thirds of the cohort."""
        return honest_of(self.cohort)

    def sigma(self, code: FixedPoint) -> int:
        """Standard deviation of one node's noise, in steps of the code.

        Raises:
            NoRoom: the sum could wrap around.
        """
        sensitivity = self.sensitivity(code)
        sigma = math.ceil(self.noise_multiplier * sensitivity / math.sqrt(self.honest))
        if sigma > MOST_SIGMA or _range(sigma, code) < sensitivity:
            raise NoRoom(
                f"noise of {sigma} steps a node does not fit the sum's code of {code.bits} bits for {code.most} nodes: "
                "raise secure_sum.bound or secure_sum.bits, or lower the clip norm"
            )
        return sigma

    def bound(self, code: FixedPoint) -> int:
        """C in steps of the code.

        Raises:
            NoRoom: C is below one step.
        """
        steps = int(self.clip_norm / code.step)
        if steps < 1:
            raise NoRoom(
                f"clip norm {self.clip_norm} is below one step of the sum's code, {code.step}: lower the bound"
            )
        return steps

    def sensitivity(self, code: FixedPoint) -> int:
        """The most that one unit moves the sum, Euclidean norm in steps of the code."""
        return self.unit_pieces * self.bound(code)

    def event(self, code: FixedPoint, elements: int) -> SharedGaussian:
        """What `add` or `put` costs, for the ledger."""
        day_units = 1.0 if self.unit == SITE else self.day_units
        return SharedGaussian(
            self.sensitivity(code), self.sigma(code), self.honest, max(elements, 1), self.unit, day_units
        )

    def add(self, elements: Ring, code: FixedPoint) -> NoiseReport:
        """Bound an encoded update, which is the one piece, and add this node's share of the noise, in place.

        Raises:
            NoRoom: see `sigma`.
        """
        sigma, bound = self.sigma(code), self.bound(code)
        signed = elements.view(np.dtype(f"i{code.bits // 8}"))
        values = signed.astype(np.float64)
        norm = float(np.linalg.norm(values))
        clipped = norm > bound * (1 - SLACK)
        if clipped:
            signed[:] = _truncated(values, norm, bound).astype(signed.dtype)
        _add_noise(elements, sigma)
        return self._report(sigma, min(norm, bound), len(elements), code, clipped=clipped)

    def coded(self, piece: NDArray[np.floating], code: FixedPoint) -> Steps:
        """One piece in whole steps of the code; one that is not finite counts for nothing.

        Args:
            piece: [elements], in the unit of the update.
        """
        values = np.asarray(piece, np.float64) / code.step
        norm = float(np.linalg.norm(values))
        if not math.isfinite(norm):
            return np.zeros(len(values), np.int64)
        return _truncated(values, norm, self.bound(code)).astype(np.int64)

    def put(self, total: Steps, elements: Ring, code: FixedPoint) -> NoiseReport:
        """Write the sum of coded pieces and this node's share of the noise into `elements`.

        Raises:
            NoRoom: see `sigma`.
        """
        sigma = self.sigma(code)
        most = _range(sigma, code)
        kept = np.clip(total, -most, most)
        elements[:] = kept.view(np.uint64).astype(elements.dtype)
        _add_noise(elements, sigma)
        clipped = bool((kept != total).any())
        return self._report(sigma, float(np.linalg.norm(kept.astype(np.float64))), len(elements), code, clipped=clipped)

    def _report(self, sigma: int, norm: float, elements: int, code: FixedPoint, *, clipped: bool) -> NoiseReport:
        expected = sigma * math.sqrt(max(elements, 1))
        of_sum = sigma * math.sqrt(self.honest) * code.step
        return NoiseReport(self.cohort, sigma, sigma * code.step, of_sum, clipped, norm / expected)


def honest_of(cohort: int) -> int:
    """Nodes of a cohort whose noise is counted on: two thirds, rounded up."""
    return cohort - cohort // 3


def _range(sigma: int, code: FixedPoint) -> int:
    """The largest step of one node's part that leaves the sum room for the noise of all; below 0 where none is left."""
    noise = math.ceil(STRAY * sigma * math.sqrt(code.most))
    return min(((1 << (code.bits - 1)) - 1 - noise) // code.most, EXACT)


def _truncated(values: NDArray[np.float64], norm: float, bound: int) -> NDArray[np.float64]:
    """Whole numbers towards zero of what is no longer than `bound`, exactly: the slack covers float64's rounding."""
    most = bound * (1 - SLACK)
    cut: NDArray[np.float64] = np.trunc(values * (most / norm) if norm > most else values)
    return cut


def _add_noise(elements: Ring, sigma: int) -> None:
    noise = sample(sigma, len(elements))
    np.add(elements, noise.view(np.uint64).astype(elements.dtype), out=elements)
