"""What a radio makes of distance: path loss, bodies, devices, fading, and what is too faint to be heard.

The level of a window in which a transmitter is d metres away is

    power - 10 exponent log10(d) - body (if one is in the way) + wearer of the one + wearer of the other + link + window

with the last four drawn from normal distributions: what stays with a device and how it is worn, what stays with two of
them in one place, and what changes from window to window (log-distance path loss with log-normal shadowing: Rappaport,
Wireless Communications, 2002, 4.9). The further apart two are, the likelier a body is in the way, their own or
another's: the share of windows without one is exp(-d / clear_m). A window is heard where its level is above the
sensitivity, which is blurred; a share is missed however loud it is. The parameters of `WORN` and `WALL` are facts that
`simulations.experiments.world.fit` found in public recordings; docs/world.md compares them with others.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

NEAREST_M = 0.3
"""Nearer than this the level no longer rises: antennas on two people are not closer."""

LOWEST_DBM, HIGHEST_DBM = -127, 20


@dataclass(frozen=True, slots=True)
class RadioModel:
    """One kind of receiver and the tags that it hears.

    Attributes:
        power_dbm: mean level at one metre with no body in the way, dBm.
        exponent: of the path loss; 2 is free space.
        body_db: what a body takes, dB.
        clear_m: distance over which the share of windows without a body falls by e, metres.
        wearer_db: standard deviation of what stays with a device and its place on the body, dB.
        link_db: of what stays with two of them beyond that, dB.
        window_db: of what changes from window to window, dB.
        sensitivity_dbm: level that is heard half the time, dBm.
        blur_db: standard deviation of that, dB.
        missed: share of windows missed however loud.
    """

    power_dbm: float
    exponent: float
    body_db: float
    clear_m: float
    wearer_db: float
    link_db: float
    window_db: float
    sensitivity_dbm: float
    blur_db: float
    missed: float

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not np.isfinite(value):
                raise ValueError(f"{field.name} is {value}; it is to be a finite number")
            if field.name.endswith("_db") and value < 0:
                raise ValueError(f"{field.name} is {value} dB; spreads and losses are never negative")
        if self.clear_m <= 0:
            raise ValueError(f"clear_m is {self.clear_m} m; it is to be above 0")
        if not 0 <= self.missed <= 1:
            raise ValueError(f"missed is {self.missed}; a share is from 0 to 1")

    def mean_dbm(self, distance_m: NDArray[np.float64]) -> NDArray[np.float64]:
        """Level without a body and without any spread [n]."""
        found: NDArray[np.float64] = self.power_dbm - 10 * self.exponent * np.log10(np.maximum(distance_m, NEAREST_M))
        return found

    def clear(self, distance_m: NDArray[np.float64]) -> NDArray[np.float64]:
        """Share of windows with no body in the way [n]."""
        found: NDArray[np.float64] = np.exp(-np.maximum(distance_m, NEAREST_M) / self.clear_m)
        return found

    def links(self, people: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """What stays with each two of these, symmetrical [people, people], dB; draw it once a day or longer."""
        wearer = rng.normal(0, self.wearer_db, people)
        rest = np.triu(rng.normal(0, self.link_db, (people, people)), 1)
        found: NDArray[np.float64] = wearer[:, None] + wearer + rest + rest.T
        return found

    def levels(
        self, distance_m: NDArray[np.float64], link_db: NDArray[np.float64], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """One window each [n], dBm rounded as a radio does; NaN where it was not heard.

        Args:
            distance_m: [n].
            link_db: what stays with each window's link [n], from `links`.
        """
        shape = distance_m.shape
        level = self.mean_dbm(distance_m) + link_db + rng.normal(0, self.window_db, shape)
        level -= self.body_db * (rng.random(shape) >= self.clear(distance_m))
        faint = level + rng.normal(0, self.blur_db, shape) < self.sensitivity_dbm
        silent = faint | (rng.random(shape) < self.missed)
        found: NDArray[np.float64] = np.where(silent, np.nan, np.clip(np.rint(level), LOWEST_DBM, HIGHEST_DBM))
        return found


WORN = RadioModel(
    power_dbm=-74.04,
    exponent=0.9,
    body_db=11.6,
    clear_m=0.51,
    wearer_db=1.85,
    link_db=3.7,
    window_db=3.73,
    sensitivity_dbm=-99.8,
    blur_db=1.33,
    missed=0.205,
)
"""Phones in pockets and bags, a window of 20 s as one scan: fitted to all six scenes of exp34."""

WALL = replace(WORN, power_dbm=-49.7, exponent=1.83, clear_m=2.0, missed=0.0)
"""A Raspberry Pi on a wall that hears worn tags all the time. Power and exponent are those of NIST's two Pis in line of
sight; what a body takes, wearers and sensitivity are taken from `WORN`, and how often one is in the way is assumed."""
