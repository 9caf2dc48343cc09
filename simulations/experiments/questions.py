"""Answers of the harness to questions that come up before a network is built, each with its figure.

    python -m simulations.experiments.questions [NAME ...] --out runs/questions --figures docs/images

Each question is an experiment that comes with the program, so `jaga-sim run NAME` carries out the same runs. What is
done stays: a second call draws and prints what is there.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from privacy.logs import configure_process
from simulations.report.along import Axis, Quantity, against
from simulations.report.drawing import LeftOut, Plot
from simulations.report.lines import Line, lines, words
from simulations.report.reading import read
from simulations.report.rows import by_word
from simulations.report.runs import EPSILON, MECHANISM, Run, Setting
from simulations.report.utility import GAP
from simulations.runs.experiment import BadExperiment
from simulations.runs.screen import RunScreen
from simulations.runs.series import carry_out_all, orders
from simulations.runs.sweep import Sweep

FIGURE = "question-{}.svg"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and how its runs are read.

    Attributes:
        name: of the experiment that comes with the program, and of the figure.
        across: the key along the figure's axis, or down its rows where its values are words.
        than: keys, each with the value that its other values are compared with, seed by seed.
    """

    name: str
    asked: str
    across: str
    quantity: Quantity
    than: tuple[tuple[str, Setting], ...] = ()

    def plot(self, runs: Sequence[Run]) -> Plot | LeftOut:
        """The first figure; a question has no more lines than one figure takes."""
        words_down = any(isinstance(run.settings.get(self.across), str) for run in runs)
        plots = by_word(runs, self.across, self.quantity) if words_down else self._along(runs)
        return plots[0]

    def _along(self, runs: Sequence[Run]) -> list[Plot | LeftOut]:
        return against(runs, Axis(self.across), self.quantity)


BETTER_THAN_BASELINE = Quantity(
    "saved",
    "Share of the baseline's error saved",
    "Share of the baseline's error that the model saves after the last round; below 0\u00a0% it is worse",
    lambda run: 1 - run.relative,
    "baseline's error saved",
    "baseline",
)
OWN_MODEL = Quantity(
    "own",
    "Share of the baseline's error saved by the model that a site ends with",
    "Share of the baseline's error that sites' models save: the common one, or where layers are personal each site's",
    lambda run: 1 - _own_error(run) / run.last("baseline_error"),
    "baseline's error saved",
    "baseline",
)
BETTER_THAN_START = Quantity(
    "learnt",
    "Share of the start model's error saved",
    "Share of the public start model's held-out error that training saves, where the model is used; "
    "left of 0\u00a0% it does harm",
    lambda run: 1 - run.last("error") / run.last("start_error"),
    "start model's error saved where it is used",
    "start",
)

QUESTIONS = {
    one.name: one
    for one in (
        Question("sites", "How many sites make up for how small an epsilon?", "data.sites", BETTER_THAN_BASELINE),
        Question(
            "noise", "Noise of each node's own, or shared in a secure sum?", EPSILON, GAP, ((MECHANISM, "dp-sgd"),)
        ),
        Question(
            "personal",
            "One model for all, or one more for each site?",
            "data.source",
            OWN_MODEL,
            (("personal.layers", ""), ("secure_sum.min_cohort", 1000)),
        ),
        Question(
            "availability",
            "What do absent nodes cost?",
            "availability.share",
            GAP,
            (("availability.share", 1.0), (MECHANISM, "dp-sgd")),
        ),
        Question(
            "poison",
            "What does poisoning cost, with and without a robust strategy?",
            "attackers.share",
            BETTER_THAN_BASELINE,
            (("attackers.share", 0.0), ("strategy.name", "FedAvg")),
        ),
        Question("transfer", "Does what one place learnt help another?", "data.source", BETTER_THAN_START),
    )
}


def _own_error(run: Run) -> float:
    personal = run.last("personal_error")
    return personal if math.isfinite(personal) else run.last("error")


@dataclass(frozen=True, slots=True)
class Paired:
    """Differences from the runs of the same seed that a question compares with, sorted; empty where there is none."""

    differences: tuple[float, ...]

    @property
    def clear(self) -> bool:
        """All seeds differ in the same direction."""
        return bool(self.differences) and (self.differences[0] > 0 or self.differences[-1] < 0)

    @property
    def cells(self) -> tuple[str, str]:
        """Median and range, and whether all seeds agree."""
        if not self.differences:
            return "", ""
        middle, span = _told(self.differences, "{:+.1%}")
        return f"{middle} ({span})", "yes" if self.clear else "no"


