"""What the central team writes: `central.toml` for the centre, and one file for each run.

Environment variables `JAGA_CENTRAL_…` win over `central.toml`: `JAGA_CENTRAL_BROKER=mqtts://…` sets `broker`.
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from privacy.boundary.messages import Encoding
from privacy.identity.certificates import HELPER_PARTY
from privacy.secure_sum.terms import BOUND_RANGE, METRIC_RANGE, WEIGHT_RANGE

TTL_DEADLINES = 2.0
"""A task lives this many deadlines where the run file does not say: long enough to be resumed once."""

Scalar = bool | int | float | str
NodeSetting = Scalar | list[int] | list[float] | list[str] | list[bool]


class BadConfig(ValueError):
    """A file cannot be used; the message names the file and each wrong key."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class RunTable(_Table):
    """`[run]`: its name (the same name resumes it), the task that nodes do, the first model, and how many rounds.

    `keep_models` says which rounds' models stay in the records: the `last` one, or `all`.
    """

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$")]
    task: Annotated[str, Field(min_length=1, max_length=64)]
    model: Annotated[str, Field(min_length=1)]
    rounds: Annotated[int, Field(ge=1, le=100_000)]
    keep_models: Literal["last", "all"] = "last"


class CohortTable(_Table):
    """`[cohort]`: who takes part.

    A round begins when `min_nodes` are there, asks `fraction` of them, and ends when all have answered or `deadline_s`
    after it asked; the waiting for nodes has the same deadline. With fewer than `min_replies` usable replies it fails.
    """

    min_nodes: Annotated[int, Field(ge=1)] = 2
    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    deadline_s: Annotated[float, Field(gt=0)] = 600.0
    min_replies: Annotated[int, Field(ge=1)] = 1


class StrategyTable(_Table):
    """`[strategy]`: one of Flower's or of an installed package's by its name, or `module:Class`, and its options.

    `streaming` keeps the memory of one model whatever the number of nodes; strategies that need all replies at once
    (medians, Krum) must run without. `screen` turns a reply whose arrays are not of the model's shape, or whose numbers
    are not finite, into a failed one; a strategy whose replies are no models (boosted trees) must run without.
    """

    name: str = "FedAvg"
    streaming: bool = True
    screen: bool = True
    options: dict[str, Scalar] = {}


class SecureSumTable(_Table):
    """`[secure_sum]`: with it, nodes send masked shares, and the centre learns sums over groups of nodes alone.

    `helper` is the second aggregator. An element of an update is coded from -`bound` to `bound` and cut there, in a
    ring of `bits`; so is a node's weight up to `weight_bound` (`num-examples`: 1 in Jaga's own app) and each metric up
    to `metric_bound`. The helper answers for groups of `min_cohort` nodes or more. `group_size` is for strategies that
    take replies apart (medians, Krum): they see each group's mean as one reply; without it groups are as small as they
    may be for these, and as large as they can for those that average. `deadline_s`: how long the helper may take.
    Nodes refuse bounds outside of the ranges here.
    """

    helper: Annotated[str, Field(min_length=1, max_length=64)] = HELPER_PARTY
    bound: Annotated[float, Field(ge=BOUND_RANGE[0], le=BOUND_RANGE[1])]
    bits: Literal[16, 32, 64] = 32
    min_cohort: Annotated[int, Field(ge=2)] = 3
    group_size: Annotated[int, Field(ge=2)] | None = None
    weight_bound: Annotated[float, Field(ge=WEIGHT_RANGE[0], le=WEIGHT_RANGE[1])] = 1.0
    metric_bound: Annotated[float, Field(ge=METRIC_RANGE[0], le=METRIC_RANGE[1])] = 1e6
    deadline_s: Annotated[float, Field(gt=0)] = 600.0

    @model_validator(mode="after")
    def _groups_are_large_enough(self) -> Self:
        if self.group_size is not None and self.group_size < self.min_cohort:
            raise ValueError(f"group_size {self.group_size} is below min_cohort {self.min_cohort}")
        return self


class WireTable(_Table):
    """`[wire]`: `encoding` of what nodes send back (`int8` takes a quarter of the bytes of `exact`), and how long a
    task lives."""

    encoding: Annotated[Encoding, Field(strict=False)] = Encoding.INT8
    ttl_s: Annotated[float, Field(gt=0)] | None = None


