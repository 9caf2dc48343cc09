"""What one deployment did at one point of the sweep."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Literal

from privacy.boundary.messages import Encoding
from simulations.benchmarks.wire_app import Diary, Mark

FLOAT32_BYTES = 4
INT8_BYTES = 1
WARM_UP_ROUNDS = 1
System = Literal["flower", "exact", "int8"]


class RoundsWentWrong(RuntimeError):
    """A deployment did not get through its rounds, or its model came out wrong."""


@dataclass(frozen=True, slots=True)
class Point:
    """One point of the sweep.

    Attributes:
        nodes: that train in every round.
        params: float32 values of the model.
    """

    nodes: int
    params: int

    def __post_init__(self) -> None:
        if self.nodes < 1 or self.params < 1:
            raise ValueError(f"a point needs nodes and parameters, got {self.nodes} and {self.params}")

    def __str__(self) -> str:
        return f"{self.nodes} nodes x {self.params:,}"

    @property
    def model_bytes(self) -> int:
        return FLOAT32_BYTES * self.params

    def update_bytes(self, encoding: Encoding) -> int:
        """One node's encoded update, without what it is wrapped in."""
        return (FLOAT32_BYTES if encoding is Encoding.EXACT else INT8_BYTES) * self.params


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was measured. Bytes, and seconds.

    Attributes:
        seconds: of each round after the warm-up.
        loopback: over the loopback interface in a round, whoever sent it.
        link: over one node's own link in a round, both ways, as the kernel counted it; the largest of all nodes and
            rounds. None where the deployment does not say.
        centre: the most that the server side had resident beyond what it had before the full model.
        broker: the most that the broker had resident. None where there is none.
        node: the most that one node side had resident, all its processes together.
    """

    system: System
    point: Point
    seconds: tuple[float, ...]
    loopback: int
    link: int | None
    centre: int
    broker: int | None
    node: int

    @property
    def seconds_a_round(self) -> float:
        return median(self.seconds)

    @property
    def centre_models(self) -> float:
        """The server side's memory in models of this point's size."""
        return self.centre / self.point.model_bytes


def measured_rounds(diary: Diary) -> list[tuple[Mark, Mark]]:
    """Beginning and end of each round after the warm-up.

    Raises:
        RoundsWentWrong: the model is not what the app makes of it.
    """
    if not diary.right:
        raise RoundsWentWrong("the model did not come out as the app makes it: this wire loses or changes updates")
    return list(pairwise(diary.marks))[WARM_UP_ROUNDS:]


def seconds_of(diary: Diary) -> tuple[float, ...]:
    return tuple(end.clock_s - begin.clock_s for begin, end in measured_rounds(diary))


def loopback_of(diary: Diary) -> int:
    """Bytes over loopback in the median round."""
    return int(median(end.loopback - begin.loopback for begin, end in measured_rounds(diary)))
