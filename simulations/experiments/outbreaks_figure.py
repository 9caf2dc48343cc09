"""The figure of docs/epidemics.md: what each way of finding people averts, by what it costs and by adoption."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

from simulations.experiments.arms import REFERENCE, ArmFigures

mpl.use("svg")
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

COLOURS = {
    "anybody": "#999999",
    "class list": "#e69f00",
    "interview": "#d55e00",
    "interview, no queue": "#8c3a00",
    "alerts, person": "#0072b2",
    "alerts, zone": "#56b4e9",
    "alerts, room": "#009e73",
    "every contact": "#000000",
    "random testing": "#cc79a7",
}
"""Okabe and Ito's palette, which colour-blind people can tell apart."""


def draw(rows: Sequence[ArmFigures], path: Path) -> None:
    """A row of three panels for each data set; the same figures give the same bytes."""
    mpl.rcParams |= {"svg.hashsalt": "jaga", "font.size": 8, "axes.spines.top": False, "axes.spines.right": False}
    sites = list(dict.fromkeys(row.data for row in rows))
    usual = rows[0].adoption
    size = (10, 3.1 * len(sites) + 0.5)
    figure, axes = plt.subplots(len(sites), 3, figsize=size, squeeze=False, layout="constrained")
    for panels, site in zip(axes, sites, strict=True):
        mine = [row for row in rows if row.data == site]
        for panel, action, unit in zip(
            panels, ("quarantine", "test"), ("person-days in quarantine", "tests"), strict=False
        ):
            _by_cost(panel, [row for row in mine if row.action == action and row.adoption == usual])
            panel.set_xlabel(f"{unit}, for each person of the site")
            panel.set_title(f"{site}: {action}", loc="left")
        _by_adoption(panels[2], [row for row in mine if row.action == "quarantine"], usual)
        panels[0].set_ylabel("share of infections averted")
    handles = {line.get_label(): line for panel in axes[0] for line in panel.get_legend_handles_labels()[0]}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=5, frameon=False)
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)


def _by_cost(panel: Any, rows: Sequence[ArmFigures]) -> None:
    for name in dict.fromkeys(row.found for row in rows):
        those = sorted((row for row in rows if row.found == name and row.spent > 0), key=lambda row: row.spent)
        _line(panel, name, [row.spent for row in those], those)
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.xaxis.set_minor_locator(NullLocator())


def _by_adoption(panel: Any, rows: Sequence[ArmFigures], usual: float) -> None:
    reference = [row for row in rows if row.budget == f"{REFERENCE} a case"]
    for name in dict.fromkeys(row.found for row in reference):
        those = sorted((row for row in reference if row.found == name), key=lambda row: row.adoption)
        if len(those) > 1:
            _line(panel, name, [row.adoption for row in those], those)
        else:
            panel.axhline(those[0].averted.value, color=COLOURS[name], linestyle=":", linewidth=1)
    panel.set_xlabel(f"adoption (elsewhere {usual:.0%})")
    panel.set_title(f"{REFERENCE} found a case, by adoption", loc="left")


def _line(panel: Any, name: str, across: Sequence[float], rows: Sequence[ArmFigures]) -> None:
    middle = [row.averted.value for row in rows]
    below = [row.averted.value - row.averted.low for row in rows]
    above = [row.averted.high - row.averted.value for row in rows]
    panel.errorbar(
        across,
        middle,
        yerr=[below, above],
        label=name,
        color=COLOURS[name],
        marker="o" if name.startswith("alerts") else "s",
        markersize=3,
        linestyle="-" if name.startswith("alerts") else "--",
        linewidth=1.2,
        elinewidth=0.8,
        capsize=2,
    )
