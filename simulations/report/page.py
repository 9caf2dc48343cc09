"""One page of HTML with everything in it: styles, figures and numbers; it asks for no other file."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import jinja2
from markupsafe import Markup

from simulations.report.cards import data_cards
from simulations.report.drawing import Cell, Drawn, LeftOut, Plot
from simulations.report.findings import findings
from simulations.report.palette import DARK
from simulations.report.phrases import number
from simulations.report.runs import Run
from simulations.report.summary import bahasa, english
from simulations.report.table import common_settings, run_table, timings, versions

TEMPLATES = Path(__file__).with_name("templates")


def page(
    title: str,
    runs: Sequence[Run],
    plots: Sequence[tuple[Plot, Drawn]],
    left_out: Sequence[LeftOut],
    warnings: Sequence[str],
) -> str:
    """The page; equal arguments give equal text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = shown
    environment.filters["breaks"] = breaks
    found = findings(runs)
    return environment.get_template("report.html").render(
        title=title,
        english=english(runs, found),
        bahasa=bahasa(runs, found),
        warnings=warnings,
        unfinished=[run for run in runs if not run.done],
        sections=[(name, list(group)) for name, group in groupby(plots, key=lambda pair: pair[0].title)],
        left_out=left_out,
        table=run_table(runs),
        common=common_settings(runs),
        versions=versions(runs),
        cards=data_cards(runs),
        timings=timings(runs),
        colours=DARK,
    )


def breaks(key: str) -> Markup:
    """A dotted key that a line may break at the dots and underscores of."""
    return Markup("<wbr>").join(re.split(r"(?<=[._])", key))


def shown(value: Cell) -> str:
    """A cell of a figure's table."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    return number(value) if isinstance(value, float) else str(value)
