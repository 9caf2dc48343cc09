"""What it costs to protect everything of one day at a node, beside one half hour: error on held-out later days.

    python -m simulations.experiments.person_day primaryschool.csv hospital_lyon_contacts.dat tij_InVS.dat --world
    python -m simulations.experiments.person_day FILES... --world --json person_day.json
    python -m simulations.experiments.person_day --drawn person_day.json --svg docs/images/person-day.svg

Epsilon is of the whole run and for what a unit *holds* (replacement), as the ledger charges it. Each line is run many
times with fresh noise through the simulation that run files use; a median and quartiles are shown.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from edge.learning.dpsgd import DpSgdPlan
from edge.learning.shared import DP_SGD, SHARED_NOISE, Protection
from edge.learning.tasks.task import Task, load_task
from edge.learning.tasks.units import RECORD, pieces_of, unit_of
from privacy.accounting.events import DAY
from simulations.baselines import evaluate, persistence, train_centrally
from simulations.datasets.card import cards
from simulations.datasets.federated import FederatedData, Split
from simulations.datasets.sociopatterns import load_federation
from simulations.runs.data import Scene
from simulations.runs.experiment import Experiment
from simulations.runs.simulation import Simulation
from simulations.world.federate import federate
from simulations.world.generator import World
from simulations.world.pretraining import State, pretrain_public_model

DELTA = 1e-6
OUTSIDE = 4.0
"""Bound of an element of an update in the secure sum: far outside of what noise reaches here."""
MOST_RATE = 2.0
WORLD_SEED = 7


@dataclass(frozen=True, slots=True)
class Approach:
    """One way to protect; its numbers were chosen on thiers-2011, thiers-2012 and generated worlds of another seed.

    Attributes:
        clip_norm: of a piece.
        noise_step: how far the noise of one round may move an element of the model, standard deviation. The learning
            rate follows from it and from public numbers (noise, nodes, lot size), and is at most `MOST_RATE`.
    """

    name: str
    mechanism: str
    unit: str
    clip_norm: float
    noise_step: float
    rounds: int = 40


APPROACHES = (
    Approach("own noise, slot", DP_SGD, RECORD, 0.3, 0.02),
    Approach("own noise, day", DP_SGD, DAY, 1.0, 0.014),
    Approach("shared noise, slot", SHARED_NOISE, RECORD, 0.3, 0.02),
    Approach("shared noise, day", SHARED_NOISE, DAY, 1.0, 0.014),
)


@dataclass(frozen=True, slots=True)
class Place:
    """One data set, split over nodes, and what a private model is judged beside."""

    scene: Scene
    persistence: float
    start: float
    central: float
    node_days: int

    @classmethod
    def of(cls, name: str, task: Task, split: Split, start: State) -> Place:
        sites = split.sites
        names = tuple(site.name for site in sites)
        training = tuple(task.examples(site.training) for site in sites)
        held_out = tuple(task.examples(site.held_out) for site in sites)
        groups = [pieces_of(task, node, DAY).groups or () for node in training]
        return cls(
            Scene(task, name, names, training, names, held_out, start),
            persistence(task, split).mean,
            evaluate(task, start, split).mean,
            evaluate(task, train_centrally(task, split, start), split).mean,
            sum(len(set(of_node)) for of_node in groups),
        )

    @property
    def nodes(self) -> int:
        return len(self.scene.training)

    @property
    def lot_size(self) -> int:
        """About how many examples a node has: opening hours times days, which are public."""
        return max(1, round(sum(map(len, self.scene.training)) / self.nodes))


@dataclass(frozen=True, slots=True)
class Line:
    """Errors of one approach at one epsilon, and what they are compared with; mean absolute, person-minutes.

    Attributes:
        spent: what the accountant charges for the whole run.
        noise_multiplier: of a round, over what one unit added or removed moves a sum.
    """

    data: str
    nodes: int
    node_days: int
    examples: int
    approach: str
    epsilon: float
    spent: float
    noise_multiplier: float
    learning_rate: float
    persistence: float
    start: float
    central: float
    errors: tuple[float, ...]

    def closed(self, error: float) -> float:
        """Share of the gap between persistence and central training."""
        return (self.persistence - error) / (self.persistence - self.central)

    @property
    def quartiles(self) -> tuple[float, float, float]:
        """Of the errors: lower, median, upper."""
        if len(self.errors) == 1:
            return self.errors * 3
        low, middle, high = statistics.quantiles(self.errors, n=4, method="inclusive")
        return low, middle, high


def plan_for(place: Place, approach: Approach, epsilon: float) -> tuple[float, float]:
    """Noise multiplier and learning rate of a run: made of public numbers alone."""
    unit, nodes, rounds = unit_of(place.scene.task, approach.unit), place.nodes, approach.rounds
    if approach.mechanism == SHARED_NOISE:
        protection = Protection.within(SHARED_NOISE, approach.unit, epsilon, DELTA, rounds, nodes)
        multiplier, on_sum = protection.noise_multiplier, protection.sum_multiplier(nodes)
    else:
        multiplier = DpSgdPlan.within(epsilon, DELTA, rounds, unit.pieces).noise_multiplier
        on_sum = multiplier * math.sqrt(nodes)
    a_rate = on_sum * unit.pieces * approach.clip_norm / (nodes * place.lot_size)
    return multiplier, min(MOST_RATE, approach.noise_step / a_rate)


def tables(place: Place, approach: Approach, epsilon: float, rate: float, seed: int) -> dict[str, dict[str, Any]]:
    """The run as an experiment file has it."""
    found: dict[str, dict[str, Any]] = {
        "experiment": {"name": "person-day", "rounds": approach.rounds, "seed": seed},
        "strategy": {"name": "TailAverage"},
        "privacy": {"mechanism": approach.mechanism, "epsilon": epsilon, "delta": DELTA, "unit": approach.unit},
        "train": {"clip-norm": approach.clip_norm, "learning-rate": rate, "lot-size": place.lot_size},
        "evaluation": {"every": approach.rounds, "central": False},
    }
    if approach.mechanism == SHARED_NOISE:
        found["secure_sum"] = {"bound": OUTSIDE, "min_cohort": place.nodes}
    return found


def measure(place: Place, approach: Approach, epsilon: float, seeds: int) -> Line:
    """Run one approach with fresh noise, `seeds` times."""
    multiplier, rate = plan_for(place, approach, epsilon)
    last = []
    for seed in range(1, seeds + 1):
        with Simulation(Experiment.of(tables(place, approach, epsilon, rate, seed)), place.scene, workers=1) as run:
            last.append(list(run.rounds())[-1])
    return Line(
        data=place.scene.data,
        nodes=place.nodes,
        node_days=place.node_days,
        examples=sum(map(len, place.scene.training)),
        approach=approach.name,
        epsilon=epsilon,
        spent=max(row["epsilon"] for row in last),
        noise_multiplier=multiplier,
        learning_rate=rate,
        persistence=place.persistence,
        start=place.start,
        central=place.central,
        errors=tuple(row["error"] for row in last),
    )


def places(task: Task, start: State, paths: Sequence[Path], worlds: bool, zones: int, days: int) -> Iterator[Place]:
    """Every data set that is asked for."""
    for path in paths:
        yield Place.of(path.name, task, load_federation(path, zones_beside(path)), start)
    if worlds:
        for kind in ("school", "ward"):
            made: FederatedData = federate(World(WORLD_SEED, zones, days, kind))
            yield Place.of(f"generated {kind}", task, made, start)


def zones_beside(path: Path) -> Path | None:
    """The file of zones that the data set's card names beside these contacts, if it is there."""
    for card in cards().values():
        names = [file.name for file in card.files]
        if path.name in names:
            found = [path.with_name(name) for name in names if name.endswith("metadata.txt")]
            return next((file for file in found if file.exists()), None)
    return None


