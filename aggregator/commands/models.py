"""`models`: the first models of runs, which researchers make and hand in as a file and a card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.table import Table

from aggregator.commands.terminal import DEFAULT_CONFIG, ConfigFile, explained, moment, out
from aggregator.config import BadConfig, CentralConfig
from aggregator.records.database import Records
from aggregator.records.models import Models

models = typer.Typer(
    help="The models that runs begin with, and end with. / Model awal dan hasil.", no_args_is_help=True
)


class Card(BaseModel):
    """What must be known of a model before it goes to schools and clinics."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = Field(min_length=1, max_length=64)
    task: str = Field(min_length=1, max_length=64)
    made_by: str = Field(min_length=1)
    data: str = Field(min_length=1)
    licence: str = Field(min_length=1)

    @classmethod
    def read(cls, path: Path) -> Card:
        """Read a card.

        Raises:
            BadConfig: naming what is missing.
        """
        try:
            values: dict[str, Any] = json.loads(path.read_text("utf-8"))
            return cls.model_validate(values)
        except ValidationError as why:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'card'}: {e['msg']}" for e in why.errors())
            raise BadConfig(f"{path}: {wrong}; a card says name, task, made_by, data and licence") from why
        except (OSError, ValueError) as why:
            raise BadConfig(f"{path}: no card that can be read: {why}") from why


@models.command()
def add(
    file: Annotated[Path, typer.Argument(help="The model, FILE.safetensors.")],
    card: Annotated[Path, typer.Option(help="Its card: JSON with name, task, made_by, data, licence.")],
    config: ConfigFile = DEFAULT_CONFIG,
) -> None:
    """Register a model under its card's name. / Mendaftarkan sebuah model."""
    with explained():
        said = Card.read(card)
        try:
            data = file.read_bytes()
        except OSError as why:
            raise BadConfig(f"model {file} cannot be read: {why}") from why
        records = Records(CentralConfig.load(config).records)
        sha256 = Models(records).add(said.name, data, said.model_dump())
        records.close()
        out.print(
            f"[green]✓[/] [bold]{said.name}[/] is registered, {len(data):,} bytes, sha256 {sha256}", highlight=False
        )


@models.command("list")
def list_models(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """All models. / Daftar semua model."""
    with explained():
        records = Records(CentralConfig.load(config).records)
        table = Table(
            "name / nama", "task / tugas", "made by / dibuat oleh", "licence / lisensi", "added (UTC)", "sha256"
        )
        for entry in Models(records).entries():
            card = entry.card
            origin = str(card.get("made_by") or f"run {card.get('run', '?')}")
            table.add_row(
                entry.name,
                str(card.get("task", "-")),
                origin,
                str(card.get("licence", "-")),
                moment(entry.added_at),
                entry.sha256[:16],
            )
        records.close()
        out.print(table)
