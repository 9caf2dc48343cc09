"""The search for a task to which neighbouring stores answer differently, and for the smallest one."""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from privacy.boundary.messages import Refusal
from simulations.attacks.fuzzing.comparison import SURE, UNSURE, p_value, slower
from simulations.attacks.fuzzing.mutation import Mutation, literal
from simulations.attacks.fuzzing.observation import JUDGED, Observation
from simulations.attacks.fuzzing.pair import UNREADABLE, Pair
from simulations.attacks.fuzzing.tasks import BASES, CORE, FuzzTask, Leader, Unsendable, any_task

REPEATS, MORE_REPEATS, SLOW_REPEATS, TIMED_REPEATS = 12, 30, 8, 5
SLOW_S, SLOW_SURE = 1.0, 1e-3
BISECTIONS = 24
SHOWN = 300
LOOKS = 2
"""How often a difference of one kind that turned out to be noise is looked into again."""
QUIET = FuzzTask(
    "dp-sgd", (Mutation("config", "noise-multiplier", "f:1e-05"), Mutation("config", "learning-rate", "f:10.0"))
)
"""With noise of .000006 on a weight; what a slot moves it by is above `FAR_APART`."""
FAR_APART = 1e-4
POOR = 3
"""So many tasks in a row without budget, and the stores begin again."""
TIME, BROKEN = "time", "ledger"
"""Fields of a difference that are not of an observation."""
FOLLOWS = ("frame", "metrics", "numbers")
"""Fields of an answer, which a refusal does not have."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A task that tells two stores apart.

    Attributes:
        field: of the observation, or `time`.
        a, b: what was seen at each.
        like: how many further tasks showed a difference of the same kind.
    """

    pair: str
    field: str
    task: FuzzTask
    a: str
    b: str
    like: int = 0


@dataclass(slots=True)
class Tally:
    """What was tried and found.

    Attributes:
        answered: tasks that were not refused, by base.
        refused: refusals by their word.
    """

    tasks: int = 0
    answered: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)

    @property
    def sees(self) -> bool:
        """Whether at least one honest task of the core was answered: else nothing was tested."""
        return any(self.answered[base] for base in CORE)


class Search:
    """Fuzzes one pair of stores.

    Args:
        until: `time.monotonic()` at which to stop.
    """

    def __init__(self, pair: Pair, leader: Leader, rng: random.Random, *, until: float = math.inf) -> None:
        self._pair, self._leader, self._rng, self._until = pair, leader, rng, until
        self.tally = Tally()
        self._poor = 0
        self._known: Counter[tuple[str, ...]] = Counter()
        self._noise: Counter[tuple[str, ...]] = Counter()

    def run(self, tasks: int, *, patient: bool = True) -> Tally:
        """The honest tasks, then boundaries of each number, then random tasks: about `tasks` of them in all."""
        for base in BASES:
            self.try_task(FuzzTask(base))
        for knob in self._shuffled_knobs():
            if self.tally.tasks > tasks / 2 or self._over():
                break
            self._follow_boundary(*knob)
        while self.tally.tasks < tasks and not self._over():
            self.try_task(any_task(self._rng, patient=patient))
        self._count_likes()
        return self.tally

    def reads_records(self) -> bool:
        """Whether an answer with next to no noise differs: else the trainers do not read what the stores differ in."""
        seen = self._ask(QUIET)
        if seen is None:
            return False
        return any(abs(x - y) > FAR_APART for x, y in zip(seen[0].values, seen[1].values, strict=False))

    def try_task(self, task: FuzzTask) -> Observation | None:
        """Send a task to both stores and follow up what differs; what the first store gave, None if unsendable."""
        seen = self._ask(task)
        if seen is None:
            return None
        a, b = seen
        self.tally.tasks += 1
        if a.refusal:
            self.tally.refused[a.refusal] += 1
        else:
            self.tally.answered[task.base] += 1
        differing = [name for name in JUDGED if a.field(name) != b.field(name)]
        if "refusal" in differing:  # the frame follows from it
            differing = [name for name in differing if name not in FOLLOWS]
        for name in differing:
            self._follow_up(name, task, a, b)
        if a.charge.startswith(UNREADABLE):
            self._note_broken(task, a)
        self._poor = self._poor + 1 if a.refusal == Refusal.BUDGET_SPENT.value else 0
        if {"charge", "died"} & set(differing) or self._poor >= POOR or a.charge.startswith(UNREADABLE):
            self._pair.restart()
            self._poor = 0
        return a

    def time_task(self, task: FuzzTask) -> None:
        """Compare how long both stores take."""
        seen = [self._ask(task) for _ in range(1 + TIMED_REPEATS)][1:]  # the first one warms up
        both = [one for one in seen if one is not None]
        if len(both) == TIMED_REPEATS:
            times_a, times_b = ([observation.seconds for observation in side] for side in zip(*both, strict=True))
            self.tally.tasks += 1
            if slower(times_a, times_b):
                found = f"{min(times_a):.2f} to {max(times_a):.2f} s", f"{min(times_b):.2f} to {max(times_b):.2f} s"
                self.tally.differences.append(Difference(self._pair.name, TIME, task, *found))

    def differs(self, name: str, task: FuzzTask, repeats: int | None = None) -> bool:
        """Whether a field differs between the stores, noise aside."""
        first = self._ask(task)
        if first is None:
            return False
        slow = max(one.seconds for one in first) > SLOW_S
        count, sure = (SLOW_REPEATS, SLOW_SURE) if slow else (repeats or REPEATS, SURE if repeats is None else 1e-2)
        seen_a, seen_b = self._series(name, task, count)
        p = p_value(seen_a, seen_b)
        if p > sure and p < UNSURE and not slow:
            more_a, more_b = self._series(name, task, MORE_REPEATS)
            p = p_value(seen_a + more_a, seen_b + more_b)
        return p <= sure

    def _series(self, name: str, task: FuzzTask, count: int) -> tuple[list[str], list[str]]:
        seen = [one for one in (self._ask(task) for _ in range(count)) if one is not None]
        return [a.field(name) for a, _ in seen], [b.field(name) for _, b in seen]

    def _follow_up(self, name: str, task: FuzzTask, a: Observation, b: Observation) -> None:
        kind = (name, task.base, a.refusal, b.refusal)
        if kind in self._known:
            self._known[kind] += 1
        elif self._noise[kind] < LOOKS:
            if self.differs(name, task):
                self._known[kind] += 1
                small = self._shrunk(name, task)
                at = _first_difference(a.field(name), b.field(name))
                sides = a.field(name)[at:][:SHOWN], b.field(name)[at:][:SHOWN]
                self.tally.differences.append(Difference(self._pair.name, name, small, *sides))
            else:
                self._noise[kind] += 1

    def _note_broken(self, task: FuzzTask, seen: Observation) -> None:
        """Note a task after which a node cannot go on: no stores are told apart, and yet no leader may do it."""
        kind = (BROKEN, task.base)
        self._known[kind] += 1
        if self._known[kind] == 1:
            self.tally.differences.append(Difference(self._pair.name, BROKEN, task, seen.charge[:SHOWN], ""))

    def _count_likes(self) -> None:
        counts = list(self._known.values())
        timed = [one for one in self.tally.differences if one.field == TIME]
        others = [one for one in self.tally.differences if one.field != TIME]
        self.tally.differences = [
            *(replace(one, like=count - 1) for one, count in zip(others, counts, strict=True)),
            *timed,
        ]

    def _shrunk(self, name: str, task: FuzzTask) -> FuzzTask:
        return shrunk(task, lambda smaller: self.differs(name, smaller, repeats=6))

    def _ask(self, task: FuzzTask) -> tuple[Observation, Observation] | None:
        try:
            return self._pair.ask(self._leader.sendable(task))
        except Unsendable:
            return None

    def _over(self) -> bool:
        return time.monotonic() > self._until

    def _shuffled_knobs(self) -> list[tuple[FuzzTask, str, str, float, float]]:
        found = list(knobs())
        self._rng.shuffle(found)
        return sorted(found, key=lambda knob: not knob[0].mutations)  # those that are mutated already first

    def _follow_boundary(self, task: FuzzTask, place: str, name: str, low: float, high: float) -> None:
        """Between two values at which a node behaves differently, halve the way to where it changes.

        If the place depends on data, the two stores change at different places, and one of the values tried lies
        between.
        """
        at_low, at_high = (self._behaviour(task, place, name, value) for value in (low, high))
        for _ in range(BISECTIONS):
            middle = _between(low, high)
            if at_low == at_high or middle in (low, high) or self._over():
                return
            found = self._behaviour(task, place, name, middle)
            if found == at_low:
                low = middle
            else:
                high, at_high = middle, found

    def _behaviour(self, task: FuzzTask, place: str, name: str, value: float) -> tuple[str, ...] | None:
        whole = name in ("lot-size", "batch-size", "most", "epochs", "steps")
        seen = self.try_task(task.but(place, name, literal(int(value) if whole else float(value))))
        return None if seen is None else (seen.refusal, seen.died, seen.frame, seen.numbers)


