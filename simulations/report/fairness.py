"""Whom the model serves: every site's error beside what the baseline errs there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from simulations.report.drawing import MOST_LETTERS, WIDTH_IN, LeftOut, Plot, shortened
from simulations.report.lines import Line, lines, numbered
from simulations.report.palette import BASELINE, INK, LOOKS
from simulations.report.phrases import counted, number, percentage, told
from simulations.report.runs import Column, Run

TITLE = "Fairness across sites"
MOST_ROWS, MOST_DOTS = 14, 200
GOLDEN = 0.6180339887498949


@dataclass(frozen=True, slots=True)
class SiteSpread:
    """A line's sites: error over the baseline's error after the last round, means over seeds.

    Attributes:
        relative: a site each, sorted; under 1 the model is better than the baseline.
        unknown: sites where the baseline errs nowhere, or is not known.
    """

    label: str
    relative: Column
    unknown: int

    @classmethod
    def of(cls, line: Line, *, personal: bool = False) -> SiteSpread:
        errors, baselines = dict[str, list[float]](), dict[str, list[float]]()
        for run in line.runs:
            if run.sites is not None:
                measured = run.sites.personal if personal else run.sites.error
                for name, error, baseline in zip(run.sites.names, measured, run.sites.baseline, strict=True):
                    errors.setdefault(name, []).append(float(error))
                    baselines.setdefault(name, []).append(float(baseline))
        both = [(float(np.mean(errors[name])), float(np.mean(baselines[name]))) for name in errors]
        known = [error / baseline for error, baseline in both if np.isfinite(error) and baseline > 0]
        label = f"{line.label()}, personal" if personal else line.label()
        return cls(label, np.sort(np.array(known, dtype=float)), len(both) - len(known))

    @property
    def worst(self) -> float:
        return float(self.relative[-1])

    @property
    def best(self) -> float:
        return float(self.relative[0])

    @property
    def median(self) -> float:
        return float(np.median(self.relative))

    @property
    def share_worse(self) -> float:
        """Share of sites for which the model is worse than the baseline."""
        return float(np.mean(self.relative > 1))


def site_spreads(done: Sequence[Run]) -> list[SiteSpread]:
    """A spread a line, and one with the layers that sites keep; of those that have sites with a known baseline."""
    spreads = (SiteSpread.of(line, personal=personal) for line in lines(done) for personal in (False, True))
    return [spread for spread in spreads if len(spread.relative)]


def fairness(runs: Sequence[Run]) -> list[Plot | LeftOut]:
    """Dots and boxes of relative errors, a row a line."""
    rows = site_spreads([run for run in runs if run.done and run.sites is not None])
    if not rows:
        return [LeftOut(TITLE, "no run that is done has held-out errors of sites and of their baseline")]
    many = max(len(row.relative) for row in rows) > MOST_DOTS
    dots = f"{MOST_DOTS} evenly spaced quantiles where there are more sites" if many else "a dot a site"
    return [
        Plot(
            "sites" + suffix,
            TITLE,
            "Error of each site over the baseline's error there, after the last round, means over seeds; "
            f"{dots}, boxes from the first to the third quartile. Over 1, and square, are sites "
            "where the model is worse than the baseline.",
            told([_sentence(row) for row in piece]),
            ("line", "sites", "worst", "median", "best", "share worse than baseline"),
            tuple((row.label, len(row.relative), row.worst, row.median, row.best, row.share_worse) for row in piece),
            partial(_draw, piece),
        )
        for suffix, piece in numbered(rows, MOST_ROWS)
    ]


def _sentence(row: SiteSpread) -> str:
    left_out = f", {row.unknown} without a baseline left out" if row.unknown else ""
    return (
        f"{row.label}: worst {number(row.worst)}, median {number(row.median)}, best {number(row.best)}, worse than "
        f"the baseline at {percentage(row.share_worse)} of {counted(len(row.relative), 'site')}{left_out}"
    )


def _draw(rows: Sequence[SiteSpread]) -> Figure:
    figure = Figure(figsize=(WIDTH_IN, 0.75 + 0.42 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(1, color=BASELINE, linewidth=0.8, linestyle=(0, (1, 1.5)), zorder=1)
    axes.boxplot(
        [row.relative for row in rows],
        positions=range(len(rows)),
        orientation="horizontal",
        widths=0.6,
        showfliers=False,
        boxprops={"color": INK, "linewidth": 0.7},
        whiskerprops={"linewidth": 0},
        showcaps=False,
        medianprops={"color": INK, "linewidth": 1.6},
    )
    for place, row in enumerate(rows):
        dots = row.relative
        if len(dots) > MOST_DOTS:
            dots = np.quantile(dots, np.linspace(0, 1, MOST_DOTS))
        apart = (np.arange(len(dots)) * GOLDEN % 1 - 0.5) * 0.44  # spread without chance: the same page each time
        worse = dots > 1
        for chosen, look in ((~worse, LOOKS[0]), (worse, LOOKS[1])):
            axes.scatter(
                dots[chosen],
                place + apart[chosen],
                s=8,
                marker=look.marker,
                facecolors="none",
                edgecolors=look.colour,
                linewidths=0.7,
                zorder=3,
            )
    axes.set_yticks(range(len(rows)), [shortened(row.label, MOST_LETTERS // 2 + 4) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("error / baseline's error (under 1: better)")
    return figure
