"""The runs as a table, and what is the same in all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simulations.report.lines import NOT_TOLD_APART_BY, differing, number_or_text, order
from simulations.report.phrases import number, size
from simulations.report.runs import Run, Setting


@dataclass(frozen=True, slots=True)
class TableCell:
    """What is shown, and the number that it is sorted by; without one, the text is."""

    text: str
    number: float | None = None


@dataclass(frozen=True, slots=True)
class RunTable:
    """A row a run.

    Attributes:
        titles: of the columns; the first is of the run's name.
        rows: a cell a column.
    """

    titles: tuple[str, ...]
    rows: tuple[tuple[TableCell, ...], ...]

    @property
    def numeric(self) -> tuple[int, ...]:
        """Columns of numbers alone, and dashes."""
        columns = enumerate(zip(*self.rows, strict=True))
        return tuple(at for at, cells in columns if all(c.number is not None or c.text == "–" for c in cells))


MEASURED: tuple[tuple[str, Callable[[Run], float], Callable[[float], str]], ...] = (
    ("error", lambda run: run.last("error"), number),
    ("personal error", lambda run: run.last("personal_error"), number),
    ("start", lambda run: run.last("start_error"), number),
    ("baseline", lambda run: run.last("baseline_error"), number),
    ("central", lambda run: run.last("central_error"), number),
    ("ε spent", lambda run: run.last("epsilon") if run.private else math.nan, number),
    ("bytes up", lambda run: run.total("up_bytes"), size),
    ("bytes down", lambda run: run.total("down_bytes"), size),
)
"""Columns of what came out; one that no run knows is left out."""


def run_table(runs: Sequence[Run]) -> RunTable:
    """Name, status, settings that differ, seed, rounds done, and what came out."""
    keys = differing(runs)
    measured = [
        (title, measure, write)
        for title, measure, write in MEASURED
        if any(math.isfinite(measure(run)) for run in runs)
    ]
    titles = ("run", "status", *keys, "seed", "rounds", *(title for title, _, _ in measured))
    rows = list[tuple[TableCell, ...]]()
    for run in sorted(runs, key=lambda run: (*(order(run.settings.get(key)) for key in keys), run.seed, run.folder)):
        numbers = ((measure(run), write) for _, measure, write in measured)
        rows.append(
            (
                TableCell(run.folder),
                TableCell(f"{run.status}: {run.note}" if run.note else run.status),
                *(_setting(run.settings.get(key)) for key in keys),
                TableCell(str(run.seed), run.seed),
                TableCell(str(run.rounds_done), run.rounds_done),
                *(TableCell(write(value), value if math.isfinite(value) else None) for value, write in numbers),
            )
        )
    return RunTable(titles, tuple(rows))


def common_settings(runs: Sequence[Run]) -> tuple[tuple[str, str], ...]:
    """Settings that all runs share, by key."""
    apart = {*differing(runs), *NOT_TOLD_APART_BY}
    shared = sorted({key for run in runs for key in run.settings} - apart)
    value = {key: run.settings[key] for run in runs for key in shared if key in run.settings}
    return tuple((key, _setting(value[key]).text) for key in shared)


def versions(runs: Sequence[Run]) -> tuple[tuple[str, str], ...]:
    """Of each program and library, those that ran."""
    names = sorted({name for run in runs for name in run.versions})
    return tuple((name, ", ".join(sorted({run.versions.get(name, "none") for run in runs}))) for name in names)


def timings(runs: Sequence[Run]) -> tuple[tuple[str, str, str], ...]:
    """Seconds a round and in total, of runs that kept them."""
    timed = [(run, run.seconds) for run in runs if run.seconds is not None and len(run.seconds)]
    return tuple((run.folder, number(float(s.mean())), number(float(s.sum()))) for run, s in timed)


def _setting(value: Setting) -> TableCell:
    if isinstance(value, bool):
        return TableCell("yes" if value else "no")
    if isinstance(value, int | float):
        return TableCell(number_or_text(value), float(value))
    return TableCell("–" if value is None else value)
