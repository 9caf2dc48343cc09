"""Contacts of one building, real or made, and what of them is compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from edge.sensing.contacts import Contact
from edge.store.slots import WINDOW_S, WINDOWS_PER_SLOT
from simulations.experiments.world.two_samples import Sample, pooled
from simulations.world.building import Building
from simulations.world.episodes import WINDOWS_A_DAY, Episodes, Ints
from simulations.world.places import Place

TEACHERS = ("teacher", "teachers")
"""Zones of people who belong to a class that the data do not name: that in which they have most contacts."""

WHOLE_DAY = 0.6
"""Days with less of the contacts than this share of the median day are left out: the first and last are often cut."""

LEAST_ZONES = 4
"""With fewer there are too few pairs of zones to compare."""

MINUTE = 60 / WINDOW_S


@dataclass(frozen=True, slots=True)
class Site:
    """Contacts of one building, real or made.

    Attributes:
        name: of the data set or world.
        episodes: its contacts; days begin at the quietest time.
        zone: class, ward or department of each person [people].
        role: what each person is there, of the place's roles [people].
    """

    name: str
    episodes: Episodes
    zone: NDArray[np.str_]
    role: NDArray[np.str_]

    @classmethod
    def of(cls, name: str, contacts: Sequence[Contact], place: Place) -> Site:
        """Of a published file. What it has as zones of a ward are the roles of people of one ward."""
        episodes, _, zones = Episodes.of(contacts)
        zone = np.array(zones)
        if place.zone_names == "ward":
            return cls(name, _from_quietest(episodes), np.full(len(zone), "ward"), zone)
        teaches = np.isin(np.char.lower(zone), TEACHERS)
        home = zone.copy()
        for person in np.flatnonzero(teaches):
            met = np.concatenate([episodes.b[episodes.a == person], episodes.a[episodes.b == person]])
            classes, counts = np.unique(zone[met[~teaches[met]]], return_counts=True)
            home[person] = classes[counts.argmax()] if len(classes) else zone[person]
        return cls(name, _from_quietest(episodes), home, np.where(teaches, "teacher", place.roles[0]))

    @classmethod
    def made(cls, name: str, building: Building, rng: np.random.Generator) -> Site:
        zone = np.char.add("zone ", building.zone.astype(str))
        return cls(name, building.episodes(rng), zone, np.array(building.place.roles)[building.role])

    def like(self, place: Place, days: int, seed: Sequence[int], buildings: int) -> list[Site]:
        """Buildings of ours with as many people of each zone and role as this has."""
        names, number = np.unique(self.zone, return_inverse=True)
        sizes = np.zeros((len(names), len(place.roles)), np.int64)
        np.add.at(sizes, (number, np.array([place.roles.index(role) for role in self.role])), 1)
        rngs = [np.random.default_rng([*seed, n]) for n in range(buildings)]
        return [Site.made("world", Building.raised(place, len(names), days, rng, sizes), rng) for rng in rngs]

    def days(self) -> list[int]:
        """Those that are whole."""
        day, counts = np.unique(self.episodes.day, return_counts=True)
        return [int(one) for one in day[counts >= WHOLE_DAY * np.median(counts)]]

    def on(self, day: int) -> Episodes:
        return self.episodes.where(self.episodes.day == day)


def _from_quietest(episodes: Episodes) -> Episodes:
    """Moved in time so that days begin half an hour into the longest stretch of the clock with fewest contacts."""
    slots = WINDOWS_A_DAY // WINDOWS_PER_SLOT
    busy = np.bincount(episodes.start // WINDOWS_PER_SLOT % slots, minlength=slots)
    around = np.convolve(np.concatenate([busy, busy, busy]), np.ones(9), mode="same")[slots : 2 * slots]
    quiet = int(around.argmin())
    move = (slots - quiet) % slots * WINDOWS_PER_SLOT
    return Episodes(episodes.start + move, episodes.length, episodes.a, episodes.b)


def samples(site: Site, days: Sequence[int]) -> dict[str, Sample]:
    """What is compared, pooled over these days: by name; times in minutes."""
    found: dict[str, list[Sample]] = {}
    for day in days:
        for name, sample in _of_day(site, day):
            found.setdefault(name, []).append(sample)
    return {name: pooled(those) for name, those in found.items()}


def _of_day(site: Site, day: int) -> Iterator[tuple[str, Sample]]:
    one, count = site.on(day), len(site.zone)
    end = one.start + one.length
    pair = one.a * count + one.b
    same = pair[1:] == pair[:-1]
    yield "contact duration", Sample(one.length / MINUTE, pair)
    # The few long contacts are most of the time that people spend together; among all contacts they are hardly seen.
    minutes = np.repeat(one.length, one.length) / MINUTE
    yield "contact duration, weighed by time", Sample(minutes, np.repeat(pair, one.length))
    yield "gap between contacts of a pair", Sample((one.start[1:] - end[:-1])[same] / MINUTE, pair[1:][same])
    gaps, person = _person_gaps(one)
    yield "gap between contacts of a person", Sample(gaps / MINUTE, person)
    pairs, first, number = np.unique(pair, return_index=True, return_counts=True)
    low, high = np.divmod(pairs, count)
    both = np.concatenate([low, high])
    partners = np.bincount(both, minlength=count)
    here = np.flatnonzero(partners)
    minutes = np.add.reduceat(one.length / MINUTE, first)
    of_person = np.bincount(both, np.concatenate([minutes, minutes]), count)
    yield "partners of a person a day", Sample(partners[here].astype(np.float64), here)
    yield "contacts of a pair a day", Sample(number.astype(np.float64), pairs)
    yield "minutes of a pair a day", Sample(minutes, pairs)
    yield "minutes of a person a day", Sample(of_person[here].astype(np.float64), here)
    table = _slot_minutes(one, site.zone)
    units = np.broadcast_to(np.arange(table.shape[1]), table.shape)
    yield "close minutes of a zone in half an hour", Sample(table.ravel(), units.ravel())
    if len(np.unique(site.zone)) > LEAST_ZONES:
        _, rates = mixing(site, site.zone, [day])
        upper = rates[np.triu_indices(len(rates), 1)]
        yield "contacts a day of a pair of two zones", Sample(upper, np.arange(len(upper)))


def _person_gaps(one: Episodes) -> tuple[Ints, Ints]:
    """From the end of a contact with anybody to the next with anybody, where there is any time between; and whose."""
    start = np.concatenate([one.start, one.start])
    end = start + np.concatenate([one.length, one.length])
    person = np.concatenate([one.a, one.b])
    order = np.lexsort((start, person))
    start, end, person = start[order], end[order], person[order]
    offset = person * (int(end.max()) + 1)
    latest = np.maximum.accumulate(end + offset) - offset
    gap = start[1:] - latest[:-1]
    apart = (person[1:] == person[:-1]) & (gap > 0)
    return gap[apart], person[1:][apart]


def _slot_minutes(one: Episodes, zone: NDArray[np.str_]) -> NDArray[np.float64]:
    """Person-minutes of contact of each zone in each half hour, from the site's first contact on [slots, zones]."""
    window, a, b = one.windows()
    seen = np.unique(np.concatenate([window * len(zone) + a, window * len(zone) + b]))
    names, number = np.unique(zone, return_inverse=True)
    slot = seen // len(zone) // WINDOWS_PER_SLOT
    table = np.zeros((int(slot.max() - slot.min()) + 1, len(names)))
    np.add.at(table, (slot - slot.min(), number[seen % len(zone)]), WINDOW_S / 60)
    return table


