"""The figure of docs/world.md: measured and made distributions, over each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from simulations.experiments.world.likeness import Site, samples
from simulations.experiments.world.radio_match import BandRow
from simulations.experiments.world.two_samples import pooled

mpl.rcParams["svg.hashsalt"] = "jaga"
mpl.rcParams["svg.fonttype"] = "none"

COLOURS = ("#0072b2", "#d55e00", "#e69f00", "#009e73", "#cc79a7")
"""Okabe and Ito's, which colour-blind people can tell apart."""

PANELS = (
    ("contact duration", "minutes, contact duration", True),
    ("gap between contacts of a pair", "minutes, gap between contacts of a pair", True),
    ("gap between contacts of a person", "minutes, gap between contacts of a person", True),
    ("partners of a person a day", "partners of a person a day", False),
    ("minutes of a pair a day", "minutes of a pair a day", True),
)
LEAST_SHARE = 1e-4


def draw(
    path: Path, sites: Mapping[str, tuple[Site, Sequence[int], Sequence[Site]]], levels: Sequence[BandRow]
) -> None:
    """Write it: a panel a statistic, solid what was measured on days not fitted to, dashed the world; then levels by
    distance.

    Args:
        sites: by name, a site, its days, and the buildings that are to be like it.
    """
    figure = Figure(figsize=(11, 6.4), layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    for colour, (name, (site, days, worlds)) in zip(COLOURS, sites.items(), strict=True):
        real = samples(site, days)
        made = [samples(world, world.days()) for world in worlds]
        for axis, (statistic, label, logarithmic) in zip(axes, PANELS, strict=False):
            _tail(axis, real[statistic].values, colour, "-", name)
            _tail(axis, pooled([one[statistic] for one in made]).values, colour, "--", None)
            axis.set_xlabel(label)
            axis.set_yscale("log")
            axis.set_ylim(LEAST_SHARE, 1.2)
            if logarithmic:
                axis.set_xscale("log")
    axes[0].set_ylabel("share at least as large")
    axes[3].set_ylabel("share at least as large")
    axes[0].plot([], [], color="grey", label="measured")
    axes[0].plot([], [], color="grey", ls="--", label="the world")
    axes[0].legend(frameon=False, fontsize=7, loc="lower left")
    _levels(axes[5], levels)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=110)


def _tail(axis: Axes, values: NDArray[np.float64], colour: str, style: str, label: str | None) -> None:
    at, counts = np.unique(values, return_counts=True)
    axis.step(at, counts[::-1].cumsum()[::-1] / len(values), where="post", color=colour, ls=style, lw=1.2, label=label)


def _levels(axis: Axes, levels: Sequence[BandRow]) -> None:
    rows = [row for row in levels if row.data == "exp34"]
    axis.set_xlabel("distance, m (exp34, scenes not fitted to)")
    axis.set_ylabel("dBm: mean, 10 to 90 %")
    for shift, colour, name, mean, low, high in (
        (-0.1, "black", "measured", "mean_dbm", "low_dbm", "high_dbm"),
        (0.1, COLOURS[1], "the radio model", "ours_mean_dbm", "ours_low_dbm", "ours_high_dbm"),
    ):
        middle = np.array([getattr(row, mean) for row in rows])
        ends = np.array([[getattr(row, end) for row in rows] for end in (low, high)])
        at = np.arange(len(rows)) + shift
        axis.errorbar(at, middle, np.abs(ends - middle), fmt="o", color=colour, ms=4, capsize=2, label=name)
    axis.set_xticks(range(len(rows)), [row.distance.removesuffix(" m") for row in rows])
    axis.legend(frameon=False, fontsize=7)
