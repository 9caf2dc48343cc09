"""One quantity at every value of a setting that is a word: a row a value, a mark a line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulations.report.along import Quantity
from simulations.report.drawing import LeftOut, Plot, framed, percent
from simulations.report.lines import Line, Panel, Spread, lines, noun, of_part, order, over_seeds, parts, words
from simulations.report.palette import BASELINE, Look
from simulations.report.phrases import told
from simulations.report.runs import Run, Setting

ROW_IN, FRAME_IN = 0.34, 0.3


def by_word(done: Sequence[Run], key: str, quantity: Quantity) -> list[Plot | LeftOut]:
    """Mean and range over seeds, from left to right."""
    known = [run for run in done if math.isfinite(quantity.measure(run))]
    values = sorted({run.settings.get(key) for run in known}, key=order)
    title = f"{quantity.title} by {noun(key) or key}"
    if len(values) < 2:
        return [LeftOut(title, f"needs runs at two or more values of {key}")]
    return [
        Plot(
            f"{quantity.name}-{key.replace('.', '-').replace('_', '-')}{suffix}",
            title,
            f"{quantity.meaning}; {over_seeds(known)}.",
            told([_sentence(line, key, quantity) for line in of_part(part)]),
            ("line", key, "mean", "lowest", "highest", "runs"),
            tuple(
                (line.label(), words(key, value), *spread.cells)
                for line in of_part(part)
                for value, spread in by_value(line, key, quantity)
            ),
            partial(_draw, part, key, values, quantity),
        )
        for suffix, part in parts(lines(known, key))
    ]


def by_value(line: Line, key: str, quantity: Quantity) -> list[tuple[Setting, Spread]]:
    """Mean and range at every value that runs of the line have."""
    spreads = (
        (value, Spread.of(quantity.measure(run) for run in line.runs if run.settings.get(key) == value))
        for value in sorted({run.settings.get(key) for run in line.runs}, key=order)
    )
    return [(value, spread) for value, spread in spreads if spread is not None]


def _sentence(line: Line, key: str, quantity: Quantity) -> str:
    shown = [f"{words(key, value)} {quantity.write(spread.mean)}" for value, spread in by_value(line, key, quantity)]
    return f"{line.label()}: {', '.join(shown)}"


def _draw(part: Sequence[Panel], key: str, values: Sequence[Setting], quantity: Quantity) -> Figure:
    many = len(part[0].lines)

    def draw(axes: Axes, line: Line, look: Look, place: int) -> None:
        for value, spread in by_value(line, key, quantity):
            axes.errorbar(
                spread.mean,
                values.index(value) + 0.7 * ((place + 0.5) / many - 0.5),
                xerr=[[spread.mean - spread.low], [spread.high - spread.mean]],
                color=look.colour,
                marker=look.marker,
                elinewidth=0.8,
                capsize=1.5,
            )

    figure = framed(part, draw, across=quantity.label, up="", height_in=FRAME_IN + ROW_IN * len(values))
    for axes in figure.axes:
        axes.set_yticks(range(len(values)), [words(key, value) for value in values])
        axes.set_ylim(len(values) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        if quantity.zero:
            percent(axes, x=True)
            axes.axvline(0, color=BASELINE, linewidth=0.8, linestyle=(0, (1, 1.5)), zorder=1)
    return figure
