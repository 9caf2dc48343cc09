"""A strategy around a strategy: it aggregates what two aggregators together know, which is sums over groups of nodes.

    configure   nodes are put into groups by a draw with the helper; each task says which, and how to code its reply
    aggregate   masked shares are added up as they come; the helper is asked once for each group's masks;
                what comes out, the groups' means, is what the wrapped strategy is given in the place of replies

A strategy that averages (`Streaming`) is given one mean over all groups. One that needs several replies to tell the
good from the bad (median, trimmed mean, Krum) is given each group's mean: poisoned nodes are outvoted, though no single
update is ever seen. Groups are drawn anew for every round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import structlog
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy
from numpy.typing import NDArray

from aggregator.cohort import CohortTooSmall
from aggregator.records.drawing import Drawing
from aggregator.strategies.draws import DrawBook, DrawHelper, Draws, MemoryBook, NotApproved, absent_of
from aggregator.strategies.groups import BadShare, Group, Groups
from aggregator.strategies.streaming import Streaming, innermost
from privacy.boundary.arrays import array_view
from privacy.boundary.assignment import assignment_of
from privacy.boundary.flower import config_records, with_content
from privacy.identity.certificates import node_id_of, node_party
from privacy.secure_sum.draw import MOST_OF_A_GROUP
from privacy.secure_sum.exchange import Part, SumRefusal, SumRequest, SumShare
from privacy.secure_sum.fixed_point import WIDTHS
from privacy.secure_sum.sums import ShareMismatch
from privacy.secure_sum.terms import TERMS, WEIGHTED_BY, SumTerms
from privacy.secure_sum.vector import SCALAR_BITS, ImpossibleSum, Plan, Vector, check_weight, mean

log = structlog.get_logger()

BARRED_FOR = frozenset(
    {
        SumRefusal.NOT_APPROVED,
        SumRefusal.OTHER_KEY,
        SumRefusal.UNKNOWN,
        SumRefusal.BAD_SEED,
        SumRefusal.SEED_USED,
        SumRefusal.SMALL_COHORT,
        SumRefusal.UNEVEN,
        SumRefusal.OTHER_GROUP,
    }
)
"""Refusals that are about single nodes: they are left out of the run's next rounds, until it is started again."""
ARRAYS, METRICS = "arrays", "metrics"


class SumHelper(DrawHelper, Protocol):
    """The second aggregator, as the leader sees it."""

    def ask(self, request: SumRequest) -> SumShare:
        """Its half of one group's sum, or a refusal. Blocks.

        Raises:
            HelperSilent: no answer in time.
        """
        ...


class Closings(DrawBook, Protocol):
    """Where it is written down for which sets the helper was asked (`records.sums.SumBook`)."""

    def closed(self, number: int, part: Part, /) -> Sequence[Sequence[int]]: ...

    def close(self, number: int, part: Part, groups: Sequence[Sequence[int]], /) -> None: ...


@dataclass(frozen=True, slots=True)
class SumSettings:
    """How a run is summed; see `aggregator.config.SecureSumTable`.

    Attributes:
        lifetime_s: for how long the seeds of one sum are to count: longer than tasks live and the helper is waited for.
    """

    helper: str
    bound: float
    bits: int = 32
    min_cohort: int = 3
    group_size: int | None = None
    weight_bound: float = 1.0
    metric_bound: float = 1e6
    lifetime_s: float = 3 * 86400.0

    def __post_init__(self) -> None:
        if self.min_cohort < 2:
            raise ValueError(f"min_cohort is {self.min_cohort}: a sum over fewer than 2 nodes hides nobody")
        if self.group_size is not None and self.group_size < self.min_cohort:
            raise ValueError(f"group_size {self.group_size} is below min_cohort {self.min_cohort}")

    def plan(self, nodes: int) -> Plan:
        return Plan(self.bound, nodes, self.bits, self.weight_bound, self.metric_bound)


class NodesBarred(CohortTooSmall):
    """Nothing was summed because of nodes that are left out from now on: asked again, the others' replies may be."""


class UnevenTasks(ValueError):
    """A strategy asks different things of nodes that are to be summed."""


