"""Which runs are one line of a figure: those that differ in their seed alone, and in what is along the axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from simulations.report.runs import DELTA, EPSILON, MECHANISM, UNIT, Run, Setting

NAME = "experiment.name"
SOURCE, TESTED = "data.source", "data.test_on"
NOT_TOLD_APART_BY = frozenset({"seed", "experiment.seed", "experiment.seeds"})
MOST_LINES, MOST_PANELS = 8, 4
"""As many lines as can be told apart in print without colour, and as many panels as fit one above the other."""

ALL = "all runs"
NARROW = "\u00a0"
"""A space that no line breaks at."""

WORDS = {
    EPSILON: "ε",
    "experiment.name": "",
    "data.source": "",
    "data.name": "",
    "strategy.name": "",
    "task.start": "start",
    MECHANISM: "",
    UNIT: "per",
    TESTED: "tested on",
    "personal.layers": "personal layers",
    "personal.epochs": "epochs at home",
    "curve": "",
}


@dataclass(frozen=True, slots=True)
class Spread:
    """One quantity over seeds."""

    mean: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread | None:
        """None where no value is a number."""
        known = [value for value in values if math.isfinite(value)]
        return cls(math.fsum(known) / len(known), min(known), max(known), len(known)) if known else None

    @property
    def cells(self) -> tuple[float, float, float, int]:
        return self.mean, self.low, self.high, self.count


@dataclass(frozen=True, slots=True)
class Line:
    """Runs of one combination of settings.

    Attributes:
        values: what tells it from the other lines, in the order of the keys.
        runs: all its seeds, and all values along the axis.
    """

    keys: tuple[str, ...]
    values: tuple[Setting, ...]
    runs: tuple[Run, ...]

    def value(self, key: str) -> Setting:
        return self.values[self.keys.index(key)]

    def label(self, without: Iterable[str] = ()) -> str:
        """As short as it can be; `ALL` where there is nothing to tell apart."""
        left_out = set(without)
        parts = [words(key, value) for key, value in zip(self.keys, self.values, strict=True) if key not in left_out]
        return ", ".join(part for part in parts if part) or ALL

    def spread(self, measure: Callable[[Run], float]) -> Spread | None:
        return Spread.of(map(measure, self.runs))


@dataclass(frozen=True, slots=True)
class Panel:
    """Lines that share a frame; `title` says what they have in common, `split` by which settings."""

    title: str
    split: tuple[str, ...]
    lines: tuple[Line, ...]

    def labels(self) -> tuple[str, ...]:
        return tuple(line.label(self.split) for line in self.lines)


def noun(key: str) -> str:
    """What a setting is called; empty where its values speak for themselves."""
    section, _, last = key.rpartition(".")
    generic = last in ("share", "name", "kind", "source")
    return WORDS.get(key, section.rpartition(".")[2] if generic else last.replace("_", " ").replace("-", " "))


def words(key: str, value: Setting) -> str:
    """One setting in a legend or sentence: `ε 4`, `FedAvg`, `availability 0.6`, `secure sum off`."""
    called = noun(key)
    if value is None or value == "":
        return "no privacy" if key == EPSILON else f"no {called}" if called else ""
    shown = ("on" if value else "off") if isinstance(value, bool) else number_or_text(value)
    if key == MECHANISM and value == "none":
        return "no privacy"
    return f"{called}{NARROW if key == EPSILON else ' '}{shown}".strip()


def number_or_text(value: Setting) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def order(value: Setting) -> tuple[int, float, str]:
    """Numbers by size, then text, then nothing."""
    if value is None:
        return (2, 0.0, "")
    if isinstance(value, str):
        return (1, 0.0, value)
    return (0, float(value), "")


def differing(runs: Sequence[Run]) -> tuple[str, ...]:
    """Settings that are not the same in all runs, swept ones first; the seed is none of them."""
    swept = list(dict.fromkeys(key for run in runs for key in run.swept))
    every = sorted({key for run in runs for key in run.settings} - set(swept) - {NAME})
    every.sort(key=lambda key: key not in (MECHANISM, SOURCE))  # what others say of either follows from it
    keys = [*swept, *every, NAME]
    return tuple(key for key in keys if key not in NOT_TOLD_APART_BY and len(_values(runs, key)) > 1)


def _values(runs: Sequence[Run], key: str) -> set[tuple[type, Setting]]:
    """All values of one setting. `delta` and `unit` say nothing of runs without privacy, which do not have them."""
    asked = [run for run in runs if run.private] if key in (DELTA, UNIT) else runs
    return {(type(run.settings.get(key)), run.settings.get(key)) for run in asked}


def telling(runs: Sequence[Run], axis: str | None = None) -> tuple[str, ...]:
    """The differing settings but the axis, without those that follow from the others: a folder from the data's name."""
    kept = [key for key in differing(runs) if key != axis]
    for key in reversed(kept[:]):
        others = [other for other in kept if other != key]
        if others and _follows(runs, key, others):
            kept = others
    return tuple(kept)


