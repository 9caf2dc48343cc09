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

MOST_OF_A_GROUP = 4000
"""Sealed seeds of so many nodes are 5 MB, which every broker takes in one message."""
MOST_KINDS = 4
"""So many different lists of metrics are summed apart in one group: nobody can make the leader's memory grow."""


def spread(nodes: Sequence[int], size: int) -> dict[int, int]:
    """The group of each node, where groups are of `size` nodes or a few more.

    Args:
        nodes: in the random order in which they are dealt out.
    """
    count = max(1, len(nodes) // size) if len(nodes) > size else 1
    count = max(count, -(-len(nodes) // MOST_OF_A_GROUP))
    return {node: place % count for place, node in enumerate(nodes)}


def merged(sizes: Mapping[int, int], least: int, kinds: Mapping[int, object] | None = None) -> dict[int, int]:
    """Into which group each one goes that is too small, the smallest first; itself where it is large enough.

    A group that finds none of its kind is lost, and not in the result.

    Args:
        sizes: nodes of each group.
        kinds: groups of different kinds do not go together.
    """
    ready = sorted(sizes, key=lambda number: sizes[number])
    now, moved = dict(sizes), dict[int, int | None]()
    while ready and now[ready[0]] < least:
        small = ready.pop(0)
        moved[small] = other = next((one for one in ready if kinds is None or kinds[one] == kinds[small]), None)
        if other is not None:
            now[other] += now[small]
            ready.sort(key=lambda number: now[number])
    into: dict[int, int] = {}
    for number in sizes:
        target: int | None = number
        while target in moved:
            target = moved[target]
        if target is not None:
            into[number] = target
    return into


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
        sizes = {number: len(group.seeds) for number, group in largest.items()}
        into = merged(sizes, least, {number: group.metrics for number, group in largest.items()})
        for number, group in largest.items():
            target = into.get(number)
            if target is None:
                lost.append(group)
            elif target != number:
                largest[target].merge(group)
        return [largest[number] for number, target in into.items() if number == target], lost

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
