"""Settings that a program of the centre reads from one TOML file; environment variables win over it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from aggregator.config import BadConfig

SQLITE = "sqlite:///"


class FileSettings(BaseSettings):
    """See the module; subclasses name their prefix and their fields."""

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
    def read(cls, path: Path, maker: str) -> Self:
        """Read a file as it stands, paths not resolved.

        Args:
            maker: the command that makes such a file.

        Raises:
            BadConfig: naming the file and each wrong key.
        """
        try:
            values: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
            return cls(**values)
        except FileNotFoundError as why:
            raise BadConfig(f"{path}: no such file; `{maker}` makes one") from why
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as why:
            raise BadConfig(f"{path}: {why}") from why
        except ValidationError as why:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in why.errors())
            raise BadConfig(f"{path}: {wrong}") from why


def beside(folder: Path, url: str) -> str:
    """A database URL whose relative SQLite file is in `folder`, wherever the command is typed."""
    file = url.removeprefix(SQLITE)
    return url if file == url or file.startswith("/") else f"{SQLITE}{folder / file}"
