"""What of a contact network an outbreak feels: the comparison of Stehlé et al. 2011 (BMC Medicine 9:87) on other data.

    python -m simulations.experiments.aggregation primaryschool.csv hospital_lyon_contacts.dat

Full: every contact in its window. Daily: each pair's duration of a day, without when (their HET). Equal: the pairs of a
day, all with the same duration (their HOM). The paper's finding is that daily is nearly as good as full, and equal not.
Mixed, which the paper does not have: all pairs of people alike, as in a model without a network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from edge.sensing.contacts import read_contacts
from privacy.logs import configure_process
from simulations.epidemics.aggregation import DISEASES, Spread, compare
from simulations.epidemics.network import TemporalNetwork


def main(
    paths: Annotated[list[Path], typer.Argument(help="SocioPatterns files")],
    *,
    runs: int = 1000,
    seed: int = 1,
    threads: int = 1,
    figure: Annotated[Path | None, typer.Option(help="write a figure here (svg)")] = None,
) -> None:
    """Attack rate and peak are of runs that reach a tenth of all people."""
    table = Table(
        "data", "illness", "network", "outbreak", "attack rate", "peak day", "peak share", "R0", "CPU ms a run"
    )
    spreads: list[Spread] = []
    for path in paths:
        network = TemporalNetwork.of(read_contacts(path))
        for illness in DISEASES:
            for one in compare(path.stem, network, illness, runs, seed, threads):
                found = one.figures
                columns = (found.outbreak, found.attack_rate, found.peak_day, found.peak_share, found.r0)
                table.add_row(one.data, illness, one.network, *map(str, columns), f"{one.ms:.1f}")
                spreads.append(one)
    Console(width=190).print(table)
    if figure is not None:
        from simulations.experiments.aggregation_figure import draw  # noqa: PLC0415  matplotlib is heavy

        draw(spreads, figure)


if __name__ == "__main__":
    configure_process(messages=True)
    typer.run(main)
