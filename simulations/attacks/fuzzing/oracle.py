"""A half hour read through refusals, and whether any example exists: what a refusal that depends on data gives away.

The leader has a node take one step over all its examples, of learning rate L. Weights of the clock are so large that
every forecast is too high, so each example's gradient at the weight of the last half hour is its feature x. That weight
is -W; after the step it is -W - L mean(x), which overflows float32 if W is large enough. A node that says so tells on
which side mean(x) lies, and halving the way finds it to a float32's precision. Done once before and once after a half
hour's example is there, the difference is that half hour.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edge.learning.tasks.crowding import LAG_WEIGHT, MINUTES_SCALE
from simulations.attacks.fuzzing.mutation import Mutation, literal
from simulations.attacks.fuzzing.stores import Log, minutes_of
from simulations.attacks.fuzzing.tasks import FuzzTask

RATE = 1e38
CLOCK = 3.3e38
NOISE, CLIP_NORM = 5000.0, 1e-3
"""Much noise costs next to nothing, and a refusal has none on it."""
LOWEST, LARGEST = 2.0e38, float(np.finfo(np.float32).max)

Asks = Callable[[FuzzTask], str]
"""Sends a task, and gives the word with which it was refused, empty if it was not."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the leader found.

    Attributes:
        minutes: of the half hour; None if no answer differed from another.
        rounds: tasks sent.
    """

    minutes: float | None
    rounds: int

    def right(self, true: float) -> bool:
        """Whether it is within half a person-minute."""
        return self.minutes is not None and abs(self.minutes - true) < 0.5


def read_half_hour(asks: Asks, grow: Callable[[], None], examples: int) -> Reading:
    """Read the last half hour but one.

    Args:
        grow: lets the half hour pass after which the example exists.
        examples: that the node has before, which its opening hours tell.
    """
    before, rounds = _mean(asks)
    grow()
    after, more = _mean(asks)
    if before is None or after is None:
        return Reading(None, rounds + more)
    feature = (examples + 1) * after - examples * before
    return Reading(float((max(feature, 0.0) / LAG_WEIGHT) ** 2 * MINUTES_SCALE), rounds + more)


def existence_task() -> FuzzTask:
    """A learning rate that torch cannot take, which is noticed only if there is an example to learn from."""
    return FuzzTask("site", (Mutation("config", "learning-rate", "f:1e+39"),))


def careless(log: Callable[[], Log]) -> Asks:
    """A node without protection: it trains in float32 without a bound, and refuses what is not finite.

    Args:
        log: the node's log as it is when a task comes.
    """

    def refuses(task: FuzzTask) -> str:
        from edge.learning.tasks.task import load_task  # noqa: PLC0415  (imports torch)

        examples = load_task("crowding").examples(minutes_of(log()))
        rate = float(next(m.value for m in task.mutations if m.name == "learning-rate").removeprefix("f:"))
        if not len(examples):
            return ""
        if rate > LARGEST:
            return "training failed"
        weight = next(float(m.value.removeprefix("f:")) for m in task.mutations if m.name == "first")
        step = np.float32(rate) * examples.x[:, 0].numpy().mean(dtype=np.float32)
        with np.errstate(over="ignore"):
            return "" if np.isfinite(np.float32(weight) - step) else "not summable"

    return refuses


def example_count(log: Log) -> int:
    """How many examples a log holds."""
    return sum(slot - 1 in log for slot in log)


def _mean(asks: Asks) -> tuple[float | None, int]:
    """Mean of the feature over all examples, by halving; and how many tasks that took."""
    low, high = (int(np.float32(edge).view(np.uint32)) for edge in (LOWEST, LARGEST))
    at_low, at_high, rounds = asks(_task(low)), asks(_task(high)), 2
    if at_low == at_high:
        return None, rounds
    while high - low > 1:
        middle = (low + high) // 2
        rounds += 1
        if asks(_task(middle)) == at_low:
            low = middle
        else:
            high = middle
    return (LARGEST - _weight(low)) / RATE, rounds


def _weight(bits: int) -> float:
    return float(np.uint32(bits).view(np.float32))


def _task(bits: int) -> FuzzTask:
    return FuzzTask(
        "site",
        (
            Mutation("config", "learning-rate", literal(RATE)),
            Mutation("config", "noise-multiplier", literal(NOISE)),
            Mutation("config", "clip-norm", literal(CLIP_NORM)),
            Mutation("config", "batch-size", "i:4096"),
            Mutation("model", "rest", literal(CLOCK)),
            Mutation("model", "first", literal(-_weight(bits))),
        ),
    )
