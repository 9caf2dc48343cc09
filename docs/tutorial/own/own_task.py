"""Task `crowded`: will this room be crowded in the next half hour? Learnt from the half hour before and the clock."""

import math
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from edge.learning.tasks.crowding import SOURCES
from edge.learning.tasks.task import Examples
from edge.store.sightings import Sightings

CROWDED = 120.0
"""Person-minutes of close contact in a half hour, as of four people who stand together all the time. It is public."""
SLOTS_A_DAY = 48


@dataclass(frozen=True)
class Crowded:
    name: str = "crowded"
    unit: str = "slot"  # what privacy protects: one half hour, everything everybody did in it
    unit_examples: int = 2  # a half hour is one example's answer and the next one's question
    error_bound: float = 1.0
    sources: dict = field(default_factory=lambda: dict(SOURCES))  # the columns that `read` reads; no other is allowed

    def model(self):
        return nn.Sequential(nn.Linear(3, 1), nn.Flatten(0))

    def read(self, connection, after, until):
        """On a node: (slot, minutes) of each half hour logged in this time; a simulation's data set brings the like."""
        return Sightings(connection).close_minutes(after, until)

    def examples(self, records):
        log = dict(records)
        slots = tuple(slot for slot in sorted(log) if slot - 1 in log)
        x = [[math.sqrt(log[slot - 1] / CROWDED), *_clock(slot)] for slot in slots]
        y = [float(log[slot] >= CROWDED) for slot in slots]
        return Examples(torch.tensor(x).reshape(-1, 3), torch.tensor(y).reshape(-1), slots)

    def loss(self, prediction, y):
        return binary_cross_entropy_with_logits(prediction, y, reduction="none")

    def forecast(self, prediction):
        return prediction.sigmoid()  # a probability

    def error(self, forecast, y):
        return (forecast - y).square()  # Brier's score

    def baseline(self, x):
        return (x[:, 0] >= 1.0).float()  # as it was before


def _clock(slot):
    turn = 2 * math.pi * (slot % SLOTS_A_DAY) / SLOTS_A_DAY
    return math.cos(turn), math.sin(turn)


TASK = Crowded()
