"""Many generated sites as one data set: a node each, days to learn from and later days to be judged on."""

from __future__ import annotations

import numpy as np

from edge.sensing.contacts import days
from simulations.datasets.federated import FederatedData, SiteData
from simulations.datasets.sociopatterns import zone_minutes
from simulations.world.generator import World

ZONES = 5


def federate(kind: str, sites: int, observed_days: int, seed: int) -> FederatedData:
    """`sites` zones of as many generated sites as that takes."""
    made: list[SiteData] = []
    seeds = np.random.SeedSequence(seed).generate_state(sites, np.uint32)
    for number in range(0, sites, ZONES):
        contacts = World(int(seeds[number]), ZONES, observed_days, kind).contacts()  # type: ignore[arg-type]
        until = (observed_days + 1) // 2 * 48
        for zone, minutes in zone_minutes(contacts, days(contacts)).items():
            if len(made) < sites:
                name = f"{kind}-{number // ZONES + 1}/{zone}"
                before = [(slot, value) for slot, value in minutes if slot < until]
                after = [(slot, value) for slot, value in minutes if slot >= until]
                made.append(SiteData(name, before, after))
    return FederatedData("world", "crowding", tuple(made))
