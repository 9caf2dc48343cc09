"""What a researcher sees while runs go on: how far they are, how long it will take, and with `--live` their errors."""

from __future__ import annotations

import io
import math
from contextlib import redirect_stdout
from threading import Lock
from types import TracebackType
from typing import Self

import plotext
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from simulations.runs.folder import RunFolder
from simulations.runs.series import Told

CHART_ROWS, MOST_LINES = 18, 8
BORDER = 2


class RunScreen:
    """Told of every row; shows a bar, and a chart of error by round where it is live.

    Args:
        runs: how many there are.
        rounds: of all runs together.
    """

    def __init__(self, console: Console, runs: int, rounds: int, *, live: bool) -> None:
        self._console, self._live = console, live
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("rounds,"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
        )
        self._task = self._progress.add_task(f"{runs} run{'s' if runs > 1 else ''}", total=rounds)
        self._errors: dict[str, dict[int, float]] = {}
        self._errors_lock = Lock()
        # Drawn four times a second, however many rows come: a chart takes as long as some rounds do.
        self._shown = Live(console=console, refresh_per_second=4, get_renderable=self._view)

    def __enter__(self) -> Self:
        self._shown.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._shown.stop()
        if not self._console.is_terminal:
            self._console.line()  # rich ends the last line in terminals alone

    def tell(self, told: Told) -> None:
        """A row of a run."""
        error = told.row.get("error")
        if error is not None and math.isfinite(error):
            with self._errors_lock:
                self._errors.setdefault(told.run, {})[told.row["round"]] = error
        if told.row["round"]:
            self._progress.advance(self._task)

    def _view(self) -> RenderableType:
        with self._errors_lock:
            newest = {run: dict(line) for run, line in list(self._errors.items())[-MOST_LINES:]}
        if not self._live or not any(len(line) > 1 for line in newest.values()):
            return self._progress
        return Group(chart(newest, self._console.width - BORDER), self._progress)


def chart(errors: dict[str, dict[int, float]], width: int) -> Text:
    """Error by round, a line a run."""
    figure = plotext.figure
    figure.clear()
    figure.theme("simple")
    figure.plot_size(width, CHART_ROWS)
    figure.title("mean held-out error by round")
    for run, line in errors.items():
        if len(line) > 1:
            signal = figure.signal(list(line), list(line.values()))
            signal.lines(True)
            signal.label(run[-24:])
            figure.draw(signal)
    text = io.StringIO()
    with redirect_stdout(text):
        figure.show()
    return Text.from_ansi(text.getvalue().rstrip())


def summary(folders: list[RunFolder]) -> Table:
    """Where each run ended: the last judged round beside persistence, the start model and the central one.

    Of a folder's name only the end is shown: it begins with the experiment's.
    """
    name = folders[0].info.name if folders else ""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), caption=f"folders: {escape(name)}-…")
    table.caption_justify = "left"
    for title in ("settings", "round", "error", "baseline", "central", "gap closed", "epsilon", "folder"):
        left = title in ("settings", "folder")
        table.add_column(title, justify="left" if left else "right", no_wrap=title != "settings", overflow="fold")
    for folder in folders:
        info = folder.info
        judged = [row for row in folder.rows("rounds") if row["error"] is not None]
        if not judged:
            continue
        last = judged[-1]
        differs = ", ".join(f"{key.split('.', 1)[1]} {info.settings.get(key)}" for key in info.swept)
        error, baseline, central = (last[f"{name}error"] for name in ("", "baseline_", "central_"))
        gap = (baseline - error) / (baseline - central) if baseline != central else math.nan
        table.add_row(
            escape(differs) or f"seed {info.seed}",
            f"{last['round']}" if info.status == "done" else f"{last['round']}, {info.status}",
            *(_figure(value, ".3f") for value in (error, baseline, central)),
            _figure(gap, ".0%"),
            _figure(last["epsilon"], ".2f"),
            folder.path.name.rpartition("-")[2],
        )
    return table


def _figure(value: float, form: str) -> str:
    return "–" if math.isnan(value) else format(value, form)
