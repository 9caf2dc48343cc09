"""Arms of `simulations.experiments.outbreaks`: one scenario and response each, run many times against no response."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context

import numpy as np

from privacy.logs import configure_process
from simulations.epidemics.figures import Estimate
from simulations.epidemics.response import Action, Outcome, Response, respond
from simulations.epidemics.scenario import Scenario
from simulations.epidemics.sources import Alerts, Anybody, EveryContact, Interview, SameZone, Site, Source

NO_RESPONSE = Response()
PER_CASE = (1, 3, 10, 30)
TESTED_DAILY = (0.01, 0.03, 0.1, 0.3)
ADOPTIONS = (0.2, 0.4, 0.6, 0.8, 1.0)
REFERENCE, REFERENCE_DAILY = 10, 0.1
"""People found for each case at most, where adoption is varied; and share tested at random."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One scenario and what is done in it."""

    scenario: Scenario
    response: Response

    @property
    def name(self) -> str:
        """Who is found."""
        if self.response.tested_daily:
            return "random testing"
        return "nobody" if self.response.source is None else self.response.source.name

    @property
    def budget(self) -> str:
        """As a table says it."""
        if self.response.tested_daily:
            return f"{self.response.tested_daily:.0%} a day"
        return "" if self.response.source is None else f"{self.response.per_case} a case"

    @property
    def is_reference(self) -> bool:
        """Whether its epidemic curve is kept."""
        return _is_reference(self.response.action, self.budget)


@dataclass(frozen=True, slots=True)
class ArmFigures:
    """Of all runs of one arm, against the same runs without a response.

    Attributes:
        infected: people whom others of the site infected, a mean over runs.
        averted: of those without a response, the share that there was not.
        caught: of those infected, the share that the response sent home before they had recovered.
        caught_in_time: before they were infectious.
        person_days: in quarantine, a mean over runs.
        tests: that the response made, a mean over runs.
        cost: person-days (of tests: tests) for each infection averted.
        in_vain: of all times that somebody was sent home, the share who had not been infected.
    """

    data: str
    people: int
    found: str
    action: Action
    budget: str
    adoption: float
    runs: int
    infected: Estimate
    averted: Estimate
    caught: Estimate
    caught_in_time: Estimate
    person_days: Estimate
    tests: Estimate
    cost: Estimate
    in_vain: Estimate

    @property
    def is_reference(self) -> bool:
        """Whether it is in the shorter table."""
        return _is_reference(self.action, self.budget)

    @property
    def spent(self) -> float:
        """Person-days of quarantine, or tests, for each person of the site."""
        return (self.tests if self.action == "test" else self.person_days).value / self.people

    @classmethod
    def of(cls, site: Site, arm: Arm, outcomes: Sequence[Outcome], without: Sequence[Outcome]) -> ArmFigures:
        """Raises ValueError where the two are not the same runs."""
        if len(outcomes) != len(without):
            raise ValueError(f"{len(outcomes)} runs with a response, {len(without)} without: give the same runs")
        free = np.array([outcome.onward.sum() for outcome in without])
        infected = np.array([outcome.onward.sum() for outcome in outcomes])
        spent = [outcome.tests if arm.response.action == "test" else outcome.person_days for outcome in outcomes]
        return cls(
            data=site.name,
            people=site.network.people,
            found=arm.name,
            action=arm.response.action,
            budget=arm.budget,
            adoption=arm.scenario.adoption,
            runs=len(outcomes),
            infected=Estimate.mean(infected),
            averted=Estimate.ratio(free - infected, free),
            caught=Estimate.ratio([outcome.caught for outcome in outcomes], infected),
            caught_in_time=Estimate.ratio([outcome.caught_in_time for outcome in outcomes], infected),
            person_days=Estimate.mean([outcome.person_days for outcome in outcomes]),
            tests=Estimate.mean([outcome.tests for outcome in outcomes]),
            cost=Estimate.ratio(spent, free - infected),
            in_vain=Estimate.ratio(
                [outcome.in_vain for outcome in outcomes], [outcome.sent_home for outcome in outcomes]
            ),
        )


def _is_reference(action: Action, budget: str) -> bool:
    return (action, budget) in (("quarantine", f"{REFERENCE} a case"), ("test", f"{REFERENCE_DAILY:.0%} a day"))


def arms(site: Site, scenario: Scenario) -> list[Arm]:
    """All of them: sources by budget, quarantine and tests, random testing, and modes by adoption."""
    modes = [Alerts(mode) for mode in site.sensed]
    informed: list[Source] = [SameZone(), Interview(), Interview(queue=False), *modes, EveryContact()]
    found = [Arm(scenario, Response(source, "quarantine", k)) for source in (Anybody(), *informed) for k in PER_CASE]
    found += [Arm(scenario, Response(source, "test", k)) for source in informed for k in PER_CASE]
    found += [Arm(scenario, Response(None, "test", tested_daily=share)) for share in TESTED_DAILY]
    others = [replace(scenario, adoption=share) for share in ADOPTIONS if share != scenario.adoption]
    return found + [Arm(one, Response(mode, "quarantine", REFERENCE)) for mode in modes for one in others]


def follow(site: Site, arm: Arm, *, runs: int, seed: int) -> list[Outcome]:
    """Runs 0 to `runs` - 1 of one arm."""
    return [respond(site, arm.scenario, arm.response, seed=seed, run=run) for run in range(runs)]


def follow_all(site: Site, arms: Sequence[Arm], *, runs: int, seed: int, processes: int = 1) -> list[list[Outcome]]:
    """Each arm's runs; the same whatever the number of processes."""
    one = partial(follow, site, runs=runs, seed=seed)
    if processes == 1:
        return [one(arm) for arm in arms]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_enter) as pool:
        return list(pool.map(one, arms))


def _enter() -> None:
    configure_process(messages=True)


@dataclass(frozen=True, slots=True)
class AtCost:
    """What a source averts at a cost.

    Attributes:
        averted: share of infections.
        spent: person-days or tests for each person of the site: the cost, or less where all who were found cost less.
    """

    averted: Estimate
    spent: float


def at_equal_cost(rows: Sequence[ArmFigures], spent: float) -> AtCost | None:
    """What a source averts where no more than so much is spent for each person of the site.

    Linear between its nearest budgets below and above, and so are the ends of the interval. Beyond the largest budget
    it has nobody left to find, and averts what that budget does. None below the smallest: nothing was measured there.
    """
    points = sorted(rows, key=lambda row: row.spent)
    costs = [row.spent for row in points]
    if spent < costs[0]:
        return None
    ends = ([getattr(row.averted, end) for row in points] for end in ("value", "low", "high"))
    averted = Estimate(*(float(np.interp(spent, costs, values)) for values in ends))
    return AtCost(averted, min(spent, costs[-1]))
