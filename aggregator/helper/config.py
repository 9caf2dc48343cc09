"""What the second organisation writes: `helper.toml`. Environment variables `JAGA_HELPER_…` win over it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from aggregator.config import BadConfig, beside, in_one_line
from aggregator.helper.desk import LEAST_COHORT, QUORUM


class HelperConfig(BaseSettings):
    """The helper's process; paths are relative to the file's own folder.

    Attributes:
        revocations: file with the authority's list of revoked certificates, if this organisation copies one here. What
            the leader carries is heard without it.
        min_cohort: fewest nodes that it answers for, whatever the leader asks.
        quorum: share of the nodes drawn into a group that its sum has at least.
        anchor: notes where the records end; keep it out of the backup of the records.
    """

    model_config = SettingsConfigDict(env_prefix="JAGA_HELPER_", extra="forbid", frozen=True)

    broker: str = "mqtts://localhost:8883"
    records: str = "sqlite:///helper.db"
    credentials: Path = Path("credentials")
    revocations: Path = Path("revocations.pem")
    anchor: Path = Path("helper.anchor")
    min_cohort: Annotated[int, Field(ge=LEAST_COHORT)] = 3
    quorum: Annotated[float, Field(ge=0, le=1)] = QUORUM

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
    def load(cls, path: Path) -> HelperConfig:
        """Read `helper.toml`.

        Raises:
            BadConfig: naming the file and each wrong key.
        """
        try:
            values: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
            config = cls(**values)
        except FileNotFoundError as why:
            raise BadConfig(f"{path}: no such file; `jaga-central helper init` makes one") from why
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as why:
            raise BadConfig(f"{path}: {why}") from why
        except ValidationError as why:
            raise BadConfig(f"{path}: {in_one_line(why)}") from why
        folder = path.resolve().parent
        return config.model_copy(
            update={
                "credentials": folder / config.credentials,
                "revocations": folder / config.revocations,
                "records": beside(folder, config.records),
                "anchor": folder / config.anchor,
            }
        )
