"""An illness in a generated town of households, schools and a clinic, by our own engine and by starsim.

    python -m simulations.experiments.town --classes 10 --secondary 5 --wards 1

The first row goes through every contact of the town's days in its order, looped. In the other two each pair meets every
day, for as long as it does on the mean: the same pairs, through our own engine and through starsim. They must agree;
how far they are from the first is what the order and the days of contacts are worth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from privacy.logs import configure_process
from simulations.epidemics.disease import Disease
from simulations.epidemics.figures import EpidemicFigures
from simulations.epidemics.outbreak import NOBODY, Course, outbreaks
from simulations.epidemics.town import Town, every_contact
from simulations.world.town import Settled
from simulations.world.town import Town as GeneratedTown

STEP_DAYS = 0.1
"""Of starsim; in steps of a whole day the outcome is another one (docs/epidemics.md)."""


def ways(settled: Settled, disease: Disease, runs: int, seed: int, days: float) -> dict[str, list[Course]]:
    """Outbreaks by each of the three, `runs` each, which one person starts."""
    from simulations.epidemics.starsims import spread_in_town  # noqa: PLC0415  starsim takes seconds to import

    town = Town.of(settled)
    starts = np.random.default_rng(seed).integers(town.people, size=runs).tolist()
    makers: dict[str, Callable[[], Sequence[Course]]] = {
        "every contact, ours": lambda: outbreaks(every_contact(settled), disease, runs=runs, seed=seed),
        "daily means, ours": lambda: outbreaks(town.network(), disease, runs=runs, seed=seed),
        "daily means, starsim": lambda: [
            spread_in_town(town, disease, [start], seed=seed + number, days=days, step_days=STEP_DAYS)
            for number, start in enumerate(starts)
        ],
    }
    found = {}
    for name, make in makers.items():
        begun = perf_counter()
        found[name] = list(make())
        typer.echo(f"{name}: {(perf_counter() - begun) / runs:.2f} s a run", err=True)
    return found


def where(courses: Sequence[Course], settled: Settled) -> dict[str, float]:
    """Share of transmissions by the place where the two meet most."""
    people = len(settled.home)
    keys, names, minutes = [], [], []
    for number, name in enumerate(settled.layers):
        _, a, b, met = settled.minutes(name)
        keys.append(a * people + b)
        names.append(np.full(len(a), number))
        minutes.append(met)
    pair, row = np.unique(np.concatenate(keys), return_inverse=True)
    total = np.zeros((len(pair), len(settled.layers)))
    np.add.at(total, (row, np.concatenate(names)), np.concatenate(minutes))
    caught = np.zeros(len(settled.layers))
    for course in courses:
        target = np.flatnonzero(course.infector != NOBODY)
        source = course.infector[target].astype(np.int64)
        key = np.minimum(source, target) * people + np.maximum(source, target)
        caught += np.bincount(total[np.searchsorted(pair, key)].argmax(axis=1), minlength=len(caught))
    return dict(zip(settled.layers, (caught / max(caught.sum(), 1)).tolist(), strict=True))


def main(
    *,
    classes: int = 10,
    secondary: int = 5,
    wards: int = 1,
    departments: int = 0,
    beta: Annotated[float, typer.Option(help="Rate of infection in contact, per second.")] = 5e-5,
    latent_days: float = 2.0,
    infectious_days: float = 4.0,
    runs: int = 40,
    seed: int = 1,
    days: Annotated[float, typer.Option(help="Of starsim; our own engine goes on to the end.")] = 150.0,
) -> None:
    """Infected, peak and R0 with 95 % intervals; infected and peak are of runs that reach a tenth of all people."""
    settled = GeneratedTown(seed, classes, secondary, wards, 7, departments).settled()
    disease = Disease(beta, latent_days, infectious_days, stages=2)
    homes = int(settled.home.max()) + 1
    table = Table("", "outbreak", "infected", "peak day", "peak share", "R0", *settled.layers)
    table.title = f"{len(settled.home):,} people in {homes:,} households"
    for name, courses in ways(settled, disease, runs, seed, days).items():
        one = EpidemicFigures.of(courses)
        columns = (one.outbreak, one.attack_rate, one.peak_day, one.peak_share, one.r0)
        table.add_row(name, *map(str, columns), *(f"{share:.0%}" for share in where(courses, settled).values()))
    Console(width=190).print(table)
    Console(width=190).print("last columns: where those met most who infected each other", style="dim")


if __name__ == "__main__":
    configure_process(messages=True)
    typer.run(main)