@dataclass(frozen=True, slots=True)
class Found:
    """One combination of settings.

    Attributes:
        label: the settings that tell it from the others.
        values: of its seeds, sorted.
        against: one for each of the question's comparisons.
    """

    label: str
    values: tuple[float, ...]
    against: tuple[Paired, ...]

    @classmethod
    def of(cls, line: Line, question: Question, partners: Sequence[Run]) -> Found:
        measure = question.quantity.measure
        return cls(
            line.label(),
            tuple(sorted(map(measure, line.runs))),
            tuple(
                Paired(
                    tuple(sorted(measure(run) - measure(other) for run, other in paired(line.runs, partners, *than)))
                )
                for than in question.than
            ),
        )


def paired(runs: Iterable[Run], partners: Iterable[Run], key: str, value: Setting) -> list[tuple[Run, Run]]:
    """Each run with the one of the same seed that differs in `key` alone, where that has this value."""

    def but_key(run: Run) -> frozenset[tuple[str, Setting]]:
        return frozenset((name, setting) for name, setting in run.settings.items() if name != key)

    others = {(run.seed, but_key(run)): run for run in partners if run.settings.get(key) == value}
    found = ((run, others.get((run.seed, but_key(run)))) for run in runs if run.settings.get(key) != value)
    return [(run, other) for run, other in found if other is not None]


def find(question: Question, runs: Sequence[Run]) -> list[Found]:
    """An entry for every combination of settings, over its seeds."""
    done = [run for run in runs if run.done]
    return [Found.of(line, question, done) for line in lines(done)]


def table(question: Question, found: Sequence[Found]) -> Table:
    """Medians and ranges over seeds."""
    shown = Table(title=f"{question.asked}\n{question.quantity.meaning}", box=None, title_justify="left")
    for column in ("", "median", "range", "seeds"):
        shown.add_column(column, justify="left" if not column else "right")
    for than in question.than:
        shown.add_column(f"against {words(*than)}, same seeds", justify="right")
        shown.add_column("all one way", justify="right")
    for one in found:
        pairs = (cell for pair in one.against for cell in pair.cells)
        shown.add_row(one.label, *_told(one.values, "{:.1%}"), str(len(one.values)), *pairs)
    return shown


def _told(values: Sequence[float], form: str) -> tuple[str, str]:
    return form.format(statistics.median(values)), f"{form.format(values[0])} to {form.format(values[-1])}"


def answer(question: Question, out: Path, workers: int, changes: Sequence[str], err: Console) -> list[Run]:
    """Carry out what is not done, and read all runs of the question.

    Raises:
        BadExperiment: settings that cannot be used.
        RunFailed: a run ended with an error.
    """
    sweep = Sweep.read(question.name, changes)
    todo = orders(sweep, out, resume=True)
    if todo:
        with RunScreen(err, len(todo), sum(order.experiment.experiment.rounds for order in todo), live=False) as screen:
            carry_out_all(todo, workers, screen.tell)
    return list(read([out / one.run_name for one in sweep.experiments]).runs)


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"Of {', '.join(QUESTIONS)}; none: all.")] = None,
    out: Annotated[Path, typer.Option(help="Where runs' folders go.")] = Path("runs/questions"),
    figures: Annotated[Path | None, typer.Option(help="Where figures go; without it none are drawn.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes. Default: as many as there are cores.")] = None,
    change: Annotated[list[str] | None, typer.Option("--set", help="table.key=value wins over all files.")] = None,
) -> None:
    """Carry questions out, print what came of them, and draw them."""
    if unknown := set(names or ()) - QUESTIONS.keys():
        raise typer.BadParameter(f"no question {', '.join(sorted(unknown))}: there are {', '.join(QUESTIONS)}")
    screen, err = Console(), Console(stderr=True)
    for question in (QUESTIONS[name] for name in names or QUESTIONS):
        begun = time.monotonic()
        try:
            runs = answer(question, out / question.name, workers or os.cpu_count() or 1, change or (), err)
        except BadExperiment as why:
            raise typer.BadParameter(f"{question.name}: {why}") from why
        screen.print(table(question, find(question, runs)), f"{time.monotonic() - begun:.0f} s", "")
        if figures is not None:
            plot = question.plot(runs)
            if isinstance(plot, LeftOut):
                raise typer.BadParameter(f"{plot.title}: {plot.reason}")
            figures.mkdir(parents=True, exist_ok=True)
            (figures / FIGURE.format(question.name)).write_bytes(plot.drawn().svg)


if __name__ == "__main__":
    configure_process(messages=True)
    typer.run(main)
