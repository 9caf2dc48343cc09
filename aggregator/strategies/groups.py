"""The leader's half of a secure sum: shares are added up by group as they come, and let go of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from flwr.app import Message
from numpy.typing import NDArray

from privacy.boundary.arrays import NUMPY, BadArrays, array_view
from privacy.boundary.flower import array_records, config_records
from privacy.secure_sum.exchange import SealedSeed
from privacy.secure_sum.fixed_point import WIDTHS, Ring
from privacy.secure_sum.sums import ShareMismatch, ShareSum, SumFull
from privacy.secure_sum.terms import ELEMENTS, METRICS, SCALARS, SEED, SHARE, TERMS, SumTerms
from privacy.secure_sum.vector import SCALAR_BITS, Vector

MOST_KINDS = 4
"""So many different lists of metrics are summed apart in one group: nobody can make the leader's memory grow."""


class BadShare(ValueError):
    """A reply that cannot be added; the message says why."""


@dataclass(slots=True)
class Group:
    """A running sum of nodes whose metrics have the same names.

    Attributes:
        seeds: the helper's shares, by node id.
    """

    metrics: tuple[str, ...]
    total: ShareSum
    seeds: dict[int, SealedSeed] = field(default_factory=dict)

    def merge(self, other: Group) -> None:
        """Take in another one with the same metrics."""
        self.total.merge(other.total)
        self.seeds.update(other.seeds)


class Groups:
    """All groups of one sum.

    Args:
        terms: what each node was asked, by node id.
        elements: length of the vector of arrays.
        closed: the sets of nodes that the helper was asked for before; none where it was not.
    """

    def __init__(self, terms: Mapping[int, SumTerms], elements: int, closed: Sequence[Iterable[int]]) -> None:
        self._terms = terms
        self._elements = elements
        self._place = {node: place for place, nodes in enumerate(closed) for node in nodes}
        self._closed = [frozenset(nodes) for nodes in closed]
        self._groups: dict[tuple[int, tuple[str, ...]], Group] = {}
        self._added: set[int] = set()

    def add(self, reply: Message) -> None:
        """Add one node's share; the reply is not kept.

        Raises:
            BadShare: it is not of this sum, of another length or ring, or came too late; nothing was added.
        """
        node = reply.metadata.src_node_id
        terms = self._terms.get(node)
        if terms is None:
            raise BadShare("this node was not asked for a share")
        if self._closed and node not in self._place:
            raise BadShare("the helper was asked for the sum before this reply came")
        share, metrics, seed = _read(reply, terms)
        if len(share.elements) != self._elements:
            raise BadShare(f"its share has {len(share.elements)} elements, the model {self._elements}")
        number = self._place.get(node, terms.group)
        group = self._group(number, metrics, terms)
        if node in self._added:
            raise BadShare("a share of this node was added before")
        try:
            group.total.add(share)
        except (ShareMismatch, SumFull) as why:
            raise BadShare(str(why)) from why
        group.seeds[node] = seed
        self._added.add(node)

    def close(self, least: int) -> tuple[list[Group], list[Group]]:
        """The groups that the helper is to be asked for, and those that are lost.

        Where it was asked before, those are the very same sets, as far as all of a set came again. Otherwise groups
        with fewer than `least` nodes go into others.
        """
        largest: dict[int, Group] = {}
        lost: list[Group] = []
        for (number, _), group in self._groups.items():
            held = largest.get(number)
            if held is not None and len(held.seeds) >= len(group.seeds):
                lost.append(group)
                continue
            if held is not None:
                lost.append(held)
            largest[number] = group
        if self._closed:
            whole = {n: group for n, group in largest.items() if group.seeds.keys() == self._closed[n]}
            return list(whole.values()), lost + [group for n, group in largest.items() if n not in whole]
        ready = sorted(largest.values(), key=lambda group: len(group.seeds))
        while ready and len(ready[0].seeds) < least:
            small = ready.pop(0)
            other = next((group for group in ready if group.metrics == small.metrics), None)
            if other is None:
                lost.append(small)
                continue
            other.merge(small)
            ready.sort(key=lambda group: len(group.seeds))
        return ready, lost

    def _group(self, number: int, metrics: tuple[str, ...], terms: SumTerms) -> Group:
        key = number, metrics
        if key not in self._groups:
            if sum(one == number for one, _ in self._groups) >= MOST_KINDS:
                raise BadShare(f"its metrics are {list(metrics)}, which nobody else of its group has")
            plan = terms.plan
            total = ShareSum(self._elements, 1 + len(metrics), plan.code.dtype, plan.most)
            self._groups[key] = Group(metrics, total)
        return self._groups[key]


def _read(reply: Message, terms: SumTerms) -> tuple[Vector, tuple[str, ...], SealedSeed]:
    arrays, config = array_records(reply.content), config_records(reply.content)
    if set(reply.content) != {SHARE, TERMS} or SHARE not in arrays or TERMS not in config:
        raise BadShare(f"it holds {sorted(reply.content)}, and a share {sorted((SHARE, TERMS))}")
    share, said = arrays[SHARE], config[TERMS]
    if set(share) != {ELEMENTS, SCALARS}:
        raise BadShare(f"it holds arrays {sorted(share)}, and a share {sorted((ELEMENTS, SCALARS))}")
    names = said.get(METRICS)
    try:
        metrics = msgspec.convert(names, tuple[str, ...])
        seed = msgspec.msgpack.decode(msgspec.convert(said.get(SEED), bytes), type=SealedSeed)
    except msgspec.MsgspecError as why:
        raise BadShare(f"its metrics or its seed cannot be read: {why}") from why
    if list(metrics) != sorted(set(metrics)):
        raise BadShare(f"its metrics are {list(metrics)}, which are not in order")
    rings: dict[str, Ring] = {}
    for name, bits in ((ELEMENTS, terms.plan.bits), (SCALARS, SCALAR_BITS)):
        array = share[name]
        try:
            ring: NDArray[Any] = array_view(array) if array.stype == NUMPY else np.empty(0)
        except BadArrays as why:
            raise BadShare(f"its {name} cannot be read: {why}") from why
        if ring.dtype != WIDTHS[bits] or ring.ndim != 1:
            raise BadShare(f"its {name} are {ring.dtype}{list(ring.shape)}, and should be a row of {WIDTHS[bits]}")
        rings[name] = ring
    if len(rings[SCALARS]) != 1 + len(metrics):
        raise BadShare(f"it has {len(rings[SCALARS])} scalars for a weight and {len(metrics)} metrics")
    return Vector(rings[ELEMENTS], rings[SCALARS]), metrics, seed
