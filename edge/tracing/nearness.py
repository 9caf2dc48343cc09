"""Whether two tags of one room are near each other, from how loud each is at several receivers.

A tag's place is never reported and never decided on: what is known of it is a probability over the cells of a grid,
from log-distance path loss with log-normal shadowing (Rappaport, *Wireless Communications*, 2nd ed., 4.9),

    rssi_r = power - 10 n log10(d_r) + x,  x ~ N(0, sigma^2),

where `power` is the tag's own and not known: it is integrated out under a normal prior, which leaves the differences
between receivers to speak. Two such clouds give the probability that the two tags are within `near_m` of each other.

A weighted centroid or a least-squares point would be cheaper by little and says two tags are near wherever both are
poorly placed, as both are drawn to the middle; a cloud that is wide says so by itself. With one receiver the cloud is a
ring, and the probability stays low: nothing is invented.

People stay or stroll, they do not leap: what was heard in the minutes before and after narrows a cloud (the forward-
backward algorithm, over the ten minutes of an identifier and no longer).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge.tracing.rooms import Receiver

MARGIN_M = 0.5
"""The room reaches this far beyond its receivers, which hang on walls, metres."""

SHORTEST_SIDE_M = 6.0
"""A room is taken to be at least this long and wide, metres: one receiver, or two in a row, do not say how wide."""

TINY = 1e-12
"""Keeps a cell possible where single precision says that it is not."""

LEAPS = 0.05
"""Share of those who are anywhere else two minutes later."""


@dataclass(frozen=True, slots=True)
class PathLoss:
    """How a signal fades in a room.

    Attributes:
        exponent: 2 in free space; 1.6 to 3 in rooms with people.
        shadowing_db: standard deviation of what bodies and furniture do to one receiver's mean over two minutes, dB.
        power_dbm: expected at 1 m, dBm.
        power_spread_db: standard deviation of that between tags, and of how they are worn, dB.
    """

    exponent: float = 2.2
    shadowing_db: float = 5.0
    power_dbm: float = -60.0
    power_spread_db: float = 8.0

    def __post_init__(self) -> None:
        if min(self.exponent, self.shadowing_db, self.power_spread_db) <= 0:
            raise ValueError("exponent, shadowing and spread of path loss are positive")


@dataclass(frozen=True, slots=True)
class RoomMap:
    """The cells of one room, and what each receiver would hear from each.

    Attributes:
        receivers: of this room, at least one.
        path_loss: how its signals fade.
        near_m: what counts as near, metres.
        stroll_m: standard deviation of how far somebody gets in two minutes, metres; one in twenty gets anywhere.
        cell_m: side of a cell, metres.
    """

    receivers: Sequence[Receiver]
    path_loss: PathLoss = PathLoss()
    near_m: float = 2.0
    stroll_m: float = 1.0
    cell_m: float = 1.0
    _loss_db: NDArray[np.float64] = field(init=False, repr=False, compare=False)
    _near: NDArray[np.float32] = field(init=False, repr=False, compare=False)
    _moves: NDArray[np.float32] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.receivers:
            raise ValueError("a room has at least one receiver")
        at = np.array([[receiver.x_m, receiver.y_m] for receiver in self.receivers])
        middle, side = (at.min(axis=0) + at.max(axis=0)) / 2, at.max(axis=0) - at.min(axis=0) + 2 * MARGIN_M
        low, high = middle - np.maximum(side, SHORTEST_SIDE_M) / 2, middle + np.maximum(side, SHORTEST_SIDE_M) / 2
        axes = [np.arange(low[axis] + self.cell_m / 2, high[axis], self.cell_m) for axis in (0, 1)]
        cells = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
        apart = np.linalg.norm(cells[:, None] - at[None], axis=2)
        loss = 10 * self.path_loss.exponent * np.log10(np.maximum(apart, self.cell_m / 2))
        between = np.linalg.norm(cells[:, None] - cells[None], axis=2)
        moves = np.exp(-(between**2) / (2 * self.stroll_m**2))
        moves = (1 - LEAPS) * moves / moves.sum(axis=1, keepdims=True) + LEAPS / len(cells)
        object.__setattr__(self, "_loss_db", loss)
        object.__setattr__(self, "_moves", moves.astype(np.float32))
        object.__setattr__(self, "_near", (between <= self.near_m).astype(np.float32))

    @property
    def by_chance(self) -> float:
        """Probability that two tags anywhere in the room are near each other."""
        return float(self._near.mean())

    def clouds(self, rssi_dbm: NDArray[np.float64]) -> NDArray[np.float32]:
        """Where tags may be: a probability over the cells [tags, cells], each row summing to 1.

        Args:
            rssi_dbm: mean RSSI [tags, receivers], NaN where a receiver did not hear the tag. A tag that none heard may
                be anywhere.
        """
        fading = self.path_loss
        heard = np.isfinite(rssi_dbm)
        level = np.where(heard, rssi_dbm, 0.0) - fading.power_dbm
        # Residual of each cell and receiver, and its sums over the receivers that heard: [tags, cells].
        loss, mask = self._loss_db, heard.astype(np.float64)
        total = (level * mask).sum(axis=1)[:, None] + mask @ loss.T
        squares = (level**2 * mask).sum(axis=1)[:, None] + 2 * (level * mask) @ loss.T + mask @ (loss**2).T
        noise, prior = fading.shadowing_db**2, fading.power_spread_db**2
        # Integrating a normal power out of independent normal residuals (Sherman-Morrison).
        shared = prior / (noise + prior * mask.sum(axis=1))[:, None]
        log_likelihood = -(squares - shared * total**2) / (2 * noise)
        cloud = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True))
        return np.asarray(cloud / cloud.sum(axis=1, keepdims=True), np.float32)

    def tracks(self, rssi_dbm: NDArray[np.float64]) -> NDArray[np.float32]:
        """`clouds` of successive stretches of two minutes, each narrowed by those before and after it.

        Args:
            rssi_dbm: [stretches, tags, receivers].

        Returns:
            [stretches, tags, cells], each row summing to 1.
        """
        alone = [self.clouds(level) for level in rssi_dbm]
        before, after = list(alone), list(alone)
        for at in range(1, len(alone)):
            before[at] = _normal(alone[at] * (before[at - 1] @ self._moves))
        for at in range(len(alone) - 2, -1, -1):
            after[at] = _normal(alone[at] * (after[at + 1] @ self._moves.T))
        # What was heard now is in both.
        found = [_normal(b * a / (now + np.float32(TINY))) for b, a, now in zip(before, after, alone, strict=True)]
        return np.stack(found)

    def near(self, clouds: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probability that each two of the tags are within `near_m` [tags, tags], symmetric."""
        found: NDArray[np.float32] = np.clip(clouds @ self._near @ clouds.T, 0, 1)
        return found


def _normal(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    rows = rows + np.float32(TINY)
    found: NDArray[np.float32] = rows / rows.sum(axis=1, keepdims=True)
    return found
