"""Splitting a vector into two shares, and the two running sums that make one.

    node:    vector - mask(seed)  -> leader            seed -> helper
    leader:  sum of its shares                         helper: sum of the masks of its seeds
    total:   the two sums added, which is the sum of the vectors

Either share alone is uniform, whatever the vector: the leader's by the mask, the helper's because it is a random seed.
Both sums take the memory of one vector however many nodes there are.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from privacy.secure_sum.fixed_point import WIDTHS, Ring
from privacy.secure_sum.mask import add_mask, new_seed, subtract_mask
from privacy.secure_sum.vector import SCALAR_BITS, Vector

ELEMENTS_LANE, SCALARS_LANE = 0, 1


class ShareMismatch(ValueError):
    """A share has another length or ring than the sum it is to be added to, or the two halves do not match."""


class SumFull(ValueError):
    """One more vector could make the sum wrap around."""


@dataclass(frozen=True, slots=True)
class Shares:
    """One vector in two halves.

    Attributes:
        leader: masked ring elements.
        seed: for the helper, 32 bytes.
    """

    leader: Vector
    seed: bytes = field(repr=False)


def split(vector: Vector) -> Shares:
    """Split a vector under a fresh seed. It is used up: its memory becomes the leader's share."""
    seed = new_seed()
    subtract_mask(seed, vector.elements, ELEMENTS_LANE)
    subtract_mask(seed, vector.scalars, SCALARS_LANE)
    return Shares(Vector(vector.elements, vector.scalars), seed)


class MaskSum:
    """The helper's share of a sum.

    Attributes:
        count: how many masks are in it.

    Args:
        elements: length of a vector's arrays, and
        scalars: of what stands beside them.
        dtype: ring of the arrays.
    """

    def __init__(self, elements: int, scalars: int, dtype: np.dtype[np.unsignedinteger]) -> None:
        self.count = 0
        self.elements: Ring = np.zeros(elements, dtype)
        self.scalars: Ring = np.zeros(scalars, WIDTHS[SCALAR_BITS])

    def add(self, seed: bytes) -> None:
        """Add the mask of a seed."""
        add_mask(seed, self.elements, ELEMENTS_LANE)
        add_mask(seed, self.scalars, SCALARS_LANE)
        self.count += 1


class ShareSum:
    """The leader's share of a sum.

    Attributes:
        count: how many shares are in it.

    Args:
        elements, scalars, dtype: as in `MaskSum`.
        most: how many vectors the sum can hold.
    """

    def __init__(self, elements: int, scalars: int, dtype: np.dtype[np.unsignedinteger], most: int) -> None:
        self.count = 0
        self.elements: Ring = np.zeros(elements, dtype)
        self.scalars: Ring = np.zeros(scalars, WIDTHS[SCALAR_BITS])
        self._most = most

    def add(self, share: Vector) -> None:
        """Add one node's share.

        Raises:
            ShareMismatch: it is of another length or ring; nothing was added.
            SumFull: the sum holds all it can.
        """
        self._check(share.elements, self.elements)
        self._check(share.scalars, self.scalars)
        self._make_room(1)
        np.add(self.elements, share.elements, out=self.elements)
        np.add(self.scalars, share.scalars, out=self.scalars)
        self.count += 1

    def merge(self, other: ShareSum) -> None:
        """Add all that another sum holds; a group that came out too small goes into another this way.

        Raises:
            ShareMismatch, SumFull: as `add`.
        """
        self._check(other.elements, self.elements)
        self._check(other.scalars, self.scalars)
        self._make_room(other.count)
        np.add(self.elements, other.elements, out=self.elements)
        np.add(self.scalars, other.scalars, out=self.scalars)
        self.count += other.count

    def joined(self, elements: Ring, scalars: Ring) -> Vector:
        """The sum of the vectors, from this half and the helper's over the same nodes.

        Raises:
            ShareMismatch: the helper's half is of another length or ring.
        """
        self._check(elements, self.elements)
        self._check(scalars, self.scalars)
        return Vector(self.elements + elements, self.scalars + scalars)

    def _check(self, share: Ring, total: Ring) -> None:
        if share.shape != total.shape or share.dtype != total.dtype:
            raise ShareMismatch(
                f"a share of {share.size} x {share.dtype} does not go with a sum of {total.size} x {total.dtype}"
            )

    def _make_room(self, more: int) -> None:
        if self.count + more > self._most:
            raise SumFull(
                f"the sum holds {self.count} vectors, {more} more would pass the {self._most} that its code allows: "
                "use smaller groups"
            )
