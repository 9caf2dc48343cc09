"""Real numbers as integers modulo 2**bits, so that sums are exact and a uniform mask hides everything.

A vector is scaled to whole steps and rounded; a sum of at most `most` of them cannot wrap around, so decoding the sum
of encodings gives exactly the sum of the rounded values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ring = NDArray[np.unsignedinteger]
"""Elements of the integers modulo 2**bits, as an array of unsigned integers of that width."""

WIDTHS: dict[int, np.dtype[np.unsignedinteger]] = {
    16: np.dtype(np.uint16),
    32: np.dtype(np.uint32),
    64: np.dtype(np.uint64),
}
EXACT = 1 << 53
SMALLEST_TOP = 64
"""With fewer steps than this on either side of zero, rounding would drown the values."""


class NotEncodable(ValueError):
    """A vector holds values that no sum should contain."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """What encoding did.

    Attributes:
        elements: ring elements, as many as there were values.
        saturated: how many values were beyond the bound and were set to it.
    """

    elements: Ring
    saturated: int


@dataclass(frozen=True, slots=True)
class FixedPoint:
    """The code that all parties of a round agree on.

    Attributes:
        bound: largest absolute value; what is beyond is set to it, and counted.
        bits: width of the ring, 16, 32 or 64.
        most: of how many vectors a sum may be made.
    """

    bound: float
    bits: int = 32
    most: int = 10_000

    def __post_init__(self) -> None:
        if self.bits not in WIDTHS:
            raise ValueError(f"a ring has 16, 32 or 64 bits, not {self.bits}")
        if not (math.isfinite(self.bound) and self.bound > 0):
            raise ValueError(f"bound {self.bound} is not a positive number")
        if self.most < 1 or self.top < SMALLEST_TOP:
            raise ValueError(
                f"{self.bits} bits leave {self.top} steps for each of {self.most} vectors, at least {SMALLEST_TOP} are "
                "needed: take a wider ring or smaller groups"
            )

    @property
    def top(self) -> int:
        """The largest step of one vector; a float64 holds no more whole numbers than `EXACT`."""
        return min(((1 << (self.bits - 1)) - 1) // max(self.most, 1), EXACT)

    @property
    def step(self) -> float:
        """What one step is worth. Rounding moves a value by half of it at most."""
        return self.bound / self.top

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        return WIDTHS[self.bits]

    def encode(self, values: NDArray[np.floating]) -> Encoded:
        """Whole steps, the nearest of each value.

        Args:
            values: [n], finite.

        Raises:
            NotEncodable: a value is NaN or infinite.
        """
        given = np.asarray(values, np.float64).ravel()
        if not np.isfinite(given).all():
            raise NotEncodable(f"{np.count_nonzero(~np.isfinite(given))} of {given.size} values are not finite")
        with np.errstate(over="ignore"):  # beyond float64 in steps is beyond the bound, and is set to it
            scaled = given / self.step
        np.rint(scaled, out=scaled)
        saturated = int(np.count_nonzero(np.abs(scaled) > self.top))
        if saturated:
            np.clip(scaled, -self.top, self.top, out=scaled)
        # Two's complement of the right width is the residue.
        signed = scaled.astype(np.dtype(f"i{self.bits // 8}"))
        return Encoded(signed.view(self.dtype), saturated)

    def decode(self, total: Ring) -> NDArray[np.float64]:
        """The values of a sum of at most `most` encodings, float64 [n]."""
        signed = np.ascontiguousarray(total, self.dtype).view(np.dtype(f"i{self.bits // 8}"))
        return signed.astype(np.float64) * self.step
