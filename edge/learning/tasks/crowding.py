"""Task `crowding`: close-contact minutes of the next half hour, forecast from the day so far (its last half hour).

**One example** is one slot (half an hour) of one node. Its target is the slot's close-contact person-minutes. Its
features are those of the `LAGS` slots before it on the same day, and the time of day. An example exists only where the
node listened in all of these slots: a slot that is missing from the log takes the examples that draw on it away, and
nothing is ever filled in.

**The privacy unit** is one slot of one node's log, everything everybody did there, added or removed. A slot is drawn on
by its own example and by those of the `LAGS` slots after it, so a unit that is removed takes at most `LAGS + 1`
examples along and leaves every other as it was. A sum over examples, each clipped to C, therefore moves by at most
`(LAGS + 1) * C`: that is the sensitivity which the noise is scaled to. A person who is there for many slots is covered
by group privacy, not by this unit. The unit `day` covers them: an example draws on slots of one day alone, so a day's
examples are one piece, clipped as a whole (`edge.learning.tasks.units`).

**Assumed**: what is read holds each slot once; a slot's minutes depend on what was heard in that slot alone (a sighting
window, 20 s, divides the slot); whether the node was switched on is not secret of a person.

**The model** has 13 parameters: a linear forecast on the square root scale, where counts of contacts vary about equally
whatever the zone's size. Fewer parameters mean less noise, and on real schools and a ward it is as good as larger ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import smooth_l1_loss

from edge.learning.tasks.task import Examples
from edge.learning.tasks.units import RECORD, PrivacyUnit
from edge.store.connection import Connection
from edge.store.sightings import Sightings
from privacy.accounting.events import DAY

LAGS = 1
"""How many earlier slots an example draws on. Two forecast no better on four real sites once the noise is counted: the
sensitivity is (LAGS + 1) C, so a second one costs half as much noise again."""

SLOTS_A_DAY = 48
EXAMPLES_A_DAY = SLOTS_A_DAY - LAGS
MOST_DAYS = 16
"""A node trains on the newest days: a record's lifetime of 14 days touches 15, and one is to spare."""
CLOCK_MARKS = 12
"""The clock enters as weights of the two nearest of this many marks around the day, which add up to 1: a forecast that
is linear in the time of day between marks, two hours apart. It needs no constant term beside it."""

MINUTES_SCALE = 100.0
"""Person-minutes that the square root scale takes for 1."""

LAG_WEIGHT = 0.25
"""Lagged minutes weigh less than the clock in a clipped gradient: their effect is known from public pre-training."""

HUBER_BETA = 0.3
"""Errors up to this (square root scale) count quadratically, larger ones linearly: the median is what is sought."""


SOURCES: Mapping[str, tuple[str, ...]] = {
    "sightings": ("window_index", "identifier", "guessed", "frames", "rssi_sum", "logged_at"),
    "listened": ("slot", "seconds", "until_s", "first_logged_at"),
    "guessed_stretches": ("slot",),
}


class Forecast(nn.Module):
    """Linear in the features; [n, features] -> [n], square root of minutes over `MINUTES_SCALE`."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        forecast: Tensor = self.linear(x).squeeze(-1)
        return forecast


@dataclass(frozen=True, slots=True)
class Crowding:
    """The task, see the module's docstring. Unit of `y` and of `forecast`: person-minutes a slot."""

    name: str = "crowding"
    unit: str = "slot"
    unit_examples: int = LAGS + 1
    error_bound: float = 120.0
    features: int = LAGS + CLOCK_MARKS
    most_examples: int = MOST_DAYS * EXAMPLES_A_DAY

    @property
    def units(self) -> Mapping[str, PrivacyUnit]:
        return {
            RECORD: PrivacyUnit(self.unit, LAGS + 1, EXAMPLES_A_DAY / (LAGS + 1), self.most_examples),
            DAY: PrivacyUnit(DAY, 1, 1.0, MOST_DAYS),
        }

    def groups(self, examples: Examples, _unit: str) -> tuple[int, ...]:
        """The calendar day of each example."""
        return tuple(slot // SLOTS_A_DAY for slot in examples.units)

    @property
    def sources(self) -> Mapping[str, tuple[str, ...]]:
        return SOURCES

    def model(self) -> nn.Module:
        """Starts as persistence: the last slot's minutes, whatever the clock says."""
        model = Forecast(self.features)
        with torch.no_grad():
            model.linear.weight.zero_()
            model.linear.weight[0, 0] = 1 / LAG_WEIGHT
        return model

    def read(self, connection: Connection, after: float, until: float) -> list[tuple[int, float]]:
        """Close-contact person-minutes of each half hour in which the node listened: (slot, minutes)."""
        return Sightings(connection).close_minutes(after, until)

    def examples(self, records: Sequence[tuple[int, float]]) -> Examples:
        """One example for every slot whose `LAGS` predecessors of the same day are logged as well.

        Args:
            records: (slot, close-contact person-minutes) of the slots in which the node listened, in any order.

        Raises:
            ValueError: a slot comes twice, or its minutes are negative or not finite.
        """
        log = dict(records)
        if len(log) != len(records):
            raise ValueError(f"{len(records)} rows name {len(log)} slots; every slot may come once")
        for slot, value in log.items():
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"slot {slot} has {value} minutes; minutes are finite and never negative")
        slots = tuple(slot for slot in sorted(log) if slot % SLOTS_A_DAY >= LAGS and _drawn_on(slot) <= log.keys())
        rows = [
            [*(LAG_WEIGHT * _root(log[s]) for s in range(slot - 1, slot - 1 - LAGS, -1)), *_clock(slot)]
            for slot in slots
        ]
        x = torch.tensor(rows, dtype=torch.float32).reshape(len(slots), self.features)
        return Examples(x, torch.tensor([log[slot] for slot in slots], dtype=torch.float32), slots)

    def loss(self, prediction: Tensor, y: Tensor) -> Tensor:
        return smooth_l1_loss(prediction, (y / MINUTES_SCALE).sqrt(), beta=HUBER_BETA, reduction="none")

    def forecast(self, prediction: Tensor) -> Tensor:
        return prediction.clamp(min=0).square() * MINUTES_SCALE

    def error(self, forecast: Tensor, y: Tensor) -> Tensor:
        return (forecast - y).abs()

    def baseline(self, x: Tensor) -> Tensor:
        """Persistence: as in the last slot."""
        return self.forecast(x[:, 0] / LAG_WEIGHT)


def _drawn_on(slot: int) -> set[int]:
    return set(range(slot - LAGS, slot))


def _root(minutes: float) -> float:
    return math.sqrt(minutes / MINUTES_SCALE)


def _clock(slot: int) -> list[float]:
    """Weights of the marks for the middle of a slot, `CLOCK_MARKS` numbers that add up to 1."""
    position = (slot % SLOTS_A_DAY + 0.5) * CLOCK_MARKS / SLOTS_A_DAY
    before = int(position)
    weights = [0.0] * CLOCK_MARKS
    weights[before] = before + 1 - position
    weights[(before + 1) % CLOCK_MARKS] = position - before
    return weights


TASK = Crowding()
