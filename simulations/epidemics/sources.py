"""Ways to find those whom a case may have infected: each gives people a score, the most urgent the highest.

A source knows what it could know: an alert what tags and nodes recorded, an interview what a case remembers. They are
compared at equal budgets, so a score only says in which order people are found.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.tracing.scoring import Infectiousness, Scoring, infectiousness_on
from simulations.epidemics.network import TemporalNetwork
from simulations.epidemics.scenario import Scenario

Scores = NDArray[np.float64]
"""Of each person [people]; 0: not found."""

KEY_DAYS = 14
"""Keys of so many days are published, and kept by nodes."""


@dataclass(frozen=True, slots=True)
class Site:
    """A place where an outbreak happens, and what could be known there.

    Attributes:
        network: of true contacts, on which infections happen.
        zone: class, ward or role of each person [people].
        minutes: of true contact, by day of the data and pair [days, people, people].
        sensed: minutes that each mode's nodes find between a case and others, by draw of the radio's errors
            [draws, days, cases, people]; a mode that is not there was not worked out.
    """

    name: str
    network: TemporalNetwork
    zone: NDArray[np.int64]
    minutes: NDArray[np.float32]
    sensed: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (self.network.days, self.network.people, self.network.people)
        if self.zone.shape != shape[1:2] or self.minutes.shape != shape:
            raise ValueError(
                f"{self.name}: zones {self.zone.shape} and minutes {self.minutes.shape} do not fit {shape}"
            )
        for mode, table in self.sensed.items():
            if table.ndim != 4 or table.shape[1:] != shape or not len(table):
                raise ValueError(f"{self.name}: what mode {mode} senses is {table.shape}, not (draws, *{shape})")


@dataclass(frozen=True, slots=True)
class People:
    """What is drawn about each person before an outbreak, so that every way of finding people meets the same ones.

    Attributes:
        symptomatic: whether an infection would show [people].
        tagged: whether they carry a tag.
        consents: whether, as a case, they let keys be published.
        cooperates: whether, as a case, they name contacts.
        complies: whether they do as they are told.
        tests_positive: whether a test would find their infection.
    """

    symptomatic: NDArray[np.bool_]
    tagged: NDArray[np.bool_]
    consents: NDArray[np.bool_]
    cooperates: NDArray[np.bool_]
    complies: NDArray[np.bool_]
    tests_positive: NDArray[np.bool_]

    @classmethod
    def draw(cls, people: int, scenario: Scenario, random: np.random.Generator) -> People:
        """More adoption adds tags and takes none away: numbers drawn are the same for every share."""
        shares = (
            scenario.symptomatic_share,
            scenario.adoption,
            scenario.consent,
            scenario.cooperation,
            scenario.compliance,
            scenario.sensitivity,
        )
        return cls(*(random.random(people) < share for share in shares))


@dataclass(frozen=True, slots=True)
class Case:
    """Somebody with a positive result.

    Attributes:
        person: who.
        onset: day of the first symptoms; None where there were none.
        confirmed: midnight of the result: the first day at home.
    """

    person: int
    onset: int | None
    confirmed: int

    @property
    def since(self) -> int:
        """What days are counted from: the onset, or the result, as `jaga-node report-case` asks for."""
        return self.confirmed if self.onset is None else self.onset


@dataclass(frozen=True, slots=True)
class Known:
    """All that can be looked at when a case is looked into.

    Attributes:
        here: who was at the site on each day until now [day][people].
        first_day: which of the data's days was the outbreak's first.
        infectious_from: day from which each person was infectious [people]; only a source without equal may ask.
        run: number of the run, which picks the draw of the radio's errors.
        exposures: what nodes hold so far: minutes weighted by infectiousness, of all reported cases with each person,
            by day [people]. Alerts add to it, as a node's store does.
    """

    site: Site
    people: People
    scenario: Scenario
    here: Sequence[NDArray[np.bool_]]
    first_day: int
    infectious_from: NDArray[np.float64]
    run: int
    exposures: MutableMapping[int, Scores] = field(default_factory=dict)

    def together(self, table: NDArray[np.float32], case: int, day: int) -> NDArray[np.float64]:
        """Minutes of one table, of the case with each other, on a day on which both were there [people]."""
        there = self.here[day]
        if not there[case]:
            return np.zeros(len(there))
        data_day = (self.first_day + day) % self.site.network.days
        return np.where(there, table[data_day, case], 0.0).astype(np.float64)

    def sensed(self, mode: str, day: int) -> NDArray[np.float32]:
        """The table of a mode for one day: each time round the data, the radio errs in another way."""
        draws = self.site.sensed[mode]
        loop = (self.first_day + day) // self.site.network.days
        table: NDArray[np.float32] = draws[(self.run + loop) % len(draws)]
        return table


class Source(Protocol):
    """One way of finding people."""

    @property
    def name(self) -> str:
        """As tables and figures say it."""

    def delay_days(self, scenario: Scenario) -> int:
        """From a case's result until people are found."""

    def capacity(self, scenario: Scenario) -> int | None:
        """Cases that can be looked into in a day; None: all."""

    def scores(self, case: Case, known: Known, random: np.random.Generator) -> Scores:
        """Who should be found."""


