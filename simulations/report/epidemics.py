"""Epidemic curves: infected people by day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulations.report.drawing import LeftOut, Plot, framed
from simulations.report.lines import MOST_PANELS, Line, Panel, lines, numbered, of_part, panels
from simulations.report.palette import Look
from simulations.report.phrases import number, told
from simulations.report.runs import Curve, Run

TITLE = "Epidemic curves"
CURVE = "curve"


def epidemics(runs: Sequence[Run]) -> list[Plot | LeftOut]:
    """A frame a combination of settings, a line a curve."""
    known = [run for run in runs if run.done and run.curves]
    if not known:
        return [LeftOut(TITLE, "no run that is done has curves.parquet, which experiments of an epidemic write")]
    drawn = [
        Panel(line.label() if line.keys else "", line.keys, panel.lines)
        for line in lines(known)
        for panel in panels(
            [replace(line, keys=(*line.keys, CURVE), values=(*line.values, name)) for name in names(line)]
        )
    ]
    return [
        Plot(
            "curves" + suffix,
            TITLE,
            "Infected people by day, with 5 to 95 % of simulations; means over seeds.",
            told([f"{row[0]}: highest on day {row[1]:g} with {number(row[2])} infected" for row in _peaks(part)]),
            ("curve", "day of the highest mean", "mean", "5 %", "95 %"),
            tuple(_peaks(part)),
            partial(_draw, part),
        )
        for suffix, part in numbered(drawn, MOST_PANELS)
    ]


def _peaks(part: Sequence[Panel]) -> list[tuple[str, float, float, float, float]]:
    rows = list[tuple[str, float, float, float, float]]()
    for line in of_part(part):
        curve = mean_curve(line, str(line.value(CURVE)))
        peak = int(np.argmax(curve.mean))
        day, mean, low, high = (float(column[peak]) for column in (curve.day, curve.mean, curve.low, curve.high))
        rows.append((line.label(), day, mean, low, high))
    return rows


def names(line: Line) -> list[str]:
    return sorted({name for run in line.runs for name in run.curves})


def mean_curve(line: Line, name: str) -> Curve:
    """Over seeds, on the days that all of them have."""
    curves = [run.curves[name] for run in line.runs if name in run.curves]
    days = np.array(sorted(set.intersection(*(set(curve.day.tolist()) for curve in curves))))

    def over_seeds(side: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        values = [getattr(curve, side)[np.isin(curve.day, days)] for curve in curves]
        return np.asarray(np.mean(values, axis=0), dtype=np.float64)

    return Curve(days, over_seeds("mean"), over_seeds("low"), over_seeds("high"))


def _draw(part: Sequence[Panel]) -> Figure:
    def draw(axes: Axes, line: Line, look: Look, _: int) -> None:
        curve = mean_curve(line, str(line.value(CURVE)))
        axes.fill_between(curve.day, curve.low, curve.high, color=look.colour, alpha=0.15, linewidth=0)
        axes.plot(
            curve.day,
            curve.mean,
            color=look.colour,
            marker=look.marker,
            linestyle=look.dash,
            markevery=max(1, len(curve.day) // 8),
        )

    figure = framed(part, draw, across="day", up="infected people")
    for axes in figure.axes:
        axes.set_ylim(bottom=0)
    return figure
