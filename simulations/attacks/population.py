"""Logs of sites as an attacker may imagine them: of one node, or of many at once for shadow models."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from edge.learning.tasks.crowding import LAG_WEIGHT, MINUTES_SCALE, SLOTS_A_DAY, TASK
from simulations.engine.cohort import CohortExamples

DAY_SLOTS = range(14, 36)
DAYS = 3
Log = list[tuple[int, float]]


def minutes(random: np.random.Generator, *, lively: float = 1.0, days: int = DAYS) -> Log:
    """Draw a site's half hours, with a daily rhythm that wanders."""
    values = many_minutes(random, 1, lively=lively, days=days)[0]
    return list(zip(slots(days), map(float, values), strict=True))


def slots(days: int = DAYS) -> list[int]:
    """Return the slots of a log, in order."""
    return [SLOTS_A_DAY * day + slot for day in range(days) for slot in DAY_SLOTS]


def many_minutes(
    random: np.random.Generator, sites: int, *, lively: float = 1.0, days: int = DAYS
) -> NDArray[np.float64]:
    """Draw the logs of many sites, [sites, slots]."""
    found = []
    for _ in range(days):
        mood = random.normal(size=sites)
        for slot in DAY_SLOTS:
            mood = 0.6 * mood + 0.5 * random.normal(size=sites)
            rhythm = 40 + 30 * np.sin((slot - 14) / 22 * 2 * np.pi)
            found.append(np.maximum(0.0, lively * rhythm * np.exp(0.4 * mood)))
    return np.stack(found, axis=1)


def without_unit(log: Log, slot: int) -> Log:
    """Return the log without one slot."""
    return [row for row in log if row[0] != slot]


def examples_of(values: NDArray[np.float64], *, missing: int | None = None) -> CohortExamples:
    """Return the examples of many sites' logs, as the task makes them of each.

    Args:
        values: minutes, [sites, slots].
        missing: place in `slots()` of a slot that no log has; None: all have all.
    """
    every = slots(values.shape[1] // len(DAY_SLOTS))
    log = [(slot, 0.0) for place, slot in enumerate(every) if place != missing]
    one, places = TASK.examples(log), {slot: place for place, slot in enumerate(every)}
    now = [places[slot] for slot in one.units]
    before = [places[slot - 1] for slot in one.units]
    x = one.x.expand(len(values), -1, -1).clone()
    x[:, :, 0] = torch.from_numpy(LAG_WEIGHT * np.sqrt(values[:, before] / MINUTES_SCALE)).float()
    y = torch.from_numpy(values[:, now]).float()
    return CohortExamples(x, y, torch.ones(y.shape, dtype=torch.bool))


def copies(log: Log, sites: int) -> CohortExamples:
    """Return the examples of one log, for many sites that share its memory."""
    one = CohortExamples.of([TASK.examples(log)])
    return CohortExamples(*(part.expand(sites, *part.shape[1:]) for part in (one.x, one.y, one.present)))
