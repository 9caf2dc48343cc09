"""How much of the gap between persistence and central training a private federation closes, and by which means.

    python -m simulations.experiments.gap                      # Lyon school and ward LH10, 5 seeds, and the figure
    python -m simulations.experiments.gap --best --seeds 40    # the recommended approach alone, over more noise
    python -m simulations.experiments.gap --tuning             # the sets that the settings were chosen on

The share of the gap is (persistence - federated) / (persistence - central), of mean errors on held-out later days. Each
line of the table is a run of `simulations.runs` for every seed, so its folder can be looked into, and its settings are
a run file's.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import torch
import typer
from rich.console import Console
from rich.table import Table

from edge.learning.clipping import clipped_sum
from edge.learning.shared import SHARED_NOISE, Protection
from edge.learning.tasks.units import RECORD
from simulations.datasets.catalogue import card_of
from simulations.runs.data import open_scene
from simulations.runs.experiment import DataTable, Experiment, PrivacyTable, TaskTable
from simulations.runs.folder import RunFolder
from simulations.runs.series import carry_out_all, orders
from simulations.runs.sweep import Sweep
from simulations.world.pretraining import model_with, pooled

HELD_OUT = ("lyon-school", "lyon-ward")
TUNING = ("thiers-2011", "thiers-2012", "invs-workplace")
EPSILON, ENOUGH = 4.0, 0.8
EPSILONS = (1.0, 2.0, 4.0, 8.0)
CLIP_NORM = 0.3
OUTSIDE = 4.0
"""Bound of an element of an update in the secure sum: far outside of what noise reaches here."""


@dataclass(frozen=True, slots=True)
class Approach:
    """One way to train.

    Attributes:
        mechanism: as `[privacy]` names it.
        rates: learning rate by epsilon, chosen on `TUNING` and generated worlds; empty: the mechanism's own.
        lot_size: None: about how many examples a node of the data has.
    """

    name: str
    mechanism: str
    rounds: int
    strategy: str = "FedAvg"
    options: tuple[tuple[str, float], ...] = ()
    rates: tuple[tuple[float, float], ...] = ()
    lot_size: int | None = None


SHARED_RATES = ((1.0, 0.2), (2.0, 0.4), (4.0, 2.0), (8.0, 3.0))
LOCAL_RATES = ((1.0, 0.2), (2.0, 0.4), (4.0, 0.8), (8.0, 1.6))
MOMENTUM = (("server_learning_rate", 0.5), ("server_momentum", 0.5))
ADAM = (("eta", 0.05), ("beta_1", 0.9), ("beta_2", 0.99), ("tau", 1e-3))
LOCAL = Approach("local noise, tail mean, 10 rounds", "dp-sgd", 10, "TailAverage", rates=LOCAL_RATES)
SHARED = Approach("shared noise, tail mean, 40 rounds", "shared-noise", 40, "TailAverage", rates=SHARED_RATES)
APPROACHES = (
    Approach("no noise, FedAvg, 40 rounds", "none", 40, rates=((EPSILON, 0.3),)),
    Approach("local noise, 10 rounds, lots of 16", "dp-sgd", 10, lot_size=16),
    LOCAL,
    Approach("shared noise, 10 rounds, lots of 16", "shared-noise", 10, lot_size=16),
    Approach("shared noise, 10 rounds, own lot size", "shared-noise", 10, rates=((EPSILON, 1.0),)),
    Approach("shared noise, last model, 40 rounds", "shared-noise", 40, rates=SHARED_RATES),
    Approach("shared noise, momentum, 40 rounds", "shared-noise", 40, "FedAvgM", MOMENTUM, SHARED_RATES),
    Approach("shared noise, Adam, 40 rounds", "shared-noise", 40, "FedAdam", ADAM, SHARED_RATES),
    SHARED,
)
"""In the order of the argument; the last one is what is recommended."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One line of the table: what is run, for every seed."""

    data: str
    approach: Approach
    epsilon: float

    def tables(self, seed: int) -> dict[str, dict[str, Any]]:
        """The experiment. A node's lot size is about how many examples it has, as the set's card says, and its cohort
        is everybody."""
        card, approach = card_of(self.data), self.approach
        tables: dict[str, dict[str, Any]] = {
            "experiment": {"name": f"gap-{self.data}", "rounds": approach.rounds, "seed": seed},
            "data": {"source": self.data},
            "strategy": {"name": approach.strategy, "options": dict(approach.options)},
            "privacy": {"mechanism": approach.mechanism, "epsilon": self.epsilon},
            "evaluation": {"every": approach.rounds},
        }
        if approach.mechanism == "shared-noise":
            tables["secure_sum"] = {"bound": OUTSIDE, "min_cohort": card.sites}
        train: dict[str, Any] = {}
        if approach.rates:
            train["learning-rate"] = dict(approach.rates)[self.epsilon]
        if approach.mechanism != "none":
            train["lot-size"] = approach.lot_size or round(card.training / card.sites)
            if approach.rates:
                train["clip-norm"] = CLIP_NORM
        return tables | {"train": train}