def _follows(runs: Sequence[Run], key: str, others: Sequence[str]) -> bool:
    seen = dict[tuple[Setting, ...], Setting]()
    return all(
        seen.setdefault(tuple(map(run.settings.get, others)), value := run.settings.get(key)) == value for run in runs
    )


def lines(runs: Sequence[Run], axis: str | None = None) -> tuple[Line, ...]:
    """Runs by all that tells them apart but the seed and what is along the axis; sorted."""
    keys = telling(runs, axis)
    groups = dict[tuple[Setting, ...], list[Run]]()
    for run in sorted(runs, key=lambda run: run.folder):
        groups.setdefault(tuple(map(run.settings.get, keys)), []).append(run)
    ranked = sorted(groups, key=lambda values: tuple(map(order, values)))
    return tuple(Line(keys, values, tuple(groups[values])) for values in ranked)


def panels(chosen: Sequence[Line]) -> tuple[Panel, ...]:
    """Frames of at most `MOST_LINES` lines, each of one data set that is learnt from and one that is tested on: split
    by as few settings as that takes, and in runs of equal length where one setting alone has more values than that."""
    keys = chosen[0].keys if chosen else ()
    split = [SOURCE] if SOURCE in keys and len(data_names(chosen)) > 1 else []
    split += [TESTED] if TESTED in keys else []
    frames = _frames(chosen, split) if chosen else {}
    while max(map(len, frames.values()), default=0) > MOST_LINES and len(split) < len(keys) - 1:
        tries = {key: _frames(chosen, [*split, key]) for key in keys if key not in split}
        best = min(tries, key=lambda key: sum(math.ceil(len(frame) / MOST_LINES) for frame in tries[key].values()))
        split.append(best)
        frames = tries[best]
    result = list[Panel]()
    for values, frame in frames.items():
        title = ", ".join(filter(None, map(words, split, values)))
        pieces = math.ceil(len(frame) / MOST_LINES)
        for number in range(pieces):
            piece = frame[number * len(frame) // pieces : (number + 1) * len(frame) // pieces]
            ends = f"{piece[0].label(split)} to {piece[-1].label(split)}" if pieces > 1 else ""
            result.append(Panel(", ".join(filter(None, (title, ends))), tuple(split), tuple(piece)))
    return tuple(result)


Piece = TypeVar("Piece")


def numbered(items: Sequence[Piece], most: int) -> list[tuple[str, Sequence[Piece]]]:
    """As many of these as one figure takes, with what its name ends in."""
    pieces = [items[start : start + most] for start in range(0, len(items), most)]
    return [(f"-{index}" if len(pieces) > 1 else "", piece) for index, piece in enumerate(pieces, 1)]


def parts(chosen: Sequence[Line]) -> list[tuple[str, Sequence[Panel]]]:
    """Panels by figure, with what each figure's name ends in."""
    return numbered(panels(chosen), MOST_PANELS)


def of_part(part: Sequence[Panel]) -> list[Line]:
    """All lines of one figure."""
    return [line for panel in part for line in panel.lines]


def data_names(chosen: Iterable[Line]) -> set[str]:
    """Errors on two data sets have baselines of their own, so they share no axis."""
    return {run.data_name for line in chosen for run in line.runs}


def by_task(runs: Sequence[Run]) -> list[tuple[str, str, list[Run]]]:
    """Runs of each task, whose errors have one unit, with what their figures' names and titles end in: nothing where
    there is one task alone. A task's name comes from a file, so no figure's name has it."""
    tasks = sorted({run.task for run in runs})
    if len(tasks) < 2:
        return [("", "", list(runs))]
    return [
        (f"-task{at}", f", {task or 'unnamed task'}", [run for run in runs if run.task == task])
        for at, task in enumerate(tasks, 1)
    ]


def _frames(chosen: Sequence[Line], split: Sequence[str]) -> dict[tuple[Setting, ...], list[Line]]:
    frames = dict[tuple[Setting, ...], list[Line]]()
    for line in chosen:
        frames.setdefault(tuple(map(line.value, split)), []).append(line)
    return {values: frames[values] for values in sorted(frames, key=lambda values: tuple(map(order, values)))}


def over_seeds(runs: Sequence[Run]) -> str:
    """What a point of a figure stands for."""
    counts = {len({run.seed for run in line.runs}) for line in lines(runs)}
    if counts == {1}:
        return "one seed"
    return f"mean and range over {' to '.join(map(str, sorted({min(counts), max(counts)})))} seeds"
