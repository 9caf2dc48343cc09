"""Many runs out of one file: where a list stands for a value, every one of its values is run.

[privacy]
epsilon = [1, 4, 8]        # three runs, times as many as there are seeds
"""

from __future__ import annotations

import itertools
import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulations.runs.examples import examples
from simulations.runs.experiment import BadExperiment, Experiment

MOST_RUNS = 10_000
SEEDS, SEED = "seeds", "seed"


@dataclass(frozen=True, slots=True)
class Sweep:
    """All runs of one file.

    Attributes:
        experiments: in the order of the file's lists, the seeds changing fastest.
        swept: dotted keys that differ between them.
    """

    experiments: tuple[Experiment, ...]
    swept: tuple[str, ...]

    @classmethod
    def read(cls, source: str, changes: Sequence[str] = ()) -> Sweep:
        """Read an experiment file, or one that comes with the program by its name.

        Args:
            changes: `table.key=value`, which win over the file; the value as in TOML.

        Raises:
            BadExperiment: naming the file and each wrong key.
        """
        path = _path(source)
        try:
            tables = tomllib.loads(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as why:
            raise BadExperiment(f"{path}: cannot be read: {why}") from why
        except tomllib.TOMLDecodeError as why:
            raise BadExperiment(f"{path}: not TOML: {why}") from why
        for change in changes:
            _set(tables, change)
        try:
            return cls.of(tables)
        except BadExperiment as why:
            raise BadExperiment(f"{path}: {why}") from why

    @classmethod
    def of(cls, tables: Mapping[str, Any]) -> Sweep:
        """From tables.

        Raises:
            BadExperiment: naming each wrong key.
        """
        for name, table in tables.items():
            if not isinstance(table, Mapping):
                raise BadExperiment(f"{name}: a table is expected, [{name}]")
        lists = _values(tables)
        runs = math.prod(map(len, lists.values()))
        if runs > MOST_RUNS:
            raise BadExperiment(f"{runs} runs come of the lists {', '.join(map('.'.join, lists))}; at most {MOST_RUNS}")
        experiments = []
        for point in itertools.product(*lists.values()):
            settings = {name: dict(table) for name, table in tables.items()}
            settings.get("experiment", {}).pop(SEEDS, None)
            for key, value in zip(lists, point, strict=True):
                _put(settings, key, value)
            experiments.append(Experiment.of(settings))
        if len({one.run_name for one in experiments}) < len(experiments):
            raise BadExperiment(f"{', '.join(map('.'.join, lists))}: two values of a list are one, as 1 and 1.0")
        return cls(tuple(experiments), tuple(".".join(key) for key, values in lists.items() if len(values) > 1))


def _path(source: str) -> Path:
    if Path(source).is_file() or source not in examples():
        if not Path(source).exists():
            raise BadExperiment(
                f"{source}: no such file, and none of that name comes with the program: {', '.join(examples())}"
            )
        return Path(source)
    return examples()[source]


def _values(tables: Mapping[str, Any]) -> dict[tuple[str, ...], list[Any]]:
    """The lists by their keys; that of the seeds last, as `experiment.seed`."""
    lists = {tuple(key): value for key, value in _lists(tables)}
    for key, values in lists.items():
        if not values:
            raise BadExperiment(f"{'.'.join(key)}: the list is empty")
        if len({repr(value) for value in values}) < len(values):
            raise BadExperiment(f"{'.'.join(key)}: a value comes twice in {values}")
    if SEEDS in (table := tables.get("experiment", {})):
        if SEED in table:
            raise BadExperiment("experiment: say seed or seeds, not both")
        if ("experiment", SEEDS) not in lists:
            raise BadExperiment(f"experiment.seeds: a list is expected, as [1, 2, 3], not {table[SEEDS]!r}")
        lists["experiment", SEED] = lists.pop(("experiment", SEEDS))
    return lists


def _lists(tables: Mapping[str, Any]) -> Iterator[tuple[list[str], list[Any]]]:
    for name, value in tables.items():
        if isinstance(value, list):
            yield [name], value
        elif isinstance(value, Mapping):
            yield from (([name, *key], values) for key, values in _lists(value))


def _put(tables: dict[str, Any], key: Sequence[str], value: Any) -> None:
    *path, last = key
    for name in path:
        below = tables.get(name, {})
        if not isinstance(below, Mapping):
            raise BadExperiment(f"{'.'.join(key)}: {name} is a value and no table")
        tables[name] = dict(below)
        tables = tables[name]
    tables[last] = value


def _set(tables: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    path = key.strip().split(".")
    if not equals or len(path) < 2 or not all(path):
        raise BadExperiment(f"--set {change}: write table.key=value, as in --set privacy.epsilon=4")
    _put(tables, path, _value(text.strip()))
    if path == ["experiment", SEED]:
        tables["experiment"].pop(SEEDS, None)
    elif path == ["experiment", SEEDS]:
        tables["experiment"].pop(SEED, None)


def _value(text: str) -> Any:
    """What TOML takes it for; else a word without quotes, or a list of such."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        if text.startswith("[") and text.endswith("]"):
            return [_value(one.strip()) for one in text[1:-1].split(",") if one.strip()]
        return text
