"""Figures as files: vectors, a column wide, and the same bytes for the same numbers."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from simulations.report.lines import ALL, Line, Panel, data_names, of_part
from simulations.report.palette import DARK, FAINT, INK, LOOKS, PAPER, SOFT, Look

WIDTH_IN = 3.35
"""A column of a journal: 85 mm."""
PANEL_IN = 1.7
MOST_LETTERS = 52
"""Of a label that still fits beside its line's sample."""
DPI = 72  # a point is a pixel of the SVG

STYLE: Any = {  # matplotlib types each key by name
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same outlines on every machine
    "font.size": 7.5,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "text.parse_math": False,  # a dollar in a name is a dollar
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.6,
    "hatch.linewidth": 0.6,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "savefig.dpi": DPI,
    "figure.dpi": DPI,
    "pdf.fonttype": 42,  # whole TrueType outlines go into the file, as journals ask
    "svg.hashsalt": "jaga",
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "legend.columnspacing": 1.2,
    "legend.borderpad": 0.1,
    "legend.borderaxespad": 0.2,
}

Cell = str | float | int | None


@dataclass(frozen=True, slots=True)
class Drawn:
    """One figure, drawn.

    Attributes:
        pdf: with its fonts in it.
        svg: a file of its own; letters are outlines.
        inline: an `svg` element for a page: letters are text, colours follow the page's, no id is another figure's.
    """

    pdf: bytes
    svg: bytes
    inline: str


@dataclass(frozen=True, slots=True)
class Plot:
    """One figure, before it is drawn.

    Attributes:
        name: of its files.
        title: over it on the page.
        about: how to read it, in a sentence or two; its caption.
        says: its numbers in sentences; with `about` it stands for the figure where it cannot be seen.
        columns, rows: the numbers that are drawn.
        draw: makes it, with `STYLE` in force.
    """

    name: str
    title: str
    about: str
    says: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    draw: Callable[[], Figure]

    def __post_init__(self) -> None:
        if not (self.about.strip() and self.says.strip()):
            raise ValueError(f"figure {self.name} has no text that says what it shows")
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"figure {self.name}: a row of {len(row)} cells under {len(self.columns)} columns")

    @property
    def text(self) -> str:
        return f"{self.about} {self.says}"

    def drawn(self) -> Drawn:
        """The figure in all its forms. Equal numbers give equal bytes."""
        with mpl.rc_context(STYLE):
            figure = self.draw()
            figure.draw_without_rendering()
            figure.set_layout_engine("none")  # it is laid out by now; every further drawing would do it again
            about = {"Title": self.title, "Subject": self.text, "CreationDate": None}
            pdf = _saved(figure, "pdf", about)
            with mpl.rc_context({"svg.fonttype": "path"}):  # looks the same where our font is not
                svg = _saved(figure, "svg", {"Title": self.title, "Date": None})
            figure.set_facecolor("none")
            with mpl.rc_context({"svg.fonttype": "none"}):
                inline = self._inline(_saved(figure, "svg", {"Date": None}).decode())
        return Drawn(pdf, svg, inline)

    def _inline(self, drawn: str) -> str:
        element = drawn[drawn.index("<svg") :].rstrip()
        element = re.sub(r"<metadata>.*?</metadata>\s*", "", element, flags=re.DOTALL)
        element = re.sub(
            r"<style.*?</style>\s*", "", element, flags=re.DOTALL
        )  # the page has it, for its figures alone
        element = re.sub(r' xmlns(:\w+)?="[^"]*"', "", element)  # known to every parser of HTML
        element = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{self.name}-", element).replace("xlink:href", "href")
        for light in DARK:
            element = element.replace(light, f"var(--{light[1:]})")
        size = re.search(r'viewBox="[^"]*"', element)
        if size is None:
            raise ValueError(f"figure {self.name} was drawn without a viewBox")
        return (
            f'<svg {size[0]} role="img" aria-labelledby="{self.name}-t {self.name}-d"><title id="{self.name}-t">'
            f'{escape(self.title)}</title><desc id="{self.name}-d">{escape(self.text)}</desc>'
            + element[element.index(">") + 1 :]
        )


def _saved(figure: Figure, form: str, about: dict[str, str | None]) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format=form, metadata=about)
    return file.getvalue()


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A figure that these runs do not give, and why."""

    title: str
    reason: str


DrawLine = Callable[[Axes, Line, Look, int], None]
"""Draws one line of a frame; the last argument is its place among the frame's lines."""


def framed(part: Sequence[Panel], draw: DrawLine, *, across: str, up: str, height_in: float = PANEL_IN) -> Figure:
    """Frames one above the other, on the same axes where they are of one data set, and a legend: one for all where
    their lines have the same names."""
    figure = Figure(figsize=(WIDTH_IN, 0.45 + height_in * len(part)), layout="constrained")
    same = len(data_names(of_part(part))) == 1
    every = figure.subplots(len(part), 1, sharex=True, sharey=same, squeeze=False)[:, 0]
    labels = list(dict.fromkeys(label for panel in part for label in panel.labels()))
    shared = len(labels) <= len(LOOKS)
    for axes, panel in zip(every, part, strict=True):
        for place, (line, label) in enumerate(zip(panel.lines, panel.labels(), strict=True)):
            draw(axes, line, LOOKS[labels.index(label) if shared else place], place)
        if shared:
            axes.set_title(shortened(panel.title, 62))
        else:
            above = axes.legend(
                _handles(LOOKS[: len(panel.lines)]),
                [shortened(label, MOST_LETTERS) for label in panel.labels()],
                title=shortened(panel.title, 62),
                loc="lower left",
                bbox_to_anchor=(0, 1),
                ncols=_columns(panel.labels()),
                alignment="left",
            )
            above.get_title().set_fontsize(7.5)
        axes.set_ylabel(up)
    every[-1].set_xlabel(across)
    if shared and labels != [ALL]:
        names = [shortened(label, MOST_LETTERS) for label in labels]
        figure.legend(_handles(LOOKS[: len(labels)]), names, loc="outside lower center", ncols=_columns(labels))
        figure.set_figheight(figure.get_figheight() + 0.14 * math.ceil(len(labels) / _columns(labels)))
    return figure


def _handles(chosen: Sequence[Look]) -> list[Line2D]:
    return [Line2D([], [], color=look.colour, marker=look.marker, linestyle=look.dash) for look in chosen]


def _columns(labels: Sequence[str]) -> int:
    """As many as the longest label leaves room for."""
    longest = min(MOST_LETTERS, max(map(len, labels)))
    return max(1, min(3, len(labels), 66 // (longest + 9)))


def shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip(" ,") + "…"


def ticks_at(axes: Axes, values: Sequence[float]) -> None:
    """Ticks of the x axis, which has its scale by now, at these values alone; those that would touch are left out."""
    place = math.log if axes.get_xscale() == "log" else float
    apart = 0.07 * (place(max(values)) - place(min(values)))
    kept = list[float]()
    for value in sorted(set(values)):
        if not kept or place(value) > place(kept[-1]) + apart:
            kept.append(value)
    axes.xaxis.set_major_locator(FixedLocator(kept))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def percent(axes: Axes, *, x: bool = False) -> None:
    (axes.xaxis if x else axes.yaxis).set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
