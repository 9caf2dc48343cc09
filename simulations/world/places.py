"""The kinds of places that the world knows: who is there, and how often they meet.

Rates of roles that a data set shows, bursts, kinship, spreads and `away` were found by
`simulations.experiments.world.fit` on the first days of one data set each: docs/world.md says which, and compares them
with days that were kept. How many people there are, timetables, shifts, how long moods last, who goes home, and rates
across wards are assumptions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from simulations.world.bursts import Bursts, ShiftedPower
from simulations.world.episodes import Ints
from simulations.world.timetables import (
    Day,
    home_day,
    office_day,
    office_hours,
    primary_day,
    pupils,
    secondary_day,
    shifts,
    ward_day,
)

Kind = Literal["school", "high-school", "ward", "workplace"]


@dataclass(frozen=True, slots=True)
class Place:
    """What all buildings of one kind have in common.

    Attributes:
        zone_names: how its zones are called.
        roles: that people have there.
        people: fewest and most members of a zone of each role.
        within: encounters a day of two members of one zone, were both there all the time [roles, roles].
        across: the same of two members of different zones.
        kinship: how much more those of neighbouring zones (two by two: of one grade) meet.
        across_spread: standard deviation, log scale, of how much two zones have to do with each other.
        bursts: what an encounter is.
        zone_spread, day_spread: standard deviation, log scale, of liveliness among zones, and of one among its days.
        mood_spread, mood_memory: of its half hours, and how much of that is left half an hour later.
        timetable: draws the day of one building.
        shifts: draws when everybody is there, from their roles and the number of days: bool [people, days * periods].
        goes_home: share of people who are at home over lunch, where the timetable lets them.
        away: share of stretches between breaks that a zone spends elsewhere (sports, a laboratory) or silent.
        most_zones: that one building has.
    """

    zone_names: str
    roles: tuple[str, ...]
    people: tuple[tuple[int, int], ...]
    within: tuple[tuple[float, ...], ...]
    across: tuple[tuple[float, ...], ...]
    kinship: float
    across_spread: float
    bursts: Bursts
    zone_spread: float
    day_spread: float
    mood_spread: float
    mood_memory: float
    timetable: Callable[[np.random.Generator], Day]
    shifts: Callable[[np.random.Generator, Ints, int], NDArray[np.bool_]]
    goes_home: float = 0.0
    away: float = 0.0
    most_zones: int = 10

    def __post_init__(self) -> None:
        for rates in (self.within, self.across):
            table = np.array(rates)
            if table.shape != (len(self.roles),) * 2 or (table < 0).any() or (table != table.T).any():
                raise ValueError(
                    f"rates of {self.zone_names} are to be symmetrical, never negative and of {len(self.roles)} roles, "
                    f"got {rates}"
                )


PLACES: dict[Kind, Place] = {
    "school": Place(
        "class",
        roles=("pupil", "teacher"),
        people=((20, 26), (1, 1)),
        within=((8.35, 6.55), (6.55, 0.0)),
        across=((0.688, 0.0), (0.0, 2.23)),
        kinship=3.383,
        across_spread=0.7,
        bursts=Bursts(
            lasting=ShiftedPower(0.648, 3.54, 90),
            gap=ShiftedPower(0.271, 1.185, 360),
            train=ShiftedPower(0.719, 3.04, 200),
            person_spread=0.301,
            pair_spread=0.719,
            circles=0.84,
            day_spread=0.52,
        ),
        zone_spread=0.225,
        day_spread=0.419,
        mood_spread=0.412,
        mood_memory=0.6,
        timetable=primary_day,
        shifts=pupils,
        goes_home=0.45,
        away=0.03,
    ),
    "high-school": Place(
        "class",
        roles=("pupil", "teacher"),
        people=((30, 41), (1, 1)),
        within=((0.823, 0.1), (0.1, 0.0)),
        across=((0.028, 0.0), (0.0, 0.1)),
        kinship=12.813,
        across_spread=0.98,
        bursts=Bursts(
            lasting=ShiftedPower(1.01, 2.977, 360),
            gap=ShiftedPower(-0.511, 1.21, 360),
            train=ShiftedPower(0.537, 2.534, 200),
            person_spread=0.472,
            pair_spread=0.626,
            circles=1.896,
            day_spread=0.495,
        ),
        zone_spread=0.361,
        day_spread=0.274,
        mood_spread=0.433,
        mood_memory=0.6,
        timetable=secondary_day,
        shifts=pupils,
        goes_home=0.5,
        away=0.437,
    ),
    "ward": Place(
        "ward",
        roles=("NUR", "PAT", "MED", "ADM"),
        people=((22, 30), (24, 34), (9, 13), (6, 10)),
        within=(
            (49.5, 5.19, 4.02, 8.17),
            (5.19, 0.169, 1.25, 0.81),
            (4.02, 1.25, 25.6, 2.03),
            (8.17, 0.81, 2.03, 0.758),
        ),
        across=((10.0, 0.0, 2.0, 1.0), (0.0, 0.0, 0.0, 0.0), (2.0, 0.0, 20.0, 0.0), (1.0, 0.0, 0.0, 10.0)),
        kinship=1.0,
        across_spread=0.5,
        bursts=Bursts(
            lasting=ShiftedPower(1.464, 3.329, 180),
            gap=ShiftedPower(0.19, 1.51, 360),
            train=ShiftedPower(1.453, 3.74, 200),
            person_spread=0.359,
            pair_spread=1.011,
            circles=1.138,
            day_spread=0.428,
        ),
        zone_spread=0.236,
        day_spread=0.142,
        mood_spread=0.269,
        mood_memory=0.5,
        timetable=ward_day,
        shifts=shifts,
        most_zones=4,
    ),
    "workplace": Place(
        "department",
        roles=("employee",),
        people=((8, 30),),
        within=((0.454,),),
        across=((0.0277,),),
        kinship=0.557,
        across_spread=0.694,
        bursts=Bursts(
            lasting=ShiftedPower(1.0, 3.19, 180),
            gap=ShiftedPower(-0.312, 1.244, 360),
            train=ShiftedPower(0.662, 2.866, 200),
            person_spread=0.623,
            pair_spread=0.671,
            circles=1.311,
            day_spread=0.502,
        ),
        zone_spread=0.279,
        day_spread=0.215,
        mood_spread=0.648,
        mood_memory=0.5,
        timetable=office_day,
        shifts=office_hours,
        most_zones=6,
    ),
}
"""By name."""

HOUSEHOLD = Place(
    "household",
    roles=("member",),
    people=((1, 6),),
    within=((16.0,),),
    across=((0.0,),),
    kinship=1.0,
    across_spread=0.0,
    bursts=Bursts(
        ShiftedPower(5.0, 3.0, 180), ShiftedPower(0.0, 1.1, 180), ShiftedPower(3.0, 3.0, 100), 0.2, 0.3, 0.0, 0.4
    ),
    zone_spread=0.2,
    day_spread=0.2,
    mood_spread=0.3,
    mood_memory=0.6,
    timetable=home_day,
    shifts=pupils,
)
"""What is not fitted at all: two who live together are near each other for about two hours a day. Assumed."""
