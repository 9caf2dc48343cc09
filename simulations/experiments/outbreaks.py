"""How much of an outbreak alerts of nodes catch, against manual tracing and against random testing, at equal budgets.

    python -m simulations.experiments.outbreaks primaryschool.csv hospital_lyon_contacts.dat --exp34 FOLDER

Infections happen on true contacts. Alerts see what nodes with radios see of them (`simulations.experiments.sensed`).
What is assumed is in `simulations.epidemics.scenario`; docs/epidemics.md has the answer, and how far it reaches.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from edge.sensing.contacts import Contact, read_contacts
from privacy.logs import configure_process
from simulations.datasets.exp34 import load_exp34
from simulations.epidemics.figures import EpidemicFigures
from simulations.epidemics.outbreak import Course
from simulations.epidemics.scenario import COVID_LIKE, Scenario
from simulations.epidemics.sources import Site
from simulations.experiments.arms import (
    NO_RESPONSE,
    Arm,
    ArmFigures,
    AtCost,
    arms,
    at_equal_cost,
    follow_all,
)
from simulations.experiments.outbreak_folder import keep
from simulations.experiments.sensed import site_of
from simulations.experiments.world.radio_fit import fit_worn
from simulations.world.generator import World
from simulations.world.scans import link_scans

EQUAL_COSTS = {"quarantine": (1.0, 2.0, 4.0, 8.0), "test": (0.5, 1.0, 2.0, 4.0)}
"""Person-days of quarantine, and tests, for each person of a site, at which sources are compared."""

NO_CURVES = frozenset({"anybody", "class list", "interview, no queue", "every contact"})
"""Left out where epidemic curves are kept: their bands lie over each other, and few can be told apart."""


def measure(
    site: Site, scenario: Scenario, *, runs: int, seed: int, processes: int = 1
) -> tuple[list[ArmFigures], dict[str, list[Course]]]:
    """Figures of all arms; and by name all courses without a response, the first, and of the reference budgets."""
    those = arms(site, scenario)
    without, *outcomes = follow_all(
        site, [Arm(scenario, NO_RESPONSE), *those], runs=runs, seed=seed, processes=processes
    )
    figures = [ArmFigures.of(site, arm, one, without) for arm, one in zip(those, outcomes, strict=True)]
    courses = {Arm(scenario, NO_RESPONSE).name: [outcome.course for outcome in without]}
    for arm, one in zip(those, outcomes, strict=True):
        if arm.scenario == scenario and arm.is_reference and arm.name not in NO_CURVES:
            courses[arm.name] = [outcome.course for outcome in one]
    return figures, courses


def contacts_of(paths: Sequence[Path] | None, seed: int) -> list[tuple[str, list[Contact]]]:
    """Of files, or of a school and a ward that never were."""
    if paths:
        return [(path.stem, read_contacts(path)) for path in paths]
    kinds: tuple[World, ...] = (World(seed, days=2, kind="school"), World(seed, days=4, kind="ward"))
    return [(f"generated {world.kind}", world.contacts()) for world in kinds]


def main(
    paths: Annotated[list[Path] | None, typer.Argument(help="SocioPatterns files with zones; none: generated")] = None,
    *,
    exp34: Annotated[Path | None, typer.Option(help="folder of DP-3T's exp34 tables; none: no worn nodes")] = None,
    runs: int = 200,
    seed: int = 1,
    draws: Annotated[int, typer.Option(help="of seats and of the radio's errors")] = 3,
    beta: Annotated[float, typer.Option(help="rate of infection in contact, per second")] = COVID_LIKE.beta,
    processes: int = 1,
    all_arms: Annotated[bool, typer.Option(help="every budget and adoption, not the reference ones alone")] = False,
    figure: Annotated[Path | None, typer.Option(help="write a figure here (svg)")] = None,
    out: Annotated[Path | None, typer.Option(help="a run folder a site, with its epidemic curves, in here")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the figures here as well")] = None,
) -> None:
    """One table of what the reference budgets catch, and one of what is averted at equal costs."""
    radio = None if exp34 is None else fit_worn(link_scans(load_exp34(exp34)))
    scenario = Scenario(disease=replace(COVID_LIKE, beta=beta))
    console = Console(width=180)
    usual = scenario.adoption
    rows: list[ArmFigures] = []
    for name, contacts in contacts_of(paths, seed):
        site = site_of(name, contacts, radio, draws)
        figures, courses = measure(site, scenario, runs=runs, seed=seed, processes=processes)
        free = EpidemicFigures.of(courses["nobody"])
        console.print(
            f"{name}: {site.network.people} people, {site.network.days} days looped, {runs} runs; "
            f"without a response R0 {free.r0}, outbreak {free.outbreak}, "
            f"infected then {free.attack_rate}"
        )
        rows += figures
        if out is not None:
            folder = keep(out, site, scenario, courses, runs=runs, draws=draws, seed=seed)
            console.print(f"{name}: epidemic curves are in {folder.path}")
    console.print(_by_arm(rows if all_arms else [row for row in rows if row.is_reference and row.adoption == usual]))
    console.print(_equal_costs(rows))
    if figure is not None:
        from simulations.experiments.outbreaks_figure import draw  # noqa: PLC0415  matplotlib is heavy

        draw(rows, figure)
    if json_file is not None:
        json_file.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")


def _by_arm(rows: Sequence[ArmFigures]) -> Table:
    table = Table("data", "found by", "then", "at most", "adoption", "infected", "averted", "caught", "in time")
    for heading in ("person-days", "tests", "cost of one averted", "in vain"):
        table.add_column(heading)
    for row in rows:
        table.add_row(
            *(row.data, row.found, row.action, row.budget, f"{row.adoption:.0%}", f"{row.infected.value:.1f}"),
            *map(str, (row.averted, row.caught, row.caught_in_time)),
            f"{row.person_days.value:.0f}",
            f"{row.tests.value:.0f}",
            str(row.cost) if row.averted.low > 0 else "none averted for certain",
            f"{row.in_vain.value:.2f}",
        )
    return table


def _equal_costs(rows: Sequence[ArmFigures]) -> Table:
    """Share averted, by what is spent for each person of the site."""
    table = Table("data, then", "found by", *[""] * max(map(len, EQUAL_COSTS.values())), title="averted at equal costs")
    usual = rows[0].adoption
    for data, action in dict.fromkeys((row.data, row.action) for row in rows):
        costs = EQUAL_COSTS[action]
        unit = "tests" if action == "test" else "person-days"
        table.add_row(f"{data}, {action}", "", *(f"{cost:g} {unit} each" for cost in costs), style="bold")
        mine = [row for row in rows if (row.data, row.action, row.adoption) == (data, action, usual)]
        for name in dict.fromkeys(row.found for row in mine):
            those = [row for row in mine if row.found == name]
            table.add_row("", name, *(_cell(at_equal_cost(those, cost), cost) for cost in costs))
        table.add_section()
    table.caption = r"\[n]: finds no more people than cost n each. Empty: one for each case costs more."
    return table


def _cell(found: AtCost | None, cost: float) -> str:
    if found is None:
        return ""
    return f"{found.averted}" + (f" \\[{found.spent:.1f}]" if found.spent < cost else "")


if __name__ == "__main__":
    configure_process(messages=True)
    typer.run(main)
