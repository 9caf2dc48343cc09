"""How much a minute counts, by how much of the signal was lost on the way.

Attenuation is transmit power less what was received, dB. The buckets are those of Google's and Apple's exposure
notifications (ENS v1.5 and later: immediate, near, medium, other); default thresholds are those many health
authorities began with. A phone in the trouser pocket of somebody who faces away loses as much over one metre as another
over four: a weight is evidence, not a distance.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

TX_POWER_DBM = -24.0
"""Taken where a frame's transmit power is not known: the median of Google's calibration of phones, dBm at 0 m."""

HEAVIEST = 2.5
"""Exposure notifications take weights of 0 to 250 percent."""


@dataclass(frozen=True, slots=True)
class AttenuationWeights:
    """Weight of each bucket of attenuation.

    Attributes:
        thresholds_db: upper ends of the first three buckets, dB, rising; an attenuation at an end is still within.
        weights: of the four buckets, 0 to 2.5, not rising: more attenuation never counts for more.
    """

    thresholds_db: tuple[float, float, float] = (55.0, 63.0, 73.0)
    weights: tuple[float, float, float, float] = (1.0, 1.0, 0.5, 0.0)

    def __post_init__(self) -> None:
        if not all(low < high for low, high in pairwise(self.thresholds_db)):
            raise ValueError(f"attenuation thresholds {self.thresholds_db} dB do not rise: give three that do")
        if not all(0 <= weight <= HEAVIEST for weight in self.weights):
            raise ValueError(f"weights {self.weights} are not within 0..{HEAVIEST}")
        if not all(near >= far for near, far in pairwise(self.weights)):
            raise ValueError(f"weights {self.weights} rise with attenuation: a weaker signal cannot count for more")

    def weight(self, attenuation_db: float) -> float:
        """Weight of one attenuation, dB; 0 where it is not a number."""
        return float(self.weights_of(attenuation_db))

    def weights_of(self, attenuation_db: ArrayLike) -> NDArray[np.float32]:
        """Weights of an array of any shape."""
        attenuation = np.asarray(attenuation_db, np.float64)
        bucket = np.searchsorted(self.thresholds_db, np.nan_to_num(attenuation, nan=np.inf), side="left")
        return np.asarray(np.asarray(self.weights, np.float32)[bucket], np.float32)
