"""Run folders, read for a report: one that is broken is named and left out, and the others are reported on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simulations.report.runs import DELTA, EPSILON, MECHANISM, UNIT, Column, Curve, Run, Setting, SiteErrors
from simulations.runs.folder import ROUNDS, TABLES, BadRunFolder, RunFolder

OF_PRIVACY = (EPSILON, DELTA, UNIT)
"""Say nothing where the mechanism is `none`."""
WORLD_SEED = "data.world_seed"


class NothingToReport(ValueError):
    """No run can be read in any of the folders; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was found.

    Attributes:
        runs: sorted by the name of their folder.
        warnings: a sentence for each folder that was left out.
    """

    runs: tuple[Run, ...]
    warnings: tuple[str, ...]


def read(paths: Sequence[Path]) -> Reading:
    """Every run in and below these folders.

    Raises:
        NothingToReport: there is none that can be read.
    """
    warnings = [f"{path}: {_missing(path)}" for path in paths if not RunFolder.find([path])]
    warnings += [f"{folder}: holds {table}, but no run.json: run it again" for folder, table in _headless(paths)]
    runs = dict[str, tuple[Path, Run]]()
    for folder in RunFolder.find(paths):
        try:
            run = read_run(folder)
        except BadRunFolder as why:
            warnings.append(str(why))
            continue
        place, _ = runs.setdefault(run.folder, (folder.path, run))
        if place.resolve() != folder.path.resolve():
            warnings.append(f"{folder.path}: the same run as {place}; reported on once")
    if not runs:
        found = f" ({'; '.join(warnings)})" if warnings else ""
        raise NothingToReport(
            f"no run can be read in {', '.join(map(str, paths)) or 'no folder'}{found}; make some with jaga-sim run, "
            "and name the folder that they are in"
        )
    return Reading(tuple(run for _, (_, run) in sorted(runs.items())), tuple(warnings))


def read_run(folder: RunFolder) -> Run:
    """One run.

    Raises:
        BadRunFolder: it is damaged, or has no rounds.
    """
    info = folder.info
    if folder.rounds is None:
        raise BadRunFolder(f"{folder.path}: rounds.parquet is missing; run it again")
    rounds = folder.rounds.sort_by("round")
    settings = _values(info.settings)
    if settings.get(MECHANISM) == "none":
        settings = {key: value for key, value in settings.items() if key not in OF_PRIVACY}
    if settings.get(WORLD_SEED) == info.seed:  # every seed has a world of its own: this tells no line from another
        del settings[WORLD_SEED]
    timings = folder.table("timings")
    return Run(
        folder=printable(folder.path.resolve().name),
        name=printable(info.name),
        seed=info.seed,
        settings=settings,
        swept=tuple(printable(key) for key in info.swept if key in settings or key in OF_PRIVACY),
        versions={printable(key): printable(value) for key, value in info.versions.items()},
        data=_values(info.data),
        status=info.status,
        note=printable(info.note),
        rounds_done=info.rounds_done,
        rounds={name: _column(rounds, name) for name in ROUNDS.names},
        sites=None if folder.sites is None else _sites(folder.sites),
        curves={} if folder.curves is None else _curves(folder.curves),
        seconds=None if timings is None else _column(timings.sort_by("round"), "seconds"),
    )


def _missing(path: Path) -> str:
    if not path.exists():
        return "no such folder"
    return "is no folder" if not path.is_dir() else "holds no run"


def _headless(paths: Iterable[Path]) -> list[tuple[Path, str]]:
    """Folders with a run's tables and without its run.json."""
    names = [f"{name}.parquet" for name in TABLES]
    found = {file.parent: file.name for path in paths for name in names for file in path.rglob(name)}
    return [(folder, found[folder]) for folder in sorted(found) if not (folder / "run.json").exists()]


def printable(text: str) -> str:
    """Text of a file as it may stand on a page and in a figure: characters that steer, such as those that turn the
    direction of writing, are shown as unknown."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def _values(found: Mapping[str, Any]) -> dict[str, Setting]:
    """Without lists and tables, which a run that is resolved has none of."""
    return {
        printable(key): printable(value) if isinstance(value, str) else value
        for key, value in found.items()
        if isinstance(value, Setting)
    }


def _column(table: pa.Table, name: str) -> Column:
    """Numbers; NaN where the table has none."""
    return np.asarray(table[name].cast(pa.float64()).to_numpy(), dtype=np.float64)


def _sites(table: pa.Table) -> SiteErrors | None:
    """The last round's."""
    if not len(table):
        return None
    last = table.filter(pc.equal(table["round"], pc.max(table["round"]))).sort_by("site")
    columns = (_column(last, name) for name in ("examples", "error", "baseline_error", "personal_error"))
    return SiteErrors(tuple(printable(str(name)) for name in last["site"].to_pylist()), *columns)


def _curves(table: pa.Table) -> dict[str, Curve]:
    curves = dict[str, Curve]()
    for name in sorted(pc.unique(table["curve"]).to_pylist()):
        rows = table.filter(pc.equal(table["curve"], name)).sort_by("day")
        curves[printable(str(name))] = Curve(*(_column(rows, column) for column in ("day", "mean", "low", "high")))
    return curves
