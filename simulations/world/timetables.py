"""How days go: the timetable of a building, and who is there when. Drawn for each building; assumptions, except that
lessons, breaks and lunch are as lively as in the data sets that docs/world.md names.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.store.slots import DAY_S, SLOT_S, WINDOW_S
from simulations.world.episodes import Ints

SLOTS_A_DAY = DAY_S // SLOT_S
PERIOD_S = 300
PERIODS_A_DAY = DAY_S // PERIOD_S
PERIOD_WINDOWS = PERIOD_S // WINDOW_S
PERIODS_A_SLOT = SLOT_S // PERIOD_S
ABSENT, HOME, COMMON = -1, -2, -3
"""Where somebody is who is not in a room of the place, or at home over lunch, or in the room that all zones share."""


@dataclass(frozen=True, slots=True)
class Day:
    """The timetable of one building, in periods of five minutes, the same on every day.

    Attributes:
        own: how lively contacts within a zone are in each period [PERIODS_A_DAY]; 0 is closed. Its sum is 1.
        shared: the same of contacts across zones.
        common: where all are in the common room, or at home if they go home then: ABSENT, COMMON or HOME in each.
    """

    own: NDArray[np.float64]
    shared: NDArray[np.float64]
    common: Ints

    def __post_init__(self) -> None:
        if not self.own.shape == self.shared.shape == self.common.shape == (PERIODS_A_DAY,):
            raise ValueError(f"a day has {PERIODS_A_DAY} periods, got {len(self.own)}, {len(self.shared)} and so on")

    def lessons(self) -> list[slice]:
        """Stretches in which zones are by themselves, in periods."""
        apart = np.pad((self.common == ABSENT) & (self.own > 0), 1)
        edges = np.flatnonzero(np.diff(apart.astype(np.int8)))
        return [slice(begin, end) for begin, end in edges.reshape(-1, 2).tolist()]


def _day(marks: list[tuple[float, float, float, int]]) -> Day:
    """Of stretches: (hour at which it begins, own, shared, common), until the next begins."""
    hours = (np.arange(PERIODS_A_DAY) + 0.5) * PERIOD_S / 3600
    at = np.searchsorted([mark[0] for mark in marks], hours, side="right") - 1
    own, shared = (np.array([mark[n] for mark in marks])[at].astype(float) for n in (1, 2))
    common = np.array([mark[3] for mark in marks])[at]
    return Day(own / own.sum(), shared / max(shared.sum(), 1e-9), common)


def primary_day(rng: np.random.Generator) -> Day:
    """Lessons from about half past eight to half past four, two breaks in the yard, two hours of lunch."""
    first, lunch, last = 8.5 + rng.uniform(-0.5, 0.25), 12 + rng.uniform(-0.25, 0.25), 16.5 + rng.uniform(-0.25, 0.75)
    morning, noon = first + rng.uniform(1.5, 2.0), lunch + 2
    afternoon = noon + rng.uniform(1.5, 2.0)
    return _day([
        (0.0, 0.0, 0.0, ABSENT), (first, 0.9, 0.0, ABSENT),
        (morning, 1.7, 0.45, COMMON), (morning + 0.5, 1.0, 0.0, ABSENT),
        (lunch, 0.7, 1.0, HOME), (noon, 0.9, 0.0, ABSENT), (afternoon, 1.4, 0.45, COMMON),
        (afternoon + 0.5, 0.9, 0.0, ABSENT), (last, 0.0, 0.0, ABSENT),
    ])  # fmt: skip


def secondary_day(rng: np.random.Generator) -> Day:
    """Long lessons in which few turn round, breaks between them in which all do, a lunch of an hour and a half."""
    first, lunch = 8.0 + rng.uniform(-0.25, 0.25), 12 + rng.uniform(-0.25, 0.25)
    marks = [(0.0, 0.0, 0.0, ABSENT)]
    for start in (first, first + 2.1, lunch + 1.5, lunch + 3.6):
        marks += [(start, 0.8, 0.0, ABSENT), (start + 1.75, 1.6, 0.7, COMMON)]
    marks = [mark for mark in marks if not lunch <= mark[0] < lunch + 1.5]
    marks += [(lunch, 1.0, 0.7, HOME), (lunch + 5.6, 0.4, 0.0, ABSENT), (lunch + 6.5, 0.0, 0.0, ABSENT)]
    return _day(sorted(marks))


def ward_day(rng: np.random.Generator) -> Day:
    """Quiet nights, a morning of rounds and care, a slower afternoon, an evening round; staff eat in turns."""
    hours = [0, 5, 6.5, 8, 10, 12, 14, 17, 20, 21.5, 24]
    lively = [0.06, 0.06, 0.5, 1.0, 1.3, 1.2, 0.7, 0.5, 0.35, 0.1, 0.06]
    own = np.interp((np.arange(PERIODS_A_DAY) + 0.5) * PERIOD_S / 3600 + rng.normal(0, 0.5), hours, lively)
    shared = np.zeros(PERIODS_A_DAY)
    shared[LUNCH] = 1.0
    return Day(own / own.sum(), shared / shared.sum(), np.full(PERIODS_A_DAY, ABSENT))


LUNCH = slice(int(11.5 * 12), 14 * 12)
"""Periods in which a ward's staff go to the canteen, half an hour each."""


