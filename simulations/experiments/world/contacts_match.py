"""How near the world's contacts are to measured ones kept from the fit, beside how near those are to each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from simulations.experiments.world.likeness import Site, between_zones, clustering, mixing, repeated, samples
from simulations.experiments.world.published import Known
from simulations.experiments.world.two_samples import Sample, distance, p_value, pooled

BUILDINGS = 5
"""Of ours that measured days are compared with."""

NOTHING = float("nan")


@dataclass(frozen=True, slots=True)
class Row:
    """One statistic of one data set; distances from 0 to 1, NaN where there is nothing to compare with.

    Attributes:
        ours: mean distance of a day that was not fitted to, to a day of the world.
        days: of two measured days of the site, which have the same people.
        sites: of a measured day to one of another site of the kind.
        units: pairs, persons or zones that the tests see a side.
        p: that the days that were not fitted to, and the world's, are of one distribution.
        p_days: the same of the site's first and its last whole day.
    """

    data: str
    statistic: str
    ours: float
    days: float
    sites: float
    units: int
    p: float
    p_days: float


@dataclass(frozen=True, slots=True)
class Share:
    """One number of one data set: measured, and the least, mean and most of the world's buildings."""

    data: str
    statistic: str
    measured: float
    low: float
    mean: float
    high: float


def compare(known: Known, site: Site, other: Site | None, seed: int) -> tuple[list[Row], list[Share]]:
    """All rows of one data set."""
    days = site.days()
    held = days[known.fitted :]
    worlds = site.like(known.place, max(len(held), 2), [seed], BUILDINGS)
    real = [samples(site, [day]) for day in days]
    ours = [samples(world, [day]) for world in worlds for day in world.days()]
    made = [samples(world, world.days()) for world in worlds]
    theirs = [samples(other, [day]) for day in other.days()] if other else []
    rng = np.random.default_rng(seed)
    rows = []
    for name in real[0]:
        tested = [one[name] for one in real[known.fitted :]]
        p, units = p_value(pooled(tested), pooled([one[name] for one in made], apart=True), rng)
        rows.append(
            Row(
                site.name,
                name,
                _mean(product(tested, [one[name] for one in ours])),
                _mean(combinations([one[name] for one in real], 2)),
                _mean(product([one[name] for one in real], [one[name] for one in theirs if name in one])),
                units,
                p,
                p_value(real[0][name], real[-1][name], rng)[0],
            )
        )
    shares = [
        _share(site, worlds, days, "pairs that met the day before too", repeated),
        _share(site, worlds, held, "partners of one who met each other", clustering),
    ]
    if len(np.unique(site.zone)) > 1:
        shares.append(_share(site, worlds, held, "contacts across zones", between_zones))
    else:
        shares += _roles(site, worlds, held)
    return rows, shares


def _mean(pairs: Iterator[tuple[Sample, Sample]]) -> float:
    found = [distance(one, other) for one, other in pairs]
    return float(np.mean(found)) if found else NOTHING


def _share(
    site: Site, worlds: Sequence[Site], days: Sequence[int], name: str, of: Callable[[Site, Sequence[int]], float]
) -> Share:
    ours = [of(world, world.days()) for world in worlds]
    return Share(site.name, name, of(site, days), min(ours), float(np.mean(ours)), max(ours))


def _roles(site: Site, worlds: Sequence[Site], days: Sequence[int]) -> Iterator[Share]:
    """Contacts a day of a pair, by their roles."""
    names, real = mixing(site, site.role, days)
    ours = np.stack([mixing(world, world.role, world.days())[1] for world in worlds])
    for i, j in zip(*np.triu_indices(len(names)), strict=True):
        those = ours[:, i, j]
        name = f"contacts a day of a pair {names[i]}-{names[j]}"
        yield Share(site.name, name, float(real[i, j]), float(those.min()), float(those.mean()), float(those.max()))
