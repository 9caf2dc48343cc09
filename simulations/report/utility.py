"""How good the model is, against epsilon and against rounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from simulations.report.drawing import LeftOut, Plot, framed, percent, ticks_at
from simulations.report.levels import name_levels, references
from simulations.report.lines import Line, Panel, Spread, lines, of_part, over_seeds, parts
from simulations.report.palette import Look
from simulations.report.phrases import counted, number, percentage, told
from simulations.report.runs import EPSILON, Run

Measure = Callable[[Run], float]


def utility(runs: Sequence[Run]) -> list[Plot | LeftOut]:
    """All figures of this module; those that the runs do not give are left out, and say why."""
    done = [run for run in runs if run.done]
    return [*error_by_epsilon(done), *gap_by_epsilon(done), *error_by_round(runs)]


def error_by_epsilon(done: Sequence[Run]) -> list[Plot | LeftOut]:
    return _by_epsilon(
        done,
        "error-epsilon",
        "Error against epsilon",
        "Held-out error after the last round",
        lambda run: run.last("error"),
        error_label(done),
        in_percent=False,
    )


def gap_by_epsilon(done: Sequence[Run]) -> list[Plot | LeftOut]:
    """Of the way from the baseline to central training where that is known, else the share of the baseline's error."""
    title = "Share of the gap closed, against epsilon"
    if any(math.isfinite(gap_closed(run)) for run in done):
        meaning = "Share of the way from the baseline (0 %) to central training without privacy (100 %)"
        return _by_epsilon(done, "gap-epsilon", title, meaning, gap_closed, "gap closed", in_percent=True)
    if not any(math.isfinite(run.relative) for run in done):
        return [LeftOut(title, "no run that is done says what its baseline's error is")]
    title = "Share of the baseline's error saved, against epsilon"
    meaning = "Share of the baseline's error that the model saves; no run knows the error of central training"
    return _by_epsilon(
        done, "gap-epsilon", title, meaning, lambda run: 1 - run.relative, "baseline's error saved", in_percent=True
    )


def gap_closed(run: Run) -> float:
    """Share of the way from the baseline to central training; NaN where one is unknown or there is no way to go."""
    way = run.last("baseline_error") - run.last("central_error")
    return (run.last("baseline_error") - run.last("error")) / way if way > 0 else math.nan


def error_label(runs: Sequence[Run]) -> str:
    units = {run.unit for run in runs}
    unit = units.pop() if len(units) == 1 else ""
    return f"error ({unit})" if unit else "error"


def _by_epsilon(
    done: Sequence[Run], name: str, title: str, meaning: str, measure: Measure, label: str, *, in_percent: bool
) -> list[Plot | LeftOut]:
    known = [run for run in done if math.isfinite(measure(run))]
    epsilons = sorted({epsilon(run) for run in known if run.private})
    if not known:
        return [LeftOut(title, "no run is done, or none has a held-out error")]
    if len(epsilons) < 2:
        which = f"all have ε {epsilons[0]:g}" if epsilons else "none has a budget"
        return [LeftOut(title, f"needs runs at two or more values of privacy.epsilon; {which}")]
    return [
        Plot(
            name + suffix,
            title,
            f"{meaning}; {over_seeds(known)}.",
            told([_ends(line, measure, percentage if in_percent else number) for line in of_part(part)]),
            ("line", "ε", "mean", "lowest", "highest", "runs"),
            tuple(
                (line.label(), at if math.isfinite(at) else None, *spread.cells)
                for line in of_part(part)
                for at, spread in along_epsilon(line, measure)
            ),
            partial(_draw_by_epsilon, part, measure, epsilons, label, in_percent=in_percent),
        )
        for suffix, part in parts(lines(known, EPSILON))
    ]


def _ends(line: Line, measure: Measure, write: Callable[[float], str]) -> str:
    points = along_epsilon(line, measure)
    ends = dict([points[0], points[-1]])
    shown = [write(spread.mean) + (f" at ε\u00a0{at:g}" if math.isfinite(at) else "") for at, spread in ends.items()]
    return f"{line.label()}: {', '.join(shown)}"


def epsilon(run: Run) -> float:
    """The budget that it was set to; infinite without privacy."""
    value = run.settings.get(EPSILON)
    return float(value) if run.private and isinstance(value, int | float) else math.inf


def along_epsilon(line: Line, measure: Measure) -> list[tuple[float, Spread]]:
    """Mean and range at every epsilon of the line."""
    spreads = (
        (at, Spread.of(measure(run) for run in line.runs if epsilon(run) == at))
        for at in sorted({epsilon(run) for run in line.runs})
    )
    return [(at, spread) for at, spread in spreads if spread is not None]


def _draw_by_epsilon(
    part: Sequence[Panel], measure: Measure, epsilons: Sequence[float], label: str, *, in_percent: bool
) -> Figure:
    def draw(axes: Axes, line: Line, look: Look, place: int) -> None:
        points = along_epsilon(line, measure)
        private = [(at, spread) for at, spread in points if math.isfinite(at)]
        apart = 1.03 ** (place - (len(part[0].lines) - 1) / 2)  # so that ranges at one epsilon do not hide each other
        for _, spread in points[len(private) :]:  # without privacy, the same at every epsilon
            axes.axhspan(spread.low, spread.high, color=look.colour, alpha=0.15, linewidth=0)
            axes.plot(
                [0.02, 0.98],
                [spread.mean] * 2,
                transform=axes.get_yaxis_transform(),
                color=look.colour,
                marker=look.marker,
                linestyle=look.dash,
            )
        if private:
            axes.errorbar(
                [at * apart for at, _ in private],
                [spread.mean for _, spread in private],
                [
                    [spread.mean - spread.low for _, spread in private],
                    [spread.high - spread.mean for _, spread in private],
                ],
                color=look.colour,
                marker=look.marker,
                linestyle=look.dash,
                elinewidth=0.8,
                capsize=2,
            )

    figure = framed(part, draw, across="ε, as budgeted (stronger privacy to the left)", up=label)
    for axes, panel in zip(figure.axes, part, strict=True):
        axes.set_xscale("log")
        ticks_at(axes, epsilons)
        if in_percent:
            percent(axes)
            name_levels(axes, [(0.0, "baseline")])
        else:
            references(axes, panel)
    return figure


def error_by_round(runs: Sequence[Run]) -> list[Plot | LeftOut]:
    title = "Error against rounds"
    known = [run for run in runs if np.isfinite(run.rounds["error"]).sum() > 1]
    if not known:
        return [LeftOut(title, "no run has held-out errors at two or more rounds")]
    unfinished = sum(not run.done for run in known)
    note = f" {counted(unfinished, 'run')} not done, drawn as far as known." if unfinished else ""
    return [
        Plot(
            "error-rounds" + suffix,
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
