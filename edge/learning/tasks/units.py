"""Privacy units of a task: what is protected, into which pieces examples fall for it, and how many pieces one unit has.

A mechanism bounds pieces and scales its noise by how many of them one unit touches:

- `record`, the task's own unit: one piece is one example, and a unit touches `unit_examples` of them (`crowding`: a
  slot touches 2; `proximity`: a session touches 10).
- `day`, everything of one calendar day at one node: one piece is all examples of that day, so a unit touches 1. Only a
  task whose examples draw on one day alone offers it. It is the unit for persons: identifiers rotate, so a node cannot
  tell which of a day's half hours are one person's, and bounds the day instead.
- `site`, everything of one node: one piece, the whole update.

Work is bounded by public numbers: a node trains on the newest `most_examples` examples. Replacing what one unit holds
does not change which examples those are. If a unit is added or removed, at most as many examples (for `day`: at most
one day) come in as go out. A sum then moves by at most twice what one unit contributes, which is what replacement
costs, and replacement is what a ledger charges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edge.learning.tasks.task import Examples, Task
from privacy.accounting.events import DAY, SITE

RECORD = "record"
"""Beside `DAY` and `SITE`, a value of `unit` in a `[train]` table: the task's own unit."""
MOST_EXAMPLES = 4096
"""Of a task that does not say it."""


class UnknownUnit(ValueError):
    """The task does not offer that privacy unit; the message names those it offers."""


@dataclass(frozen=True, slots=True)
class PrivacyUnit:
    """One privacy unit of a task. All of it is public.

    Attributes:
        name: as the ledger keeps budgets by.
        pieces: k, the most pieces that one unit touches.
        day_units: the most that everything of one day moves a sum, over the most that one unit does; 0 if the unit says
            nothing about persons who come and go.
        most_pieces: the most pieces that a node trains on.
    """

    name: str
    pieces: int
    day_units: float
    most_pieces: int

    def __post_init__(self) -> None:
        if self.pieces < 1 or self.most_pieces < self.pieces or self.day_units < 0:
            raise ValueError(
                f"unit {self.name!r} touches {self.pieces} of {self.most_pieces} pieces, {self.day_units} units a day: "
                "expected 1 <= pieces <= most_pieces and day_units from 0 up"
            )


@dataclass(frozen=True, slots=True)
class Pieces:
    """Examples of one node, and the piece to which each belongs.

    Attributes:
        examples: at most `most_examples` of the task, oldest first.
        groups: number of each example's piece; None if each example is a piece of its own.
    """

    examples: Examples
    groups: tuple[int, ...] | None


def most_examples(task: Task) -> int:
    """The most examples that a node trains this task on."""
    return int(getattr(task, "most_examples", MOST_EXAMPLES))


def units_of(task: Task) -> dict[str, PrivacyUnit]:
    """Every unit that a task offers, by the value of `unit` in a `[train]` table.

    A task that does not say how much a day moves is taken to have all its examples on one day.
    """
    most = most_examples(task)
    own = PrivacyUnit(task.unit, task.unit_examples, most / task.unit_examples, most)
    offered: Mapping[str, PrivacyUnit] = getattr(task, "units", {})
    return {RECORD: own, **offered, SITE: PrivacyUnit(SITE, 1, 1.0, 1)}


def unit_of(task: Task, unit: str) -> PrivacyUnit:
    """One unit of a task.

    Args:
        unit: `record`, `day` or `site`.

    Raises:
        UnknownUnit: the task does not offer it.
    """
    offered = units_of(task)
    if unit not in offered:
        raise UnknownUnit(f"task {task.name} does not offer the unit {unit!r}; it offers {', '.join(sorted(offered))}")
    return offered[unit]


def pieces_of(task: Task, examples: Examples, unit: str) -> Pieces:
    """The newest examples that are within the task's bounds, grouped into the pieces of a unit.

    Never raises for what examples hold, only for a unit that the task does not offer.

    Args:
        examples: oldest first, as `Task.examples` gives them.

    Raises:
        UnknownUnit: see `unit_of`.
    """
    bound = unit_of(task, unit)
    if unit != DAY:
        return Pieces(_rows(examples, range(max(0, len(examples) - most_examples(task)), len(examples))), None)
    groups: tuple[int, ...] = task.groups(examples, unit)  # type: ignore[attr-defined]  # whoever offers `day` has it
    rows: dict[int, list[int]] = {}
    for row, group in enumerate(groups):
        rows.setdefault(group, []).append(row)
    a_piece = most_examples(task) // bound.most_pieces
    kept = sorted(row for group in sorted(rows)[-bound.most_pieces :] for row in rows[group][:a_piece])
    return Pieces(_rows(examples, kept), tuple(groups[row] for row in kept))


def _rows(examples: Examples, rows: range | list[int]) -> Examples:
    if len(rows) == len(examples):
        return examples
    at = list(rows)
    return Examples(examples.x[at], examples.y[at], tuple(examples.units[row] for row in at))
