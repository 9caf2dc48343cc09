"""An outbreak at a site that looks for those who were infected, and sends them home, or tests them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from simulations.epidemics.network import WINDOWS_A_DAY
from simulations.epidemics.outbreak import Course, Outbreak
from simulations.epidemics.scenario import Scenario
from simulations.epidemics.sources import Case, Known, People, Scores, Site, Source
from simulations.epidemics.spread import NEVER

Action = Literal["quarantine", "test"]

NOT_YET = -1


@dataclass(frozen=True, slots=True)
class Response:
    """What is done about cases, besides that every case stays at home.

    Attributes:
        source: who finds people; None: nobody does.
        action: what happens to them: days at home, or a test, and days at home if it is positive.
        per_case: how many are found for each case at most, the highest scores first.
        tested_daily: share of all people at the site who are tested at random every day, cases or not.

    Raises:
        ValueError: an unknown action, fewer than nobody, or a share outside 0 to 1.
    """

    source: Source | None = None
    action: Action = "quarantine"
    per_case: int = 0
    tested_daily: float = 0.0

    def __post_init__(self) -> None:
        if self.action not in ("quarantine", "test"):
            raise ValueError(f"action {self.action!r} is unknown: choose quarantine or test")
        if self.per_case < 0 or not 0 <= self.tested_daily <= 1:
            raise ValueError(f"per_case {self.per_case} is not below 0, tested_daily {self.tested_daily} is 0 to 1")


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one outbreak.

    Attributes:
        course: who was infected.
        found_on: midnight at which the response first sent each person home after they were infected, `NOT_YET` for
            never [people].
        person_days: at home in quarantine, to its end; those of cases not counted.
        sent_home: how many times somebody was sent home by the response.
        in_vain: those of `sent_home` who were not infected by then.
        tests: that the response made.
    """

    course: Course
    found_on: NDArray[np.int64]
    person_days: int
    sent_home: int
    in_vain: int
    tests: int

    @property
    def onward(self) -> NDArray[np.bool_]:
        """Infected by somebody of the site [people]."""
        return self.course.infected & ~self.course.seeds

    @property
    def caught(self) -> int:
        """Of those, how many the response sent home before they had recovered."""
        found = self.found_on != NOT_YET
        return int((self.onward & found & (self.found_on < self.course.recovered)).sum())

    @property
    def caught_in_time(self) -> int:
        """Of those, how many before they were infectious."""
        found = self.found_on != NOT_YET
        return int((self.onward & found & (self.found_on <= self.course.infectious)).sum())


