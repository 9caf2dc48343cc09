"""One building of the world: its people, where each of them is in every five minutes, and whom they meet there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulations.world.bursts import spread
from simulations.world.episodes import Episodes, Ints
from simulations.world.places import Place
from simulations.world.timetables import (
    ABSENT,
    COMMON,
    HOME,
    LUNCH,
    PATIENT,
    PERIOD_WINDOWS,
    PERIODS_A_DAY,
    PERIODS_A_SLOT,
    SLOTS_A_DAY,
    Day,
)

Pairs = tuple[Ints, Ints, NDArray[np.float32], Ints, NDArray[np.float64]]
"""One person and another [pairs], their encounters a day, and which row of the following liveliness is theirs."""


@dataclass(frozen=True, slots=True)
class Building:
    """A school of several classes, or a clinic of several wards, over some days.

    Attributes:
        place: of what kind.
        zone: class or ward of each person [people].
        role: index into `place.roles` [people].
        room: where each person is, int16 [people, days * PERIODS_A_DAY]: a zone's room by its number, `zones` is the
            common room (yard, canteen), ABSENT is elsewhere.
        day: its timetable.
        days: how many.
        zones: how many.
    """

    place: Place
    zone: Ints
    role: Ints
    room: NDArray[np.int16]
    day: Day
    days: int
    zones: int

    @classmethod
    def raised(
        cls, place: Place, zones: int, days: int, rng: np.random.Generator, sizes: Ints | None = None
    ) -> Building:
        """Draw its people and their days.

        Args:
            sizes: how many people of each role each zone has [zones, roles]; None draws that, too.
        """
        if sizes is None:
            low, high = np.array(place.people).T
            sizes = rng.integers(low, high + 1, size=(zones, len(place.roles)))
        elif sizes.shape != (zones, len(place.roles)):
            raise ValueError(f"sizes are to be of {zones} zones and {len(place.roles)} roles, got {sizes.shape}")
        zone = np.repeat(np.arange(zones), sizes.sum(axis=1))
        role = np.repeat(np.tile(np.arange(len(place.roles)), zones), sizes.ravel())
        day = place.timetable(rng)
        there = place.shifts(rng, role, days).reshape(len(zone), days, PERIODS_A_DAY)
        room = np.broadcast_to(zone[:, None, None], there.shape).astype(np.int16)
        room[:, :, day.common == COMMON] = zones
        room[:, :, day.common == HOME] = zones
        goes = rng.random(len(zone)) < place.goes_home
        room[np.ix_(goes, np.arange(days), np.flatnonzero(day.common == HOME))] = ABSENT
        for stretch in day.lessons() if place.away else ():
            gone = rng.random((zones, days)) < place.away
            room[:, :, stretch][gone[zone]] = ABSENT
        if place.zone_names == "ward":
            _eat(room, role, zones, rng)
        room[~there] = ABSENT
        room[:, :, (day.own == 0) & (day.shared == 0)] = ABSENT
        return cls(place, zone, role, room.reshape(len(zone), -1), day, days, zones)

    def episodes(self, rng: np.random.Generator) -> Episodes:
        """Every contact of everybody; two are only ever in contact while they are in one room."""
        bursts, lively = self.place.bursts, self._liveliness(rng)
        begin, first, second = [], [], []
        for a, b, rate, row, when in self._pairs(lively, rng):
            known = rate * spread(rng, bursts.pair_spread, rate.shape)
            expected = spread(rng, bursts.day_spread, (len(rate), self.days))
            expected *= known[:, None] * when.sum(axis=2, dtype=np.float32)[row]
            number = rng.poisson(expected).ravel()
            pair, day = np.divmod(np.repeat(np.arange(number.size), number), self.days)
            begin.append(_moments(rng, when, row[pair] * self.days + day, day))
            first.append(a[pair])
            second.append(b[pair])
        encounter, start, length = bursts.unfold(np.concatenate(begin), rng)
        return self._possible(start, length, np.concatenate(first)[encounter], np.concatenate(second)[encounter])

    def _pairs(self, lively: NDArray[np.float64], rng: np.random.Generator) -> Iterator[Pairs]:
        """Those who can meet, within zones and across, and their mean encounters a day."""
        sociable = spread(rng, self.place.bursts.person_spread, (len(self.zone),))
        liking = rng.standard_normal((len(self.zone), 2), dtype=np.float32)
        within, across = (np.array(rates, np.float32) for rates in (self.place.within, self.place.across))
        ends = np.searchsorted(self.zone, self.zone, side="right")
        i, j = _partners(np.arange(1, len(self.zone) + 1), ends)
        circle = np.exp(-self.place.bursts.circles * np.linalg.norm(liking[i] - liking[j], axis=1))
        rate = within[self.role[i], self.role[j]] * circle / circle.mean() * sociable[i] * sociable[j]
        yield i, j, rate, self.zone[i], lively[:-1]
        if self.zones > 1 and across.any():
            i, j = _partners(ends, np.full(len(ends), len(ends)))
            kin = self._kinship(rng)[self.zone[i], self.zone[j]]
            rate = across[self.role[i], self.role[j]] * kin * sociable[i] * sociable[j]
            met = np.flatnonzero(rate)
            yield i[met], j[met], rate[met], np.zeros(len(met), np.int64), lively[-1:]

    def _possible(self, start: Ints, length: Ints, a: Ints, b: Ints) -> Episodes:
        """Without those of people who are not in one room by then; a contact ends when one of them leaves."""
        last = self.room.shape[1]
        # Beyond the last day nobody is anywhere: a column more, and no contact needs to be looked at twice.
        width, room = last + 1, np.pad(self.room, ((0, 0), (0, 1)), constant_values=ABSENT).ravel()
        period = np.minimum(start // PERIOD_WINDOWS, last)
        here = room[a * width + period]
        together = np.flatnonzero((here == room[b * width + period]) & (here != ABSENT))
        start, length, a, b = start[together], length[together], a[together], b[together]
        here, period = here[together], period[together]
        final = np.minimum((start + length - 1) // PERIOD_WINDOWS, last)
        at, crossing = 1, np.flatnonzero(final > period)
        while len(crossing):
            there, i, j = period[crossing] + at, a[crossing] * width, b[crossing] * width
            parted = (room[i + there] != here[crossing]) | (room[j + there] != here[crossing])
            cut = crossing[parted]
            length[cut] = (period[cut] + at) * PERIOD_WINDOWS - start[cut]
            at, crossing = at + 1, crossing[~parted & (final[crossing] > there)]
        return Episodes.merged(start, length, a, b)

    def _liveliness(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """[zones + 1, days, periods]: timetable x zone x day x mood; the last is that of contacts across zones."""
        place, zones = self.place, self.zones + 1
        zone = rng.normal(0, place.zone_spread, (zones, 1, 1))
        zone[-1] = 0.0
        day = rng.normal(0, place.day_spread, (zones, self.days, 1))
        shocks = rng.normal(0, place.mood_spread, (zones, self.days * SLOTS_A_DAY))
        mood = shocks.copy()
        for slot in range(1, mood.shape[1]):
            mood[:, slot] = place.mood_memory * mood[:, slot - 1] + np.sqrt(1 - place.mood_memory**2) * shocks[:, slot]
        mood = np.repeat(mood.reshape(zones, self.days, SLOTS_A_DAY), PERIODS_A_SLOT, axis=2)
        shape = np.repeat(self.day.own[None], zones, axis=0)
        shape[-1] = self.day.shared
        variance = place.zone_spread**2 + place.day_spread**2 + place.mood_spread**2
        found: NDArray[np.float64] = shape[:, None, :] * np.exp(zone + day + mood - variance / 2)
        return found

    def _kinship(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """How much two zones have to do with each other [zones, zones]; 1 of each with itself, 1 on average."""
        grade = np.arange(self.zones) // 2
        kin = np.where(grade[:, None] == grade, self.place.kinship, 1.0)
        kin = kin * spread(rng, self.place.across_spread, (self.zones, self.zones))
        kin = np.triu(kin, 1)
        if self.zones > 1:
            kin /= kin[np.triu_indices(self.zones, 1)].mean()
        return (kin + kin.T + np.eye(self.zones)).astype(np.float32)


def _partners(first: Ints, end: Ints) -> tuple[Ints, Ints]:
    """Each person with everybody from `first` up to `end` [people]: one and the other, a row a pair."""
    count = np.maximum(end - first, 0)
    one = np.repeat(np.arange(len(count)), count)
    before = np.cumsum(count) - count
    return one, np.arange(len(one)) + (first - before)[one]


def _eat(room: NDArray[np.int16], role: Ints, zones: int, rng: np.random.Generator) -> None:
    """A ward's staff are in the canteen for half an hour each day, at a time of their own."""
    staff = np.flatnonzero(role != PATIENT)
    begins = rng.integers(LUNCH.start, LUNCH.stop - PERIODS_A_SLOT, (len(staff), room.shape[1]))
    for period in range(PERIODS_A_SLOT):
        room[staff[:, None], np.arange(room.shape[1]), begins + period] = zones


def _moments(rng: np.random.Generator, lively: NDArray[np.float64], row: Ints, day: Ints) -> Ints:
    """Windows drawn where it is lively; `row` says of which [zone, day] of `lively` each is."""
    ends = np.cumsum(lively.ravel())
    last = ends.reshape(-1, PERIODS_A_DAY)[:, -1]
    before = np.append(0.0, last[:-1])
    at = before[row] + rng.random(len(row)) * (last - before)[row]
    period = np.minimum(np.searchsorted(ends, at, side="right"), len(ends) - 1) % PERIODS_A_DAY
    found: Ints = (day * PERIODS_A_DAY + period) * PERIOD_WINDOWS + rng.integers(0, PERIOD_WINDOWS, len(row))
    return found
