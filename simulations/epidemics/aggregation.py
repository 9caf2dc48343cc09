"""One illness on a contact network, and on networks that keep less of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import process_time

from simulations.epidemics.disease import FAST, SLOW, Disease
from simulations.epidemics.figures import EpidemicFigures
from simulations.epidemics.network import TemporalNetwork, daily_durations, equal_durations, mixed_evenly
from simulations.epidemics.outbreak import Course, outbreaks, run_outbreak

DISEASES = {"fast": FAST, "slow": SLOW}
NETWORKS: dict[str, Callable[[TemporalNetwork], TemporalNetwork]] = {
    "full": lambda network: network,
    "daily": daily_durations,
    "equal": equal_durations,
    "mixed": mixed_evenly,
}


@dataclass(frozen=True, slots=True)
class Spread:
    """Of one illness on one network.

    Attributes:
        network: one of `NETWORKS`.
        ms: of processor time a run, milliseconds; other work on the machine counts for little.
    """

    data: str
    illness: str
    network: str
    courses: list[Course]
    figures: EpidemicFigures
    ms: float


def compare(
    data: str, network: TemporalNetwork, illness: str, runs: int, seed: int, threads: int = 1
) -> Iterator[Spread]:
    """On the full network and on those that keep less."""
    disease: Disease = DISEASES[illness]
    for name, less in NETWORKS.items():
        one = less(network)
        run_outbreak(one, disease, seed=seed)  # compiles, where that was not done before
        start = process_time()
        courses = outbreaks(one, disease, runs=runs, seed=seed, threads=threads)
        ms = (process_time() - start) / runs * 1e3
        yield Spread(data, illness, name, courses, EpidemicFigures.of(courses), ms)
