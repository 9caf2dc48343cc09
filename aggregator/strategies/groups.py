"""The leader's half of a secure sum: shares are added up by group as they come, and let go of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from flwr.app import Message
from numpy.typing import NDArray

from privacy.boundary.arrays import NUMPY, BadArrays, array_view
from privacy.boundary.flower import array_records, config_records
from privacy.secure_sum.draw import merged
from privacy.secure_sum.exchange import SealedSeed
from privacy.secure_sum.fixed_point import WIDTHS, Ring
from privacy.secure_sum.sums import ShareMismatch, ShareSum, SumFull
from privacy.secure_sum.terms import ELEMENTS, METRICS, SCALARS, SEED, SHARE, TERMS, SumTerms
from privacy.secure_sum.vector import SCALAR_BITS, Vector

MOST_KINDS = 4
"""So many different lists of metrics are summed apart in one group: nobody can make the leader's memory grow."""


class BadShare(ValueError):
    """A reply that cannot be added; the message says why."""


@dataclass(slots=True, eq=False)
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
        present: the nodes whose replies the helper was asked for before; None if it was not.
    """

    def __init__(self, terms: Mapping[int, SumTerms], elements: int, present: Iterable[int] | None = None) -> None:
        self._terms = terms
        self._elements = elements
        self._present = None if present is None else frozenset(present)
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
        if self._present is not None and node not in self._present:
            raise BadShare("the helper was asked for the sum before this reply came")
        share, metrics, seed = _read(reply, terms)
        if len(share.elements) != self._elements:
            raise BadShare(f"its share has {len(share.elements)} elements, the model {self._elements}")
        group = self._group(terms.group, metrics, terms)
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

        Nodes whose metrics are not the most usual ones are in none. Groups with fewer than `least` nodes go into others
        (`draw.merged`). If the helper was asked before, the nodes of then count, and a group of which one did not come
        again is lost.
        """
        count: Counter[tuple[str, ...]] = Counter()
        for (_, metrics), group in self._groups.items():
            count[metrics] += len(group.seeds)
        usual = count.most_common(1)[0][0] if count else ()
        kept = {number: group for (number, metrics), group in self._groups.items() if metrics == usual}
        lost = [group for (_, metrics), group in self._groups.items() if metrics != usual]
        present = self._present if self._present is not None else {n for group in kept.values() for n in group.seeds}
        of_group: dict[int, set[int]] = {}
        for node in present:
            if node in self._terms:
                of_group.setdefault(self._terms[node].group, set()).add(node)
        into = merged({number: len(nodes) for number, nodes in of_group.items()}, least)
        wanted: dict[int, set[int]] = {}
        for number, target in into.items():
            wanted.setdefault(target, set()).update(of_group[number])
        ready: dict[int, Group] = {}
        for number, group in kept.items():
            found = into.get(number)
            if found is None:
                lost.append(group)
            elif found in ready:
                ready[found].merge(group)
            else:
                ready[found] = group
        whole = [group for number, group in sorted(ready.items()) if group.seeds.keys() == wanted[number]]
        return whole, lost + [group for group in ready.values() if group not in whole]

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
