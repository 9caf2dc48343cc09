"""How near the world is to measured contacts and levels, beside how near those are to each other.

    python -m simulations.experiments.world_fit primaryschool.csv highschool_2012.csv highschool_2011.csv \\
        hospital_lyon_contacts.dat --exp34 FOLDER --nist FOLDER --figure docs/images/world-fit.svg

A row compares one statistic of days that nothing was fitted to. "Ours" is the mean Kolmogorov-Smirnov distance of a
measured day to a day of the world; "days" that of two measured days of the same site, which have the same people and
classes; "sites" that to days of another site of the kind. `--refit` searches for the numbers again instead.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from edge.sensing.contacts import read_contacts
from simulations.datasets.exp34 import load_exp34
from simulations.datasets.nist import load_nist
from simulations.experiments import world_figure
from simulations.experiments.radio_likeness import BandRow, line_of_sight_rows, worn_rows
from simulations.experiments.world_refit import Measured, refit
from simulations.world.building import Building
from simulations.world.likeness import (
    Sample,
    Site,
    between_zones,
    clustering,
    distance,
    mixing,
    rejected,
    repeated,
    samples,
)
from simulations.world.places import PLACES

WORLDS = 5
"""Buildings of ours that measured days are compared with."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a published file.

    Attributes:
        kind: of place.
        fitted: how many of its whole days, from the first on, the world's numbers were fitted to.
        like: stem of a file of another site of the kind.
    """

    kind: str
    fitted: int
    like: str = ""


KNOWN = {
    "primaryschool": Known("school", 1),
    "highschool_2012": Known("high-school", 3, "highschool_2011"),
    "highschool_2011": Known("high-school", 0, "highschool_2012"),
    "hospital_lyon_contacts": Known("ward", 2),
}
"""By stem."""


@dataclass(frozen=True, slots=True)
class Row:
    """One statistic of one data set; distances from 0 to 1, NaN where there is nothing to compare with.

    Attributes:
        ours: to the world, on days that were not fitted to.
        days: between measured days.
        sites: to the other site.
        ours_rejected: share of subsamples of 200 that a test at 5 % tells apart, of pooled days; about 0.05 if alike.
        days_rejected: the same of two measured days.
    """

    data: str
    statistic: str
    ours: float
    days: float
    sites: float
    ours_rejected: float
    days_rejected: float


@dataclass(frozen=True, slots=True)
class Share:
    """One number of one data set: measured, and the least, mean and most of the world's buildings."""

    data: str
    statistic: str
    measured: float
    low: float
    mean: float
    high: float


def load(path: Path) -> tuple[Known, Site]:
    """A published file, and what is known of it.

    Raises:
        typer.BadParameter: it is none of those that the world was compared with.
    """
    if path.stem not in KNOWN:
        raise typer.BadParameter(f"{path.name} is none of {', '.join(KNOWN)}: the world has no place like it")
    known = KNOWN[path.stem]
    return known, Site.of(path.stem, read_contacts(path), roles=known.kind == "ward")


def made(known: Known, site: Site, days: int, seed: int) -> list[Site]:
    """Buildings of ours with as many zones as the site."""
    zones = len(np.unique(site.zone))
    rngs = [np.random.default_rng([seed, n]) for n in range(WORLDS)]
    return [Site.made("world", Building.raised(PLACES[known.kind], zones, days, rng), rng) for rng in rngs]


def compare(known: Known, site: Site, other: Site | None, seed: int) -> tuple[list[Row], list[Share]]:
    """All rows of one file."""
    days = site.days()
    held = days[known.fitted :]
    worlds = made(known, site, max(len(held), 2), seed)
    real = [samples(site, [day]) for day in days]
    ours = [samples(world, [day]) for world in worlds for day in world.days()]
    theirs = [samples(other, [day]) for day in other.days()] if other else []
    rng = np.random.default_rng(seed)
    rows = []
    for name in real[0]:
        tested = [one[name] for one in real[known.fitted :]]
        mine = [one[name] for one in ours]
        two = [real[0][name], real[-1][name]]
        rows.append(
            Row(
                site.name,
                name,
                _mean(distance, product(tested, mine)),
                _mean(distance, combinations([one[name] for one in real], 2)),
                _mean(distance, product([one[name] for one in real], [one[name] for one in theirs if name in one])),
                rejected(np.concatenate(tested), np.concatenate(mine), rng),
                rejected(two[0], two[1], rng),
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


def _mean(measure: Callable[[Sample, Sample], float], pairs: Iterator[tuple[Sample, Sample]]) -> float:
    found = [measure(one, other) for one, other in pairs]
    return float(np.mean(found)) if found else float("nan")


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


def main(
    paths: Annotated[list[Path], typer.Argument(help="SocioPatterns files: " + ", ".join(KNOWN))],
    *,
    exp34: Annotated[Path | None, typer.Option(help="folder of DP-3T's exp34: the radio on people, too")] = None,
    nist: Annotated[Path | None, typer.Option(help="folder of NIST's recordings: two Pis, too")] = None,
    seed: int = 1,
    figure: Annotated[Path | None, typer.Option(help="write the figure here")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the table here as well")] = None,
    tries: Annotated[int, typer.Option("--refit", help="instead, fit the first file anew with so many tries")] = 0,
) -> None:
    """Print the tables."""
    console = Console(width=150)
    loaded = {path.stem: load(path) for path in paths}
    if tries:
        known, site = next(iter(loaded.values()))
        measured = Measured(site, site.days()[: known.fitted or None], len(np.unique(site.zone)))
        for loss, place in refit(PLACES[known.kind], measured, seed, tries):
            console.print(f"{loss:.3f}", place)
        return
    rows: list[Row] = []
    shares: list[Share] = []
    for known, site in loaded.values():
        other = loaded[known.like][1] if known.like in loaded else None
        more, numbers = compare(known, site, other, seed)
        rows, shares = rows + more, shares + numbers
    table = Table("data", "statistic", "ours", "days", "sites", "told apart: ours", "days")
    for row in rows:
        numbers_of = (row.ours, row.days, row.sites, row.ours_rejected, row.days_rejected)
        table.add_row(row.data, row.statistic, *(f"{value:.3f}" for value in numbers_of))
    console.print(table)
    table = Table("data", "number", "measured", "ours", "from", "to")
    for one in shares:
        table.add_row(one.data, one.statistic, *(f"{v:.3g}" for v in (one.measured, one.mean, one.low, one.high)))
    console.print(table)
    levels: list[BandRow] = []
    if exp34 is not None:
        levels += worn_rows(load_exp34(exp34), seed)
    if nist is not None:
        levels += line_of_sight_rows(load_nist(nist), seed)
    if levels:
        table = Table("data", "distance", "scans or frames", "ours", "others", "heard", "ours", "mean dBm", "ours")
        for band in levels:
            values = (band.ours, band.others, band.heard, band.ours_heard)
            means = (band.mean_dbm, band.ours_mean_dbm)
            table.add_row(
                band.data, band.distance, str(band.samples), *(f"{v:.3f}" for v in values), *(f"{v:.1f}" for v in means)
            )
        console.print(table)
    if json_file is not None:
        whole = {"contacts": [*map(asdict, rows)], "numbers": [*map(asdict, shares)], "levels": [*map(asdict, levels)]}
        json_file.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    if figure is not None:
        world_figure.draw(
            figure, {site.name: (site, made(known, site, 4, seed)) for known, site in loaded.values()}, levels
        )


if __name__ == "__main__":
    typer.run(main)
