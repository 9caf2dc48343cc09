"""Site-level privacy by noise that nodes share: each adds a little, and their sum has enough.

A node's whole update is bounded to norm C in steps of the secure sum's code, and gets discrete Gaussian noise of its
own before it is masked. Nobody sees it alone (`privacy.secure_sum`); in a sum over at least `cohort` nodes of which a
third may have dropped their noise or be in league with the centre, the noise of the others has standard deviation z C.

Sums of discrete Gaussians are no discrete Gaussian, but nearly: Kairouz, Liu and Steinke 2021 (arXiv:2102.06387,
theorem 1) bound what differs by tau, which for a sigma of many steps is far below any rounding. See `SharedGaussian`
for what the ledger is charged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from privacy.accounting.events import SITE, SharedGaussian
from privacy.mechanisms.discrete_gaussian import MOST_SIGMA, sample
from privacy.secure_sum.fixed_point import FixedPoint, Ring

STRAY = 10.0
"""Noise of a sum further out than this many standard deviations does not happen (below 1e-22)."""


class NoRoom(ValueError):
    """The code of the sum has no room for the noise; the message says what to raise."""


@dataclass(frozen=True, slots=True)
class NoiseReport:
    """What the mechanism did. Stays on the node, but for the first two, which are public.

    Attributes:
        noise_std: of the noise that this node added, in the unit of the update.
        sum_noise_std: of what is in the sum at least, in the same unit.
        clipped: whether the update was longer than C.
        snr: norm of the update over the expected norm of this node's noise.
    """

    noise_std: float
    sum_noise_std: float
    clipped: bool
    snr: float


@dataclass(frozen=True, slots=True)
class SharedNoise:
    """The mechanism.

    Attributes:
        noise_multiplier: z, noise of the sum over the most that one site moves it.
        clip_norm: C, bound of a site's update.
        cohort: of how many nodes the helper makes a sum at least, as its own organisation promises.
    """

    noise_multiplier: float
    clip_norm: float
    cohort: int

    def __post_init__(self) -> None:
        for name in ("noise_multiplier", "clip_norm"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be finite and above 0")
        if self.cohort < 2:
            raise ValueError(f"cohort {self.cohort}: noise is shared by at least 2 nodes")

    @property
    def honest(self) -> int:
        """Nodes whose noise is counted on: two thirds of the cohort."""
        return self.cohort - self.cohort // 3

    def sigma(self, code: FixedPoint) -> int:
        """Standard deviation of one node's noise, in steps of the code.

        Raises:
            NoRoom: the sum could wrap around.
        """
        bound = self.bound(code)
        sigma = math.ceil(self.noise_multiplier * bound / math.sqrt(self.honest))
        room = (1 << (code.bits - 1)) - code.most * bound
        if sigma > MOST_SIGMA or STRAY * sigma * math.sqrt(code.most) > room:
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

    def event(self, code: FixedPoint, elements: int) -> SharedGaussian:
        """What `add` costs, for the ledger: one site's whole update is the unit."""
        return SharedGaussian(self.bound(code), self.sigma(code), self.honest, max(elements, 1), SITE)

    def add(self, elements: Ring, code: FixedPoint) -> NoiseReport:
        """Bound an encoded update, and add this node's share of the noise, in place.

        Raises:
            NoRoom: see `sigma`.
        """
        sigma, bound = self.sigma(code), self.bound(code)
        signed = elements.view(np.dtype(f"i{code.bits // 8}"))
        norm = float(np.linalg.norm(signed.astype(np.float64)))
        # Truncated towards zero, so that what is left is within the bound exactly; the slack covers float64's rounding.
        clipped = norm > bound * (1 - 1e-9)
        if clipped:
            signed[:] = np.trunc(signed * (bound * (1 - 1e-9) / norm)).astype(signed.dtype)
        noise = sample(sigma, len(elements))
        np.add(elements, noise.astype(np.int64).view(np.uint64).astype(elements.dtype), out=elements)
        expected = sigma * math.sqrt(max(len(elements), 1))
        return NoiseReport(
            sigma * code.step, sigma * math.sqrt(self.honest) * code.step, clipped, min(norm, bound) / expected
        )
