"""Splitting a vector into two shares, and the two running sums that make one.

    node:    encoding - mask(seed)  -> leader          seed -> helper
    leader:  sum of its shares                          helper: sum of the masks of its seeds
    total:   the two sums added, which is the sum of the encodings

Either share alone is uniform, whatever the vector: the leader's by the mask, the helper's because it is a random seed.
Both sums take the memory of one vector however many nodes there are.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from privacy.secure_sum.fixed_point import FixedPoint, Ring
from privacy.secure_sum.mask import add_mask, new_seed, subtract_mask


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

    leader: Ring
    seed: bytes = field(repr=False)


def split(encoding: Ring) -> Shares:
    """Split an encoding under a fresh seed. The encoding itself is used up: its memory becomes the leader's share."""
    seed = new_seed()
    subtract_mask(seed, encoding)
    return Shares(encoding, seed)


class RunningSum:
    """One aggregator's share of the sum.

    Attributes:
        count: how many shares are in it.

    Args:
        length: elements of a vector.
        code: how vectors were encoded; it says how many the sum can hold.
    """

    def __init__(self, length: int, code: FixedPoint) -> None:
        self.count = 0
        self._most = code.most
        self._total: Ring = np.zeros(length, code.dtype)

    def add_share(self, share: Ring) -> None:
        """Add a leader's share.

        Raises:
            ShareMismatch: it is of another length or ring; nothing was added.
            SumFull: the code allows no more.
        """
        self._make_room()
        if share.shape != self._total.shape or share.dtype != self._total.dtype:
            raise ShareMismatch(
                f"a share of {share.size} x {share.dtype} cannot be added to a sum of "
                f"{self._total.size} x {self._total.dtype}"
            )
        np.add(self._total, share, out=self._total)
        self.count += 1

    def add_seed(self, seed: bytes) -> None:
        """Add the mask of a helper's seed.

        Raises:
            SumFull: the code allows no more.
        """
        self._make_room()
        add_mask(seed, self._total)
        self.count += 1

    def _make_room(self) -> None:
        if self.count >= self._most:
            raise SumFull(f"the sum holds {self.count} vectors and the code allows {self._most}: use smaller groups")

    @property
    def total(self) -> Ring:
        """The sum so far, not a copy."""
        return self._total


def join(leader: RunningSum, helper: RunningSum) -> Ring:
    """The sum of the encodings, from the two halves over the same nodes.

    Raises:
        ShareMismatch: the halves are of different numbers of nodes, lengths or rings.
    """
    if leader.count != helper.count:
        raise ShareMismatch(f"the leader added {leader.count} shares, the helper {helper.count} masks")
    if leader.total.shape != helper.total.shape or leader.total.dtype != helper.total.dtype:
        raise ShareMismatch(f"halves of {leader.total.size} and {helper.total.size} elements do not make one sum")
    return leader.total + helper.total
