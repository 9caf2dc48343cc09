"""What goes over the wire: in a round, and until the model is as good as it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulations.report.drawing import MOST_LETTERS, WIDTH_IN, LeftOut, Plot, framed, shortened
from simulations.report.levels import references
from simulations.report.lines import Line, Panel, Spread, by_task, lines, numbered, of_part, parts
from simulations.report.palette import LOOKS, Look
from simulations.report.phrases import number, size, told
from simulations.report.runs import EPSILON, Column, Run
from simulations.report.utility import along_rounds, error_label

TITLE = "Bytes a round"
MOST_BARS = 14
MEGABYTE = 1e6
UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "bytes"))


def traffic(runs: Sequence[Run]) -> list[Plot | LeftOut]:
    """All figures of this module."""
    return [*error_by_bytes([run for run in runs if run.done]), *bytes_a_round(runs)]


def error_by_bytes(done: Sequence[Run]) -> list[Plot | LeftOut]:
    return [one for ending, of_task, some in by_task(done) for one in _by_bytes(some, ending, of_task)]


def _by_bytes(done: Sequence[Run], ending: str, of_task: str) -> list[Plot | LeftOut]:
    title = f"Error against bytes sent{of_task}"
    known = [run for run in done if math.isfinite(run.last("error")) and run.bytes_in_total > 0]
    if not known:
        return [LeftOut(title, "no run that is done knows both its errors and its bytes")]
    return [
        Plot(
            f"error-bytes{ending}{suffix}",
            title,
            "Held-out error against all bytes up and down so far, means over seeds; a marker ends each line.",
            told([f"{line.label()}: {number(end[1])} after {size(end[0] * MEGABYTE)}" for line, end in ends(part)]),
            ("line", "MB in total", "error"),
            tuple((line.label(), *end) for line, end in ends(part)),
            partial(_draw_by_bytes, part, error_label(known)),
        )
        for suffix, part in parts(lines(known))
    ]


def ends(part: Sequence[Panel]) -> list[tuple[Line, tuple[float, float]]]:
    """Where each line ends: megabytes in total, and error."""
    courses = [(line, along_bytes(line)) for line in of_part(part)]
    return [(line, (float(sent[-1]), float(error[-1]))) for line, (sent, error) in courses]


def along_bytes(line: Line) -> tuple[Column, Column]:
    """Megabytes so far, and error, at every evaluated round; means over seeds."""
    points = list[tuple[float, float]]()
    for at, error in along_rounds(line):
        sent = Spread.of(run.bytes_until(at) for run in line.runs)
        if sent is not None:
            points.append((sent.mean / MEGABYTE, error.mean))
    both = np.array(points).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _draw_by_bytes(part: Sequence[Panel], label: str) -> Figure:
    def draw(axes: Axes, line: Line, look: Look, _: int) -> None:
        sent, error = along_bytes(line)
        axes.plot(sent, error, color=look.colour, marker=look.marker, linestyle=look.dash, markevery=[len(sent) - 1])

    figure = framed(part, draw, across="megabytes up and down, all sites, so far", up=label)
    for axes, panel in zip(figure.axes, part, strict=True):
        references(axes, panel)
    return figure


def bytes_a_round(runs: Sequence[Run]) -> list[Plot | LeftOut]:
    """Bytes to and from all sites in a mean round."""
    known = [run for run in runs if run.bytes_in_total > 0]
    if not known:
        return [LeftOut(TITLE, "no run says how many bytes it sent")]
    rows = list[tuple[str, float, float, float]]()
    for line in lines(known, EPSILON):  # no mechanism sends other bytes at another epsilon
        means = [line.spread(partial(a_round, way=way)) for way in ("up_bytes", "down_bytes")]
        total = line.spread(lambda run: run.bytes_in_total)
        up, down, total_mean = (spread.mean if spread else 0.0 for spread in (*means, total))
        rows.append((line.label(), up, down, total_mean))
    return [
        Plot(
            "bytes-round" + suffix,
            TITLE,
            "Bytes up and down in a mean round, all sites together; means over seeds and epsilons.",
            told(
                [f"{row[0]}: {size(row[1])} up, {size(row[2])} down a round, {size(row[3])} in total" for row in piece]
            ),
            ("line", "bytes up a round", "bytes down a round", "bytes in total"),
            tuple(piece),
            partial(_draw, piece),
        )
        for suffix, piece in numbered(rows, MOST_BARS)
    ]


def a_round(run: Run, way: str) -> float:
    """Mean bytes of the rounds that were trained in; round 0 is none."""
    trained = run.rounds[way][run.rounds["round"] > 0]
    known = trained[np.isfinite(trained)]
    return float(known.mean()) if len(known) else float("nan")


def _draw(rows: Sequence[tuple[str, float, float, float]]) -> Figure:
    largest = max(max(up, down) for _, up, down, _ in rows)
    factor, unit = next((factor, unit) for factor, unit in UNITS if largest >= factor or factor == 1)
    figure = Figure(figsize=(WIDTH_IN, 0.75 + 0.36 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(rows))
    for way, offset, look, hatch in (("up", -0.19, LOOKS[0], ""), ("down", 0.19, LOOKS[1], "////")):
        values = [(row[1] if way == "up" else row[2]) / factor for row in rows]
        bars = axes.barh(
            places + offset,
            values,
            0.36,
            color="none" if hatch else look.colour,
            hatch=hatch,
            edgecolor=look.colour,
            label=way,
        )
        axes.bar_label(bars, [number(value) for value in values], padding=2, fontsize=6.5)
    axes.set_yticks(places, [shortened(row[0], MOST_LETTERS // 2 + 4) for row in rows])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.16)
    axes.set_xlabel(f"{unit} a round, all sites")
    figure.legend(loc="outside lower center", ncols=2)
    return figure
