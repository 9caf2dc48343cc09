"""Replies on their way from the grid to the strategy: screened one by one, and noted for the records."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

import structlog
from flwr.app import ArrayRecord, Message

from aggregator.batch import Participation
from aggregator.cohort import CohortTooSmall
from aggregator.records.runs import Contribution
from aggregator.records.schema import PartState
from aggregator.screen import Screen
from privacy.boundary.flower import array_records, metric_records, spoiled
from privacy.boundary.messages import Refusal

log = structlog.get_logger()

EPSILON = "epsilon"
"""The metric in which a node says what it has spent of its privacy budget in all."""


class Intake(Iterator[Message]):
    """The replies to one phase's tasks.

    Args:
        asked: ids of the nodes that have a task.
        participations: each node's part, as the grid saw it; asked after the last reply.
        model: what training replies are put in the order of; None for an evaluation.
        screen: what fails it counts as an error reply; None lets everything through.
        min_replies: with fewer usable replies the round fails.
        on_reply: told of each reply: the node's id, and its refusal or None.

    Raises:
        CohortTooSmall: at the end of the replies, naming who gave none; before the strategy has aggregated.
    """

    def __init__(
        self,
        replies: Iterable[Message],
        asked: Collection[int],
        participations: Callable[[], Mapping[int, Participation]],
        *,
        model: ArrayRecord | None,
        screen: Screen | None,
        min_replies: int,
        name: Callable[[int], str],
        on_reply: Callable[[int, str | None], None],
    ) -> None:
        self._replies = iter(replies)
        self._asked = asked
        self._participations = participations
        self._model = model
        self._screen = screen
        self._min_replies = min_replies
        self._name = name
        self._on_reply = on_reply
        self._refusals: dict[int, str | None] = {}
        self._epsilons: dict[int, float] = {}

    def __next__(self) -> Message:
        try:
            reply = next(self._replies)
        except StopIteration:
            self._check_count()
            raise
        node_id = reply.metadata.src_node_id
        if self._screen is not None and reply.has_content() and (fault := self._screen.fault(reply)) is not None:
            log.warning("reply cannot be used; its node counts as failed", node=self._name(node_id), reason=fault)
            reply = spoiled(reply, Refusal.BAD_REPLY)
        if reply.has_content():
            self._refusals[node_id] = None
            self._note_epsilon(node_id, reply)
            self._put_in_order(reply)
        else:
            self._refusals[node_id] = str(reply.error.reason)
        self._on_reply(node_id, self._refusals[node_id])
        return reply

    def contributions(self) -> list[Contribution]:
        """Everybody's part, for the records."""
        parts = self._participations()
        return [self._contribution(node_id, parts.get(node_id)) for node_id in self._asked]

    def _contribution(self, node_id: int, part: Participation | None) -> Contribution:
        if node_id not in self._refusals:
            state = PartState.SILENT
        else:
            state = PartState.ANSWERED if self._refusals[node_id] is None else PartState.REFUSED
        return Contribution(
            node_id,
            state,
            None if part is None else part.seconds,
            0 if part is None else part.bytes_down,
            0 if part is None else part.bytes_up,
            self._refusals.get(node_id),
            self._epsilons.get(node_id),
        )

    def _check_count(self) -> None:
        usable = {node_id for node_id, refusal in self._refusals.items() if refusal is None}
        if len(usable) >= self._min_replies:
            return
        lacking = ", ".join(
            f"{self._name(node_id)} ({self._refusals.get(node_id) or 'no answer'})"
            for node_id in self._asked
            if node_id not in usable
        )
        raise CohortTooSmall(
            f"{len(usable)} of {len(self._asked)} nodes gave a usable reply by the deadline, {self._min_replies} are "
            f"needed; missing: {lacking}. Start the run again to ask them again, or lower cohort.min_replies"
        )

    def _note_epsilon(self, node_id: int, reply: Message) -> None:
        for record in metric_records(reply.content).values():
            epsilon = record.get(EPSILON)
            if isinstance(epsilon, int | float):
                self._epsilons[node_id] = float(epsilon)

    def _put_in_order(self, reply: Message) -> None:
        """Arrays in the model's order: FedAvgM pairs them by position, and the model came through a file."""
        if self._model is None:
            return
        for name, record in array_records(reply.content).items():
            if set(record) == set(self._model) and list(record) != list(self._model):
                ordered = ArrayRecord()
                for key in self._model:
                    ordered[key] = record[key]
                reply.content[name] = ordered