@dataclass(frozen=True, slots=True)
class GroupTold:
    """What came of one group: `refusal` is None where it was summed."""

    part: Part
    nodes: tuple[int, ...]
    refusal: str | None = None
    because_of: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Total:
    """A group's sum: what its nodes' vectors add up to."""

    metrics: tuple[str, ...]
    vector: Vector
    nodes: int


class SecureSum(Strategy):
    """See the module.

    Args:
        inner: what is done with the sums. `Streaming` around one that averages, or a strategy that takes replies apart.
        book: where closings are written down; None keeps nothing, for a run that nobody resumes.
        on_group: told of every group.
    """

    not_state: ClassVar[frozenset[str]] = frozenset(
        {"settings", "on_group", "_helper", "_book", "_draws", "_base", "_terms", "_assignment", "_barred"}
    )
    """What `state.snapshot` leaves out: it belongs to a round or to this process."""

    def __init__(
        self,
        inner: Strategy,
        settings: SumSettings,
        helper: SumHelper,
        book: Closings | None = None,
        *,
        on_group: Callable[[GroupTold], None] = lambda _: None,
    ) -> None:
        self.inner = inner
        self.settings = settings
        self.on_group = on_group
        self._helper = helper
        self._book = book
        self._draws = Draws(helper, MemoryBook() if book is None else book, settings.lifetime_s)
        self._base: dict[str, NDArray[np.floating]] = {}
        self._terms: dict[int, SumTerms] = {}
        self._assignment = b""
        self._barred: set[int] = set()

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        self._base = {name: array_view(array) for name, array in arrays.items()}
        messages = self.inner.configure_train(server_round, arrays, config, grid)
        return self._with_terms(messages, server_round, Part.TRAIN)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        messages = self.inner.configure_evaluate(server_round, arrays, config, grid)
        return self._with_terms(messages, server_round, Part.EVALUATE)

    def asked(self, messages: Iterable[Message]) -> None:
        """These are the tasks that are out, whatever was configured: a restart sends those of before it again.

        Raises:
            UnevenTasks: they differ.
        """
        messages = list(messages)
        arrays: dict[int, bytes] = {}
        asked = {assignment_of(message, arrays) for message in messages}
        if len(asked) > 1:
            raise UnevenTasks(
                f"{type(innermost(self.inner)).__name__} asks {len(asked)} different things of {len(messages)} nodes, "
                "and a secure sum is over nodes that were asked the same: take another strategy, or no [secure_sum]"
            )
        self._assignment = next(iter(asked), b"")
        self._terms = {
            message.metadata.dst_node_id: SumTerms.of(config_records(message.content)[TERMS]) for message in messages
        }

    def renewed(self, number: int, part: Part, messages: Sequence[Message]) -> list[Message] | None:
        """The tasks with the terms of a new draw, if the time of the one that they name is over; None if it is not.

        Raises:
            CohortTooSmall: the helper draws nothing for them.
        """
        old = [SumTerms.of(config_records(message.content)[TERMS]) for message in messages]
        if all(terms.draw.expires_at > time.time() for terms in old):
            return None
        log.warning("the time of a round is over; its groups are drawn anew", round=number, part=part.value)
        return self._drawn(messages, number, part)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        elements = sum(array.size for array in self._base.values())
        stand_ins, failures = self._aggregate(server_round, Part.TRAIN, elements, replies)
        return self.inner.aggregate_train(server_round, [*stand_ins, *failures])

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        stand_ins, failures = self._aggregate(server_round, Part.EVALUATE, 0, replies)
        return self.inner.aggregate_evaluate(server_round, [*stand_ins, *failures])

    def summary(self) -> None:
        self.inner.summary()

    # --- before ------------------------------------------------------------------------------------------------------

    def _with_terms(self, messages: Iterable[Message], number: int, part: Part) -> list[Message]:
        asked = [message for message in messages if message.metadata.dst_node_id not in self._barred]
        least = self.settings.min_cohort
        if not asked and not self._barred:
            return []
        if len(asked) < least:
            left_out = ", ".join(sorted(map(node_party, self._barred))) or "none"
            raise CohortTooSmall(
                f"a secure sum is over at least {least} nodes, and {len(asked)} would take part in round {number}; "
                f"left out because of what the helper said: {left_out}. Start the run again when this is settled"
            )
        weighted_by = str(getattr(innermost(self.inner), "weighted_by_key", "")) or WEIGHTED_BY
        if weighted_by != WEIGHTED_BY:
            raise UnevenTasks(
                f"{type(innermost(self.inner)).__name__} weighs replies by {weighted_by!r}: nodes let themselves be "
                f"weighed by {WEIGHTED_BY!r} alone under a secure sum"
            )
        ready = self._drawn(asked, number, part)
        self.asked(ready)
        return ready

    def _drawn(self, messages: Iterable[Message], number: int, part: Part) -> list[Message]:
        """The tasks with terms: each says the group that was drawn for its node. Nodes that were not drawn get none."""
        messages, drawing = list(messages), self._drawing(messages, number, part)
        groups = drawing.groups(self._helper.sum_name(number, part))
        plan, draw, ready = self.settings.plan(len(drawing.nodes)), drawing.draw, list[Message]()
        if draw is None:
            raise TypeError("a draw without the helper's part")
        for message in messages:
            group = groups.get(message.metadata.dst_node_id)
            if group is None:
                continue
            terms = SumTerms(plan, self.settings.helper, number, part, group, WEIGHTED_BY, draw)
            content = RecordDict({**dict(message.content.items()), TERMS: ConfigRecord({**terms.fields()})})
            ready.append(with_content(message, content))
        if len(ready) < self.settings.min_cohort:
            raise CohortTooSmall(
                f"the groups of round {number} ({part}) were drawn over {len(groups)} nodes, of which {len(ready)} are "
                f"here: at least {self.settings.min_cohort} are needed. Start the run again when the others are back"
            )
        return ready

    def _drawing(self, messages: Iterable[Message], number: int, part: Part) -> Drawing:
        size, least = self.settings.group_size, self.settings.min_cohort
        if size is None:
            size = MOST_OF_A_GROUP if isinstance(self.inner, Streaming) else least
        nodes = {message.metadata.dst_node_id for message in messages}
        while True:
            try:
                return self._draws.of(number, part, nodes - self._barred, size, least)
            except NotApproved as why:
                self._barred.update(why.nodes)
                left_out = tuple(sorted(why.nodes))
                self._lose(GroupTold(part, left_out, SumRefusal.NOT_APPROVED.value, left_out))
                if len(nodes - self._barred) < least:
                    raise CohortTooSmall(
                        f"a secure sum is over at least {least} nodes, and the helper's organisation has approved "
                        f"{len(nodes - self._barred)} of {len(nodes)}; not approved: {why}. It runs `jaga-central "
                        "helper approve` for them; start the run again then"
                    ) from why

    # --- after -------------------------------------------------------------------------------------------------------

    def _aggregate(
        self, number: int, part: Part, elements: int, replies: Iterable[Message]
    ) -> tuple[list[Message], list[Message]]:
        """What the inner strategy is given: stand-ins for the groups' replies, and the replies of those that failed."""
        written = [] if self._book is None else self._book.closed(number, part)
        # A set that the helper refused because of nodes may be asked for without them: it counted nobody of it.
        present = {node for nodes in written for node in nodes} - self._barred if written else None
        barred = len(self._barred)
        groups, failures = Groups(self._terms, elements, present), list[Message]()
        first: Message | None = None
        for reply in replies:
            if reply.has_error():
                failures.append(reply)
                continue
            node = reply.metadata.src_node_id
            try:
                if node in self._barred:
                    raise BadShare("the helper refused a sum because of this node")
                groups.add(reply)
            except BadShare as why:
                log.warning("share cannot be added", node=node_party(node), reason=str(why))
                continue
            if first is None:
                first = with_content(reply, RecordDict())
            del reply
        if first is None:
            return [], failures
        ready, lost = groups.close(self.settings.min_cohort)
        for group in lost:
            self.on_group(GroupTold(part, tuple(group.seeds), "too few nodes of it answered"))
        if not written and self._book is not None:
            self._book.close(number, part, [list(group.seeds) for group in ready])
        terms = next(iter(self._terms.values()))
        if present is None:
            present = {node for group in ready for node in group.seeds}
        totals = [
            total for group in ready if (total := self._ask(group, number, part, terms.plan, present)) is not None
        ]
        if not totals:
            raise (NodesBarred if len(self._barred) > barred else CohortTooSmall)(
                f"no group of round {number} ({part}) could be summed: {len(lost)} came out too small, "
                f"{len(ready)} were refused by the helper. Start the run again when the cause is mended"
            )
        if isinstance(self.inner, Streaming) or part is Part.EVALUATE:
            totals = [_together(totals)]
        stand_ins = (self._stand_in(first, total, terms, part) for total in totals)
        return [message for message in stand_ins if message is not None], failures

    def _ask(self, group: Group, number: int, part: Part, plan: Plan, present: set[int]) -> _Total | None:
        """The sum of a group, with the helper's half; None where it refuses, or its answer is none."""
        total, nodes = group.total, tuple(group.seeds)
        seeds = {node_party(node): seed for node, seed in sorted(group.seeds.items())}
        drawing = self._draws.book.drawing(number, part)
        if drawing is None:
            raise CohortTooSmall(f"the draw of round {number} ({part}) is not in the records")
        share = self._helper.ask(
            SumRequest(
                number,
                part,
                self._assignment,
                plan.bits,  # type: ignore[arg-type]
                len(total.elements),
                len(total.scalars),
                seeds,
                drawing.secret,
                absent_of(drawing, present),
            )
        )
        if share.refusal is not None:
            because = tuple(node_id_of(party) for party in share.because_of if party in seeds)
            if share.refusal in BARRED_FOR:
                self._barred.update(because)
            self._lose(GroupTold(part, nodes, share.refusal.value, because))
            return None
        try:
            elements = np.frombuffer(share.elements, WIDTHS[plan.bits])
            scalars = np.frombuffer(share.scalars, WIDTHS[SCALAR_BITS])
            vector = total.joined(elements, scalars)
        except (ShareMismatch, ValueError) as why:
            self._lose(GroupTold(part, nodes, f"the helper's share does not fit: {why}"))
            return None
        try:
            check_weight(plan, vector, len(nodes))
        except ImpossibleSum as why:
            self._lose(GroupTold(part, nodes, f"a node of it, or the helper, did not keep to the terms: {why}"))
            return None
        self.on_group(GroupTold(part, nodes))
        return _Total(group.metrics, vector, len(nodes))

    def _lose(self, told: GroupTold) -> None:
        log.warning("a group is lost", nodes=[node_party(node) for node in told.nodes], reason=told.refusal)
        self.on_group(told)

    def _stand_in(self, first: Message, total: _Total, terms: SumTerms, part: Part) -> Message | None:
        """A reply with the means of a sum; None where its nodes had no weight."""
        base = self._base if part is Part.TRAIN else {}
        result = mean(terms.plan, base, total.metrics, total.vector)
        if not result.weight:
            return None
        content = RecordDict({METRICS: MetricRecord({**result.metrics, terms.weighted_by: result.weight})})
        if part is Part.TRAIN:
            content[ARRAYS] = ArrayRecord(
                {name: Array(value.astype(base[name].dtype)) for name, value in result.arrays.items()}
            )
        return with_content(first, content)


def _together(totals: Sequence[_Total]) -> _Total:
    """One sum over all groups with the most usual metrics; exact, for all are coded for the whole cohort."""
    count: dict[tuple[str, ...], int] = {}
    for total in totals:
        count[total.metrics] = count.get(total.metrics, 0) + total.nodes
    usual = max(count, key=lambda metrics: count[metrics])
    one, *others = (total for total in totals if total.metrics == usual)
    elements, scalars = one.vector.elements, one.vector.scalars
    for other in others:
        elements = elements + other.vector.elements
        scalars = scalars + other.vector.scalars
    return _Total(usual, Vector(elements, scalars), count[usual])
