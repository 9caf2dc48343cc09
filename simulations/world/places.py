"""The kinds of places that the world knows, and how lively each of their half hours is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SLOTS_A_DAY = 48


@dataclass(frozen=True, slots=True)
class Place:
    """What all sites of one kind have in common.

    Attributes:
        zone_names: how its zones are called.
        people: fewest and most members of a zone.
        minutes: close-contact person-minutes of one person in a half hour of liveliness 1.
        zone_spread: standard deviation, on the log scale, of how lively the zones are among each other.
        mixing: share of contacts with a member of another zone in a half hour of liveliness 1.
        timetable: draws the liveliness of a site's 48 half hours; 0 is closed.
    """

    zone_names: str
    people: tuple[int, int]
    minutes: float
    zone_spread: float
    mixing: float
    timetable: Callable[[np.random.Generator], NDArray[np.float64]]


def school_day(random: np.random.Generator) -> NDArray[np.float64]:
    """Lessons from 8 or 8:30 to 16 or 17, a break in the morning and in the afternoon, lunch for all at once."""
    lively = np.zeros(SLOTS_A_DAY)
    first, lunch, last = random.integers(16, 18), random.integers(23, 26), random.integers(32, 35)
    lively[first:last] = 0.8
    lively[[first, last - 1]] = 0.5
    lively[[random.integers(first + 3, first + 5), random.integers(lunch + 5, lunch + 7)]] = 1.8
    lively[lunch : lunch + 3] = random.uniform(0.5, 1.5)
    return lively


def ward_day(random: np.random.Generator) -> NDArray[np.float64]:
    """Quiet nights, a morning of rounds and care, a slower afternoon, an evening round."""
    hours = [0, 5, 7, 9, 12, 14, 17, 20, 22, 24]
    lively = [0.03, 0.03, 0.9, 1.2, 1.0, 0.6, 0.5, 0.4, 0.06, 0.03]
    shift = random.normal(0, 0.5)
    return np.interp((np.arange(SLOTS_A_DAY) + 0.5) / 2 + shift, hours, lively)


PLACES = {
    "school": Place("class", people=(18, 28), minutes=7.0, zone_spread=0.3, mixing=0.15, timetable=school_day),
    "ward": Place("ward", people=(8, 30), minutes=3.0, zone_spread=0.6, mixing=0.3, timetable=ward_day),
}
"""By name. A ward is open all day; a school's nodes listen from its first contact to its last."""
