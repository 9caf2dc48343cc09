"""The models that the centre knows: first ones from researchers, and what runs made of them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from flwr.app import ArrayRecord
from sqlalchemy import select
from sqlalchemy.orm import Session

from aggregator.records.database import Records, RecordsError
from aggregator.records.schema import ModelRow
from aggregator.records.tensors import digest, from_safetensors


class UnknownModel(RecordsError):
    """No such model is registered."""


class DamagedModel(RecordsError):
    """A model's bytes are not those that its hash was taken of."""


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model without its bytes."""

    sha256: str
    name: str
    card: dict[str, Any]
    added_at: float


def store(session: Session, name: str, data: bytes, card: dict[str, Any]) -> str:
    """Keep a model; the same bytes again change nothing.

    Returns:
        its hash.
    """
    sha256 = digest(data)
    if session.get(ModelRow, sha256) is None:
        session.add(ModelRow(sha256=sha256, name=name, card=card, data=data, added_at=time.time()))
        session.flush()
    return sha256


@dataclass(frozen=True, slots=True)
class Models:
    """The models in the records."""

    records: Records

    def add(self, name: str, data: bytes, card: dict[str, Any]) -> str:
        """Register a model.

        Returns:
            its hash.

        Raises:
            BadModel: the bytes are no model.
        """
        from_safetensors(data)
        with self.records.session() as session:
            return store(session, name, data, card)

    def entries(self) -> list[ModelEntry]:
        """All models, oldest first."""
        columns = (ModelRow.sha256, ModelRow.name, ModelRow.card, ModelRow.added_at)
        with self.records.session() as session:
            return [ModelEntry(*row) for row in session.execute(select(*columns).order_by(ModelRow.added_at))]

    def find(self, name: str) -> ModelEntry:
        """The newest model of that name, or the one whose hash begins so.

        Raises:
            UnknownModel: there is none.
        """
        entries = self.entries()
        matching = [entry for entry in entries if entry.name == name]
        matching = matching or [entry for entry in entries if len(name) >= 8 and entry.sha256.startswith(name)]
        if not matching:
            known = ", ".join(sorted({entry.name for entry in entries})) or "none"
            raise UnknownModel(f"no model {name!r} is registered (there are: {known}): `jaga-central models add` it")
        return matching[-1]

    def data(self, sha256: str) -> bytes:
        """A model's bytes.

        Raises:
            UnknownModel, DamagedModel: they are not there, or not what they were.
        """
        with self.records.session() as session:
            data = session.scalar(select(ModelRow.data).where(ModelRow.sha256 == sha256))
        if data is None:
            raise UnknownModel(f"model {sha256[:16]}… is not in the records: were they restored from another backup?")
        if digest(data) != sha256:
            raise DamagedModel(f"model {sha256[:16]}… is damaged: its bytes hash to {digest(data)[:16]}…; restore it")
        return data

    def arrays(self, sha256: str) -> ArrayRecord:
        """A model's arrays."""
        return from_safetensors(self.data(sha256))
