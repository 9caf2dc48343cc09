"""A run's journal: every phase is on disk before what follows from it happens, and only the run's holder writes.

Each method is one transaction. It checks that this coordinator still holds the run and that the round is in the phase
it must be in, so of two coordinators that both believe themselves alone, one is stopped before it does harm.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import CursorResult, delete, select, update
from sqlalchemy.orm import Session

from aggregator.records.database import Records, RecordsError
from aggregator.records.models import store
from aggregator.records.schema import ModelRow, ParticipantRow, PartState, Phase, RoundRow, RunRow, RunState
from privacy.secure_sum.exchange import Part


class OtherRunFile(RecordsError):
    """A run of this name was started with another file."""


class RunMoved(RecordsError):
    """Another coordinator has taken this run over."""


class DamagedRun(RecordsError):
    """The journal contradicts itself."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A task of a round: to whom, under which message id, and the Flower message without its arrays."""

    node_id: int
    message_id: str
    head: bytes


@dataclass(frozen=True, slots=True)
class Contribution:
    """What came of one node's part."""

    node_id: int
    state: PartState
    seconds: float | None
    bytes_down: int
    bytes_up: int
    refusal: str | None
    epsilon: float | None


@dataclass(frozen=True, slots=True)
class RoundEntry:
    """A round as the journal has it.

    Attributes:
        phase: None where it was not planned yet.
        arrays: hash of the model that it began with.
        result: hash of the model that it ended with; the same where nothing was learnt.
        roster: the nodes that were there when it was planned.
    """

    number: int
    phase: Phase | None
    arrays: str
    result: str | None = None
    roster: tuple[int, ...] = ()
    train_metrics: Mapping[str, Any] | None = None
    evaluate_metrics: Mapping[str, Any] | None = None
    started_at: float = 0.0
    finished_at: float | None = None


