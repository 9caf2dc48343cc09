"""Guarantees: what may be learnt of a slot, of a person's day, of a stay of many days, and by several nodes of a site.

Each row says, for one kind of secret, the epsilon of all releases that touched the worst one of its kind. Figures are
upper bounds and never rounded down. They hold for releases whose numbers were fixed in advance; if a leader chooses
them by what it has seen, what holds is the limit that the ledger keeps (`privacy.accounting.composition`).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from privacy.accounting.composition import Adjacency, epsilon
from privacy.accounting.events import DAY, SITE, Event, SampledGaussian, day_units
from privacy.accounting.ledger import DAY_SPREAD_S, Budget, Limit, PrivacyLedger
from privacy.accounting.persons import of_person

DAY_US = 86_400_000_000
STAY_DAYS = 14
MOST_SHIFT = 1e60
"""Larger ones are compared as equal: epsilon is infinite anyway."""


@dataclass(frozen=True, slots=True)
class Guarantee:
    """One row.

    Attributes:
        unit: name of a privacy unit, or `day` for what one person leaves at a site in a day.
        days: consecutive days on which the person comes; 1 for any other unit.
        nodes: of one site by which the person is heard.
        epsilon: if what is secret may be anything else (replacement), at `delta`. The ledger goes by this.
        added: the same if it is only there or not there.
        limit: what the ledger keeps epsilon to, or None.
    """

    unit: str
    days: int
    nodes: int
    epsilon: float
    added: float
    delta: float
    limit: float | None = None


def rounded_up(epsilon: float) -> str:
    """A figure to print: three digits or more, never less than `epsilon`."""
    if math.isinf(epsilon):
        return "∞"
    scale = 10 ** max(0, 2 - math.floor(math.log10(epsilon))) if epsilon > 0 else 1
    whole = math.ceil(epsilon * scale)
    return f"{whole / scale:,.{len(str(scale)) - 1}f}" if scale > 1 else f"{whole:,}"


Releases = Sequence[tuple[float, Sequence[Event]]]
"""When each was reserved, in seconds and in order, and its events."""


def of_ledger(ledger: PrivacyLedger) -> tuple[Guarantee, ...]:
    """What a node's ledger has let out: for each unit alive now, and for the worst day and stay since it began."""
    budget = ledger.budget
    added = ledger.by_unit(Adjacency.ADDED_OR_REMOVED)
    units = [
        Guarantee(unit, 1, 1, spent, added[unit], budget.of(unit).delta, budget.of(unit).epsilon)
        for unit, spent in ledger.by_unit().items()
        if unit != DAY
    ]
    releases = [(entry.reserved_at, entry.events) for entry in ledger.entries()]
    enforced = ledger.budget.units.get(DAY)
    counts = sorted({1, budget.nodes_of_site})
    persons = [
        of_person_in(releases, budget, days, nodes, enforced if (days, nodes) == (1, counts[-1]) else None)
        for days in (1, STAY_DAYS)
        for nodes in counts
    ]
    return (*units, *persons)


def of_person_in(
    releases: Releases, budget: Budget, days: int = 1, nodes: int = 1, limit: Limit | None = None
) -> Guarantee:
    """What all `releases` tell of a person who came on so many consecutive days, at the worst time for it."""
    delta = budget.of(DAY).delta
    worst = [
        [of_person(event, days=seen, nodes=nodes) for seen, event in touched]
        for touched in _worst_stays(releases, days, nodes, budget.record_lifetime_s)
    ]
    replaced, added = (
        max((epsilon(events, delta, adjacency) for events in worst), default=0.0) for adjacency in Adjacency
    )
    return Guarantee(DAY, days, nodes, replaced, added, delta, None if limit is None else limit.epsilon)


def _worst_stays(releases: Releases, days: int, nodes: int, lifetime_s: float) -> Iterator[list[tuple[int, Event]]]:
    """The releases that touch the stay for which they cost most: how many of its days each touched, and its events.

    A release at r touches day i of a stay that begins at b if b + i days <= r < b + i days + spread + lifetime. What a
    stay costs is a sum over releases that only grows with the days they touch. As b moves on, a release loses a day
    only where r = b + i days, so the worst stay begins at one of these moments; they are all tried. Noise in coarse
    steps does not add up with the rest, so if there is any, the worst stay that has it is given, too.
    """
    kept = [(round(at * 1e6), [event for event in events if day_units(event) > 0]) for at, events in releases]
    kept = [(at, events) for at, events in kept if events]
    times = [at for at, _ in kept]
    each_day, once, coarse = [0.0], [0.0], [0]
    for _, events in kept:
        weights = [(_weight(of_person(event, nodes=nodes)), event.unit == SITE) for event in events]
        each_day.append(each_day[-1] + sum(weight for weight, whole in weights if not whole))
        once.append(once[-1] + sum(weight for weight, whole in weights if whole))
        coarse.append(coarse[-1] + sum(map(_coarse, events)))
    profile = _profile(days, lifetime_s)
    best: dict[bool, tuple[float, int]] = {}
    for begins in {at - i * DAY_US for at in times for i in range(days)}:
        places = [bisect_left(times, begins + offset) for offset, _ in profile]
        cost = 0.0
        for (_, seen), first, last in zip(profile, places, places[1:], strict=False):
            cost += seen * seen * (each_day[last] - each_day[first]) + once[last] - once[first]
        kind = coarse[places[-1]] > coarse[places[0]]
        best[kind] = max(best.get(kind, (-1.0, begins)), (cost, begins))
    for _, begins in best.values():
        places = [bisect_left(times, begins + offset) for offset, _ in profile]
        yield [
            (seen, event)
            for (_, seen), first, last in zip(profile, places, places[1:], strict=False)
            for _, events in kept[first:last]
            for event in events
        ]


def _profile(days: int, lifetime_s: float) -> list[tuple[int, int]]:
    """From which moment on, in microseconds after a stay has begun, a release touches how many of its days. At least
    one until the last moment, for days follow each other."""
    touched_us = math.ceil((lifetime_s + DAY_SPREAD_S) * 1e6)
    begins = [i * DAY_US for i in range(days)]
    moments = sorted({*begins, *(begin + touched_us for begin in begins)})
    return [(moment, sum(begin <= moment < begin + touched_us for begin in begins)) for moment in moments]


def _weight(event: Event) -> float:
    """Square of the shift, to compare by; of noise without a shift, twice its concentrated DP."""
    if isinstance(event, SampledGaussian):
        return (
            event.steps * min(1 / event.noise_multiplier, MOST_SHIFT) ** 2 if event.noise_multiplier else MOST_SHIFT**2
        )
    shift = event.shift()
    return 2 * event.concentrated() if shift is None else shift * shift


def _coarse(event: Event) -> bool:
    return not isinstance(event, SampledGaussian) and event.shift() is None
