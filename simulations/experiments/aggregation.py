"""What of a contact network an outbreak feels: the comparison of Stehlé et al. 2011 (BMC Medicine 9:87) on other data.

    python -m simulations.experiments.aggregation primaryschool.csv hospital_lyon_contacts.dat

Full: every contact in its window. Daily: each pair's duration of a day, without when (their HET). Equal: the pairs of a
day, all with the same duration (their HOM). The paper's finding is that daily is nearly as good as full, and equal not.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from edge.sensing.contacts import read_contacts
from simulations.epidemics.disease import FAST, SLOW, Disease
from simulations.epidemics.figures import EpidemicFigures
from simulations.epidemics.network import TemporalNetwork, daily_durations, equal_durations
from simulations.epidemics.outbreak import outbreaks, run_outbreak

DISEASES = {"fast": FAST, "slow": SLOW}


def compare(
    network: TemporalNetwork, disease: Disease, runs: int, seed: int, threads: int = 1
) -> Iterator[tuple[str, EpidemicFigures, float]]:
    """Name, figures, and milliseconds a run, of the full network and of the two that keep less."""
    for name, one in (("full", network), ("daily", daily_durations(network)), ("equal", equal_durations(network))):
        run_outbreak(one, disease, seed=seed)  # compiles, where that was not done before
        start = perf_counter()
        courses = outbreaks(one, disease, runs=runs, seed=seed, threads=threads)
        yield name, EpidemicFigures.of(courses), (perf_counter() - start) / runs * 1e3


def main(
    paths: Annotated[list[Path], typer.Argument(help="SocioPatterns files")],
    *,
    runs: int = 1000,
    seed: int = 1,
    threads: int = 1,
) -> None:
    """Attack rate and peak are of runs that reach a tenth of all people."""
    table = Table("data", "illness", "network", "outbreak", "attack rate", "peak day", "peak share", "R0", "ms a run")
    for path in paths:
        network = TemporalNetwork.of(read_contacts(path))
        for illness, disease in DISEASES.items():
            for name, found, ms in compare(network, disease, runs, seed, threads):
                columns = (found.outbreak, found.attack_rate, found.peak_day, found.peak_share, found.r0)
                table.add_row(path.name, illness, name, *map(str, columns), f"{ms:.1f}")
    Console(width=190).print(table)


if __name__ == "__main__":
    typer.run(main)
