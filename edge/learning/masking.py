"""A Flower mod that turns an app's reply into one share of a secure sum; the app knows nothing of it.

    task with terms -> terms taken out -> app -> reply -> one vector -> leader's share + a seed for the helper

The centre puts the terms into the task (`privacy.secure_sum.terms`). Without them the mod passes everything through,
unless this node answers under a secure sum only. Whatever the app measured goes inside the masked vector: beside it the
reply names its metrics, and holds no number in the clear.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import structlog
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from numpy.typing import NDArray

from edge.learning.protocol import HelperShare
from edge.learning.site import Refused
from privacy.boundary.arrays import array_view
from privacy.boundary.flower import array_records, metric_records, with_content
from privacy.boundary.messages import Refusal
from privacy.secure_sum.sums import split
from privacy.secure_sum.terms import ELEMENTS, METRICS, SCALARS, SHARE, TERMS, BadTerms, Part, SumTerms
from privacy.secure_sum.vector import Vector, contribution

log = structlog.get_logger()

Arrays = dict[str, NDArray[Any]]


class Masking:
    """The mod for one task.

    Args:
        helper: the party whose certificate this node trusts at this moment; None where there is none.
        required: refuse a task without terms.

    Attributes:
        share: what the helper gets; None where the reply is not masked.

    Raises (when called):
        Refused: UNMASKED, BAD_TERMS or NO_HELPER before the app runs, NOT_SUMMABLE after it did.
    """

    def __init__(self, helper: str | None, *, required: bool) -> None:
        self.share: HelperShare | None = None
        self._helper = helper
        self._required = required

    def __call__(self, message: Message, context: Context, call_next: Callable[[Message, Context], Message]) -> Message:
        if TERMS not in message.content:
            if self._required:
                raise Refused(Refusal.UNMASKED, "the task names no terms of a secure sum")
            return call_next(message, context)
        terms = self._accepted(message)
        base = _model(message) if terms.part is Part.TRAIN else {}
        del message.content[TERMS]
        reply = call_next(message, context)
        if reply.has_error():
            return reply
        names, vector = _coded(terms, base, reply)
        shares = split(vector)
        self.share = HelperShare(terms.helper, terms.round_number, terms.part, shares.seed)
        masked = ArrayRecord(
            {ELEMENTS: Array(np.asarray(shares.leader.elements)), SCALARS: Array(np.asarray(shares.leader.scalars))}
        )
        return with_content(reply, RecordDict({SHARE: masked, TERMS: ConfigRecord({METRICS: names})}))

    def _accepted(self, message: Message) -> SumTerms:
        found = message.content[TERMS]
        try:
            terms = SumTerms.of(found if isinstance(found, ConfigRecord) else {})
        except BadTerms as why:
            raise Refused(Refusal.BAD_TERMS, str(why)) from why
        asked = message.metadata.message_type.partition(".")[0]
        if asked != terms.part.value:
            raise Refused(Refusal.BAD_TERMS, f"terms of a sum of {terms.part.value} in a task to {asked}")
        if terms.helper != self._helper:
            raise Refused(Refusal.NO_HELPER, f"the terms name helper {terms.helper!r}, trusted here: {self._helper!r}")
        return terms


def _model(message: Message) -> Arrays:
    """The arrays that the task brought, by name."""
    records = list(array_records(message.content).values())
    if len(records) != 1:
        raise Refused(Refusal.BAD_TERMS, f"a sum is of changes to one record of arrays, the task has {len(records)}")
    return {name: array_view(array) for name, array in records[0].items()}


def _coded(terms: SumTerms, base: Arrays, reply: Message) -> tuple[list[str], Vector]:
    """The names of the metrics, and the reply as one vector.

    Raises:
        Refused: NOT_SUMMABLE, with what a sum cannot hold.
    """
    arrays = list(array_records(reply.content).values())
    metrics = list(metric_records(reply.content).values())
    if len(metrics) != 1 or len(arrays) != (terms.part is Part.TRAIN) or len(reply.content) != len(arrays) + 1:
        raise _not_summable(f"records {list(reply.content)}: one of metrics, and in training one of arrays, add up")
    measured = {name: float(value) for name, value in metrics[0].items() if not isinstance(value, list)}
    if lists := sorted(set(metrics[0]) - set(measured)):
        raise _not_summable(f"metrics {lists} are lists, and single numbers add up")
    if terms.weighted_by not in measured:
        raise _not_summable(f"metrics {sorted(measured)} have no weight {terms.weighted_by!r}")
    weight = measured.pop(terms.weighted_by)
    trained = {name: array_view(array) for record in arrays for name, array in record.items()}
    if set(trained) == set(base):
        trained = {name: trained[name] for name in base}
    try:
        vector = contribution(terms.plan, base, trained, weight, measured)
    except (ValueError, TypeError) as why:
        raise _not_summable(str(why)) from why
    if vector.saturated:
        log.warning("values beyond the sum's bounds were set to them", values=vector.saturated)
    return sorted(measured), vector


def _not_summable(detail: str) -> Refused:
    return Refused(Refusal.NOT_SUMMABLE, detail)
