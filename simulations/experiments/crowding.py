"""How well `crowding` is learnt under privacy: start, private, central and persistence on held-out later days.

    python -m simulations.experiments.crowding primaryschool.csv hospital_lyon_contacts.dat

A private figure is one draw of the noise, so each is drawn many times; the worst is shown too.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from edge.learning.dpsgd import DpSgdPlan
from edge.learning.tasks.task import Task, load_task
from privacy.logs import configure_process
from simulations.baselines import evaluate, persistence, train_centrally, train_privately
from simulations.datasets.sociopatterns import Federation, federation, load_federation
from simulations.world.generator import World
from simulations.world.pretraining import State, pretrain_public_model


@dataclass(frozen=True, slots=True)
class Figures:
    """Mean absolute error, person-minutes a slot and node, on the held-out days of one data set."""

    data: str
    nodes: int
    training_days: int
    held_out_slots: int
    epsilon: float
    persistence: float
    start: float
    private_mean: float
    private_worst: float
    central: float

    @property
    def holds(self) -> bool:
        """Every draw of the noise beat persistence, and they beat the public start model on average."""
        return self.private_worst < self.persistence and self.private_mean < self.start


@dataclass(frozen=True, slots=True)
class Setting:
    """What is asked of the private federation, and how many times it runs with fresh noise."""

    epsilon: float
    delta: float
    rounds: int
    draws: int


def measure(task: Task, site: Federation, start: State, setting: Setting) -> Figures:
    """Run the private federation `draws` times with the recommended plan."""
    plan = DpSgdPlan.within(setting.epsilon, setting.delta, setting.rounds, task.unit_examples)
    errors = [
        evaluate(task, train_privately(task, site, start, plan, setting.rounds), site).mean
        for _ in range(setting.draws)
    ]
    last = persistence(task, site)
    return Figures(
        data=site.name,
        nodes=len(site.zones),
        training_days=site.training_days,
        held_out_slots=last.slots,
        epsilon=setting.epsilon,
        persistence=last.mean,
        start=evaluate(task, start, site).mean,
        private_mean=sum(errors) / len(errors),
        private_worst=max(errors),
        central=evaluate(task, train_centrally(task, site, start), site).mean,
    )


def main(
    paths: Annotated[list[Path] | None, typer.Argument(help="SocioPatterns files; none: worlds of our own")] = None,
    *,
    epsilon: Annotated[list[float] | None, typer.Option(help="several times; default 8, 4 and 1")] = None,
    delta: float = 1e-6,
    rounds: int = 10,
    draws: int = 20,
    seed: Annotated[int, typer.Option(help="of the public start model's worlds")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the figures here as well")] = None,
) -> None:
    """Exit status 0 where, at the largest epsilon, every draw beat persistence and their mean the start model."""
    torch.set_num_threads(1)
    task = load_task("crowding")
    start = pretrain_public_model(task, seed)
    sites = [load_federation(path) for path in paths or []] or [
        federation(f"world of {kind}s", World(seed + 1, kind=kind).contacts()) for kind in ("school", "ward")
    ]
    settings = [Setting(e, delta, rounds, draws) for e in sorted(epsilon or [8.0, 4.0, 1.0], reverse=True)]
    figures = [measure(task, site, start, setting) for site in sites for setting in settings]
    table = Table("data", "nodes", "days", "slots", "eps", "persist.", "start", "private", "worst", "central")
    for row in figures:
        errors = (row.persistence, row.start, row.private_mean, row.private_worst, row.central)
        counts = (row.nodes, row.training_days, row.held_out_slots, f"{row.epsilon:g}")
        table.add_row(row.data, *map(str, counts), *(f"{error:.2f}" for error in errors))
    Console().print(table)
    if json_file is not None:
        json_file.write_text(json.dumps([asdict(row) for row in figures], indent=2) + "\n", encoding="utf-8")
    raise typer.Exit(0 if all(row.holds for row in figures if row.epsilon == settings[0].epsilon) else 1)


if __name__ == "__main__":
    configure_process(messages=True)
    typer.run(main)