class Alarm:
    """One outbreak with a response, day by day.

    Days are whole: what is known at a midnight decides who stays at home on the day that begins.

    Attributes:
        here: who was at the site on each day until now [day][people].
    """

    def __init__(self, site: Site, scenario: Scenario, response: Response, *, seed: int, run: int = 0) -> None:
        count = site.network.people
        self.site, self.scenario, self.response = site, scenario, response
        self.outbreak = Outbreak(site.network, scenario.disease, seed=seed, run=run, seeds=scenario.seeds)
        self.people = People.draw(count, scenario, np.random.default_rng([seed, run, 1]))
        self._random = np.random.default_rng([seed, run, 2])
        self._run = run
        self.here: list[NDArray[np.bool_]] = []
        self._home_until = np.zeros(count, np.int64)
        self._confirmed = np.full(count, NOT_YET, np.int64)
        self._found_on = np.full(count, NOT_YET, np.int64)
        self._waiting: deque[Case] = deque()
        self._exposures: dict[int, Scores] = {}
        self._person_days = self._sent_home = self._in_vain = self._tests = 0

    def follow(self) -> Outcome:
        """Until the outbreak is over and its last case was looked into, or the scenario's last day.

        What is done too late, and quarantine that nobody needed any more, costs as much as what was of use.
        """
        while self._unfinished and self.outbreak.day < self.scenario.longest_days:
            self._day()
        left = np.maximum(self._home_until - self._today, 0)
        self._person_days += int(left[self._confirmed == NOT_YET].sum())
        counts = (self._person_days, self._sent_home, self._in_vain, self._tests)
        return Outcome(self.outbreak.course, self._found_on, *counts)

    def _day(self) -> None:
        away = self._home_until > self.outbreak.day
        self._person_days += int((away & (self._confirmed == NOT_YET)).sum())
        self.here.append(~away)
        self.outbreak.advance(away)
        exposed, infectious, recovered = self.outbreak.times / WINDOWS_A_DAY
        self._exposed, self._infectious, self._recovered = exposed, infectious, recovered
        self._confirm(self._with_symptoms())
        if self.response.tested_daily:
            self._test_anybody()
        if self.response.source is not None:
            self._look_into_cases(self.response.source)

    @property
    def _unfinished(self) -> bool:
        if not self.outbreak.over:
            return True
        if self.response.source is None:
            return False
        return bool(self._waiting) or bool((self._asking & (self._confirmed == NOT_YET)).any())

    @property
    def _asking(self) -> NDArray[np.bool_]:
        """Who was infected, and gets a positive result of their own sooner or later [people]."""
        exposed, _, _ = self.outbreak.times
        return (exposed < NEVER) & self.people.symptomatic & self.people.tests_positive

    @property
    def _today(self) -> int:
        """The midnight that was just reached."""
        return self.outbreak.day

    def _with_symptoms(self) -> NDArray[np.int64]:
        """Who gets a positive result now because symptoms made them ask for a test."""
        result = self._infectious + self.scenario.presymptomatic_days + self.scenario.result_days
        return np.flatnonzero(self._asking & (self._confirmed == NOT_YET) & (result <= self._today))

    def _confirm(self, people: NDArray[np.int64]) -> None:
        onset = np.floor(self._infectious + self.scenario.presymptomatic_days)
        for person in people.tolist():
            shown = bool(self.people.symptomatic[person]) and onset[person] < self._today
            self._waiting.append(Case(person, int(onset[person]) if shown else None, self._today))
        self._confirmed[people] = self._today
        self._home_until[people] = self._today + self.scenario.isolation_days

    def _look_into_cases(self, source: Source) -> None:
        limit = source.capacity(self.scenario)
        done = 0
        while self._waiting and (limit is None or done < limit):
            if self._waiting[0].confirmed + source.delay_days(self.scenario) > self._today:
                break
            self._find(self._waiting.popleft(), source)
            done += 1

    def _find(self, case: Case, source: Source) -> None:
        known = Known(
            self.site,
            self.people,
            self.scenario,
            self.here,
            self.outbreak.first_day,
            self._infectious,
            self._run,
            self._exposures,
        )
        scores = source.scores(case, known, self._random)
        free = (self._confirmed == NOT_YET) & (self._home_until <= self._today) & (scores > 0)
        order = np.flatnonzero(free)[np.argsort(-scores[free], kind="stable")]
        self._act(order[: self.response.per_case])

    def _test_anybody(self) -> None:
        free = np.flatnonzero((self._confirmed == NOT_YET) & (self._home_until <= self._today))
        count = min(len(free), self._random.binomial(len(self._confirmed), self.response.tested_daily))
        chosen = self._random.choice(free, count, replace=False)
        self._test(chosen[self.people.complies[chosen]])

    def _act(self, people: NDArray[np.int64]) -> None:
        willing = people[self.people.complies[people]]
        if self.response.action == "test":
            self._test(willing)
            return
        self._send_home(willing)
        self._home_until[willing] = self._today + self.scenario.quarantine_days

    def _test(self, people: NDArray[np.int64]) -> None:
        self._tests += len(people)
        now = (self._infectious[people] <= self._today) & (self._today < self._recovered[people])
        positive = people[now & self.people.tests_positive[people]]
        self._send_home(positive)
        self._confirm(positive)

    def _send_home(self, people: NDArray[np.int64]) -> None:
        self._sent_home += len(people)
        self._in_vain += int((self._exposed[people] >= self._today).sum())
        first = people[(self._found_on[people] == NOT_YET) & (self._exposed[people] < self._today)]
        self._found_on[first] = self._today


def respond(site: Site, scenario: Scenario, response: Response, *, seed: int, run: int = 0) -> Outcome:
    """One outbreak with one response; runs of one seed and number meet the same people and the same chance."""
    return Alarm(site, scenario, response, seed=seed, run=run).follow()
