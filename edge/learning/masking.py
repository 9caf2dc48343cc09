"""A node's part in a secure sum: a Flower mod that turns a reply into one half of itself.

It stands in front of any `ClientApp`. Where a task brings the terms of a sum, the app sees the task without them, and
its reply leaves as two shares: masked ring elements, which mean nothing, and a fresh seed, which the node seals to the
helper (`edge.seeds`). The update is what the reply's arrays changed by against the task's own; weight and metrics go
into the sum with it, so no number of this node is in the clear.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from contextvars import ContextVar
from typing import Any, Protocol

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from numpy.typing import NDArray

from edge.learning.site import Refused
from privacy.boundary.arrays import NUMPY, array_view
from privacy.boundary.flower import array_records, config_records, metric_records, with_content
from privacy.boundary.messages import Refusal
from privacy.mechanisms.shared_noise import NoiseReport, NoRoom
from privacy.secure_sum.exchange import NodeTerms, Part
from privacy.secure_sum.fixed_point import FixedPoint, NotEncodable, Ring
from privacy.secure_sum.sums import split
from privacy.secure_sum.terms import (
    COHORT,
    ELEMENTS,
    METRICS,
    SCALARS,
    SEED,
    SHARE,
    SIGMA,
    TERMS,
    BadTerms,
    SumTerms,
)
from privacy.secure_sum.vector import VectorMismatch, contribution

App = Callable[[Message, Context], Message]

TERMS_IN_HAND: ContextVar[SumTerms | None] = ContextVar("terms of the sum in hand", default=None)
"""The terms of the sum that the running app's reply will be part of, for apps that want to know."""


class Noise(Protocol):
    """What makes an encoded update private: `SharedNoise` of a whole update, or `edge.learning.shared.NoisedSum`."""

    def add(self, elements: Ring, code: FixedPoint) -> NoiseReport:
        """Change the elements in place.

        Raises:
            NoRoom: the code has no room for the noise.
        """
        ...


NOISE_WANTED: ContextVar[Noise | None] = ContextVar("noise for the share in hand", default=None)
"""What an app sets to have its update made private before it is masked."""


def terms_of(message: Message) -> SumTerms | None:
    """The terms of the sum that a task belongs to; None where it belongs to none.

    Raises:
        Refused: BAD_TASK, the terms cannot be read, or are of a sum of something else than the task asks for.
    """
    record = config_records(message.content).get(TERMS)
    if record is None:
        return None
    try:
        terms = SumTerms.of(record)
    except BadTerms as why:
        raise Refused(Refusal.BAD_TASK, str(why)) from why
    asked = message.metadata.message_type.partition(".")[0]
    if asked != terms.part:
        raise Refused(Refusal.BAD_TASK, f"a task to {asked}, with the terms of a sum of {terms.part}")
    return terms


def secure_sum_mod(message: Message, context: Context, app: App) -> Message:
    """The mod. The seed is in the reply's config record `TERMS`, for whoever sends the reply to take out and seal.

    Raises:
        Refused: BAD_TASK, or NOT_SUMMABLE: the reply is more than an update, a weight and numbers.
    """
    terms = terms_of(message)
    if terms is None:
        return app(message, context)
    plain = without_terms(message)
    base = arrays_in(plain.content) if terms.part is Part.TRAIN else {}
    in_hand, wanted = TERMS_IN_HAND.set(terms), NOISE_WANTED.set(None)
    try:
        reply = app(plain, context)
        noise = NOISE_WANTED.get()
    finally:
        TERMS_IN_HAND.reset(in_hand)
        NOISE_WANTED.reset(wanted)
    if reply.has_error():
        return reply
    return with_content(reply, masked_content(reply.content, terms, base, noise))


def masked_content(
    content: RecordDict, terms: SumTerms, base: Mapping[str, NDArray[np.floating]], noise: Noise | None
) -> RecordDict:
    """Return what leaves in the place of a reply's content: one half of it, and the seed of the other.

    Args:
        base: the arrays that the task brought; none of an evaluation.
        noise: what makes the update private before it is masked.

    Raises:
        Refused: NOT_SUMMABLE: the content is more than an update, a weight and numbers.
    """
    metrics = _metrics(content)
    if terms.weighted_by not in metrics:
        raise Refused(Refusal.NOT_SUMMABLE, f"the reply has no metric {terms.weighted_by!r} to weigh it by")
    weight = metrics.pop(terms.weighted_by)
    said: dict[str, int] = {}
    try:
        vector = contribution(terms.plan, base, arrays_in(content), weight, metrics)
        if noise is not None:
            report = noise.add(vector.elements, terms.plan.code)
            said = {COHORT: report.cohort, SIGMA: report.sigma}
    except (VectorMismatch, NotEncodable, NoRoom) as why:
        raise Refused(Refusal.NOT_SUMMABLE, str(why)) from why
    shares = split(vector)
    arrays = ArrayRecord({ELEMENTS: Array(shares.leader.elements), SCALARS: Array(shares.leader.scalars)})
    config = ConfigRecord({METRICS: sorted(metrics), SEED: shares.seed, **said})
    return RecordDict({SHARE: arrays, TERMS: config})


def said_of(config: MutableMapping[str, Any], terms: SumTerms, cohort: int) -> NodeTerms:
    """The node's own terms, taken out of a reply's config record `TERMS`: of the noise that was really added.

    Args:
        cohort: fewest nodes of a sum, as this node believes; said if no noise was added.
    """
    return NodeTerms(int(config.pop(COHORT, cohort)), int(config.pop(SIGMA, 0)), terms.group)


def without_terms(message: Message) -> Message:
    """Return the task as an app sees it."""
    plain = RecordDict({name: record for name, record in message.content.items() if name != TERMS})
    return with_content(message, plain)


def arrays_in(content: RecordDict) -> dict[str, NDArray[np.floating]]:
    """Return the numbers of the content's one array record; none if it has no such record.

    Raises:
        Refused: NOT_SUMMABLE: there are several, or one holds something else than numbers.
    """
    records = list(array_records(content).values())
    if len(records) > 1:
        raise Refused(Refusal.NOT_SUMMABLE, f"{len(records)} array records, and a sum is over one")
    found: dict[str, NDArray[np.floating]] = {}
    for name, array in records[0].items() if records else ():
        values = array_view(array) if array.stype == NUMPY else None
        if values is None or values.dtype.kind not in "fiu":
            raise Refused(Refusal.NOT_SUMMABLE, f"array {name!r} is {array.dtype} as {array.stype}, not numbers")
        found[name] = values
    return found


def _metrics(content: RecordDict) -> dict[str, float]:
    found: dict[str, float] = {}
    for record in metric_records(content).values():
        for name, value in record.items():
            if isinstance(value, list) or name in found:
                raise Refused(Refusal.NOT_SUMMABLE, f"metric {name!r} is a list, or comes twice")
            found[name] = float(value)
    return found
