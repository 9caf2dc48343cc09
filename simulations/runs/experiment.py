"""What an experiment file says, one table each; `docs/experiments.md` shows a whole one.

Tables that a run file of the centre has, too, have the same keys here: what was found in a simulation is copied.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from aggregator.config import Scalar, SecureSumTable, in_one_line
from simulations.world.places import Kind

WORLD = "world"
"""Source of data that are generated."""
DIGITS = 12
"""Of the digest in a run's name."""
UNITS = {"dp-sgd": ("record", "day"), "shared-noise": ("record", "day", "site"), "none": ()}
"""What each mechanism can hide, the first where nothing is said."""
Share = Annotated[float, Field(ge=0, le=1)]


class BadExperiment(ValueError):
    """An experiment that cannot be run; the message names each wrong key."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class ExperimentTable(_Table):
    """`[experiment]`: its name, how many rounds, and the seed. In a file `seeds` lists several."""

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    rounds: Annotated[int, Field(ge=1, le=100_000)]
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1


class DataTable(_Table):
    """`[data]`: a data set by name (`jaga-sim data list`), `world`, or `module:function` of one's own.

    `folder` is where its files are. `kind`, `sites`, `days` and `world_seed` are of the generated world
    (`docs/world.md`; a `town` has classes and wards); where no
    `world_seed` is said, every seed has a world of its own, and what differs between seeds is more than noise.
    `test_on` names another data set: the model that learns from `source` is tested on that one's held-out records.
    """

    source: Annotated[str, Field(min_length=1)] = WORLD
    folder: Annotated[Path, Field(strict=False)] | None = None
    kind: Kind | Literal["town"] = "school"
    sites: Annotated[int, Field(ge=1, le=1_000_000)] = 20
    days: Annotated[int, Field(ge=2, le=60)] = 4
    world_seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    test_on: str | None = None


class TaskTable(_Table):
    """`[task]`: what is learnt, by entry point; the data set's own where it is not said. `start`: `fresh`, `public`
    (pre-trained on generated worlds), or a file of safetensors."""

    name: str | None = None
    start: str = "public"


class TrainTable(_Table):
    """`[train]`: as in a run file, without the noise, which `[privacy]` finds. What is not said is the mechanism's
    default."""

    model_config = ConfigDict(alias_generator=lambda name: name.replace("_", "-"))

    clip_norm: Annotated[float, Field(gt=0)] | None = None
    steps: Annotated[int, Field(ge=1)] | None = None
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    sampling_rate: Annotated[float, Field(gt=0, le=1)] | None = None
    lot_size: Annotated[int, Field(ge=1)] | None = None
    epochs: Annotated[int, Field(ge=1)] | None = None
    batch_size: Annotated[int, Field(ge=1)] | None = None


class StrategyTable(_Table):
    """`[strategy]`: one of Flower's by its name, one of entry point group `jaga.strategies`, or `module:Class`."""

    name: str = "FedAvg"
    options: dict[str, Scalar] = {}