def pupils(rng: np.random.Generator, role: Ints, days: int) -> NDArray[np.bool_]:
    """All day from Monday, day 0, to Friday; now and then a day is missed."""
    there = rng.random((len(role), days)) >= 0.04
    there[:, np.arange(days) % 7 >= 5] = False
    return np.repeat(there, PERIODS_A_DAY, axis=1)


def shifts(rng: np.random.Generator, role: Ints, days: int) -> NDArray[np.bool_]:
    """Nurses in three shifts, doctors and the office by day, patients from their admission to their discharge."""
    there = np.zeros((len(role), days, PERIODS_A_DAY), bool)
    for person, its in enumerate(role.tolist()):
        if its == NURSE:
            for day, turn in enumerate(rng.choice(4, days, p=(0.42, 0.28, 0.22, 0.08))):
                begins, lasts = ((0, 0), (6 * 12 + 6, 8 * 12), (13 * 12 + 6, 8 * 12), (0, 7 * 12))[turn]
                there[person, day, begins : begins + lasts] = True
        elif its == PATIENT:
            comes = int(rng.integers(-6 * PERIODS_A_DAY, days * PERIODS_A_DAY))
            stays = int(PERIODS_A_DAY * (0.5 + rng.exponential(4.0)))
            there[person].reshape(-1)[max(comes, 0) : max(comes + stays, 0)] = True
        else:
            for day in np.flatnonzero(rng.random(days) < 0.75).tolist():
                begins = int(rng.normal(8.25, 0.5) * 12)
                there[person, day, begins : begins + int(rng.normal(9.0, 1.0) * 12)] = True
    return there.reshape(len(role), -1)


def office_day(rng: np.random.Generator) -> Day:
    """Coffee at half past nine and half past three, and two hours in which people go to lunch."""
    coffee, lunch, tea = 9.5 + rng.uniform(-0.25, 0.25), 12 + rng.uniform(-0.25, 0.25), 15.5 + rng.uniform(-0.25, 0.25)
    return _day([
        (0.0, 0.0, 0.0, ABSENT), (7.5, 0.8, 0.0, ABSENT), (coffee, 1.2, 1.0, COMMON), (coffee + 0.5, 1.0, 0.0, ABSENT),
        (lunch, 0.8, 1.0, COMMON), (lunch + 2, 1.0, 0.0, ABSENT), (tea, 1.2, 1.0, COMMON),
        (tea + 0.5, 1.0, 0.0, ABSENT), (19.5, 0.0, 0.0, ABSENT),
    ])  # fmt: skip


def office_hours(rng: np.random.Generator, role: Ints, days: int) -> NDArray[np.bool_]:
    """About half past eight to six from Monday to Friday; one day in four is spent elsewhere or off."""
    shape = (len(role), days, 1)
    begins, ends = rng.normal(8.5, 0.75, shape) * 12, rng.normal(17.75, 1.0, shape) * 12
    period = np.arange(PERIODS_A_DAY)
    there = (period >= begins) & (period < ends) & (rng.random(shape) < 0.77)
    there[:, np.arange(days) % 7 >= 5] = False
    found: NDArray[np.bool_] = there.reshape(len(role), -1)
    return found


NURSE, PATIENT, DOCTOR, OFFICE = range(4)


def home_day(rng: np.random.Generator) -> Day:
    """An hour in the morning, the evening, and whatever of the day people are at home; at night all sleep."""
    return _day([
        (0.0, 0.0, 0.0, ABSENT), (5.5, 1.0, 0.0, ABSENT), (8.0, 0.4, 0.0, ABSENT), (16.0, 0.8, 0.0, ABSENT),
        (18.0, 1.5, 0.0, ABSENT), (21.0, 0.8, 0.0, ABSENT), (22.0, 0.0, 0.0, ABSENT),
    ])  # fmt: skip