class RunFile(_Table):
    """One run. `[train]` and `[evaluate]` go to the nodes as they are, with the task's name; a run without
    `[evaluate]` evaluates nowhere."""

    run: RunTable
    cohort: CohortTable = CohortTable()
    strategy: StrategyTable = StrategyTable()
    train: dict[str, NodeSetting] = {}
    evaluate: dict[str, NodeSetting] | None = None
    wire: WireTable = WireTable()
    secure_sum: SecureSumTable | None = None

    @property
    def ttl_s(self) -> float:
        return self.wire.ttl_s or TTL_DEADLINES * self.cohort.deadline_s


@dataclass(frozen=True, slots=True)
class LoadedRun:
    """A run file with its text, which the records keep."""

    file: RunFile
    text: str

    @classmethod
    def read(cls, path: Path) -> LoadedRun:
        """Read a run file.

        Raises:
            BadConfig: naming the file and each wrong key.
        """
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as why:
            raise BadConfig(f"{path}: cannot be read: {why}") from why
        return cls.parse(text, str(path))

    @classmethod
    def parse(cls, text: str, source: str = "run file") -> LoadedRun:
        """As `read`, from the text itself."""
        try:
            return cls(RunFile.model_validate(tomllib.loads(text)), text)
        except tomllib.TOMLDecodeError as why:
            raise BadConfig(f"{source}: not TOML: {why}") from why
        except ValidationError as why:
            raise BadConfig(f"{source}: {in_one_line(why)}") from why

    def run_id(self, federation: str) -> int:
        """The run's uint64: made from its name, so that a second coordinator, wherever it is, claims the same."""
        digest = hashlib.sha256(f"jaga run\0{federation}\0{self.file.run.name}".encode()).digest()
        return int.from_bytes(digest[:8], "big") or 1


class CentralConfig(BaseSettings):
    """Where the centre's things are; paths are relative to the file's own folder.

    Attributes:
        records: a database URL; SQLite in a file where none is given.
        credentials: folder of the leader's keys and certificate.
        authority: folder of the authority's key. It belongs on a machine that nodes cannot reach, and only
            `nodes enroll` and `revocations` need it.
        revocations: file with the authority's newest list of revoked certificates, which every run publishes.
    """

    model_config = SettingsConfigDict(env_prefix="JAGA_CENTRAL_", extra="forbid", frozen=True)

    broker: str = "mqtts://localhost:8883"
    records: str = "sqlite:///central.db"
    credentials: Path = Path("leader")
    authority: Path = Path("authority")
    revocations: Path = Path("revocations.pem")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings

    @classmethod
    def load(cls, path: Path) -> CentralConfig:
        """Read `central.toml`.

        Raises:
            BadConfig: naming the file and each wrong key.
        """
        try:
            values: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
            config = cls(**values)
        except FileNotFoundError as why:
            raise BadConfig(f"{path}: no such file; `jaga-central init` makes one") from why
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as why:
            raise BadConfig(f"{path}: {why}") from why
        except ValidationError as why:
            raise BadConfig(f"{path}: {in_one_line(why)}") from why
        folder = path.resolve().parent
        return config.model_copy(
            update={
                "credentials": folder / config.credentials,
                "authority": folder / config.authority,
                "revocations": folder / config.revocations,
                "records": beside(folder, config.records),
            }
        )


def beside(folder: Path, url: str) -> str:
    """A relative SQLite file is beside the configuration, wherever the command is typed."""
    prefix = "sqlite:///"
    file = url.removeprefix(prefix)
    return url if file == url or not file or file.startswith((":", "/")) else f"{prefix}{folder / file}"


def in_one_line(why: ValidationError) -> str:
    """Each wrong key and what is wrong with it."""
    wrong: dict[str, list[str]] = {}
    for error in why.errors():
        # What follows a table's key names the branch of a union that was tried, which tells a reader nothing.
        key = ".".join(map(str, error["loc"][:2])) or "file"
        says, given = f"{error['msg'][0].lower()}{error['msg'][1:]}", f" (got {error['input']!r})"
        if error["type"] in ("missing", "extra_forbidden"):
            given = ""
        elif error["type"] == "value_error":  # a check of ours, which quotes what it has to
            says, given = str(error["ctx"]["error"]), ""
        wrong.setdefault(key, []).append(f"{says}{given}")
    return "; ".join(f"{key}: {_reason(reasons)}" for key, reasons in wrong.items())


def _reason(reasons: list[str]) -> str:
    if len(reasons) == 1:
        return reasons[0]
    return "a value is text, a finite number, true or false, or a list of one of these"
