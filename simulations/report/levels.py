"""What a line is to be compared with: thin lines across a frame, named beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from simulations.report.lines import Panel
from simulations.report.palette import BASELINE


def references(axes: Axes, panel: Panel) -> None:
    """The errors of baseline, start model and central training, where they are the same for all lines of a frame."""
    found = list[tuple[float, str]]()
    for quantity, name in (("baseline_error", "baseline"), ("start_error", "start"), ("central_error", "central")):
        values = [run.last(quantity) for line in panel.lines for run in line.runs]
        if math.isfinite(values[0]) and np.allclose(values, values[0], rtol=1e-3):
            found.append((values[0], name))
    name_levels(axes, found)


def name_levels(axes: Axes, levels: Sequence[tuple[float, str]]) -> None:
    """A thin line across at each level, its name to the right of the frame; names that would touch are set apart."""
    for at, _ in levels:
        axes.axhline(at, color=BASELINE, linewidth=0.8, linestyle=(0, (1, 1.5)), zorder=1)
    low, high = axes.get_ylim()
    height = -math.inf
    for at, name in sorted(levels):
        height = max((at - low) / (high - low), height + 0.085)
        axes.annotate(
            name, (1.015, height), xycoords="axes fraction", ha="left", va="center", color=BASELINE, fontsize=6.5
        )
