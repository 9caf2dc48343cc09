"""A town: schools, clinics and the households that their people come from, as one network of contacts over days.

It is for epidemics. Contacts at school and in clinics are fitted to measured ones (see docs/world.md). Households are
not: their sizes, who lives with whom, and how long those at home are near each other are assumptions. There are no
shops and no buses: who is neither a pupil nor employed by what is in the town meets nobody but those at home.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge.store.slots import WINDOW_S
from simulations.world.building import Building
from simulations.world.episodes import Episodes, Ints
from simulations.world.generator import World
from simulations.world.places import HOUSEHOLD, Kind
from simulations.world.timetables import ABSENT, PERIODS_A_DAY

HOUSEHOLD_SIZES = (0.07, 0.14, 0.22, 0.25, 0.17, 0.15)
"""Shares of households of 1 to 6 people: 3.8 on average, about what censuses of Indonesia count. Assumed."""

TRAVEL_PERIODS = 6
"""Half an hour on the way, each way."""

WORKS, WORK = 0.6, slice(8 * 12, 16 * 12)
"""Share of the other adults who are away on weekdays, and when; whom they meet there is not in the world."""

STREET = 100
"""Households that are made at a time."""

CHILD, ADULT = "child", "adult"
CHILDREN = ("pupil",)


@dataclass(frozen=True, slots=True)
class Town:
    """How large.

    Attributes:
        seed: equal seeds give equal towns.
        classes: of primary schools, ten a school.
        secondary_classes: of high schools, ten a school.
        wards: of clinics, four a clinic.
        days: from Monday on.
        departments: of workplaces, six a workplace; their people are not among the other adults then.
    """

    seed: int
    classes: int = 10
    secondary_classes: int = 5
    wards: int = 1
    days: int = 7
    departments: int = 0

    def __post_init__(self) -> None:
        sizes = (self.classes, self.secondary_classes, self.wards, self.departments)
        if min(sizes) < 0 or not sum(sizes) or self.days < 1:
            raise ValueError(
                f"a town needs a class, a ward or a department, and a day; got {sizes} and {self.days} days"
            )
        if self.seed < 0:
            raise ValueError(f"seed {self.seed} is negative")

    @classmethod
    def of_sites(cls, seed: int, sites: int, days: int) -> Town:
        """With so many classes and wards, a node each: of ten six, three of them secondary, and one ward."""
        secondary, wards = round(0.3 * sites), round(0.1 * sites)
        return cls(seed, sites - secondary - wards, secondary, wards, days)

    def worlds(self) -> dict[Kind, World]:
        """Its schools, clinics and workplaces, by kind."""
        sizes: dict[Kind, int] = {
            "school": self.classes,
            "high-school": self.secondary_classes,
            "ward": self.wards,
            "workplace": self.departments,
        }
        return {kind: World(self.seed, zones, self.days, kind) for kind, zones in sizes.items() if zones}

    def settled(self) -> Settled:
        """Its people and all their contacts."""
        sizes = (self.classes, self.secondary_classes, self.wards, self.departments)
        rng = np.random.default_rng([self.seed, self.days, *sizes])
        kinds: list[NDArray[np.str_]] = []
        away: list[NDArray[np.bool_]] = []
        layers: dict[str, Episodes] = {}
        first = 0
        for kind, world in self.worlds().items():
            parts = []
            for raised in world.buildings():
                parts.append(_moved(raised.episodes, first))
                kinds.append(np.array(raised.building.place.roles)[raised.building.role])
                away.append(_around(raised.building.room != ABSENT, self.days))
                first += len(raised.building.zone)
            layers[kind] = _joined(parts)
        roles = np.concatenate(kinds)
        home, role = _households(roles, rng)
        absent = np.concatenate([*away, _at_work(len(role) - len(roles), self.days, rng)])
        layers["household"] = _at_home(home, absent, self.days, rng)
        age = np.where(np.isin(role, CHILDREN), CHILD, ADULT)
        return Settled(home, role, age, self.days, layers)


@dataclass(frozen=True, slots=True)
class Settled:
    """A town's people and contacts.

    Attributes:
        home: household of each [people].
        role: `pupil`, `teacher`, `NUR`, `PAT`, `MED`, `ADM`, `employee` or `other` [people].
        age: `child` or `adult` [people].
        days: how many.
        layers: contacts at school, high-school, ward, workplace and household, by name; people are numbered through.
    """

    home: Ints
    role: NDArray[np.str_]
    age: NDArray[np.str_]
    days: int
    layers: dict[str, Episodes]

    def minutes(self, layer: str) -> tuple[Ints, Ints, Ints, NDArray[np.float64]]:
        """Of one layer: day, one person, the other, and minutes in contact on that day, a row a pair and day.

        Raises:
            KeyError: there is no such layer.
        """
        one = self.layers[layer]
        people = len(self.home)
        key, number = np.unique((one.day * people + one.a) * people + one.b, return_inverse=True)
        day, pair = np.divmod(key, people * people)
        return day, *np.divmod(pair, people), np.bincount(number, one.length, len(key)) * WINDOW_S / 60


def _moved(episodes: Episodes, by: int) -> Episodes:
    return replace(episodes, a=episodes.a + by, b=episodes.b + by)


def _joined(parts: list[Episodes]) -> Episodes:
    columns = [np.concatenate([getattr(part, name) for part in parts]) for name in ("start", "length", "a", "b")]
    return Episodes(*columns)


def _around(there: NDArray[np.bool_], days: int) -> NDArray[np.bool_]:
    """Away from home: at school or work and on the way there and back [people, days * periods]."""
    total = np.cumsum(np.pad(there, ((0, 0), (TRAVEL_PERIODS + 1, TRAVEL_PERIODS))), axis=1)
    return np.asarray(total[:, 2 * TRAVEL_PERIODS + 1 :] > total[:, : -2 * TRAVEL_PERIODS - 1])


def _households(roles: NDArray[np.str_], rng: np.random.Generator) -> tuple[Ints, NDArray[np.str_]]:
    """Household and role of everybody: an adult in each, children and other adults in the rest, until all are housed.

    Returns:
        home [people] and role [people]; the others come after those of schools and clinics.
    """
    child = np.isin(roles, CHILDREN)
    children, adults = rng.permutation(np.flatnonzero(child)), rng.permutation(np.flatnonzero(~child))
    shares = np.array(HOUSEHOLD_SIZES)
    mean = float((shares * np.arange(1, len(shares) + 1)).sum())
    # Two in five of those beyond the first two of a household are children: enough households for all of them.
    count = max(int(np.ceil(len(children) / (0.55 * (mean - 1)))), len(adults), 1)
    sizes = rng.choice(len(shares), count, p=shares / shares.sum()) + 1
    beyond = np.flatnonzero(np.repeat(sizes > 1, sizes))
    places = np.repeat(np.arange(count), sizes)
    first = np.cumsum(sizes) - sizes
    free = np.setdiff1d(beyond, first)
    if len(free) < len(children):
        raise ValueError(f"{count} households have no room for {len(children)} children")  # not with the sizes above
    taken = np.full(len(places), -1)
    taken[rng.permutation(free)[: len(children)]] = children
    taken[rng.permutation(first)[: len(adults)]] = adults
    others = int((taken < 0).sum())
    taken[taken < 0] = len(roles) + np.arange(others)
    home = np.empty(len(places), np.int64)
    home[taken] = places
    return home, np.concatenate([roles, np.full(others, "other")])


def _at_work(others: int, days: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    away = np.zeros((others, days, PERIODS_A_DAY), bool)
    weekdays = np.flatnonzero(np.arange(days) % 7 < 5)
    away[np.ix_(rng.random(others) < WORKS, weekdays, np.arange(WORK.start, WORK.stop))] = True
    return away.reshape(others, -1)


def _at_home(home: Ints, away: NDArray[np.bool_], days: int, rng: np.random.Generator) -> Episodes:
    """Contacts in households, a street of them at a time."""
    parts = []
    order = np.argsort(home, kind="stable")
    for street in range(0, int(home.max()) + 1, STREET):
        those = order[(home[order] >= street) & (home[order] < street + STREET)]
        zone = home[those] - street
        room = np.where(away[those], ABSENT, zone[:, None]).astype(np.int16)
        day = HOUSEHOLD.timetable(rng)
        houses = Building(HOUSEHOLD, zone, np.zeros(len(zone), np.int64), room, day, days, int(zone.max()) + 1)
        found = houses.episodes(rng)
        parts.append(Episodes.merged(found.start, found.length, those[found.a], those[found.b]))
    return _joined(parts)
