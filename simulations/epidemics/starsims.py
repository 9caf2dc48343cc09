"""A town through starsim (https://starsim.org), with the outputs of our own engine.

For populations: layers of pairs that last. Not for temporal contacts: what happens within a step is out of order, and
in steps of a day the outcome is another one (docs/epidemics.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import starsim as ss

from simulations.epidemics.disease import Disease
from simulations.epidemics.outbreak import NOBODY, Course
from simulations.epidemics.town import Town


class Pairs(ss.Network):  # type: ignore[misc]
    """Pairs that stay as they are; `beta` of a pair is its chance of infection in one step, whole."""

    def step(self) -> None:
        """Nothing changes from day to day."""

    def net_beta(self, disease_beta: float | None = None, inds: Any = None, disease: Any = None) -> Any:
        """Of each pair [pairs]; the disease's own rate is in it already."""
        return self.edges.beta[... if inds is None else inds]


def spread_in_town(
    town: Town, disease: Disease, infected: Sequence[int], *, seed: int, days: float = 120.0, step_days: float = 0.1
) -> Course:
    """One outbreak that starts with these people, for so many days.

    Args:
        infected: who is infected at its start.
        step_days: moments are multiples of it; a tenth of the shortest time of the disease is small enough.

    Raises:
        ValueError: nobody to start with, somebody who is not there, or a step that is not within `days`.
    """
    seeds = np.unique(np.asarray(infected, np.int64))
    if not len(seeds) or seeds[0] < 0 or seeds[-1] >= town.people:
        raise ValueError(f"{len(seeds)} people to start with, of 0 to {town.people - 1}: give some of them")
    if not 0 < step_days <= days:
        raise ValueError(f"step_days {step_days} is above 0 and at most days, {days}")
    sim = ss.Sim(
        n_agents=town.people,
        networks=[
            Pairs(name=layer.name, p1=layer.a, p2=layer.b, beta=disease.chance(layer.seconds * step_days))
            for layer in town.layers
        ],
        diseases=_seir(disease),
        analyzers=ss.infection_log(),
        start=ss.days(0),
        stop=ss.days(days),
        dt=ss.days(step_days),
        rand_seed=seed,
        verbose=0,
    )
    sim.init()
    seir = sim.diseases[0]
    seir.set_prognoses(ss.uids(seeds), sources=NOBODY)
    sim.run()
    times = [
        np.asarray(column.raw[: town.people]) * step_days
        for column in (seir.ti_exposed, seir.ti_infectious, seir.ti_recovered)
    ]
    infector = np.full(town.people, NOBODY, np.int32)
    for chunk in sim.analyzers[0].logs[0].chunks:
        infector[chunk["target"]] = chunk["source"]
    exposed, infectious, recovered = (np.where(np.isnan(column), np.inf, column) for column in times)
    return Course(exposed, infectious, recovered, infector)


def _seir(disease: Disease) -> Any:
    return ss.SEIR(
        beta=ss.perday(1),  # not used: see Pairs
        init_prev=ss.bernoulli(p=0),
        dur_exp=_erlang(disease.latent_days, disease.stages),
        dur_inf=_erlang(disease.infectious_days, disease.stages),
        p_death=ss.bernoulli(p=0),
    )


def _erlang(mean_days: float, stages: int) -> Any:
    return ss.gamma(a=stages, scale=ss.days(mean_days / stages))