@dataclass(frozen=True, slots=True)
class Journal:
    """One run, held by one coordinator: `Journal.take` gives it.

    Attributes:
        holder: name of the coordinator's process.
        keep_models: whether every round's model stays; else those between the first and the last go.
    """

    records: Records
    run_id: int
    name: str
    holder: str
    model: str
    keep_models: bool
    resumed: bool

    @classmethod
    def take(
        cls, records: Records, run_id: int, *, name: str, toml: str, model: str, holder: str, keep_models: bool = False
    ) -> Journal:
        """Begin a run, or take it over where it stands. Whoever took it before cannot write any more.

        Raises:
            OtherRunFile: a run of this name has another run file.
        """
        with records.session() as session:
            row = session.get(RunRow, run_id)
            resumed = row is not None
            if row is None:
                row = RunRow(
                    run_id=run_id, name=name, toml=toml, model=model, started_at=time.time(), finished_at=None, note=""
                )
                session.add(row)
            elif row.toml != toml or row.name != name:
                raise OtherRunFile(
                    f"run {name!r} was started with another run file: give the changed one another name, or put the "
                    "old one back to resume"
                )
            row.holder = holder
            if row.finished_at is None:
                row.state, row.note = RunState.RUNNING, ""
            return cls(records, run_id, name, holder, row.model, keep_models, resumed)

    def round(self, number: int) -> RoundEntry:
        """How far a round is."""
        with self.records.session() as session:
            row = session.get(RoundRow, (self.run_id, number))
            if row is not None:
                return _entry(row)
            return RoundEntry(number, None, self._model_before(session, number))

    def asked(self, number: int, part: Part) -> list[Asked]:
        """The tasks of a round that is under way."""
        columns = (ParticipantRow.node_id, ParticipantRow.message_id, ParticipantRow.head)
        with self.records.session() as session:
            found = session.execute(select(*columns).where(*self._of(number, part)).order_by(ParticipantRow.node_id))
            return [Asked(*row) for row in found]

    def contributions(self, number: int) -> dict[Part, list[Contribution]]:
        """Everybody's part in a round."""
        found: dict[Part, list[Contribution]] = {part: [] for part in Part}
        rows = select(ParticipantRow).where(ParticipantRow.run_id == self.run_id, ParticipantRow.number == number)
        with self.records.session() as session:
            for row in session.scalars(rows.order_by(ParticipantRow.node_id)):
                found[Part(row.part)].append(_contribution(row))
        return found

    def strategy_state(self) -> bytes | None:
        """What the strategy remembered after the round that was trained last; None before the first."""
        last = select(RoundRow.strategy).where(RoundRow.run_id == self.run_id, RoundRow.strategy.is_not(None))
        with self.records.session() as session:
            return session.scalar(last.order_by(RoundRow.number.desc()).limit(1))

    def plan_training(self, number: int, arrays: str, roster: Iterable[int], tasks: Iterable[Asked]) -> None:
        """Nothing -> TRAINING."""
        with self._writing(number, None) as session:
            hexed = [f"{node_id:016x}" for node_id in roster]
            session.add(
                RoundRow(
                    run_id=self.run_id,
                    number=number,
                    phase=Phase.TRAINING,
                    arrays=arrays,
                    roster=hexed,
                    started_at=time.time(),
                )
            )
            session.flush()
            self._ask(session, number, Part.TRAIN, tasks)

    def ask_anew(self, number: int, part: Part, tasks: Iterable[Asked]) -> None:
        """Replace tasks that expired unanswered while no coordinator ran."""
        phase = Phase.TRAINING if part is Part.TRAIN else Phase.EVALUATING
        with self._writing(number, phase) as session:
            session.execute(delete(ParticipantRow).where(*self._of(number, part)))
            self._ask(session, number, part, tasks)

    def finish_training(
        self,
        number: int,
        *,
        model: bytes | None,
        strategy: bytes,
        metrics: Mapping[str, Any],
        contributions: Iterable[Contribution],
    ) -> None:
        """TRAINING -> TRAINED, with the new model (None where nothing was learnt) and what the strategy remembers."""
        with self._writing(number, Phase.TRAINING) as session:
            row = session.get_one(RoundRow, (self.run_id, number))
            before = row.arrays
            row.result = before if model is None else store(session, f"{self.name}/{number}", model, self._card(number))
            row.phase, row.train_metrics, row.strategy = Phase.TRAINED, dict(metrics), strategy
            self._contribute(session, number, Part.TRAIN, contributions)
            session.execute(
                update(RoundRow)
                .where(RoundRow.run_id == self.run_id, RoundRow.number < number)
                .values(strategy=None)
                .execution_options(synchronize_session=False)
            )
            if not self.keep_models and before not in (self.model, row.result):
                self._forget_model(session, before)

    def plan_evaluation(self, number: int, tasks: Iterable[Asked]) -> None:
        """TRAINED -> EVALUATING."""
        with self._writing(number, Phase.TRAINED) as session:
            session.get_one(RoundRow, (self.run_id, number)).phase = Phase.EVALUATING
            self._ask(session, number, Part.EVALUATE, tasks)

    def finish_round(
        self,
        number: int,
        phase: Phase,
        metrics: Mapping[str, Any] | None = None,
        contributions: Iterable[Contribution] = (),
    ) -> None:
        """TRAINED or EVALUATING -> FINISHED; a finished round is never done again."""
        with self._writing(number, phase) as session:
            row = session.get_one(RoundRow, (self.run_id, number))
            row.phase, row.finished_at = Phase.FINISHED, time.time()
            row.evaluate_metrics = None if metrics is None else dict(metrics)
            self._contribute(session, number, Part.EVALUATE, contributions)

    def finish(self) -> None:
        """All rounds are done."""
        with self.holding() as session:
            row = session.get_one(RunRow, self.run_id)
            row.state, row.finished_at = RunState.FINISHED, row.finished_at or time.time()

    def stop(self, why: str) -> None:
        """Note why the run does not go on for now."""
        with self.holding() as session:
            row = session.get_one(RunRow, self.run_id)
            row.state, row.note = RunState.STOPPED, why

    # --- inside a transaction ----------------------------------------------------------------------------------------

    @contextmanager
    def holding(self) -> Iterator[Session]:
        """A transaction that goes on only while this coordinator holds the run; compare-and-set."""
        with self.records.session() as session:
            claimed: CursorResult[Any] = session.execute(  # type: ignore[assignment]
                update(RunRow)
                .where(RunRow.run_id == self.run_id, RunRow.holder == self.holder)
                .values(holder=self.holder)
                .execution_options(synchronize_session=False)
            )
            if claimed.rowcount != 1:
                other = session.scalar(select(RunRow.holder).where(RunRow.run_id == self.run_id))
                raise RunMoved(f"run {self.name!r} was taken over by {other}: this coordinator ({self.holder}) stops")
            yield session

    @contextmanager
    def _writing(self, number: int, phase: Phase | None) -> Iterator[Session]:
        with self.holding() as session:
            found = session.scalar(
                select(RoundRow.phase).where(RoundRow.run_id == self.run_id, RoundRow.number == number)
            )
            if found != phase:
                raise DamagedRun(
                    f"round {number} of run {self.name!r} is {found or 'not begun'} in the records, where it should be "
                    f"{phase or 'not begun'}: somebody else wrote to them"
                )
            yield session

    def _model_before(self, session: Session, number: int) -> str:
        if number == 1:
            return self.model
        before = session.get(RoundRow, (self.run_id, number - 1))
        if before is None or before.phase != Phase.FINISHED or before.result is None:
            raise DamagedRun(f"round {number} of run {self.name!r} cannot begin: round {number - 1} is not finished")
        return before.result

    def _forget_model(self, session: Session, sha256: str) -> None:
        session.execute(
            update(RoundRow)
            .where(RoundRow.run_id == self.run_id, RoundRow.result == sha256)
            .values(result=None)
            .execution_options(synchronize_session=False)
        )
        used = session.scalar(select(RunRow.run_id).where(RunRow.model == sha256).limit(1)) is not None
        used = used or session.scalar(select(RoundRow.run_id).where(RoundRow.result == sha256).limit(1)) is not None
        if not used:
            session.execute(delete(ModelRow).where(ModelRow.sha256 == sha256))

    def _card(self, number: int) -> dict[str, Any]:
        return {"name": f"{self.name}/{number}", "run": self.name, "round": number, "from": self.model}

    def _of(self, number: int, part: Part) -> tuple[Any, ...]:
        return ParticipantRow.run_id == self.run_id, ParticipantRow.number == number, ParticipantRow.part == part

    def _ask(self, session: Session, number: int, part: Part, tasks: Iterable[Asked]) -> None:
        session.add_all(
            ParticipantRow(
                run_id=self.run_id,
                number=number,
                part=part,
                node_id=task.node_id,
                message_id=task.message_id,
                head=task.head,
                state=PartState.ASKED,
                bytes_down=0,
                bytes_up=0,
            )
            for task in tasks
        )

    def _contribute(self, session: Session, number: int, part: Part, contributions: Iterable[Contribution]) -> None:
        for entry in contributions:
            row = session.get_one(ParticipantRow, (self.run_id, number, part, entry.node_id))
            row.state, row.seconds, row.refusal, row.epsilon = entry.state, entry.seconds, entry.refusal, entry.epsilon
            row.bytes_down, row.bytes_up, row.head = entry.bytes_down, entry.bytes_up, b""


def _contribution(row: ParticipantRow) -> Contribution:
    return Contribution(
        row.node_id,
        PartState(row.state),
        row.seconds,
        row.bytes_down,
        row.bytes_up,
        row.refusal,
        row.epsilon,
    )


def _entry(row: RoundRow) -> RoundEntry:
    return RoundEntry(
        row.number,
        Phase(row.phase),
        row.arrays,
        row.result,
        tuple(int(node_id, 16) for node_id in row.roster),
        row.train_metrics,
        row.evaluate_metrics,
        row.started_at,
        row.finished_at,
    )
