"""The round loop, resumable after any crash: the file to read first.

    nothing -> TRAINING -> TRAINED -> EVALUATING -> FINISHED

Each round goes through these phases, and each step reads the phase from the records, does its work, and writes the next
phase in one transaction. There is no other state: a coordinator that was killed, at whatever point, is started again
and goes on from what is written. Who was asked, and under which message ids, is written before anything is published,
so that a restart asks the same again, and a node that has answered sends its stored answer instead of training twice.

Flower's strategies configure and aggregate; `Strategy.start` is not used, for it always begins at round 1.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any, TypeVar

import structlog
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp.strategy import Strategy

from aggregator.cohort import Cohort, CohortTooSmall
from aggregator.config import RunFile
from aggregator.events import EventKind, RoundEvent
from aggregator.grid import MqttGrid, Waiting
from aggregator.intake import Intake
from aggregator.records.models import Models
from aggregator.records.nodes import Nodes
from aggregator.records.runs import Asked, Contribution, Journal, RoundEntry
from aggregator.records.schema import Phase
from aggregator.records.tensors import digest, to_safetensors
from aggregator.screen import Screen
from aggregator.strategies.secure_sum import GroupTold, NodesBarred, SecureSum
from aggregator.strategies.state import restore, snapshot
from aggregator.strategies.streaming import innermost
from aggregator.summing import HelperSilent
from privacy.boundary.arrays import arrays_of
from privacy.boundary.flower import fill, head_of, message_of, set_message_id
from privacy.identity.certificates import node_party
from privacy.secure_sum.exchange import Part

log = structlog.get_logger()

Result = TypeVar("Result")


class Unresumable(ValueError):
    """A strategy sends something that a restart could not send again."""


class Coordinator:
    """Runs one run to its end.

    Args:
        run: the run file.
        journal: the run in the records, taken by this process.
        still_ours: raises where another coordinator has the run; asked before every step.
        on_event: told of everything in `EventKind`, on this thread.
    """

    def __init__(
        self,
        run: RunFile,
        grid: MqttGrid,
        strategy: Strategy,
        journal: Journal,
        *,
        still_ours: Callable[[], None] = lambda: None,
        on_event: Callable[[RoundEvent], None] = lambda _: None,
    ) -> None:
        self._run = run
        self._grid = grid
        self._strategy = strategy
        self._inner = innermost(strategy)
        if isinstance(strategy, SecureSum):
            strategy.on_group = self._tell_of_group
        self._journal = journal
        self._still_ours = still_ours
        self._on_event = on_event
        self._nodes = Nodes(journal.records)
        self._models = Models(journal.records)
        self._names: dict[int, str] = {}
        self._arrays = ArrayRecord()
        self._model = ""
        self._configured = 0
        self._number = 0
        snapshot(strategy)  # a strategy that could not resume is refused now, not after the first round
        grid.on_wait = self._waiting

    def run(self) -> ArrayRecord:
        """Do all rounds that are not done.

        Returns:
            the last model's arrays.

        Raises:
            CohortTooSmall: naming who was missing; start again to go on.
            HelperSilent: the second aggregator gave no answer; start again to go on.
            RunClaimed, RunMoved: another coordinator has the run.
            RecordsError: the records fail, or are damaged.
        """
        try:
            return self._rounds()
        except (CohortTooSmall, HelperSilent) as why:
            self._journal.stop(str(why))
            raise

    def _rounds(self) -> ArrayRecord:
        rounds = self._run.run.rounds
        begins = next((n for n in range(1, rounds + 1) if self._journal.round(n).phase is not Phase.FINISHED), rounds)
        self._tell(EventKind.RUN_STARTED, rounds=rounds, resumed=self._journal.resumed, begins_with_round=begins)
        if (state := self._journal.strategy_state()) is not None:
            restore(self._strategy, state)
        for number in range(begins, rounds + 1):
            self._round(number)
        self._journal.finish()
        self._tell(EventKind.RUN_FINISHED, model=self._model)
        return self._arrays

    def _round(self, number: int) -> None:
        self._number = number
        steps: dict[Phase | None, Callable[[RoundEntry], None]] = {
            None: self._plan_training,
            Phase.TRAINING: self._train,
            Phase.TRAINED: self._plan_evaluation,
            Phase.EVALUATING: self._evaluate,
        }
        while (entry := self._journal.round(number)).phase is not Phase.FINISHED:
            self._still_ours()
            self._load(entry.result or entry.arrays)
            steps[entry.phase](entry)
        self._load(entry.result or entry.arrays)

    # --- the steps ---------------------------------------------------------------------------------------------------

    def _plan_training(self, entry: RoundEntry) -> None:
        cohort = self._cohort()
        roster = cohort.wait()
        messages = list(self._configure_training(cohort))
        self._journal.plan_training(entry.number, entry.arrays, roster, self._asked(messages))
        self._tell(EventKind.TRAINING_PLANNED, nodes=[self._name(m.metadata.dst_node_id) for m in messages])

    def _train(self, entry: RoundEntry) -> None:
        if self._configured != entry.number:
            # The messages are in the records; the strategy is asked for the sake of what it remembers by it.
            list(self._configure_training(Cohort.of_the_past(self._grid, entry.roster)))
        (arrays, metrics), intake = self._aggregated(
            lambda: self._ask(entry, Part.TRAIN, EventKind.TRAINING_SENT, EventKind.TRAINING_REPLY),
            lambda intake: self._strategy.aggregate_train(entry.number, intake),
        )
        summary = _plain(metrics)
        self._tell(EventKind.TRAINING_AGGREGATED, metrics=summary, learnt=arrays is not None)
        data = None
        if arrays is not None:
            arrays = _in_order(arrays, self._arrays)
            data = to_safetensors(arrays)
        self._still_ours()
        self._journal.finish_training(
            entry.number,
            model=data,
            strategy=snapshot(self._strategy),
            metrics=summary,
            contributions=intake.contributions(),
        )
        if arrays is not None and data is not None:
            self._arrays, self._model = arrays, digest(data)
        self._tell(EventKind.TRAINED, metrics=summary, model=self._model)

    def _plan_evaluation(self, entry: RoundEntry) -> None:
        messages: list[Message] = []
        if self._run.evaluate is not None:
            config = self._config(self._run.evaluate)
            cohort = self._cohort()
            cohort.wait()
            messages = list(self._strategy.configure_evaluate(entry.number, self._arrays, config, cohort))
        if not messages:
            self._journal.finish_round(entry.number, Phase.TRAINED)
            self._tell_finished(entry.number)
            return
        self._journal.plan_evaluation(entry.number, self._asked(messages))
        self._tell(EventKind.EVALUATION_PLANNED, nodes=[self._name(m.metadata.dst_node_id) for m in messages])

    def _evaluate(self, entry: RoundEntry) -> None:
        metrics, intake = self._aggregated(
            lambda: self._ask(entry, Part.EVALUATE, EventKind.EVALUATION_SENT, EventKind.EVALUATION_REPLY),
            lambda intake: self._strategy.aggregate_evaluate(entry.number, intake),
        )
        summary = _plain(metrics)
        self._tell(EventKind.EVALUATION_AGGREGATED, metrics=summary)
        self._still_ours()
        self._journal.finish_round(entry.number, Phase.EVALUATING, summary, intake.contributions())
        self._tell_finished(entry.number)

    # --- asking nodes ------------------------------------------------------------------------------------------------

    def _configure_training(self, cohort: Cohort) -> Iterable[Message]:
        self._configured = self._number
        config = self._config(self._run.train)
        return self._strategy.configure_train(self._number, self._arrays, config, cohort)

    def _config(self, settings: Mapping[str, Any]) -> ConfigRecord:
        return ConfigRecord({**settings, "task": self._run.run.task})

    def _cohort(self) -> Cohort:
        """Who may take part in this round, by the records as they are now: nodes are enrolled and revoked meanwhile."""
        entries = self._nodes.entries()
        self._names = {entry.node_id: entry.name for entry in entries}
        self._grid.attendance.exclude([entry.serial for entry in entries if entry.revoked_at is not None])
        enrolled = {entry.node_id: entry.name for entry in entries if entry.revoked_at is None}
        table = self._run.cohort
        return Cohort(self._grid, enrolled, self._needed(), table.deadline_s, on_wait=self._tell_of_cohort)

    def _needed(self) -> int:
        """As many nodes as the run file and the strategy itself want; Flower would wait for the latter for ever."""
        wanted = (getattr(self._inner, name, 0) for name in ("min_available_nodes", "min_train_nodes"))
        return max(self._run.cohort.min_nodes, *(n for n in wanted if isinstance(n, int)))

    def _asked(self, messages: Iterable[Message]) -> list[Asked]:
        """The messages as the records keep them: with an id, and without the model's arrays."""
        model = {id(array): key for key, array in self._arrays.items()}
        asked = []
        for message in messages:
            for (_, key), array in arrays_of(message).items():
                if model.get(id(array)) != key:
                    raise Unresumable(
                        f"{type(self._strategy).__name__} sends array {key!r}, which is not the model's own: a restart "
                        "could not send it again. Run it with Flower's `Strategy.start` on an `MqttGrid` instead"
                    )
            if not message.metadata.message_id:
                set_message_id(message, uuid.uuid4().hex)
            message.metadata.ttl = self._run.ttl_s
            asked.append(Asked(message.metadata.dst_node_id, message.metadata.message_id, head_of(message)))
        return asked

    def _messages(self, number: int, part: Part) -> list[Message]:
        """The tasks of this phase as the records have them, with the model's arrays back in their places."""
        messages = [message_of(task.head) for task in self._journal.asked(number, part)]
        for message in messages:
            fill(message, {(name, key): self._arrays[key] for name, key in arrays_of(message)})
        now = time.time()
        renewed = self._strategy.renewed(number, part, messages) if isinstance(self._strategy, SecureSum) else None
        messages = renewed or messages
        if renewed or any(message.metadata.created_at + message.metadata.ttl <= now for message in messages):
            log.warning("tasks expired while no coordinator ran; they are made anew", round=number, part=part.value)
            for message in messages:
                set_message_id(message, uuid.uuid4().hex)
                message.metadata.created_at = now
            self._journal.ask_anew(number, part, self._asked(messages))
        return messages

    def _aggregated(self, ask: Callable[[], Intake], aggregate: Callable[[Intake], Result]) -> tuple[Result, Intake]:
        """What the strategy makes of the replies, and their intake.

        A secure sum may come to nothing because of some nodes. All are asked again then, and send what they have sent
        before; each time at least one node fewer is counted, so it ends.
        """
        while True:
            intake = ask()
            try:
                return aggregate(intake), intake
            except NodesBarred as why:
                log.warning("nothing could be summed; nodes are asked for their replies again", reason=str(why))

    def _ask(self, entry: RoundEntry, part: Part, sent: EventKind, replied: EventKind) -> Intake:
        """Send this phase's tasks; their replies come out of the intake as the strategy takes them."""
        messages = self._messages(entry.number, part)
        if isinstance(self._strategy, SecureSum):
            self._strategy.asked(messages)
        replies = self._grid.send_and_receive(messages, timeout=self._run.cohort.deadline_s)
        self._tell(sent, nodes=[self._name(message.metadata.dst_node_id) for message in messages])
        masked = isinstance(self._strategy, SecureSum)
        model = self._arrays if part is Part.TRAIN and not masked else None
        weighted_by = getattr(self._inner, "weighted_by_key", None)
        return Intake(
            replies,
            [message.metadata.dst_node_id for message in messages],
            self._grid.participations,
            model=model,
            # A masked share says nothing by itself; the strategy turns away what is none.
            screen=Screen(model, weighted_by) if self._run.strategy.screen and not masked else None,
            min_replies=min(self._run.cohort.min_replies, len(messages)),
            name=self._name,
            on_reply=lambda node_id, refusal: self._tell(replied, node=self._name(node_id), refusal=refusal),
        )

    # --- telling -----------------------------------------------------------------------------------------------------

    def _load(self, model: str) -> None:
        if self._model != model:
            self._arrays, self._model = self._models.arrays(model), model

    def _name(self, node_id: int) -> str:
        return self._names.get(node_id) or node_party(node_id)

    def _tell(self, kind: EventKind, **details: Any) -> None:
        self._on_event(RoundEvent(kind, self._run.run.name, self._number, details))

    def _tell_finished(self, number: int) -> None:
        entry = self._journal.round(number)
        self._tell(
            EventKind.ROUND_FINISHED,
            train=entry.train_metrics,
            evaluate=entry.evaluate_metrics,
            model=entry.result,
            seconds=(entry.finished_at or entry.started_at) - entry.started_at,
            nodes={
                part.value: [self._told(entry) for entry in entries]
                for part, entries in self._journal.contributions(number).items()
            },
        )

    def _told(self, entry: Contribution) -> dict[str, Any]:
        # A uint64 does not survive a JSON number.
        return {**asdict(entry), "node": self._name(entry.node_id), "node_id": str(entry.node_id)}

    def _tell_of_group(self, told: GroupTold) -> None:
        kind = EventKind.GROUP_SUMMED if told.refusal is None else EventKind.GROUP_LOST
        nodes, because_of = ([self._name(node) for node in some] for some in (told.nodes, told.because_of))
        self._tell(kind, part=told.part.value, nodes=nodes, refusal=told.refusal, because_of=because_of)

    def _tell_of_cohort(self, present: list[int], missing: list[str], needed: int, seconds_left: float) -> None:
        here = [self._name(node_id) for node_id in present]
        self._tell(EventKind.WAITING, needed=needed, here=here, missing=missing, seconds_left=seconds_left)

    def _waiting(self, waiting: Waiting) -> None:
        self._tell(
            EventKind.WAITING,
            unanswered=sorted(map(self._name, waiting.open)),
            missing=sorted(map(self._name, waiting.offline)),
            seconds_left=waiting.seconds_left,
        )


def _in_order(arrays: ArrayRecord, like: ArrayRecord) -> ArrayRecord:
    """With its keys in the model's order: some strategies pair arrays by position."""
    if list(arrays) == list(like) or set(arrays) != set(like):
        return arrays
    ordered = ArrayRecord()
    for key in like:
        ordered[key] = arrays[key]
    return ordered


def _plain(metrics: MetricRecord | None) -> dict[str, Any]:
    """As JSON, which has no infinities."""
    return {key: _finite(value) for key, value in (metrics or {}).items()}


def _finite(value: float | list[int] | list[float]) -> Any:
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value if math.isfinite(value) else None
