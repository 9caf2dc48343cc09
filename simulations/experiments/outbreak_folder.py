"""A run folder of outbreaks at one site: settings and epidemic curves, so that `jaga-sim report` draws them.

It is no run of learning: its `rounds.parquet` has no rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from simulations.epidemics.figures import curves_table
from simulations.epidemics.outbreak import Course
from simulations.epidemics.scenario import Scenario
from simulations.epidemics.sources import Site
from simulations.runs.folder import RunFolder, RunInfo

NAME = "outbreaks"
VERSIONS = ("numba", "numpy")


def keep(
    out: Path,
    site: Site,
    scenario: Scenario,
    courses: Mapping[str, Sequence[Course]],
    *,
    runs: int,
    draws: int,
    seed: int,
) -> RunFolder:
    """Write the folder; the same settings and seed have the same folder, and the same bytes.

    Args:
        out: folder of run folders.
        courses: name of a curve, and its runs.
        draws: of seats and of the radio's errors.
    """
    tables: dict[str, dict[str, Any]] = {
        "experiment": {"name": NAME, "runs": runs, "draws": draws, "seed": seed},
        "data": {"source": site.name},
        "scenario": asdict(scenario),
    }
    settings = dict(_flat(tables))
    mark = sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
    folder = RunFolder(out / f"{NAME}-{mark}")
    folder.write_settings(tables)
    folder.write_table("rounds", [])
    folder.write_table("curves", curves_table(courses).to_pylist())
    data = {"name": site.name, "sites": 1, "examples": site.network.people}
    versions = {name: version(name) for name in VERSIONS}
    folder.write_info(RunInfo(NAME, settings, [], seed, versions, data, "done", 0))
    return folder


def _flat(tables: Mapping[str, Any], above: str = "") -> Sequence[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in tables.items():
        found += _flat(value, f"{above}{key}.") if isinstance(value, Mapping) else [(above + key, value)]
    return found
