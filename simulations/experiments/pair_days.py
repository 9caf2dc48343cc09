"""Pair-days: two people, one day, and for how long they were within reach of each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge.sensing.contacts import Contact
from edge.store.slots import DAY_S, WINDOW_S

LONG_MINUTES = 15.0
"""From so many minutes on, in total over the day, a pair-day is long."""

PairDay = tuple[int, str, str]
"""Day (`seconds // 86400`), and two people in the order of their names."""


def true_minutes(contacts: Sequence[Contact]) -> dict[PairDay, float]:
    """Minutes of contact of each pair and day, as the data set has them."""
    found: Counter[PairDay] = Counter()
    for contact in contacts:
        a, b = sorted((contact.a, contact.b))
        found[contact.t // DAY_S, a, b] += 1
    return {pair: windows * WINDOW_S / 60 for pair, windows in found.items()}


def long_ones(minutes: Mapping[PairDay, float], at_least: float = LONG_MINUTES) -> set[PairDay]:
    """Pair-days of so many minutes or more; a thousandth short is single precision."""
    return {pair for pair, those in minutes.items() if those >= at_least - 1e-3}


@dataclass(frozen=True, slots=True)
class Score:
    """Pair-days found against those that were.

    Attributes:
        way: how they were looked for.
        truth: `contact`: face to face, as the data have it; `2 m`: within 2 m, with the seats that were made up.
        found: pair-days that were called long.
        right: those that were.
        true: long pair-days that there were.
    """

    data: str
    way: str
    truth: str
    seed: int
    found: int
    right: int
    true: int

    @property
    def precision(self) -> float:
        return self.right / self.found if self.found else float("nan")

    @property
    def recall(self) -> float:
        return self.right / self.true if self.true else float("nan")

    @property
    def f1(self) -> float:
        return 2 * self.right / (self.found + self.true) if self.found + self.true else float("nan")