@dataclass(frozen=True, slots=True)
class Ends:
    """The two ends of a gap, and where the public start model is; mean absolute errors.

    Attributes:
        central: of the same model, trained in one place and without privacy.
    """

    persistence: float
    start: float
    central: float

    def closed(self, error: float) -> float:
        """Share of the gap; above 1 where it is better than the central model."""
        return (self.persistence - error) / (self.persistence - self.central)


@dataclass(frozen=True, slots=True)
class Line:
    """Held-out errors of one approach at one epsilon, by seed."""

    asked: Asked
    errors: tuple[float, ...]
    ends: Ends

    @property
    def closed(self) -> tuple[float, float, float]:
        """Median, least and most share of the gap, over seeds."""
        shares = [self.ends.closed(error) for error in self.errors]
        return statistics.median(shares), min(shares), max(shares)

    @property
    def held(self) -> str:
        """How many seeds close enough of the gap."""
        return f"{sum(self.ends.closed(error) >= ENOUGH for error in self.errors)} of {len(self.errors)}"


def measure(asked: Sequence[Asked], seeds: int, out: Path, workers: int = 1) -> Iterator[Line]:
    """Carry out the runs that `out` does not hold yet, and read all of them."""
    runs = {one: [Experiment.of(one.tables(seed)) for seed in range(1, seeds + 1)] for one in asked}
    todo = orders(Sweep(tuple(itertools.chain(*runs.values())), ()), out, resume=True)
    carry_out_all(todo, workers, lambda _: None)
    for one, experiments in runs.items():
        last = [RunFolder(out / experiment.run_name).rows("rounds")[-1] for experiment in experiments]
        found = last[0]
        ends = Ends(found["baseline_error"], found["start_error"], found["central_error"])
        yield Line(one, tuple(row["error"] for row in last), ends)


@dataclass(frozen=True, slots=True)
class Signal:
    """What there is to learn from one data set before the first round, and under how much noise.

    Attributes:
        examples: of all nodes.
        gradient: norm of the sum of all clipped gradients at the start model.
        noise: expected norm of the shared noise on that sum, were the whole budget spent on one round.
    """

    examples: int
    gradient: float
    noise: float

    @classmethod
    def of(cls, data: str) -> Self:
        """Not private: a deployment cannot know it."""
        scene = open_scene(DataTable(source=data), TaskTable())
        task, together, nodes = scene.task, pooled(scene.training), len(scene.training)
        with clipped_sum(model_with(task, dict(scene.start)), task.loss, CLIP_NORM) as gradients:
            total = torch.cat([gradient.ravel() for gradient in gradients(together.x, together.y)])
        once = Protection.within(SHARED_NOISE, RECORD, EPSILON, PrivacyTable().delta, 1, nodes)
        noise = once.sum_multiplier(nodes) * task.unit_examples * CLIP_NORM * math.sqrt(len(total))
        return cls(len(together), float(total.norm()), noise)


