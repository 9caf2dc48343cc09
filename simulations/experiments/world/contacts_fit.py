"""How the numbers of places are found: simulated moments, against the measured contacts of a few days.

Contact durations start from the greatest likelihood. Everything is then searched for: a candidate's buildings are made,
its rates are scaled until contacts of each pair of roles are as many as measured, and the sum of the distances of
what `likeness.py` compares is what is made small. Other days, and other sites, are kept for the comparison.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from simulations.experiments.world.likeness import Site, clustering, repeated, samples
from simulations.experiments.world.two_samples import distance, pooled
from simulations.world.bursts import Bursts, ShiftedPower
from simulations.world.places import Place

SCALINGS = 2
MANY, MANY_ROUNDS = 12, 4
STEP = 0.25
MOVED = 0.35
MOST_AWAY = 0.6
LEAST_STEP = 0.05


@dataclass(frozen=True, slots=True)
class Measured:
    """What is fitted to.

    Attributes:
        site: measured contacts.
        days: those that are fitted to.
    """

    site: Site
    days: Sequence[int]

    def __post_init__(self) -> None:
        if not self.days:
            raise ValueError(f"no day of {self.site.name} is to be fitted to")


def fit_lasting(windows: NDArray[np.int64], longest: int) -> ShiftedPower:
    """Maximum likelihood on contact durations, windows [n]; longer ones are left out."""
    counts = np.bincount(windows[windows <= longest], minlength=longest + 1)[1:]

    def loss(at: NDArray[np.float64]) -> float:
        law = ShiftedPower(float(np.exp(at[0])) - 0.9, float(np.exp(at[1])), longest)
        return float(-(counts * np.log(law.mass())).sum() / counts.sum())

    best = minimize(loss, np.log([1.9, 3.0]), method="Nelder-Mead").x
    return ShiftedPower(round(float(np.exp(best[0])) - 0.9, 2), round(float(np.exp(best[1])), 2), longest)


def refit(place: Place, measured: Measured, seed: int, tries: int, buildings: int = 2) -> Iterator[tuple[float, Place]]:
    """Better and better places, each with the sum of its distances."""
    rng = np.random.default_rng(seed)
    windows = np.concatenate([measured.site.on(day).length for day in measured.days])
    place = replace(place, bursts=replace(place.bursts, lasting=fit_lasting(windows, place.bursts.lasting.longest)))
    least, best = _loss(place, measured, seed, buildings)
    yield least, best
    for number in range(tries):
        step = max(STEP * (1 - number / tries), LEAST_STEP)
        loss, candidate = _loss(
            _moved(best, rng, step, len(np.unique(measured.site.zone))), measured, seed + number, buildings
        )
        if loss < least:
            # A lucky draw would never be beaten again: what looks better is made once more.
            loss = (loss + _loss(candidate, measured, seed + tries + number, buildings)[0]) / 2
        if loss < least:
            least, best = loss, candidate
            yield least, best
    # A search that keeps the best draw keeps lucky rates as well: they are set once more, on many buildings.
    yield least, scaled(best, measured, seed, MANY, MANY_ROUNDS)


def _moved(place: Place, rng: np.random.Generator, step: float, zones: int) -> Place:
    """Some of the numbers, each larger or smaller by about `step`; one zone says nothing of what is between zones."""
    old = place.bursts
    up = iter(np.exp(rng.normal(0, step, 16) * (rng.random(16) < MOVED)).tolist())

    def law(one: ShiftedPower) -> ShiftedPower:
        return ShiftedPower(round((one.shift + 1) * next(up) - 1, 3), round(one.exponent * next(up), 3), one.longest)

    def number(one: float) -> float:
        return float(round(one * next(up), 3))

    bursts = Bursts(
        law(old.lasting),
        law(old.gap),
        law(old.train),
        number(old.person_spread),
        number(old.pair_spread),
        number(old.circles),
        number(old.day_spread),
    )
    zone, day, mood = (number(one) for one in (place.zone_spread, place.day_spread, place.mood_spread))
    away = min(number(place.away), MOST_AWAY)
    kinship, across = (number(one) if zones > 1 else one for one in (place.kinship, place.across_spread))
    return replace(
        place,
        bursts=bursts,
        zone_spread=zone,
        day_spread=day,
        mood_spread=mood,
        away=away,
        kinship=kinship,
        across_spread=across,
    )


def scaled(place: Place, measured: Measured, seed: int, buildings: int, rounds: int) -> Place:
    """With the rates at which contacts of each pair of roles are as many as measured, on average over buildings."""
    target = _rates(place, measured.site, measured.days)
    for again in range(rounds):
        made = measured.site.like(place, len(measured.days), [seed, again], buildings)
        # Some buildings have no pair of two roles that are rare.
        ours = np.array([_rates(place, site, range(len(measured.days))) for site in made])
        there = np.isfinite(ours)
        mean = np.where(there, ours, 0.0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
        by = np.where((target > 0) & (mean > 0), target / np.maximum(mean, 1e-9), 1.0).clip(0.1, 10)
        place = replace(place, within=_table(place.within, by[0]), across=_table(place.across, by[1]))
    return place


def _loss(place: Place, measured: Measured, seed: int, buildings: int) -> tuple[float, Place]:
    """The sum of the distances, and the place with the rates at which contacts are as many as measured."""
    days = len(measured.days)
    place = scaled(place, measured, seed, buildings, SCALINGS)
    made = measured.site.like(place, days, [seed, SCALINGS], buildings)
    real = samples(measured.site, measured.days)
    ours_all = [samples(site, range(days)) for site in made]
    loss = sum(distance(real[name], pooled([one[name] for one in ours_all])) for name in real)
    for statistic in (repeated, clustering):
        if len(measured.days) > 1 or statistic is clustering:
            loss += abs(
                statistic(measured.site, measured.days) - float(np.mean([statistic(one, range(days)) for one in made]))
            )
    return loss, place


def _rates(place: Place, site: Site, days: Sequence[int]) -> NDArray[np.float64]:
    """Contacts a day of a pair by role, within a zone and across [2, roles, roles]; NaN where there is no such pair."""
    number = np.array([place.roles.index(role) for role in site.role])
    zone = np.unique(site.zone, return_inverse=True)[1]
    keep = np.isin(site.episodes.day, days)
    roles = len(place.roles)
    contacts, pairs = np.zeros((2, roles, roles)), np.zeros((2, roles, roles))
    a, b = site.episodes.a[keep], site.episodes.b[keep]
    np.add.at(contacts, ((zone[a] != zone[b]).astype(int), number[a], number[b]), 1)
    a, b = np.triu_indices(len(number), 1)
    np.add.at(pairs, ((zone[a] != zone[b]).astype(int), number[a], number[b]), 1)
    contacts, pairs = contacts + contacts.transpose(0, 2, 1), pairs + pairs.transpose(0, 2, 1)
    return np.where(pairs > 0, contacts / np.maximum(pairs, 1) / len(days), np.nan)


def _table(rates: Sequence[Sequence[float]], by: NDArray[np.float64]) -> tuple[tuple[float, ...], ...]:
    scaled = np.array(rates) * np.where(np.isfinite(by), by, 1.0)
    return tuple(tuple(float(value) for value in row) for row in (scaled + scaled.T) / 2)