class PrivacyTable(_Table):
    """`[privacy]`: by which mechanism, for what budget, and what is protected.

    `dp-sgd` noises on each node, and hides a `record` (the task's privacy unit) or, where `unit` says so, everything of
    one `day` at a node; `shared-noise` has nodes share the noise of a secure sum, and hides a `record`, a `day` or the
    whole `site`; `none` adds none. `epsilon` is for one record's lifetime, at `delta`: the whole run.
    """

    mechanism: Literal["dp-sgd", "shared-noise", "none"] = "dp-sgd"
    epsilon: Annotated[float, Field(gt=0)] = 8.0
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-6
    unit: Literal["record", "day", "site"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _unit_follows(cls, said: Any) -> Any:
        if isinstance(said, Mapping) and "unit" not in said:
            units = UNITS.get(str(said.get("mechanism", "dp-sgd")))
            return {**said, "unit": units[0] if units else None}
        return said


class AvailabilityTable(_Table):
    """`[availability]`: the share of nodes that answer in a round, each on its own."""

    share: Annotated[float, Field(gt=0, le=1)] = 1.0


class AttackersTable(_Table):
    """`[attackers]`: the share of nodes that lie, and how. `scale` multiplies an update with `factor`; `label-flip`
    trains on mirrored observations."""

    share: Share = 0.0
    kind: Literal["sign-flip", "scale", "label-flip"] = "sign-flip"
    factor: float = -10.0


class PersonalTable(_Table):
    """`[personal]`: layers that each node trains further on its own examples after the last round, and keeps.

    They never leave the node, so they cost no privacy. `layers` are names of parameters, with commas between; empty:
    none.
    """

    layers: str = ""
    epochs: Annotated[int, Field(ge=1)] = 5
    batch_size: Annotated[int, Field(ge=1)] = 16
    learning_rate: Annotated[float, Field(gt=0)] = 0.05


class EvaluationTable(_Table):
    """`[evaluation]`: on the held-out records of all sites, every so many rounds and after the last one. `central`:
    fit the same model in one place and without privacy, to compare with."""

    every: Annotated[int, Field(ge=1)] = 1
    central: bool = True


class Experiment(_Table):
    """One run: everything that decides what comes out of it."""

    experiment: ExperimentTable
    data: DataTable = DataTable()
    task: TaskTable = TaskTable()
    train: TrainTable = TrainTable()
    strategy: StrategyTable = StrategyTable()
    privacy: PrivacyTable = PrivacyTable(unit="record")
    secure_sum: SecureSumTable | None = None
    availability: AvailabilityTable = AvailabilityTable()
    attackers: AttackersTable = AttackersTable()
    personal: PersonalTable = PersonalTable()
    evaluation: EvaluationTable = EvaluationTable()

    @model_validator(mode="before")
    @classmethod
    def _a_world_for_each_seed(cls, settings: Any) -> Any:
        match settings:
            case {"experiment": {**of_run}, **tables}:
                data = tables.get("data", {})
                if isinstance(data, Mapping) and _has_a_world(data) and "world_seed" not in data:
                    return {**settings, "data": {**data, "world_seed": of_run.get("seed", 1)}}
        return settings

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.privacy.mechanism == "shared-noise" and self.secure_sum is None:
            raise ValueError("privacy.mechanism: shared-noise needs a table [secure_sum]: alone, this noise is little")
        can, said = UNITS[self.privacy.mechanism], self.privacy.unit
        if said not in (can or (None,)):
            hides = " or ".join(can) or "nothing"
            raise ValueError(f"privacy.unit: {self.privacy.mechanism} can hide {hides}, and {said} is asked")
        return self

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """From tables.

        Raises:
            BadExperiment: naming each wrong key.
        """
        try:
            return cls.model_validate(settings)
        except ValidationError as why:
            raise BadExperiment(in_one_line(why).removeprefix("file: ")) from why

    def tables(self) -> dict[str, dict[str, Any]]:
        """As TOML has them: no `None`, no empty table, paths as text."""
        dumped = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        return {name: table for name, table in dumped.items() if table}

    def flat(self) -> dict[str, Any]:
        """Dotted keys and their values."""
        found: dict[str, Any] = {}
        for name, table in self.tables().items():
            for key, value in table.items():
                if isinstance(value, dict):
                    found.update({f"{name}.{key}.{option}": one for option, one in value.items()})
                else:
                    found[f"{name}.{key}"] = value
        return found

    @property
    def run_name(self) -> str:
        """Name of the run's folder: equal settings, equal name."""
        digest = hashlib.sha256(msgspec.json.encode(self.tables(), order="sorted")).hexdigest()
        return f"{self.experiment.name}-{digest[:DIGITS]}"


def _has_a_world(data: Mapping[str, Any]) -> bool:
    return WORLD in (data.get("source", WORLD), data.get("test_on"))
