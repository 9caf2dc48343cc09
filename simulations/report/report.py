"""The whole way: run folders in, one page and figures for print out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from simulations.report.drawing import LeftOut, Plot
from simulations.report.epidemics import epidemics
from simulations.report.fairness import fairness
from simulations.report.page import page
from simulations.report.reading import read
from simulations.report.runs import Run
from simulations.report.traffic import traffic
from simulations.report.utility import utility

PAGE, FIGURES = "report.html", "figures"


@dataclass(frozen=True, slots=True)
class Written:
    """What a report was made of, and where it is."""

    page: Path
    plots: tuple[Plot, ...]
    left_out: tuple[LeftOut, ...]
    runs: int
    warnings: tuple[str, ...]


def write_report(paths: Sequence[Path], out: Path, title: str | None = None) -> Written:
    """Write `report.html` and `figures/*.{pdf,svg}`; what an earlier report left there is replaced.

    Raises:
        NothingToReport: no run can be read.
        OSError: a file cannot be written.
    """
    reading = read(paths)
    folder = out / FIGURES
    folder.mkdir(parents=True, exist_ok=True)
    every = figures(reading.runs)
    plots = [(one, one.drawn()) for one in every if isinstance(one, Plot)]
    left_out = tuple(one for one in every if isinstance(one, LeftOut))
    names = ", ".join(sorted({run.name for run in reading.runs}))
    html = page(title or f"Simulations: {names}", reading.runs, plots, left_out, reading.warnings)
    if (out / PAGE).is_file():
        for old in (*folder.glob("*.pdf"), *folder.glob("*.svg")):
            old.unlink()
    for plot, drawn in plots:
        (folder / f"{plot.name}.pdf").write_bytes(drawn.pdf)
        (folder / f"{plot.name}.svg").write_bytes(drawn.svg)
    (out / PAGE).write_text(html, "utf-8")
    return Written(out / PAGE, tuple(plot for plot, _ in plots), left_out, len(reading.runs), reading.warnings)


def figures(runs: Sequence[Run]) -> list[Plot | LeftOut]:
    """All figures, in the order of the page."""
    return [*utility(runs), *traffic(runs), *fairness(runs), *epidemics(runs)]
