"""The three numbers that closeness is judged by. A node has all of them from its own receiver alone.

- **loudness**: mean RSSI, calibrated: in a pocket or behind a body the mean of two minutes varies less than a frame.
- **reception**: how many of the frames that could have been heard were heard. Frames that are too weak are missing from
  the mean, so the mean alone flatters whoever is far.
- **standing**: how loud it is among all that the same receiver heard meanwhile. Where a receiver sits in a bag, or
  behind its wearer, it hears all of them less; their order stays.

Each is centred and scaled by constants that are fixed here, whatever the data: nothing about a site is in them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.proximity.stats import RSSI_RANGE_DBM, Stats

FEATURES = ("loudness", "reception", "standing")

LOUDNESS_CENTRE_DBM, LOUDNESS_SCALE_DB = -88.0, 8.0
RECEPTION_CENTRE, RECEPTION_SCALE = -1.0, 0.75
LEAST_RECEPTION = math.exp(-3.0)
STANDING_SCALE = 0.25

ALONE = 0.5
"""Standing where nothing else was heard: it says nothing."""

SOFTNESS_DB = 2.0
"""Two that differ by this much in loudness are in that order with odds of e."""

PHONE_FRAMES = 12.0
"""Frames that a phone hears at best in one scan of 4 seconds (exposure notifications scan so every few minutes, and
send every 270 ms or so); there a scan is one window listened in. A node that scans all the time hears more."""


def features(
    stats: Stats, *, correction_db: float = 0.0, standing: float = ALONE, frames_per_window: float = PHONE_FRAMES
) -> NDArray[np.float64]:
    """The features of one transmitter at one receiver, [3], in the order of `FEATURES`.

    Args:
        correction_db: added to RSSI, dB: of the receiver and of the transmitter together.
        standing: 0 to 1, see `standings`.
        frames_per_window: how many frames are heard at best in a window listened in.
    """
    expected = max(frames_per_window * stats.windows_listened, 1.0)
    received = min(max(stats.frames / expected, LEAST_RECEPTION), 1.0)
    return np.array(
        [
            (stats.rssi_mean + correction_db - LOUDNESS_CENTRE_DBM) / LOUDNESS_SCALE_DB,
            (math.log(received) - RECEPTION_CENTRE) / RECEPTION_SCALE,
            (standing - ALONE) / STANDING_SCALE,
        ]
    )


class Levels:
    """How loud all were that one receiver heard in a while: to tell the standing of each among them.

    The same figure as `standings` gives, from a histogram, so that ten thousand devices cost no more than ten.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(RSSI_RANGE_DBM[1] - RSSI_RANGE_DBM[0] + 1)

    def add(self, loudest_dbm: int) -> None:
        """One more transmitter, by its loudest frame, dBm."""
        self._counts[loudest_dbm - RSSI_RANGE_DBM[0]] += 1

    def standing(self, loudest_dbm: float) -> float:
        """Of one that was added, 0 to 1, see `standings`; `ALONE` where nothing else was heard.

        Args:
            loudest_dbm: its loudest frame, dBm; corrected for the transmitter, where a correction is known.
        """
        others = float(self._counts.sum()) - 1
        apart = (loudest_dbm - np.arange(RSSI_RANGE_DBM[0], RSSI_RANGE_DBM[1] + 1)) / SOFTNESS_DB
        quieter = float(self._counts @ (1 / (1 + np.exp(-np.clip(apart, -40, 40))))) - 0.5
        return (quieter + 1) / (others + 2)


def standings(loudest_dbm: Sequence[float] | NDArray[np.floating]) -> NDArray[np.float64]:
    """Standing of each transmitter among those that one receiver heard meanwhile, [n], each within 0..1.

    The share of the others that are quieter, softly, drawn to one half by two imagined others of which one is quieter:
    where few are there it says little.

    Args:
        loudest_dbm: loudest frame of each, [n], dBm, corrected for the transmitter.
    """
    loudest = np.asarray(loudest_dbm, dtype=np.float64)
    apart = np.clip((loudest[:, None] - loudest[None, :]) / SOFTNESS_DB, -40, 40)
    louder = 1 / (1 + np.exp(-apart))
    quieter: NDArray[np.float64] = louder.sum(axis=1) - 0.5  # itself counts one half
    return (quieter + 1) / (len(loudest) + 1)