@dataclass(frozen=True, slots=True)
class _AtOnce:
    """What needs nobody's time: as fast as an alert, and as many cases as there are."""

    def delay_days(self, scenario: Scenario) -> int:
        return scenario.publish_days

    def capacity(self, scenario: Scenario) -> int | None:
        return None


@dataclass(frozen=True, slots=True)
class Anybody(_AtOnce):
    """People of the site, at random: what a budget does without any knowledge."""

    name: str = "anybody"

    def scores(self, case: Case, known: Known, random: np.random.Generator) -> Scores:
        return random.uniform(0.1, 1, len(known.here[0]))


@dataclass(frozen=True, slots=True)
class SameZone(_AtOnce):
    """The class list, or those of the same role, in random order: what needs no radio and no interview."""

    name: str = "class list"

    def scores(self, case: Case, known: Known, random: np.random.Generator) -> Scores:
        zone = known.site.zone
        return np.where(zone == zone[case.person], random.uniform(0.1, 1, len(zone)), 0.0)


@dataclass(frozen=True, slots=True)
class EveryContact(_AtOnce):
    """True contacts while the case was infectious, by their minutes: nobody can know this; it bounds the others."""

    name: str = "every contact"

    def scores(self, case: Case, known: Known, random: np.random.Generator) -> Scores:
        first = max(int(known.infectious_from[case.person]), 0)
        days = range(first, min(case.confirmed, len(known.here)))
        return sum((known.together(known.site.minutes, case.person, day) for day in days), np.zeros(len(known.here[0])))


@dataclass(frozen=True, slots=True)
class Interview:
    """Manual tracing: what a case remembers of the days before, long contacts and people of the same zone rather.

    Attributes:
        queue: cases wait until somebody has time to ask them; else there are as many interviewers as it takes.
    """

    queue: bool = True

    @property
    def name(self) -> str:
        return "interview" if self.queue else "interview, no queue"

    def delay_days(self, scenario: Scenario) -> int:
        return scenario.interview_days

    def capacity(self, scenario: Scenario) -> int | None:
        return scenario.interviews_a_day if self.queue else None

    def scores(self, case: Case, known: Known, random: np.random.Generator) -> Scores:
        scenario, zone = known.scenario, known.site.zone
        found = np.zeros(len(zone))
        familiar = np.where(zone == zone[case.person], 1.0, scenario.stranger_recall)
        for day in range(max(case.since - scenario.asked_days, 0), min(case.confirmed, len(known.here))):
            minutes = known.together(known.site.minutes, case.person, day)
            recalled = 1 - 0.5 ** (minutes / scenario.half_recalled_minutes)
            found += np.where(random.random(len(zone)) < recalled * familiar, minutes, 0.0)
        return found if known.people.cooperates[case.person] else np.zeros(len(zone))


@dataclass(frozen=True, slots=True)
class Alerts(_AtOnce):
    """Exposure by nodes and tags: minutes of a day times the case's infectiousness, over a threshold.

    Nodes know what they heard, and of a case what is reported: its keys, and the day since which to count. Minutes with
    several cases on one day add up, as `edge.store.exposures` has it. The staff of the site see the alerts of all its
    nodes, and the highest scores first.

    Attributes:
        mode: `person`, `zone` or `room`, as the site's nodes are used.
    """

    mode: str = "person"

    @property
    def name(self) -> str:
        return f"alerts, {self.mode}"

    def scores(self, case: Case, known: Known, random: np.random.Generator) -> Scores:
        people, scoring = known.people, known.scenario.scoring
        found = np.zeros(len(people.tagged))
        if not (people.tagged[case.person] and people.consents[case.person]):
            return found
        for day in range(max(case.confirmed - KEY_DAYS, 0), min(case.confirmed, len(known.here))):
            weight = infectiousness(scoring, day - case.since)
            if weight > 0:
                score = known.together(known.sensed(self.mode, day), case.person, day) * weight
                total = known.exposures[day] = known.exposures.get(day, 0.0) + np.where(people.tagged, score, 0.0)
                alerted = (score > 0) & (total >= scoring.alert_minutes - 1e-3)
                found = np.maximum(found, np.where(alerted, total, 0.0))
        return found


def infectiousness(scoring: Scoring, days_since_onset: int) -> float:
    """Weight of a day's minutes, as `Scoring.weight` has it for that day's key."""
    weights = {Infectiousness.NONE: 0.0, Infectiousness.STANDARD: scoring.standard, Infectiousness.HIGH: scoring.high}
    return weights[infectiousness_on(days_since_onset)]
