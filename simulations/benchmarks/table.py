"""What every benchmark gives back: a table of what was measured, and its targets with a verdict each.

A benchmark states its targets before it measures, prints both, and holds only where all of them do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

Value = int | float | str | bool | None


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        key: name in the rows, and in the JSON file.
        title: on the screen.
        form: how a number is written, as for `format`; text is written as it is.
        scale: what numbers are divided by on the screen (1e6 for megabytes).
    """

    key: str
    title: str
    form: str = ",.0f"
    scale: float = 1.0

    def cell(self, value: Value) -> str:
        if value is None:
            return "–"
        return value if isinstance(value, str) else format(value / self.scale, self.form)


@dataclass(frozen=True, slots=True)
class Target:
    """A bound, and what was measured.

    Attributes:
        name: what is to hold, in words.
        limit: what `measured` may be at most; both in `unit`.
    """

    name: str
    measured: float
    limit: float
    unit: str = ""

    @property
    def held(self) -> bool:
        return self.measured <= self.limit

    def __str__(self) -> str:
        measured, limit = (f"{side:,.0f}" if side >= 1000 else f"{side:.3g}" for side in (self.measured, self.limit))
        verdict = "held" if self.held else "MISSED"
        return f"{verdict}: {self.name}: {measured} of at most {limit} {self.unit}".rstrip()


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run of one benchmark.

    Attributes:
        rows: each a value for every column's key, and perhaps more, which only the JSON file shows.
        setting: what the figures depend on (machine, versions, options).
        notes: how to read them; one sentence each.
    """

    name: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, object]]
    targets: Sequence[Target]
    setting: Mapping[str, Value] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            missing = [column.key for column in self.columns if column.key not in row]
            if missing:
                raise ValueError(f"benchmark {self.name}: a row has no value for {', '.join(missing)}")
        if not self.targets:
            raise ValueError(f"benchmark {self.name} states no target, so it could not fail")

    @property
    def held(self) -> bool:
        return all(target.held for target in self.targets)

    def show(self, console: Console) -> None:
        table = Table(
            title=self.name,
            box=None,
            padding=(0, 0, 0, 1),
            pad_edge=False,
            caption=", ".join(f"{key} {value}" for key, value in self.setting.items()),
        )
        for column in self.columns:
            table.add_column(column.title, justify="right", no_wrap=True)
        for row in self.rows:
            table.add_row(*(column.cell(msgspec.convert(row[column.key], Value)) for column in self.columns))
        console.print(table)
        for note in self.notes:
            console.print(note, soft_wrap=True, style="dim", highlight=False)
        for target in self.targets:
            console.print(str(target), soft_wrap=True, style="green" if target.held else "bold red", highlight=False)

    def write(self, path: Path) -> None:
        """The same figures as JSON."""
        targets = [{**msgspec.to_builtins(target), "held": target.held} for target in self.targets]
        figures = {
            "benchmark": self.name,
            "held": self.held,
            "setting": dict(self.setting),
            "targets": targets,
            "rows": [dict(row) for row in self.rows],
        }
        path.write_bytes(msgspec.json.format(msgspec.json.encode(figures)) + b"\n")
