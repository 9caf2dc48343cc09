"""The figure of the check against Stehlé et al.: epidemic curves on each network, and who was infected in the end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from simulations.epidemics.aggregation import Spread
from simulations.epidemics.figures import OUTBREAK_SHARE, infected_by_day

mpl.use("svg")
from matplotlib import pyplot as plt

LOOKS = {"full": ("#000000", "-"), "daily": ("#0072b2", "--"), "equal": ("#d55e00", "-"), "mixed": ("#999999", "-.")}
"""Colour (Okabe and Ito) and line."""

LAST_DAYS = {"fast": 40, "slow": 80}


def draw(spreads: Sequence[Spread], path: Path) -> None:
    """A row a data set: curves of both illnesses, and attack rates; the same figures give the same bytes."""
    mpl.rcParams |= {"svg.hashsalt": "jaga", "font.size": 8, "axes.spines.top": False, "axes.spines.right": False}
    sites = list(dict.fromkeys(one.data for one in spreads))
    illnesses = list(dict.fromkeys(one.illness for one in spreads))
    figure, axes = plt.subplots(
        len(sites),
        len(illnesses) + 1,
        figsize=(10, 2.8 * len(sites) + 0.3),
        squeeze=False,
        layout="constrained",
        gridspec_kw={"width_ratios": [*[1.3] * len(illnesses), 1]},
    )
    for panels, site in zip(axes, sites, strict=True):
        mine = [one for one in spreads if one.data == site]
        for panel, illness in zip(panels, illnesses, strict=False):
            _curves(panel, [one for one in mine if one.illness == illness], illness)
            panel.set_title(f"{site}: {illness} illness", loc="left")
        _attack_rates(panels[-1], mine, illnesses)
        panels[0].set_ylabel("share of people who carry it")
    lines, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)


def _curves(panel: Any, spreads: Sequence[Spread], illness: str) -> None:
    """Means over runs with an outbreak; of the full network 5 to 95 % of those runs, too."""
    day = np.arange(LAST_DAYS[illness] + 1)
    for one in spreads:
        colour, dash = LOOKS[one.network]
        large = [course for course in one.courses if course.infected.mean() >= OUTBREAK_SHARE]
        if large:
            share = infected_by_day(large, LAST_DAYS[illness]) / len(large[0].exposed)
            panel.plot(day, share.mean(axis=0), color=colour, linestyle=dash, linewidth=1.4, label=one.network)
            if one.network == "full":
                panel.fill_between(day, *np.percentile(share, [5, 95], axis=0), color=colour, alpha=0.1, linewidth=0)
    panel.set_xlim(0, LAST_DAYS[illness])
    panel.set_ylim(bottom=0)
    panel.set_xlabel("day")


def _attack_rates(panel: Any, spreads: Sequence[Spread], illnesses: Sequence[str]) -> None:
    for one in spreads:
        found = one.figures.attack_rate
        at = list(LOOKS).index(one.network) + 0.3 * illnesses.index(one.illness)
        panel.errorbar(
            at,
            found.value,
            yerr=[[found.value - found.low], [found.high - found.value]],
            color=LOOKS[one.network][0],
            marker="os"[illnesses.index(one.illness) % 2],
            markersize=4,
            capsize=3,
            linewidth=1.2,
        )
    panel.set_xticks([at + 0.15 for at in range(len(LOOKS))], list(LOOKS))
    panel.set_ylabel("infected in the end, of all people")
    panel.set_title(", ".join(map(" ".join, zip("●■", illnesses, strict=False))), loc="left")
