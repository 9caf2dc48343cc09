"""What the second organisation writes: `helper.toml`. Environment variables `JAGA_HELPER_…` win over it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from aggregator.helper.desk import LEAST_COHORT
from aggregator.settings import FileSettings, beside


class HelperConfig(FileSettings):
    """The helper's process; paths are relative to the file's own folder.

    Attributes:
        records: a database URL, of this organisation's own.
        credentials: folder of the helper's keys and certificate.
        revocations: the authority's list of certificates that were taken back, where it is there; read anew for each
            request.
        min_cohort: the fewest nodes that a sum is given for.
    """

    model_config = SettingsConfigDict(env_prefix="JAGA_HELPER_", extra="forbid", frozen=True)

    broker: str = "mqtts://localhost:8883"
    records: str = "sqlite:///helper.db"
    credentials: Path = Path("credentials")
    revocations: Path = Path("crl.pem")
    min_cohort: Annotated[int, Field(ge=LEAST_COHORT)] = 3

    @classmethod
    def load(cls, path: Path) -> HelperConfig:
        """Read `helper.toml`.

        Raises:
            BadConfig: naming the file and each wrong key.
        """
        config, folder = cls.read(path, "jaga-central helper init"), path.resolve().parent
        return config.model_copy(
            update={
                "credentials": folder / config.credentials,
                "revocations": folder / config.revocations,
                "records": beside(folder, config.records),
            }
        )