def shown(lines: Sequence[Line]) -> Table:
    """References of each data set, and its lines under them."""
    table = Table("data", "approach", "eps", "lower", "median", "upper", "gap closed", "beat start", "z", "rate")
    for data in dict.fromkeys(line.data for line in lines):
        of_it = [line for line in lines if line.data == data]
        first = of_it[0]
        table.add_row(f"[bold]{data}[/bold]", f"{first.nodes} nodes, {first.node_days} node days", *[""] * 8)
        for name in ("persistence", "start", "central"):
            error = getattr(first, name)
            table.add_row("", name, "", "", f"{error:.2f}", "", f"{first.closed(error):.0%}", "", "", "")
        for line in of_it:
            low, middle, high = line.quartiles
            better = sum(error < line.start for error in line.errors)
            table.add_row(
                "",
                line.approach,
                f"{line.epsilon:g}",
                *(f"{error:.2f}" for error in (low, middle, high)),
                f"{line.closed(middle):.0%}",
                f"{better} of {len(line.errors)}",
                f"{line.noise_multiplier:.3g}",
                f"{line.learning_rate:.2g}",
            )
        table.add_section()
    return table


def draw_figure(lines: Sequence[Line], path: Path) -> None:
    """Share of the gap over epsilon for each data set: medians, and quartiles."""
    import matplotlib  # noqa: PLC0415  (half a second that no other experiment needs)

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "person-day"
    from matplotlib import pyplot  # noqa: PLC0415

    sets = list(dict.fromkeys(line.data for line in lines))
    figure, axes = pyplot.subplots(
        1, len(sets), figsize=(3.1 * len(sets), 3.4), sharey=True, squeeze=False, layout="constrained"
    )
    for axis, data in zip(axes[0], sets, strict=True):
        for number, approach in enumerate(APPROACHES):
            rows = [line for line in lines if (line.data, line.approach) == (data, approach.name)]
            rows.sort(key=lambda line: line.epsilon)
            high, middle, low = zip(*([100 * row.closed(e) for e in row.quartiles] for row in rows), strict=True)
            style = "-" if approach.unit == DAY else "--"
            colour = f"C{number // 2}"
            places_on_axis = [row.epsilon for row in rows]
            axis.plot(places_on_axis, middle, style, marker="o", color=colour, label=approach.name)
            axis.fill_between(places_on_axis, low, high, alpha=0.12, color=colour)
        first = next(line for line in lines if line.data == data)
        axis.axhline(100 * first.closed(first.start), color="grey", linewidth=0.8, linestyle=":", label="public start")
        axis.set(title=f"{data}\n{first.node_days} node days", xscale="log", ylim=(-120, 140), xlabel="epsilon")
        axis.set_xticks([1, 4, 8], ["1", "4", "8"])
    axes[0][0].set_ylabel("gap closed, %")
    axes[0][-1].legend(fontsize="x-small", loc="lower right")
    figure.savefig(path, metadata={"Date": None})


