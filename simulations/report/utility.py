"""How good the model is, against every number that was swept, and against rounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from simulations.report.along import Quantity, against, axes_of
from simulations.report.drawing import LeftOut, Plot, framed
from simulations.report.levels import references
from simulations.report.lines import Line, Panel, Spread, by_task, lines, of_part, over_seeds, parts
from simulations.report.palette import Look
from simulations.report.phrases import counted, number, told
from simulations.report.runs import Run


def utility(runs: Sequence[Run]) -> list[Plot | LeftOut]:
    """All figures of this module; those that the runs do not give are left out, and say why."""
    done = [run for run in runs if run.done]
    return [*against_numbers(done), *error_by_round(runs)]


def against_numbers(done: Sequence[Run]) -> list[Plot | LeftOut]:
    """Error and gap against epsilon, and against each other number that was swept; errors of one task at a time."""
    found: list[Plot | LeftOut] = []
    for axis in axes_of(done):
        for ending, of_task, some in by_task(done):
            found += against(some, axis, error(some), ending, of_task)
        found += against(done, axis, gap(done))
    return found


def gap(done: Sequence[Run]) -> Quantity:
    """Of the way from the baseline to central training where that is known, else the share of the baseline's error."""
    if any(math.isfinite(gap_closed(run)) for run in done) or not any(math.isfinite(run.relative) for run in done):
        return GAP
    return SAVED


def error(done: Sequence[Run]) -> Quantity:
    return Quantity(
        "error", "Error", "Held-out error after the last round", lambda run: run.last("error"), error_label(done)
    )


def gap_closed(run: Run) -> float:
    """Share of the way from the baseline to central training; NaN where one is unknown or there is no way to go."""
    way = run.last("baseline_error") - run.last("central_error")
    return (run.last("baseline_error") - run.last("error")) / way if way > 0 else math.nan


GAP = Quantity(
    "gap",
    "Share of the gap closed",
    "Share of the way from the baseline (0\u00a0%) to central training without privacy (100\u00a0%)",
    gap_closed,
    "gap closed",
    "baseline",
)
SAVED = Quantity(
    "gap",
    "Share of the baseline's error saved",
    "Share of the baseline's error that the model saves; no run knows the error of central training",
    lambda run: 1 - run.relative,
    "baseline's error saved",
    "baseline",
)


def error_label(runs: Sequence[Run]) -> str:
    units = {run.unit for run in runs}
    unit = units.pop() if len(units) == 1 else ""
    return f"error ({unit})" if unit else "error"


def error_by_round(runs: Sequence[Run]) -> list[Plot | LeftOut]:
    return [one for ending, of_task, some in by_task(runs) for one in _by_round(some, ending, of_task)]


def _by_round(runs: Sequence[Run], ending: str, of_task: str) -> list[Plot | LeftOut]:
    title = f"Error against rounds{of_task}"
    known = [run for run in runs if np.isfinite(run.rounds["error"]).sum() > 1]
    if not known:
        return [LeftOut(title, "no run has held-out errors at two or more rounds")]
    unfinished = sum(not run.done for run in known)
    note = f" {counted(unfinished, 'run')} not done, drawn as far as known." if unfinished else ""
    return [
        Plot(
            f"error-rounds{ending}{suffix}",
            title,
            f"Held-out error after each evaluated round, round 0 the start model; {over_seeds(known)}.{note}",
            told([_course(line) for line in of_part(part)]),
            ("line", "round", "mean", "lowest", "highest", "runs"),
            tuple((line.label(), at, *spread.cells) for line in of_part(part) for at, spread in along_rounds(line)),
            partial(_draw_by_round, part, error_label(known)),
        )
        for suffix, part in parts(lines(known))
    ]


def _course(line: Line) -> str:
    (first, start), *_, (last, end) = along_rounds(line)
    return f"{line.label()}: {number(start.mean)} at round {first}, {number(end.mean)} at round {last}"


def along_rounds(line: Line) -> list[tuple[int, Spread]]:
    """Mean and range at every round that any run of the line was evaluated at."""
    errors = dict[int, list[float]]()
    for run in line.runs:
        for at, error in zip(run.rounds["round"], run.rounds["error"], strict=True):
            errors.setdefault(int(at), []).append(float(error))
    spreads = ((at, Spread.of(errors[at])) for at in sorted(errors))
    return [(at, spread) for at, spread in spreads if spread is not None]


def _draw_by_round(part: Sequence[Panel], label: str) -> Figure:
    def draw(axes: Axes, line: Line, look: Look, _: int) -> None:
        points = along_rounds(line)
        at = [point for point, _ in points]
        axes.fill_between(
            at, [s.low for _, s in points], [s.high for _, s in points], color=look.colour, alpha=0.15, linewidth=0
        )
        axes.plot(
            at,
            [s.mean for _, s in points],
            color=look.colour,
            marker=look.marker,
            linestyle=look.dash,
            markevery=max(1, len(at) // 8),
        )

    figure = framed(part, draw, across="round", up=label)
    for axes, panel in zip(figure.axes, part, strict=True):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        references(axes, panel)
    return figure
