"""One quantity along a number that runs vary: budgets, sites, availability, attackers, whatever a sweep lists."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulations.report.drawing import LeftOut, Plot, framed, percent, ticks_at
from simulations.report.levels import name_levels, references
from simulations.report.lines import (
    NARROW,
    NOT_TOLD_APART_BY,
    Line,
    Panel,
    Spread,
    lines,
    noun,
    of_part,
    over_seeds,
    parts,
    words,
)
from simulations.report.palette import Look
from simulations.report.phrases import number, percentage, told
from simulations.report.runs import EPSILON, Run

Measure = Callable[[Run], float]
WIDE = 8.0
"""Numbers so many times apart are drawn on a logarithmic axis."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """What is drawn upwards.

    Attributes:
        name: of its figures' files, before that of the axis.
        title: over a figure, before `against`.
        meaning: a sentence without its point.
        label: beside the axis.
        zero: what a share of 0 stands for; empty where errors are drawn, beside those of baseline and start.
    """

    name: str
    title: str
    meaning: str
    measure: Measure
    label: str
    zero: str = ""

    def write(self, value: float) -> str:
        return percentage(value) if self.zero else number(value)


@dataclass(frozen=True, slots=True)
class Axis:
    """A setting whose values are numbers, by its dotted key."""

    key: str

    @property
    def name(self) -> str:
        """As a file's name has it."""
        return "epsilon" if self.key == EPSILON else self.key.replace(".", "-").replace("_", "-")

    @property
    def noun(self) -> str:
        return "epsilon" if self.key == EPSILON else noun(self.key)

    @property
    def label(self) -> str:
        return "ε, as budgeted (stronger privacy to the left)" if self.key == EPSILON else noun(self.key)

    def at(self, run: Run) -> float:
        """Where a run stands; infinite where it has no such number: without privacy there is no budget."""
        value = run.settings.get(self.key)
        known = isinstance(value, int | float) and (run.private or self.key != EPSILON)
        return float(value) if known and value is not None else math.inf

    def values(self, runs: Sequence[Run]) -> list[float]:
        return sorted({at for at in map(self.at, runs) if math.isfinite(at)})


def axes_of(runs: Sequence[Run]) -> list[Axis]:
    """Epsilon, and every other key that a sweep gave two or more numbers."""
    keys = dict.fromkeys(key for run in runs for key in run.swept if key not in {EPSILON, *NOT_TOLD_APART_BY})
    others = [key for key in keys if not any(isinstance(run.settings.get(key), bool | str) for run in runs)]
    return [Axis(EPSILON), *(axis for axis in map(Axis, others) if len(axis.values(runs)) > 1)]


def against(
    done: Sequence[Run], axis: Axis, quantity: Quantity, ending: str = "", of_task: str = ""
) -> list[Plot | LeftOut]:
    """A line for each of the other settings, with mean and range over seeds.

    Args:
        ending, of_task: of the files' names and of the title, where these runs are of one task of several.
    """
    title = f"{quantity.title} against {axis.noun}{of_task}"
    known = [run for run in done if math.isfinite(quantity.measure(run))]
    values = axis.values(known)
    if not known:
        return [LeftOut(title, "no run is done, or none has what it takes")]
    if len(values) < 2:
        which = f"all have {words(axis.key, values[0])}".replace(NARROW, " ") if values else "none has one"
        return [LeftOut(title, f"needs runs at two or more values of {axis.key}; {which}")]
    return [
        Plot(
            f"{quantity.name}-{axis.name}{ending}{suffix}",
            title,
            f"{quantity.meaning}; {over_seeds(known)}.",
            told([_ends(line, axis, quantity) for line in of_part(part)]),
            ("line", "ε" if axis.key == EPSILON else axis.noun, "mean", "lowest", "highest", "runs"),
            tuple(
                (line.label(), at if math.isfinite(at) else None, *spread.cells)
                for line in of_part(part)
                for at, spread in along(line, axis, quantity.measure)
            ),
            partial(_draw, part, axis, quantity, values),
        )
        for suffix, part in parts(lines(known, axis.key))
    ]


def along(line: Line, axis: Axis, measure: Measure) -> list[tuple[float, Spread]]:
    """Mean and range at every value that runs of the line have, those without one last."""
    spreads = (
        (at, Spread.of(measure(run) for run in line.runs if axis.at(run) == at))
        for at in sorted({axis.at(run) for run in line.runs})
    )
    return [(at, spread) for at, spread in spreads if spread is not None]


def _ends(line: Line, axis: Axis, quantity: Quantity) -> str:
    points = along(line, axis, quantity.measure)
    ends = dict([points[0], points[-1]])
    shown = [
        quantity.write(spread.mean) + (f" at {words(axis.key, at)}" if math.isfinite(at) else "")
        for at, spread in ends.items()
    ]
    return f"{line.label()}: {', '.join(shown)}"


def _draw(part: Sequence[Panel], axis: Axis, quantity: Quantity, values: Sequence[float]) -> Figure:
    wide = (values[0] > 0 and values[-1] / values[0] >= WIDE) or axis.key == EPSILON
    many = len(part[0].lines)

    def apart(at: float, place: int) -> float:
        """A little to the side, so that ranges at one value do not hide each other."""
        off = place - (many - 1) / 2
        return at * 1.03**off if wide else at + 0.012 * off * (values[-1] - values[0])

    def draw(axes: Axes, line: Line, look: Look, place: int) -> None:
        points = along(line, axis, quantity.measure)
        placed = [(at, spread) for at, spread in points if math.isfinite(at)]
        for _, spread in points[len(placed) :]:  # without such a number, the same all along
            axes.axhspan(spread.low, spread.high, color=look.colour, alpha=0.15, linewidth=0)
            axes.plot(
                [0.02, 0.98],
                [spread.mean] * 2,
                transform=axes.get_yaxis_transform(),
                color=look.colour,
                marker=look.marker,
                linestyle=look.dash,
            )
        if placed:
            axes.errorbar(
                [apart(at, place) for at, _ in placed],
                [spread.mean for _, spread in placed],
                [
                    [spread.mean - spread.low for _, spread in placed],
                    [spread.high - spread.mean for _, spread in placed],
                ],
                color=look.colour,
                marker=look.marker,
                linestyle=look.dash,
                elinewidth=0.8,
                capsize=2,
            )

    figure = framed(part, draw, across=axis.label, up=quantity.label)
    for axes, panel in zip(figure.axes, part, strict=True):
        if wide:
            axes.set_xscale("log")
        ticks_at(axes, values)
        if axis.key.endswith(".share"):
            percent(axes, x=True)
        if quantity.zero:
            percent(axes)
            name_levels(axes, [(0.0, quantity.zero)])
        else:
            references(axes, panel)
    return figure
