"""An outbreak on a temporal network, day by day, and many of them.

    network = TemporalNetwork.of(read_contacts(Path("primaryschool.csv")))
    courses = outbreaks(network, FAST, runs=200, seed=1)

The same seed gives the same bytes, whatever the number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulations.epidemics.disease import Disease
from simulations.epidemics.network import WINDOWS_A_DAY, TemporalNetwork
from simulations.epidemics.spread import NEVER, Pace, infect, mixed, spread

NOBODY = -1
"""Infector of seeds, and of who was not infected."""

LONGEST_DAYS = 1000
"""An outbreak that is not over by then is a mistake in its parameters."""


@dataclass(frozen=True, slots=True)
class Course:
    """Who was infected, when and by whom, in one outbreak [people]; days since its start, infinite for never.

    Attributes:
        exposed: day of infection; 0 for seeds.
        infectious: day from which they infect.
        recovered: day from which they do not any more.
        infector: who infected them; `NOBODY` for seeds and those who were not infected.
    """

    exposed: NDArray[np.float64]
    infectious: NDArray[np.float64]
    recovered: NDArray[np.float64]
    infector: NDArray[np.int32]

    @property
    def infected(self) -> NDArray[np.bool_]:
        """Who was, seeds too [people]."""
        found: NDArray[np.bool_] = np.isfinite(self.exposed)
        return found

    @property
    def seeds(self) -> NDArray[np.bool_]:
        """With whom it started [people]."""
        found: NDArray[np.bool_] = self.infected & (self.infector == NOBODY)
        return found

    def compartments(self, days: NDArray[np.float64]) -> NDArray[np.int64]:
        """How many are susceptible, exposed, infectious and recovered at these moments [4, moments]."""
        passed = [(column[:, None] <= days).sum(axis=0) for column in (self.exposed, self.infectious, self.recovered)]
        exposed, infectious, recovered = passed
        people = np.full(len(days), len(self.exposed))
        return np.stack([people - exposed, exposed - infectious, infectious - recovered, recovered])

    def transmissions(self) -> list[tuple[float, int, int]]:
        """Day, who infected and whom, in time order."""
        caught = np.flatnonzero(self.infector != NOBODY)
        rows = zip(self.exposed[caught].tolist(), self.infector[caught].tolist(), caught.tolist(), strict=True)
        return sorted(rows)


class Outbreak:
    """One outbreak that goes on day by day, so that something can be done about it in between.

    Args:
        network: its contacts; the outbreak starts on one of its days, which chance picks.
        seed: of all runs, not negative.
        run: number of this one.
        seeds: how many people are infected at its start.

    Attributes:
        day: days that have passed.
        times: windows since the start at which each was infected, becomes infectious and recovers, `NEVER` for who was
            not infected [3, people]; to read, not to write.
        first_day: which of the network's days was the first.

    Raises:
        ValueError: more seeds than people, or none; a negative seed or run.
    """

    def __init__(self, network: TemporalNetwork, disease: Disease, *, seed: int, run: int = 0, seeds: int = 1) -> None:
        if not 1 <= seeds <= network.people:
            raise ValueError(f"{seeds} seeds among {network.people} people: give 1 to {network.people}")
        if seed < 0 or run < 0:
            raise ValueError(f"seed {seed} and run {run} are not below 0")
        self.network, self.disease = network, disease
        self.day = 0
        self._key = np.uint64(mixed(np.uint64(mixed(np.uint64(seed))) ^ np.uint64(run)))
        self._chance, self._edges = disease.chance(network.seconds), network.day_edges
        self.times = np.full((3, network.people), NEVER, np.int64)
        self._infector = np.full(network.people, NOBODY, np.int32)
        random = np.random.default_rng([seed, run])
        self.first_day = int(random.integers(network.days))
        for who in random.choice(network.people, seeds, replace=False).tolist():
            infect(self._key, who, NOBODY, 0, self._pace, self.times, self._infector)

    @property
    def over(self) -> bool:
        """Whether everybody who was infected has recovered."""
        exposed, _, recovered = self.times
        return not ((exposed < NEVER) & (recovered > self.day * WINDOWS_A_DAY)).any()

    @property
    def data_day(self) -> int:
        """Which of the network's days it is."""
        return (self.first_day + self.day) % self.network.days

    def advance(self, away: NDArray[np.bool_] | None = None) -> None:
        """One day more.

        Args:
            away: who is in contact with nobody on that day [people]; none: everybody is there.
        """
        away = np.zeros(self.network.people, bool) if away is None else away
        rows = slice(*self._edges[self.data_day : self.data_day + 2].tolist())
        network = self.network
        columns = (network.window[rows], network.a[rows], network.b[rows], self._chance[rows])
        shift = (self.day - self.data_day) * WINDOWS_A_DAY
        spread(self._key, shift, columns, away, self._pace, self.times, self._infector)
        self.day += 1

    @property
    def course(self) -> Course:
        """Until now; what somebody who was infected has still before them is known already."""
        exposed, infectious, recovered = (
            np.where(times < NEVER, times / WINDOWS_A_DAY, np.inf) for times in self.times
        )
        return Course(exposed, infectious, recovered, self._infector.copy())

    @property
    def _pace(self) -> Pace:
        disease = self.disease
        return disease.latent_days * WINDOWS_A_DAY, disease.infectious_days * WINDOWS_A_DAY, disease.stages


def run_outbreak(network: TemporalNetwork, disease: Disease, *, seed: int, run: int = 0, seeds: int = 1) -> Course:
    """One outbreak until it is over.

    Raises:
        RuntimeError: it is not over after `LONGEST_DAYS`.
    """
    outbreak = Outbreak(network, disease, seed=seed, run=run, seeds=seeds)
    while not outbreak.over:
        if outbreak.day >= LONGEST_DAYS:
            raise RuntimeError(f"an outbreak is not over after {LONGEST_DAYS} days: shorten its times ({disease})")
        outbreak.advance()
    return outbreak.course


def outbreaks(
    network: TemporalNetwork, disease: Disease, *, runs: int, seed: int, seeds: int = 1, threads: int = 1
) -> list[Course]:
    """Many of them, by number of run.

    Raises:
        ValueError: no runs, no threads, or what `Outbreak` refuses.
        RuntimeError: see `run_outbreak`.
    """
    if runs < 1 or threads < 1:
        raise ValueError(f"runs {runs} and threads {threads} are at least 1")

    def course(run: int) -> Course:
        return run_outbreak(network, disease, seed=seed, run=run, seeds=seeds)

    with ThreadPoolExecutor(threads) as pool:
        found: Iterator[Course] = pool.map(course, range(runs))
        return list(found)