def shown(lines: Sequence[Line]) -> Table:
    """What is known of each data set, and its lines under it."""
    table = Table("data", "approach", "eps", "error", "gap closed", "least", "most", f"{ENOUGH:.0%} held")
    for data in dict.fromkeys(line.asked.data for line in lines):
        of_it = [line for line in lines if line.asked.data == data]
        ends = of_it[0].ends
        for name, error in (("persistence", ends.persistence), ("start", ends.start), ("central", ends.central)):
            table.add_row(data, name, "-", f"{error:.2f}", f"{ends.closed(error):.0%}", "", "", "")
        for line in of_it:
            asked, shares = line.asked, (f"{share:.1%}" for share in line.closed)
            epsilon = "-" if asked.approach.mechanism == "none" else f"{asked.epsilon:g}"
            table.add_row(
                data, asked.approach.name, epsilon, f"{statistics.median(line.errors):.2f}", *shares, line.held
            )
        table.add_section()
    return table


def draw_figure(lines: Sequence[Line], path: Path) -> None:
    """Share of the gap over epsilon: median of the seeds, and from the least to the most."""
    import matplotlib  # noqa: PLC0415  (half a second that no other experiment needs)

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "gap"
    from matplotlib import pyplot  # noqa: PLC0415

    sites = list(dict.fromkeys(line.asked.data for line in lines))
    figure, axes = pyplot.subplots(
        1, len(sites), figsize=(4.2 * len(sites), 3.6), sharey=True, squeeze=False, layout="constrained"
    )
    for axis, data in zip(axes[0], sites, strict=True):
        for approach in (LOCAL, SHARED):
            rows = [line for line in lines if (line.asked.data, line.asked.approach) == (data, approach)]
            rows.sort(key=lambda line: line.asked.epsilon)
            median, least, most = zip(*((100 * share for share in line.closed) for line in rows), strict=True)
            places = [line.asked.epsilon for line in rows]
            axis.plot(places, median, marker="o", label=approach.name)
            axis.fill_between(places, least, most, alpha=0.2)
        ends = next(line.ends for line in lines if line.asked.data == data)
        axis.axhline(100 * ends.closed(ends.start), color="grey", linewidth=0.8, linestyle=":", label="start model")
        axis.axhline(100 * ENOUGH, color="grey", linewidth=0.8, linestyle="--", label=f"{ENOUGH:.0%}")
        axis.set(title=data, xlabel="epsilon of a record's lifetime", xscale="log", ylim=(-100, 140))
        axis.set_xticks(EPSILONS, [f"{epsilon:g}" for epsilon in EPSILONS])
        axis.minorticks_off()
    axes[0][0].set_ylabel("gap closed, %")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})
    pyplot.close(figure)


def main(
    *,
    tuning: Annotated[bool, typer.Option("--tuning", help="The sets that settings were chosen on; no figure.")] = False,
    best: Annotated[
        bool, typer.Option("--best", help="The recommended approach at epsilon 4 alone; no figure.")
    ] = False,
    seeds: Annotated[int, typer.Option(min=1)] = 5,
    out: Annotated[Path, typer.Option(help="Where runs' folders go; what is done is not repeated.")] = Path("runs/gap"),
    svg: Annotated[Path, typer.Option(help="Where the figure goes.")] = Path("docs/images/gap.svg"),
    workers: Annotated[int, typer.Option(min=1)] = 1,
) -> None:
    """Exit status 0 where the recommended approach closes 80 % of every gap at epsilon 4, in the median of its
    seeds."""
    sets = TUNING if tuning else HELD_OUT
    asked = [Asked(data, approach, EPSILON) for data in sets for approach in ((SHARED,) if best else APPROACHES)]
    drawn = not (tuning or best)
    if drawn:
        asked += [Asked(data, one, e) for data in sets for one in (LOCAL, SHARED) for e in EPSILONS if e != EPSILON]
    lines = list(measure(asked, seeds, out, workers))
    console = Console(width=124)
    console.print(shown(lines))
    for data in sets:
        signal = Signal.of(data)
        console.print(
            f"{data}: {signal.examples} examples; at the start their gradients sum up to {signal.gradient:.1f}, and "
            f"noise to {signal.noise:.1f} if all of epsilon {EPSILON:g} went into one round",
            soft_wrap=True,
            highlight=False,
        )
    if drawn:
        draw_figure(lines, svg)
    judged = [line for line in lines if (line.asked.approach, line.asked.epsilon) == (SHARED, EPSILON)]
    raise typer.Exit(0 if all(line.closed[0] >= ENOUGH for line in judged) else 1)


if __name__ == "__main__":
    typer.run(main)
