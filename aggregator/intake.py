"""Replies on their way from the grid to the strategy: looked at one by one, and noted for the records."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import structlog
from flwr.app import ArrayRecord, Message

from aggregator.batch import Participation
from aggregator.cohort import CohortTooSmall
from aggregator.records.runs import Contribution
from aggregator.records.schema import PartState
from privacy.boundary.arrays import NUMPY, BadArrays, is_finite
from privacy.boundary.flower import refusal_message
from privacy.boundary.messages import Refusal

log = structlog.get_logger()

EPSILON = "epsilon"
"""The metric in which a node says what it has spent of its privacy budget in all."""


class Intake(Iterator[Message]):
    """The replies to one phase's tasks.

    Args:
        asked: ids of the nodes that have a task.
        participations: each node's part, as the grid saw it; asked after the last reply.
        model: what replies must look like: the same arrays, of the same shapes, all numbers finite. One node's bad
            reply must not end the round, so it becomes a failed one. None lets everything through.
        min_replies: with fewer usable replies the round fails.
        weighted_by: key of each reply's weight, which must be a positive number.
        on_reply: told of each reply: the node's name, and its refusal or None.

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
        min_replies: int,
        weighted_by: str | None,
        name: Callable[[int], str],
        on_reply: Callable[[str, str | None], None],
    ) -> None:
        self._replies = iter(replies)
        self._asked = asked
        self._participations = participations
        self._model = model
        self._min_replies = min_replies
        self._weighted_by = weighted_by
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
        if not reply.has_error() and (fault := self._fault(reply)) is not None:
            log.warning("reply cannot be used; its node counts as failed", node=self._name(node_id), reason=fault)
            reply = refusal_message(reply.metadata, Refusal.BAD_REPLY)
            reply.metadata.__dict__["_src_node_id"] = node_id
        self._refusals[node_id] = str(reply.error.reason) if reply.has_error() else None
        if not reply.has_error():
            self._note_epsilon(node_id, reply)
            self._put_in_order(reply)
        self._on_reply(self._name(node_id), self._refusals[node_id])
        return reply

    def contributions(self) -> list[Contribution]:
        """Everybody's part, for the records."""
        parts = self._participations()
        return [self._contribution(node_id, parts.get(node_id)) for node_id in self._asked]

    def told(self, name: Callable[[int], str]) -> list[dict[str, Any]]:
        """Everybody's part, for whoever watches."""
        return [
            {
                "node": name(part.node_id),
                "state": part.state.value,
                "seconds": part.seconds,
                "bytes_down": part.bytes_down,
                "bytes_up": part.bytes_up,
                "refusal": part.refusal,
                "epsilon": part.epsilon,
            }
            for part in self.contributions()
        ]

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
        usable = [node_id for node_id, refusal in self._refusals.items() if refusal is None]
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

    def _fault(self, reply: Message) -> str | None:
        """What is wrong with a reply; None where it can be averaged."""
        if self._model is None:
            return None
        if self._weighted_by is not None and (fault := self._fault_of_weight(reply, self._weighted_by)) is not None:
            return fault
        for record in reply.content.array_records.values():
            if set(record) != set(self._model):
                return f"it holds arrays {sorted(record)}, the model {sorted(self._model)}"
            for key, array in record.items():
                if array.stype != NUMPY:
                    return f"array {key!r} is serialised as {array.stype!r}"
                if tuple(array.shape) != tuple(self._model[key].shape):
                    return f"array {key!r} has shape {tuple(array.shape)}, the model's {tuple(self._model[key].shape)}"
                try:
                    if not is_finite(array):
                        return f"array {key!r} holds values that are not finite"
                except (BadArrays, TypeError) as why:
                    return f"array {key!r}: {why}"
        return None

    def _fault_of_weight(self, reply: Message, key: str) -> str | None:
        records = list(reply.content.metric_records.values())
        if len(records) != 1 or key not in records[0]:
            return f"it holds no {key!r} in its metrics"
        weight = records[0][key]
        if isinstance(weight, list) or not math.isfinite(weight) or weight <= 0:
            return f"its {key!r} is {weight!r}, which is no weight"
        return None

    def _note_epsilon(self, node_id: int, reply: Message) -> None:
        for record in reply.content.metric_records.values():
            epsilon = record.get(EPSILON)
            if isinstance(epsilon, int | float):
                self._epsilons[node_id] = float(epsilon)

    def _put_in_order(self, reply: Message) -> None:
        """Arrays in the model's order: FedAvgM pairs them by position, and the model came through a file."""
        if self._model is None:
            return
        for name, record in list(reply.content.array_records.items()):
            if list(record) != list(self._model):
                ordered = ArrayRecord()
                for key in self._model:
                    ordered[key] = record[key]
                reply.content[name] = ordered