def repeated(site: Site, days: Sequence[int]) -> float:
    """Share of a day's pairs that met on the day before as well, of those who were both there on both days."""
    shares = []
    for before, after in pairwise(days):
        one, two = site.on(before), site.on(after)
        there = np.intersect1d(np.append(one.a, one.b), np.append(two.a, two.b))
        old, new = (
            set(zip(x.a[keep].tolist(), x.b[keep].tolist(), strict=True))
            for x in (one, two)
            for keep in [np.isin(x.a, there) & np.isin(x.b, there)]
        )
        shares.append(len(old & new) / len(new) if new else np.nan)
    return float(np.mean(shares)) if shares else float("nan")


def clustering(site: Site, days: Sequence[int]) -> float:
    """Share of two partners of one person who met each other the same day."""
    shares = []
    for day in days:
        one = site.on(day)
        met = np.zeros((len(site.zone),) * 2)
        met[one.a, one.b] = met[one.b, one.a] = 1
        degree = met.sum(axis=0)
        shares.append(float((met @ met * met).sum() / (degree * (degree - 1)).sum()))
    return float(np.mean(shares))


def mixing(site: Site, groups: NDArray[np.str_], days: Sequence[int]) -> tuple[list[str], NDArray[np.float64]]:
    """Contacts a day of a pair of members of two groups: the groups' names, and the matrix [groups, groups]."""
    names, number = np.unique(groups, return_inverse=True)
    size = np.bincount(number)
    table = np.zeros((len(names),) * 2)
    keep = np.isin(site.episodes.day, days)
    np.add.at(table, (number[site.episodes.a[keep]], number[site.episodes.b[keep]]), 1.0)
    pairs = np.outer(size, size) - np.diag(size)
    return names.tolist(), (table + table.T) / np.maximum(pairs, 1) / len(days)


def between_zones(site: Site, days: Sequence[int]) -> float:
    """Share of contacts with a member of another zone."""
    keep = np.isin(site.episodes.day, days)
    return float((site.zone[site.episodes.a[keep]] != site.zone[site.episodes.b[keep]]).mean())
