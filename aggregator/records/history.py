"""What the records tell people about runs; read only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from aggregator.records.database import Records, RecordsError
from aggregator.records.schema import NodeRow, ParticipantRow, PartState, Phase, RoundRow, RunRow, RunState
from privacy.secure_sum.exchange import Part


class UnknownRun(RecordsError):
    """No run of that name was ever started."""


@dataclass(frozen=True, slots=True)
class RunEntry:
    """A run at a glance."""

    run_id: int
    name: str
    state: RunState
    note: str
    rounds_finished: int
    started_at: float
    finished_at: float | None
    model: str


@dataclass(frozen=True, slots=True)
class PartEntry:
    """One node's part in one round, with the node's name where it is enrolled here."""

    node: str
    part: Part
    state: PartState
    seconds: float | None
    bytes_down: int
    bytes_up: int
    refusal: str | None
    epsilon: float | None


@dataclass(frozen=True, slots=True)
class RoundSummary:
    """One round with everybody's part in it."""

    number: int
    phase: Phase
    started_at: float
    finished_at: float | None
    result: str | None
    train_metrics: Mapping[str, Any] | None
    evaluate_metrics: Mapping[str, Any] | None
    parts: tuple[PartEntry, ...]


@dataclass(frozen=True, slots=True)
class History:
    """All runs."""

    records: Records

    def runs(self) -> list[RunEntry]:
        """Newest first."""
        finished = (
            select(func.count())
            .where(RoundRow.run_id == RunRow.run_id, RoundRow.phase == Phase.FINISHED)
            .scalar_subquery()
        )
        with self.records.session() as session:
            return [
                RunEntry(
                    row.run_id,
                    row.name,
                    RunState(row.state),
                    row.note,
                    count,
                    row.started_at,
                    row.finished_at,
                    row.model,
                )
                for row, count in session.execute(select(RunRow, finished).order_by(RunRow.started_at.desc()))
            ]

    def run(self, name: str) -> RunEntry:
        """One run.

        Raises:
            UnknownRun: naming those that there are.
        """
        runs = self.runs()
        for entry in runs:
            if entry.name == name:
                return entry
        known = ", ".join(entry.name for entry in runs) or "none"
        raise UnknownRun(f"no run {name!r} in the records (there are: {known})")

    def rounds(self, run_id: int) -> list[RoundSummary]:
        """The rounds of a run, in order."""
        with self.records.session() as session:
            parts: dict[int, list[PartEntry]] = {}
            for row, name in session.execute(
                select(ParticipantRow, NodeRow.name)
                .outerjoin(NodeRow, NodeRow.node_id == ParticipantRow.node_id)
                .where(ParticipantRow.run_id == run_id)
                .order_by(ParticipantRow.number, ParticipantRow.part.desc(), ParticipantRow.node_id)
            ):
                parts.setdefault(row.number, []).append(_part(row, name))
            return [
                RoundSummary(
                    row.number,
                    Phase(row.phase),
                    row.started_at,
                    row.finished_at,
                    row.result,
                    row.train_metrics,
                    row.evaluate_metrics,
                    tuple(parts.get(row.number, ())),
                )
                for row in session.scalars(select(RoundRow).where(RoundRow.run_id == run_id).order_by(RoundRow.number))
            ]


def _part(row: ParticipantRow, name: str | None) -> PartEntry:
    return PartEntry(
        name or f"node-{row.node_id:016x}",
        Part(row.part),
        PartState(row.state),
        row.seconds,
        row.bytes_down,
        row.bytes_up,
        row.refusal,
        row.epsilon,
    )
