"""What a receiver and a transmitter add to RSSI, from readings at known distances.

The model of a reading is, after GAEN's calibration of phones, additive in dB:

    rssi = level - fall * ln(distance) + receiver + transmitter + rest

with a normal prior around 0 on what receivers and transmitters add, so it is ridge regression. `fall` per factor e of
distance: 2.17 times the path loss exponent. A *correction* is what takes that away again: it is added to RSSI.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

LEAST_DISTANCE_M = 0.3
"""Nearer than this a reading counts as here, metres: the law of distances ends in the near field and in pockets."""


class TooFewReadings(ValueError):
    """Nothing, or nothing at different distances, to calibrate with."""


@dataclass(frozen=True, slots=True)
class ReferenceCurve:
    """Mean RSSI that a corrected receiver hears of a corrected transmitter.

    Attributes:
        level_dbm: at 1 m, dBm.
        fall_db: less for every factor e of distance, dB; positive.
    """

    level_dbm: float
    fall_db: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.level_dbm) and 0 < self.fall_db < math.inf):
            raise ValueError(f"a curve of {self.level_dbm} dBm at 1 m that falls by {self.fall_db} dB is none")

    def at(self, distance_m: float) -> float:
        """Mean RSSI at a distance, dBm."""
        return self.level_dbm - self.fall_db * math.log(max(distance_m, LEAST_DISTANCE_M))


@dataclass(frozen=True, slots=True)
class Reading:
    """Mean RSSI of one transmitter at one receiver, over a while at one distance.

    Attributes:
        receiver: name of it (of a node: the adapter).
        transmitter: name of it (of a node: the tag's label).
        distance_m: metres.
        rssi_dbm: mean, dBm, uncorrected.
        place: readings of one place share a level where no reference curve is given.
    """

    receiver: str
    transmitter: str
    distance_m: float
    rssi_dbm: float
    place: str = ""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.distance_m) and self.distance_m >= 0 and math.isfinite(self.rssi_dbm)):
            raise ValueError(f"a reading of {self.rssi_dbm} dBm at {self.distance_m} m is none")


@dataclass(frozen=True, slots=True)
class Prior:
    """How much is believed beforehand: the variance of one reading's rest over the variance of what is added.

    The larger, the more a correction is drawn to 0.
    """

    receiver: float
    transmitter: float

    def __post_init__(self) -> None:
        if not (self.receiver > 0 and self.transmitter > 0):
            raise ValueError("priors are above 0: without one, receiver and transmitter cannot be told apart")


SITE = Prior(receiver=0.1, transmitter=2.0)
"""Of a walk with a tape measure: a reading's rest has a standard deviation of some 6 dB (posture and reflections),
adapters differ by some 20 dB from the phones of the reference curve, tags of one make by some 4 dB."""


@dataclass(frozen=True, slots=True)
class Corrections:
    """What is added to RSSI, dB; 0 for names that are not there.

    Attributes:
        receivers, transmitters: by name.
        curve: that readings follow once corrected.
    """

    receivers: Mapping[str, float]
    transmitters: Mapping[str, float]
    curve: ReferenceCurve

    def of(self, receiver: str, transmitter: str) -> float:
        """Of both together, dB."""
        return self.receivers.get(receiver, 0.0) + self.transmitters.get(transmitter, 0.0)


def estimate(readings: Iterable[Reading], prior: Prior = SITE, curve: ReferenceCurve | None = None) -> Corrections:
    """Most probable corrections.

    Args:
        curve: what readings are compared with. None: fitted with the rest, a level for each place and one fall; what
            receivers and transmitters add is then relative to their mean.

    Raises:
        TooFewReadings: there is none; or without a curve, all are at one distance, or the signal does not fall.
    """
    rows = list(readings)
    if not rows:
        raise TooFewReadings("no reading: run a calibration session first")
    receivers = sorted({row.receiver for row in rows})
    transmitters = sorted({row.transmitter for row in rows})
    places = sorted({row.place for row in rows})
    distances = np.log([max(row.distance_m, LEAST_DISTANCE_M) for row in rows])
    if curve is None and np.ptp(distances) == 0:
        raise TooFewReadings("all readings are at one distance: take some at others")
    columns = [
        _named([row.receiver for row in rows], receivers),
        _named([row.transmitter for row in rows], transmitters),
    ]
    priors = [np.full(len(receivers), prior.receiver), np.full(len(transmitters), prior.transmitter)]
    level = np.array([row.rssi_dbm for row in rows])
    if curve is None:
        columns += [_named([row.place for row in rows], places), -distances[:, None]]
        priors += [np.full(len(places) + 1, 1e-6)]
    else:
        level = level - np.array([curve.at(row.distance_m) for row in rows])
    design = np.hstack(columns)
    added = np.linalg.solve(design.T @ design + np.diag(np.concatenate(priors)), design.T @ level)
    n, m = len(receivers), len(transmitters)
    if curve is None:
        if added[-1] <= 0:
            raise TooFewReadings("what is nearer is not louder in these readings: measure the distances again")
        curve = ReferenceCurve(float(added[n + m : -1].mean()), float(added[-1]))
    return Corrections(
        {name: -float(db) for name, db in zip(receivers, added[:n], strict=True)},
        {name: -float(db) for name, db in zip(transmitters, added[n : n + m], strict=True)},
        curve,
    )


def _named(names: Sequence[str], among: Sequence[str]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """One column a name, [n, names]: 1 where the row is of that name."""
    columns = {name: column for column, name in enumerate(among)}
    marks = np.zeros((len(names), len(among)))
    marks[np.arange(len(names)), [columns[name] for name in names]] = 1.0
    return marks