def shrunk(task: FuzzTask, still: Callable[[FuzzTask], bool]) -> FuzzTask:
    """Return the task without those mutations that `still(task)` does not need."""
    for mutation in task.mutations:
        fewer = FuzzTask(task.base, tuple(one for one in task.mutations if one is not mutation))
        if still(fewer):
            task = fewer
    return task


NEAR_OVERFLOW = (
    Mutation("config", "learning-rate", "f:1e+38"),
    Mutation("config", "batch-size", "i:4096"),
    Mutation("model", "rest", "f:3.3e+38"),
)
"""One step over all examples, its parameters so near the largest float32 that the sum of gradients decides."""
LARGEST = 3.4028234e38


def knobs() -> Iterator[tuple[FuzzTask, str, str, float, float]]:
    """Numbers of a task to follow: the task, place, name, a common value and an extreme one."""
    for base, (_, summed, table) in BASES.items():
        task = FuzzTask(base)
        for name in ("learning-rate", "clip-norm", "noise-multiplier", "metrics-noise-multiplier"):
            if name in table:
                yield task, "config", name, float(table[name]), LARGEST * 10
                yield task, "config", name, float(table[name]), 5e-324
        for name in ("lot-size", "batch-size"):
            if name in table:
                yield task, "config", name, float(table[name]), 2.0**62
        for name in ("scale", "fill", "first", "rest"):
            yield task, "model", name, 1.0, LARGEST * 10
            yield task, "model", name, -1.0, -LARGEST * 10
        if summed:
            for name, common in (("bound", 64.0), ("weight-bound", 1.0), ("metric-bound", 1e6)):
                yield task, "terms", name, common, 1e308
                yield task, "terms", name, common, 5e-324
            yield task, "terms", "most", 6.0, 2.0**40
    for base in ("site", "dp-sgd", "records"):
        yield FuzzTask(base, NEAR_OVERFLOW), "model", "first", -1e38, -LARGEST


def _between(low: float, high: float) -> float:
    """A value between, half way by magnitude."""
    if low > 0 < high:
        return math.exp((math.log(low) + math.log(high)) / 2)
    if low < 0 > high:
        return -_between(-low, -high)
    return (low + high) / 2


def _first_difference(a: str, b: str) -> int:
    """Where two texts begin to differ, with a little of what is before."""
    at = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return max(0, at - 60)
