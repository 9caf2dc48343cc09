"""Contacts as columns: one row for every unbroken stretch in which two people face each other.

A school of ten classes has 150,000 such rows in four days; as objects, one a window, they would take seconds. Measured
contacts become the same columns, so whatever is computed of the one can be computed of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.sensing.contacts import Contact
from edge.store.slots import DAY_S, WINDOW_S

WINDOWS_A_DAY = DAY_S // WINDOW_S
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Episodes:
    """Unbroken contacts, sorted by pair, then by time; two of one pair never touch.

    Attributes:
        start: first window (`seconds // WINDOW_S`) [n].
        length: windows [n], at least 1.
        a: index of one person [n]; below that of the other.
        b: the other [n].
    """

    start: Ints
    length: Ints
    a: Ints
    b: Ints

    def __post_init__(self) -> None:
        sizes = [len(column) for column in (self.start, self.length, self.a, self.b)]
        if len(set(sizes)) != 1:
            raise ValueError(f"columns of episodes have one length, got {sizes}")
        if len(self.start) and (self.start.min() < 0 or self.length.min() < 1 or not (self.a < self.b).all()):
            raise ValueError("an episode starts at window 0 or later, lasts one window or more, and has a below b")

    def __len__(self) -> int:
        return len(self.start)

    @classmethod
    def merged(cls, start: Ints, length: Ints, a: Ints, b: Ints) -> Episodes:
        """From rows in any order, some of which may overlap or touch; those become one."""
        if not len(start):
            return cls(start, length, a, b)
        low, high = np.minimum(a, b), np.maximum(a, b)
        people, span = int(high.max()) + 1, int((start + length).max()) + 2
        longest = int(length.max()) + 1
        if people * people * span * longest >= 2**63:
            raise ValueError(f"{people} people over {span} windows are too many for one table: make several")
        # One sort of one packed number is several times faster than a sort by three columns.
        packed = np.sort(((low * people + high) * span + start) * longest + length)
        head, size = np.divmod(packed, longest)
        end = np.maximum.accumulate(head + size)
        first = np.empty(len(head), bool)
        first[0] = True
        np.greater(head[1:], end[:-1], out=first[1:])
        opens = np.flatnonzero(first)
        closes = end[np.append(opens[1:], len(end)) - 1]
        pair, begin = np.divmod(head[opens], span)
        return cls(begin, closes - head[opens], *np.divmod(pair, people))

    @classmethod
    def of(cls, contacts: Sequence[Contact]) -> tuple[Episodes, tuple[str, ...], tuple[str, ...]]:
        """Of contacts: the columns, everybody's name in the order of their index, and everybody's zone."""
        zones: dict[str, str] = {}
        for contact in contacts:
            zones[contact.a], zones[contact.b] = contact.zone_a, contact.zone_b
        names = tuple(sorted(zones))
        index = {name: at for at, name in enumerate(names)}
        rows = np.array([(c.t // WINDOW_S, index[c.a], index[c.b]) for c in contacts], np.int64).reshape(-1, 3)
        episodes = cls.merged(rows[:, 0], np.ones(len(rows), np.int64), rows[:, 1], rows[:, 2])
        return episodes, names, tuple(zones[name] for name in names)

    def windows(self) -> tuple[Ints, Ints, Ints]:
        """One row a window of contact: window, a, b [windows], in the order of the episodes."""
        ends = np.cumsum(self.length)
        total = int(ends[-1]) if len(ends) else 0
        window = np.arange(total) + np.repeat(self.start - (ends - self.length), self.length)
        return window, np.repeat(self.a, self.length), np.repeat(self.b, self.length)

    def where(self, keep: NDArray[np.bool_]) -> Episodes:
        """Those rows alone [n]."""
        return Episodes(self.start[keep], self.length[keep], self.a[keep], self.b[keep])

    @property
    def day(self) -> Ints:
        """Day on which each starts [n]."""
        return self.start // WINDOWS_A_DAY
