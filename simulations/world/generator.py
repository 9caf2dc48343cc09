"""A world of our own: who was near whom in a site that never was, for demos, tests and public pre-training.

What it takes from measured contacts (Stehle et al. 2011, primary school; Vanhems et al. 2013, hospital ward): a daily
rhythm; liveliness that lasts for a while and differs between zones and days; people who differ in how sociable they
are; contacts that are mostly short, with a heavy tail of long ones; and some contacts across zones. Everything is drawn
from one seed, so a world is made again wherever it is needed and never stored.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge.sensing.contacts import Contact
from edge.store.slots import DAY_S, WINDOW_S, WINDOWS_PER_SLOT
from simulations.world.places import PLACES, SLOTS_A_DAY

DURATION_EXPONENT = 2.6
"""A contact lasts n windows of 20 s with a probability proportional to n to this power, negative (mean 35 s)."""

LONGEST_WINDOWS = 3 * WINDOWS_PER_SLOT
SOCIABILITY_SPREAD = 0.6
DAY_SPREAD = 0.25
MOOD_SPREAD, MOOD_MEMORY = 0.45, 0.6
"""Liveliness of a zone wanders around the timetable: standard deviation on the log scale, and its half-hour memory."""


@dataclass(frozen=True, slots=True)
class World:
    """One site: `zones` classes or wards, observed for `days` days from midnight of day 0 on."""

    seed: int
    zones: int = 5
    days: int = 4
    kind: Literal["school", "ward"] = "school"

    def __post_init__(self) -> None:
        if self.zones < 1 or self.days < 1:
            raise ValueError(f"a world needs at least one zone and one day, got {self.zones} and {self.days}")
        if self.kind not in PLACES:
            raise ValueError(f"kind {self.kind!r} is unknown: choose one of {', '.join(PLACES)}")
        if self.seed < 0:
            raise ValueError(f"seed {self.seed} is negative")

    def contacts(self) -> list[Contact]:
        """Every contact, in time order; equal for equal worlds."""
        random = np.random.default_rng([self.seed, self.zones, self.days, sorted(PLACES).index(self.kind)])
        place = PLACES[self.kind]
        sizes = random.integers(place.people[0], place.people[1] + 1, size=self.zones)
        zone_of = np.repeat(np.arange(self.zones), sizes)
        sociability = random.lognormal(0, SOCIABILITY_SPREAD, len(zone_of))
        lively = self._liveliness(random, place.timetable(random), place.zone_spread)
        # A contact gives minutes to both who meet, and a zone's own people have both ends of most of its contacts.
        mean_windows = np.minimum(random.zipf(DURATION_EXPONENT, 100_000), LONGEST_WINDOWS).mean()
        meetings_a_person = place.minutes / (2 * mean_windows * WINDOW_S / 60)
        found: set[tuple[int, int, int]] = set()
        for zone in range(self.zones):
            own, others = np.flatnonzero(zone_of == zone), np.flatnonzero(zone_of != zone)
            for slot in np.flatnonzero(lively[zone]):
                n = random.poisson(meetings_a_person * len(own) * lively[zone, slot])
                first = _pick(random, own, sociability, n)
                second = _pick(random, own, sociability, n)
                if len(others):
                    abroad = random.random(n) < np.minimum(place.mixing * lively[zone, slot], 0.5)
                    second[abroad] = _pick(random, others, sociability, int(abroad.sum()))
                start = slot * WINDOWS_PER_SLOT + random.integers(0, WINDOWS_PER_SLOT, n)
                last = np.minimum(start + random.zipf(DURATION_EXPONENT, n), start + LONGEST_WINDOWS)
                apart = first != second
                low, high = np.minimum(first, second)[apart], np.maximum(first, second)[apart]
                for a, b, begin, end in zip(low, high, start[apart], last[apart], strict=True):
                    found.update((window, int(a), int(b)) for window in range(begin, end))
        names = [f"{place.zone_names}-{zone + 1}" for zone in zone_of]
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


def write_contacts(contacts: Iterable[Contact], path: Path) -> None:
    """Write contacts in time order in the SocioPatterns format `t i j Ci Cj`, which `read_contacts` reads."""
    lines = (f"{c.t}\t{c.a}\t{c.b}\t{c.zone_a}\t{c.zone_b}\n" for c in sorted(contacts, key=attrgetter("t")))
    path.write_text("".join(lines), encoding="utf-8")


def _pick(
    random: np.random.Generator, people: NDArray[np.int64], sociability: NDArray[np.float64], n: int
) -> NDArray[np.int64]:
    """n of `people`, with replacement; the sociable are picked more often."""
    weights = sociability[people]
    return random.choice(people, size=n, p=weights / weights.sum())
