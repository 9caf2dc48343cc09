"""The tables of the centre's records, the same on SQLite and PostgreSQL.

Times are seconds since the epoch, UTC. Run and node ids are uint64, which no SQL integer holds: they are kept as 16 hex
digits, and read as they are written in party names and logs.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, Dialect, Double, ForeignKey, ForeignKeyConstraint, LargeBinary, String, Text, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from privacy.secure_sum.exchange import Part

VERSION, ADDED_TO_SINCE = 3, 1
"""Raised whenever a table changes; records of another version are refused. Since the first one tables were only added:
such records get the new ones."""

NAME_LENGTH = 64
HEX_SHA256 = 64
NUMBER_DIGITS = 40
"""A CRL number has 20 bytes at most (RFC 5280)."""


class UInt64(TypeDecorator[int]):
    """An unsigned 64-bit number as 16 hex digits."""

    impl = String(16)
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> str | None:
        if value is not None and not 0 <= value < 2**64:
            raise ValueError(f"{value} is no uint64")
        return None if value is None else f"{value:016x}"

    def process_result_value(self, value: str | None, dialect: Dialect) -> int | None:
        return None if value is None else int(value, 16)


class RunState(StrEnum):
    """Where a run stands. A run that was killed still says `running`; it is resumed all the same."""

    RUNNING = "running"
    STOPPED = "stopped"
    FINISHED = "finished"


class Phase(StrEnum):
    """Where a round stands; each is on disk before what follows from it happens.

    `training`: who trains, under which message ids. `trained`: the new model. `evaluating`: who evaluates it.
    """

    TRAINING = "training"
    TRAINED = "trained"
    EVALUATING = "evaluating"
    FINISHED = "finished"


class PartState(StrEnum):
    """What came of a node's part. `silent`: nothing, by the deadline."""

    ASKED = "asked"
    ANSWERED = "answered"
    REFUSED = "refused"
    SILENT = "silent"


class Base(DeclarativeBase):
    """All tables."""


class SchemaRow(Base):
    """The version of this schema, in one row."""

    __tablename__ = "jaga_schema"

    version: Mapped[int] = mapped_column(primary_key=True)


class RevocationListColumns:
    """The authority's newest list of revoked certificates; one row. The helper's records have this table, too."""

    place: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[str] = mapped_column(String(NUMBER_DIGITS))
    """In hex."""
    der: Mapped[bytes] = mapped_column(LargeBinary)


class RevocationListRow(RevocationListColumns, Base):
    """The newest list that the centre has seen."""

    __tablename__ = "revocation_list"


class NodeRow(Base):
    """A node that the authority signed a certificate for."""

    __tablename__ = "nodes"

    node_id: Mapped[int] = mapped_column(UInt64, primary_key=True)
    party: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    serial: Mapped[str] = mapped_column(String(64), unique=True)
    expires_at: Mapped[float] = mapped_column(Double)
    enrolled_at: Mapped[float] = mapped_column(Double)
    revoked_at: Mapped[float | None] = mapped_column(Double)


class ModelRow(Base):
    """A model: safetensors, under its hash, and the card that says where it comes from."""

    __tablename__ = "models"

    sha256: Mapped[str] = mapped_column(String(HEX_SHA256), primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH * 2), index=True)
    card: Mapped[dict[str, Any]] = mapped_column(JSON)
    data: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    added_at: Mapped[float] = mapped_column(Double)


class RunRow(Base):
    """A run, and which coordinator holds it."""

    __tablename__ = "runs"

    run_id: Mapped[int] = mapped_column(UInt64, primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    toml: Mapped[str] = mapped_column(Text)
    state: Mapped[RunState] = mapped_column(String(16))
    note: Mapped[str] = mapped_column(Text, default="")
    holder: Mapped[str] = mapped_column(String(NAME_LENGTH))
    model: Mapped[str] = mapped_column(ForeignKey("models.sha256"))
    """The first one."""
    started_at: Mapped[float] = mapped_column(Double)
    finished_at: Mapped[float | None] = mapped_column(Double)


class RoundRow(Base):
    """A round, and all that is needed to go on with it."""

    __tablename__ = "rounds"

    run_id: Mapped[int] = mapped_column(UInt64, ForeignKey("runs.run_id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    phase: Mapped[Phase] = mapped_column(String(16))
    started_at: Mapped[float] = mapped_column(Double)
    finished_at: Mapped[float | None] = mapped_column(Double)
    arrays: Mapped[str] = mapped_column(String(HEX_SHA256))
    """Hash of the model that the round began with."""
    result: Mapped[str | None] = mapped_column(ForeignKey("models.sha256"))
    """The model that it ended with; None before that, and where it was not kept."""
    roster: Mapped[list[str]] = mapped_column(JSON)
    """The nodes that were there when the round was planned, as hex."""
    train_metrics: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    evaluate_metrics: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    strategy: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    """What the strategy remembers after this round; kept for the last trained round alone."""


class ParticipantRow(Base):
    """One node's part in one round."""

    __tablename__ = "participants"
    __table_args__ = (ForeignKeyConstraint(["run_id", "number"], ["rounds.run_id", "rounds.number"]),)

    run_id: Mapped[int] = mapped_column(UInt64, primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    part: Mapped[Part] = mapped_column(String(16), primary_key=True)
    node_id: Mapped[int] = mapped_column(UInt64, primary_key=True)
    message_id: Mapped[str] = mapped_column(String(32))
    head: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    """The Flower message without its arrays, so that a restart sends the same again; emptied when it is answered."""
    state: Mapped[PartState] = mapped_column(String(16))
    seconds: Mapped[float | None] = mapped_column(Double)
    bytes_down: Mapped[int] = mapped_column(default=0)
    bytes_up: Mapped[int] = mapped_column(default=0)
    refusal: Mapped[str | None] = mapped_column(String(NAME_LENGTH * 2))
    epsilon: Mapped[float | None] = mapped_column(Double)
    """What the node says it has spent in all, where its metrics have an `epsilon`."""


class SumRow(Base):
    """Which nodes a group of a secure sum was closed with, before the helper was asked: it answers for one set only."""

    __tablename__ = "sums"
    __table_args__ = (ForeignKeyConstraint(["run_id", "number"], ["rounds.run_id", "rounds.number"]),)

    run_id: Mapped[int] = mapped_column(UInt64, primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    part: Mapped[Part] = mapped_column(String(16), primary_key=True)
    place: Mapped[int] = mapped_column(primary_key=True)
    nodes: Mapped[list[str]] = mapped_column(JSON)
    """As hex."""


class DrawRow(Base):
    """The draw of a round's groups, written down before the helper is asked and again before a node is."""

    __tablename__ = "draws"

    run_id: Mapped[int] = mapped_column(UInt64, ForeignKey("runs.run_id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    part: Mapped[Part] = mapped_column(String(16), primary_key=True)
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    nodes: Mapped[list[str]] = mapped_column(JSON)
    """As hex."""
    group_size: Mapped[int] = mapped_column()
    min_cohort: Mapped[int] = mapped_column()
    draw: Mapped[bytes | None] = mapped_column(LargeBinary)
    """The helper's part, as it came; None until then."""
