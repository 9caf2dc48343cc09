"""Sites from assumptions alone, for first models: no number here was fitted to anybody's records.

`World` is fitted to the first days of public data sets. A first model that had seen it would know moments of the very
half hours that private training on those sets protects, and no ledger would count that. So first models see these
sites instead, which are coarser: a daily rhythm; liveliness that lasts for a while and differs between zones and days;
people who differ in how sociable they are; contacts that are mostly short, some long, and some across zones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge.sensing.contacts import Contact
from edge.store.slots import DAY_S, WINDOW_S, WINDOWS_PER_SLOT
from simulations.world.timetables import SLOTS_A_DAY

DURATION_EXPONENT = 2.6
"""A contact lasts n windows of 20 s with a probability proportional to n to this power, negative (mean 35 s)."""

LONGEST_WINDOWS = 3 * WINDOWS_PER_SLOT
SOCIABILITY_SPREAD = 0.6
DAY_SPREAD = 0.25
MOOD_SPREAD, MOOD_MEMORY = 0.45, 0.6
"""Liveliness of a zone wanders around the timetable: standard deviation on the log scale, and its half-hour memory."""


@dataclass(frozen=True, slots=True)
class Habits:
    """What sites of one kind have in common.

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


HABITS = {
    "school": Habits("class", people=(18, 28), minutes=7.0, zone_spread=0.3, mixing=0.15, timetable=school_day),
    "ward": Habits("ward", people=(8, 30), minutes=3.0, zone_spread=0.6, mixing=0.3, timetable=ward_day),
}
"""By name. A ward is open all day; a school's nodes listen from its first contact to its last."""


@dataclass(frozen=True, slots=True)
class AssumedSite:
    """One site: `zones` classes or wards, observed for `days` days from midnight of day 0 on."""

    seed: int
    zones: int
    days: int
    kind: Literal["school", "ward"]

    def contacts(self) -> list[Contact]:
        """Every contact, in time order; equal for equal sites."""
        random = np.random.default_rng([self.seed, self.zones, self.days, sorted(HABITS).index(self.kind)])
        habits = HABITS[self.kind]
        sizes = random.integers(habits.people[0], habits.people[1] + 1, size=self.zones)
        zone_of = np.repeat(np.arange(self.zones), sizes)
        sociability = random.lognormal(0, SOCIABILITY_SPREAD, len(zone_of))
        lively = self._liveliness(random, habits.timetable(random), habits.zone_spread)
        # A contact gives minutes to both who meet, and a zone's own people have both ends of most of its contacts.
        mean_windows = np.minimum(random.zipf(DURATION_EXPONENT, 100_000), LONGEST_WINDOWS).mean()
        meetings_a_person = habits.minutes / (2 * mean_windows * WINDOW_S / 60)
        found: set[tuple[int, int, int]] = set()
        for zone in range(self.zones):
            own, others = np.flatnonzero(zone_of == zone), np.flatnonzero(zone_of != zone)
            for slot in np.flatnonzero(lively[zone]):
                n = random.poisson(meetings_a_person * len(own) * lively[zone, slot])
                first = _pick(random, own, sociability, n)
                second = _pick(random, own, sociability, n)
                if len(others):
                    abroad = random.random(n) < np.minimum(habits.mixing * lively[zone, slot], 0.5)
                    second[abroad] = _pick(random, others, sociability, int(abroad.sum()))
                start = slot * WINDOWS_PER_SLOT + random.integers(0, WINDOWS_PER_SLOT, n)
                last = np.minimum(start + random.zipf(DURATION_EXPONENT, n), start + LONGEST_WINDOWS)
                apart = first != second
                low, high = np.minimum(first, second)[apart], np.maximum(first, second)[apart]
                for a, b, begin, end in zip(low, high, start[apart], last[apart], strict=True):
                    found.update((window, int(a), int(b)) for window in range(begin, end))
        names = [f"{habits.zone_names}-{zone + 1}" for zone in zone_of]
        closed = {slot for slot in range(self.days * SLOTS_A_DAY) if not lively[:, slot].any()}
        return [
            Contact(int(window) * WINDOW_S, f"person-{a}", f"person-{b}", names[a], names[b])
            for window, a, b in sorted(found)
            if window < self.days * DAY_S // WINDOW_S and window // WINDOWS_PER_SLOT not in closed
        ]

    def _liveliness(
        self, random: np.random.Generator, timetable: NDArray[np.float64], zone_spread: float
    ) -> NDArray[np.float64]:
        """[zones, slots]: timetable x zone x day x mood, mean about 1 in busy half hours."""
        zone = random.normal(0, zone_spread, (self.zones, 1, 1))
        day = random.normal(0, DAY_SPREAD, (self.zones, self.days, 1))
        shocks = random.normal(0, MOOD_SPREAD, (self.zones, self.days * SLOTS_A_DAY))
        mood = shocks.copy()
        for slot in range(1, mood.shape[1]):
            mood[:, slot] = MOOD_MEMORY * mood[:, slot - 1] + np.sqrt(1 - MOOD_MEMORY**2) * shocks[:, slot]
        effects = zone + day + mood.reshape(self.zones, self.days, SLOTS_A_DAY)
        lively: NDArray[np.float64] = timetable * np.exp(effects)
        return lively.reshape(self.zones, -1)


def _pick(
    random: np.random.Generator, people: NDArray[np.int64], sociability: NDArray[np.float64], n: int
) -> NDArray[np.int64]:
    """n of `people`, with replacement; the sociable are picked more often."""
    weights = sociability[people]
    return random.choice(people, size=n, p=weights / weights.sum())
