"""What a declaration says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Text:
    """A sentence in both languages."""

    en: str
    id: str


class Category(StrEnum):
    """Law 27 of 2022, article 4. `none`: says nothing of a person."""

    NONE = "none"
    GENERAL = "general"
    SPECIFIC = "specific"


class Mechanism(StrEnum):
    """How something derived from a column may leave a node."""

    DP_SGD = "dp-sgd"
    NOISED_METRICS = "noised-metrics"
    SHARED_NOISE = "shared-noise"
    CONSENTED = "consented"
    ROOM_HUB = "room-hub"
    SITE_ALERT = "site-alert"


LEARNING = frozenset({Mechanism.DP_SGD, Mechanism.NOISED_METRICS, Mechanism.SHARED_NOISE})
CONSENT = frozenset({Mechanism.CONSENTED})
TO_HUB = frozenset({Mechanism.ROOM_HUB})
TO_SITE_SERVER = frozenset({Mechanism.SITE_ALERT})
NOTHING: frozenset[Mechanism] = frozenset()


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        category: of what it holds, together with the rest of its row.
        leaves: mechanisms through which something derived from it may leave; none: nothing of it ever does.
    """

    name: str
    meaning: Text
    category: Category = Category.NONE
    leaves: frozenset[Mechanism] = NOTHING


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a node's store.

    Attributes:
        basis: legal basis of the processing.
        retention: how long a row lives, and what deletes it.
    """

    name: str
    purpose: Text
    basis: Text
    retention: Text
    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if len(set(names)) != len(names):
            raise ValueError(f"table {self.name} declares a column twice: {sorted(names)}")

    @property
    def category(self) -> Category:
        """The strictest of its columns'."""
        found = {column.category for column in self.columns}
        order = (Category.SPECIFIC, Category.GENERAL)
        return next((category for category in order if category in found), Category.NONE)


Sources = Mapping[str, Iterable[str]]
"""Columns by table."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All declarations."""

    tables: tuple[Table, ...]

    def column(self, table: str, column: str) -> Column | None:
        """A declaration; None where there is none."""
        found = next((one for one in self.tables if one.name == table), None)
        return None if found is None else next((one for one in found.columns if one.name == column), None)

    def objections(self, sources: Sources, mechanisms: Iterable[Mechanism]) -> list[str]:
        """Why something derived from these columns may not leave by one of these mechanisms; none where it may."""
        found = []
        for table, columns in sorted(sources.items()):
            for name in sorted(columns):
                declared = self.column(table, name)
                if declared is None:
                    found.append(f"{table}.{name} is not declared")
                    continue
                found += [
                    f"nothing of {table}.{name} may leave by {mechanism.value}"
                    for mechanism in sorted(mechanisms)
                    if mechanism not in declared.leaves
                ]
        return found
