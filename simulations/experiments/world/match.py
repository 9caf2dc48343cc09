"""How near the world is to measured contacts and levels that it was not fitted to.

    python -m simulations.experiments.world.match --folder FOLDER --figure docs/images/world.png

"Ours" is the mean Kolmogorov-Smirnov distance of a measured day to a day of the world; "days" that of two measured days
of the same site, "sites" that to days of another site of the kind. "p" is of a two-sample test of as many independent
units a side as "units" says (`two_samples.py`), "p days" the same of two measured days. docs/world.md has the tables.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from privacy.logs import configure_process
from simulations.experiments.world import figure
from simulations.experiments.world.contacts_match import BUILDINGS, Row, Share, compare
from simulations.experiments.world.published import KNOWN, contacts_of, scenes, stretches
from simulations.experiments.world.radio_match import BandRow, line_of_sight_rows, worn_rows


def main(
    *,
    folder: Annotated[Path | None, typer.Option(help="of the files; else as `jaga-sim data` finds them")] = None,
    seed: int = 2,
    picture: Annotated[Path | None, typer.Option("--figure", help="write the figure here: .svg or .png")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the tables here as well")] = None,
) -> None:
    """Print the tables. Takes about a minute."""
    sites = {name: contacts_of(name, folder) for name in KNOWN}
    rows: list[Row] = []
    shares: list[Share] = []
    for name, known in KNOWN.items():
        more, numbers = compare(known, sites[name], sites.get(known.like), seed)
        rows, shares = rows + more, shares + numbers
    levels = [*worn_rows(scenes(folder), seed), *line_of_sight_rows(stretches(folder), seed)]
    console = Console(width=130)
    for table in (_contacts(rows), _numbers(shares), _levels(levels)):
        console.print(table)
    if json_file is not None:
        whole = {"contacts": [*map(asdict, rows)], "numbers": [*map(asdict, shares)], "levels": [*map(asdict, levels)]}
        json_file.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    if picture is not None:
        held = {name: sites[name].days()[known.fitted :] for name, known in KNOWN.items()}
        worlds = {
            name: sites[name].like(known.place, max(len(held[name]), 2), [seed], BUILDINGS)
            for name, known in KNOWN.items()
        }
        figure.draw(picture, {name: (sites[name], held[name], worlds[name]) for name in KNOWN}, levels)


def _contacts(rows: list[Row]) -> Table:
    table = Table("data", "statistic", "ours", "days", "sites", "units", "p", "p days")
    for row in rows:
        distances = (f"{value:.3f}" for value in (row.ours, row.days, row.sites))
        table.add_row(row.data, row.statistic, *distances, str(row.units), f"{row.p:.2g}", f"{row.p_days:.2g}")
    return table


def _numbers(shares: list[Share]) -> Table:
    table = Table("data", "number", "measured", "ours", "from", "to")
    for one in shares:
        table.add_row(one.data, one.statistic, *(f"{v:.3g}" for v in (one.measured, one.mean, one.low, one.high)))
    return table


def _levels(levels: list[BandRow]) -> Table:
    table = Table("data", "distance", "scans", "ours", "others", "units", "p", "heard", "ours", "mean dBm", "ours")
    for band in levels:
        table.add_row(
            band.data,
            band.distance,
            str(band.samples),
            f"{band.ours:.3f}",
            f"{band.others:.3f}",
            str(band.units),
            f"{band.p:.2g}",
            f"{band.heard:.3f}",
            f"{band.ours_heard:.3f}",
            f"{band.mean_dbm:.1f}",
            f"{band.ours_mean_dbm:.1f}",
        )
    return table


if __name__ == "__main__":
    configure_process(messages=True)
    typer.run(main)