def main(
    paths: Annotated[list[Path] | None, typer.Argument(help="SocioPatterns files")] = None,
    *,
    world: Annotated[bool, typer.Option("--world", help="a generated school and ward as well")] = False,
    epsilon: Annotated[list[float] | None, typer.Option(help="several times; default 1, 4 and 8")] = None,
    seeds: Annotated[int, typer.Option(min=1)] = 20,
    zones: Annotated[int, typer.Option(help="nodes of a generated world", min=2)] = 20,
    days: Annotated[int, typer.Option(help="of a generated world, half of them held out", min=2)] = 10,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the figures here as well")] = None,
    svg: Annotated[Path | None, typer.Option(help="draw them here")] = None,
    drawn: Annotated[Path | None, typer.Option(help="run nothing; show what --json wrote")] = None,
) -> None:
    """Exit status 0 if the median by day, with shared noise and the largest epsilon, beats persistence everywhere."""
    torch.set_num_threads(1)
    if drawn is not None:
        read = json.loads(drawn.read_text(encoding="utf-8"))
        lines = [Line(**{**row, "errors": tuple(row["errors"])}) for row in read]
    else:
        if not (paths or world):
            raise typer.BadParameter("give SocioPatterns files, or --world")
        task = load_task("crowding")
        start = pretrain_public_model(task, 0)
        lines = [
            measure(place, approach, budget, seeds)
            for place in places(task, start, paths or [], world, zones, days)
            for approach in APPROACHES
            for budget in sorted(epsilon or [1.0, 4.0, 8.0])
        ]
    Console(width=140).print(shown(lines))
    if json_file is not None:
        json_file.write_text(json.dumps([asdict(line) for line in lines], indent=1) + "\n", encoding="utf-8")
    if svg is not None:
        draw_figure(lines, svg)
    largest = max(line.epsilon for line in lines)
    judged = [line for line in lines if line.epsilon == largest and line.approach == APPROACHES[-1].name]
    raise typer.Exit(0 if all(line.quartiles[1] < line.persistence for line in judged) else 1)


if __name__ == "__main__":
    typer.run(main)
