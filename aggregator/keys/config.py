"""What the health authority writes: `health.toml`. Environment variables `JAGA_HEALTH_…` win over it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from aggregator.config import BadConfig
from aggregator.keys.limits import DAY_S, Limits
from privacy.boundary.messages import MAX_CASE_KEYS, Region


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LimitsTable(_Table):
    """`[limits]`: see `aggregator.keys.limits`. A key that may still be sent is never shown."""

    max_keys: Annotated[int, Field(ge=1, le=MAX_CASE_KEYS)] = 30
    max_same_start: Annotated[int, Field(ge=1)] = 3
    max_age_days: Annotated[float, Field(gt=0, le=14)] = 14.0
    skew_hours: Annotated[float, Field(ge=2, le=24)] = 2.0
    window_hours: Annotated[float, Field(gt=0, le=24)] = 1.0
    cases_a_day: Annotated[int, Field(ge=1)] = 50

    def limits(self) -> Limits:
        return Limits(
            self.max_keys,
            self.max_same_start,
            self.max_age_days * DAY_S,
            self.skew_hours * 3600,
            self.window_hours * 3600,
            self.cases_a_day,
        )


class ExportsTable(_Table):
    """`[exports]`: how often keys go out, and among how many made-up ones.

    An export with few keys says that there were few cases, and, with a clinic's day in mind, whose; so it is filled up.
    """

    every_hours: Annotated[float, Field(gt=0, le=24 * 7)] = 4.0
    min_keys: Annotated[int, Field(ge=1, le=20_000)] = 1000
    padding_range: Annotated[int, Field(ge=0, le=20_000)] = 100
    max_keys: Annotated[int, Field(ge=1, le=50_000)] = 20_000


class HealthConfig(BaseSettings):
    """The health authority's process; paths are relative to the file's own folder.

    Attributes:
        clinics: region of each clinic that may report cases, by party (`node-…`).
        export_key: the authority's private P-256 key (PEM), which signs the export files.
        export_key_id, export_key_version: how nodes and phones tell the key, as in GAEN's SignatureInfo.
    """

    model_config = SettingsConfigDict(env_prefix="JAGA_HEALTH_", env_nested_delimiter="__", extra="forbid", frozen=True)

    broker: str = "mqtts://localhost:8883"
    records: str = "sqlite:///health.db"
    credentials: Path = Path("health")
    export_key: Path = Path("export.key")
    export_key_id: str = "510"
    export_key_version: str = "v1"
    clinics: dict[str, str] = {}
    limits: LimitsTable = LimitsTable()
    exports: ExportsTable = ExportsTable()

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
    def load(cls, path: Path) -> HealthConfig:
        """Read `health.toml`.

        Raises:
            BadConfig: naming the file and each wrong key.
        """
        try:
            values: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
            config = cls(**values)
        except FileNotFoundError as why:
            raise BadConfig(f"{path}: no such file; `jaga-central keys init` makes one") from why
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as why:
            raise BadConfig(f"{path}: {why}") from why
        except ValidationError as why:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in why.errors())
            raise BadConfig(f"{path}: {wrong}") from why
        for party, region in config.clinics.items():
            checked_region(region, f"{path}: clinics.{party}")
        folder = path.resolve().parent
        prefix = "sqlite:///"
        file = config.records.removeprefix(prefix)
        records = config.records if file == config.records or file.startswith("/") else f"{prefix}{folder / file}"
        return config.model_copy(
            update={
                "credentials": folder / config.credentials,
                "export_key": folder / config.export_key,
                "records": records,
            }
        )


def checked_region(region: str, where: str) -> str:
    """The region, where it can stand in a topic.

    Raises:
        BadConfig: it cannot.
    """
    try:
        return msgspec.convert(region, Region)
    except msgspec.ValidationError as why:
        raise BadConfig(f"{where}: region {region!r} has letters, digits and ._- only, as in ID-JK") from why
