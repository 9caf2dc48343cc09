"""A run's folder: what it was, what came of it, and where it stopped.

experiment.toml    every setting
run.json           name, settings, versions, data, status
rounds.parquet     a row a round; sites.parquet: a row a site and evaluated round; curves.parquet: of epidemics
model.safetensors  the model as it is
checkpoint         how to go on; gone when all is done
timings.parquet    seconds a round: the only file that differs between two runs of the same settings
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import tomli_w

SCHEMA = 1
ROUNDS = pa.schema(
    [
        ("round", pa.int32()),
        ("asked", pa.int32()),
        ("answered", pa.int32()),
        ("replies", pa.int32()),  # that the strategy was given: one for each group of a sum
        ("error", pa.float64()),  # mean over all held-out examples, as the task counts errors
        ("baseline_error", pa.float64()),
        ("start_error", pa.float64()),
        ("central_error", pa.float64()),
        ("personal_error", pa.float64()),
        ("epsilon", pa.float64()),  # of the node that took part most often so far
        ("noise_std", pa.float64()),
        ("snr", pa.float64()),
        ("up_bytes", pa.int64()),
        ("down_bytes", pa.int64()),
    ]
)
SITES = pa.schema(
    [
        ("round", pa.int32()),
        ("site", pa.string()),
        ("examples", pa.int32()),
        ("error", pa.float64()),
        ("baseline_error", pa.float64()),
        ("personal_error", pa.float64()),
    ]
)
CURVES = pa.schema(
    [
        ("curve", pa.string()),
        ("day", pa.float64()),
        ("mean", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
    ]
)
TIMINGS = pa.schema([("round", pa.int32()), ("seconds", pa.float64())])
TABLES = {"rounds": ROUNDS, "sites": SITES, "curves": CURVES, "timings": TIMINGS}

Status = Literal["running", "stopped", "done", "failed"]
Row = Mapping[str, Any]


class BadRunFolder(ValueError):
    """A folder that holds no run, or a damaged one; the message says which file and what to do."""


class RunInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`run.json`.

    Attributes:
        settings: dotted keys and their values.
        swept: those that the sweep varied.
        data: name, sites and examples of what was learnt from.
        rounds_done: so far.
        note: why it is not done; empty.
    """

    name: str
    settings: dict[str, Any]
    swept: list[str]
    seed: int
    versions: dict[str, str]
    data: dict[str, Any]
    status: Status
    rounds_done: int
    note: str = ""
    schema: int = SCHEMA


class _Schema(msgspec.Struct, frozen=True):
    schema: int


@dataclass(frozen=True, slots=True)
class RunFolder:
    """See the module."""

    path: Path

    @classmethod
    def find(cls, paths: Iterable[Path]) -> list[RunFolder]:
        """Every run in or below these folders, by path."""
        found = {run.parent for path in paths for run in (path.rglob("run.json") if path.is_dir() else ())}
        return [cls(path) for path in sorted(found)]

    @property
    def info(self) -> RunInfo:
        """Raises BadRunFolder: it is missing, or not readable."""
        file = self.path / "run.json"
        try:
            data = file.read_bytes()
            schema = msgspec.json.decode(data, type=_Schema).schema
            if schema != SCHEMA:
                raise BadRunFolder(
                    f"{file}: has schema {schema}, and this Jaga reads {SCHEMA}: use the version that wrote it"
                )
            return msgspec.json.decode(data, type=RunInfo)
        except OSError as why:
            raise BadRunFolder(f"{file}: {why.strerror}; name a folder that jaga-sim run has written") from why
        except msgspec.MsgspecError as why:
            raise BadRunFolder(f"{file}: {why}; it is of another version, or damaged: run it again") from why

    def table(self, name: str) -> pa.Table | None:
        """`rounds`, `sites`, `curves` or `timings`; None where the run has none.

        Raises:
            BadRunFolder: it is damaged, or of other columns.
        """
        file = self.path / f"{name}.parquet"
        if not file.exists():
            return None
        try:
            return pq.read_table(file).cast(TABLES[name])
        except (OSError, ValueError, pa.ArrowException) as why:
            raise BadRunFolder(f"{file}: {why}; run it again") from why

    @property
    def rounds(self) -> pa.Table | None:
        return self.table("rounds")

    @property
    def sites(self) -> pa.Table | None:
        return self.table("sites")

    @property
    def curves(self) -> pa.Table | None:
        return self.table("curves")

    def rows(self, name: str) -> list[dict[str, Any]]:
        """A table's rows; none where there is no table."""
        table = self.table(name)
        return [] if table is None else table.to_pylist()

    # --- writing -----------------------------------------------------------------------------------------------------

    def write_settings(self, tables: Mapping[str, Any]) -> None:
        self._put("experiment.toml", tomli_w.dumps(dict(tables)).encode())

    def write_info(self, info: RunInfo) -> None:
        data = json.dumps(msgspec.to_builtins(info), indent=2, ensure_ascii=False, sort_keys=True)
        self._put("run.json", f"{data}\n".encode())

    def write_table(self, name: str, rows: Iterable[Row]) -> None:
        """Columns that a row does not have are NaN or null."""
        table = pa.Table.from_pylist([dict(row) for row in rows], TABLES[name])
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        self._put(f"{name}.parquet", sink.getvalue().to_pybytes())

    def write_model(self, data: bytes) -> None:
        """As `aggregator.records.tensors.to_safetensors` makes it."""
        self._put("model.safetensors", data)

    @property
    def checkpoint(self) -> bytes | None:
        """What `write_checkpoint` was given last."""
        file = self.path / "checkpoint"
        return file.read_bytes() if file.exists() else None

    def write_checkpoint(self, data: bytes | None) -> None:
        if data is None:
            (self.path / "checkpoint").unlink(missing_ok=True)
        else:
            self._put("checkpoint", data)

    def _put(self, name: str, data: bytes) -> None:
        """Whole or not at all, whenever the power goes."""
        self.path.mkdir(parents=True, exist_ok=True)
        new = self.path / f".{name}.new"
        with new.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path / name)
