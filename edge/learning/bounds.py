"""Ranges of every number that the centre chooses, and what a node's owner allows.

The centre may be an attacker. A learning rate of 1e39, a clip norm below float32's normal numbers or a weight near the
largest float turn arithmetic into an oracle, so each number has a range here. Whatever lies outside is refused before a
record is read; the refusal therefore says nothing about records.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

MOST_WEIGHT = 1e6
"""Largest absolute value of a model's parameter that a node accepts."""


class OutOfBounds(ValueError):
    """A number of the task is outside its range, or its model is; the message quotes it."""


@dataclass(frozen=True, slots=True)
class Range:
    """The values that a node accepts, both ends included.

    Attributes:
        whole: only whole numbers.
    """

    low: float
    high: float
    whole: bool = False

    def check(self, name: str, value: object) -> None:
        """Raise OutOfBounds if the value is of another type or outside."""
        numeric = isinstance(value, int) or (isinstance(value, float) and not self.whole)
        if not numeric or isinstance(value, bool) or not self.low <= value <= self.high:  # type: ignore[operator]
            kind = "a whole number" if self.whole else "a number"
            raise OutOfBounds(f"{name} is {value!r}; this node accepts {kind} from {self.low:g} to {self.high:g}")


RANGES: Mapping[str, Range] = {
    "noise-multiplier": Range(1e-6, 1e6),
    "metrics-noise-multiplier": Range(1e-6, 1e6),
    "clip-norm": Range(1e-6, 1e6),
    "learning-rate": Range(1e-6, 1e3),
    "sampling-rate": Range(1e-6, 1.0),
    "lot-size": Range(1, 1_000_000, whole=True),
    "batch-size": Range(1, 65_536, whole=True),
    "steps": Range(1, 10_000, whole=True),
    "epochs": Range(1, 100, whole=True),
}
"""Keys of a run's `[train]` table. docs/privacy.md lists them for people."""


def check_numbers(config: Mapping[str, Any]) -> None:
    """Raise OutOfBounds if a number of a `[train]` table is outside its range."""
    for name, allowed in RANGES.items():
        if name in config:
            allowed.check(name, config[name])


class Allowed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a node's owner allows (`[privacy.allow]`). All of it is public.

    Attributes:
        tasks: names of tasks.
        mechanisms: `dp-sgd`, `shared-noise`.
        units: privacy units that a run may ask for: `record` (the task's own), `day`, `site`.
    """

    tasks: tuple[str, ...] = ("crowding", "proximity")
    mechanisms: tuple[str, ...] = ("dp-sgd", "shared-noise")
    units: tuple[str, ...] = ("record", "day", "site")

    def objection(self, task: str, mechanism: str, unit: str) -> str | None:
        """Say what the owner does not allow; None if all of it is allowed."""
        for kind, value, allowed in (
            ("task", task, self.tasks),
            ("mechanism", mechanism, self.mechanisms),
            ("unit", unit, self.units),
        ):
            if value not in allowed:
                return f"{kind} {value!r} is not among {', '.join(allowed) or 'none'} in [privacy.allow]"
        return None
