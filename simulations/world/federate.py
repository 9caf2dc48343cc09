"""A world as federated data: what the node of every zone would log, without any contact as an object."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from edge.store.slots import WINDOW_S, WINDOWS_PER_SLOT
from simulations.datasets.federated import FederatedData, SiteData
from simulations.datasets.sociopatterns import Minutes, TooFewDays
from simulations.world.episodes import WINDOWS_A_DAY
from simulations.world.generator import Raised, World
from simulations.world.timetables import SLOTS_A_DAY
from simulations.world.town import Town

LEAST_DAYS = 2


def federate(world: World | Town) -> FederatedData:
    """Task `crowding`: a site for every zone, `school/class-17` for one; the first half of the days (rounded up)
    trains, later ones are held out.

    Made a building at a time: memory is that of one building and of what is returned. Equal worlds are equal data. Of a
    town it is the schools, clinics and workplaces: no node hangs in a household.

    Raises:
        TooFewDays: the world has one day alone, so nothing later is left to test on.
    """
    if world.days < LEAST_DAYS:
        raise TooFewDays(f"a world of {world.days} day leaves nothing later to test on: ask for {LEAST_DAYS} or more")
    until = (world.days + 1) // 2 * SLOTS_A_DAY
    sites = []
    for one in world.worlds().values() if isinstance(world, Town) else (world,):
        for raised in one.buildings():
            for zone, log in zone_logs(raised).items():
                training = [entry for entry in log if entry[0] < until]
                sites.append(SiteData(f"{one.kind}/{zone}", training, log[len(training) :]))
    return FederatedData("world", "crowding", tuple(sites))


def zone_logs(raised: Raised) -> dict[str, Minutes]:
    """What the node of each zone logs: (slot, close-contact person-minutes) of each half hour in which it listens."""
    table = close_minutes(raised)
    busy = np.flatnonzero(table.any(axis=0))
    # A node listens from the building's first contact of a day to its last, as `edge.sensing.contacts.days` has it.
    edges = np.flatnonzero(np.diff(busy // SLOTS_A_DAY, prepend=-1, append=-1))
    slots = [n for i, j in pairwise(edges.tolist()) for n in range(int(busy[i]), int(busy[j - 1]) + 1)]
    return {
        zone: list(zip(slots, row, strict=True))
        for zone, row in zip(raised.zones, table[:, slots].tolist(), strict=True)
    }


def close_minutes(raised: Raised) -> NDArray[np.float64]:
    """Person-minutes in contact, with whomever, of each zone's members in each half hour [zones, slots]."""
    building, episodes = raised.building, raised.episodes
    span = building.days * WINDOWS_A_DAY
    length = np.concatenate([episodes.length, episodes.length])
    base = np.concatenate([episodes.a, episodes.b]) * span
    base += np.concatenate([episodes.start, episodes.start])
    met = np.zeros(len(building.zone) * span, bool)
    # Nearly all contacts last a window or two: setting the first windows of all, then the second, is one pass each.
    at = 0
    while len(base):
        met[base + at] = True
        at += 1
        longer = np.flatnonzero(length > at)
        base, length = base[longer], length[longer]
    slots = building.days * SLOTS_A_DAY
    seen = np.flatnonzero(met) // WINDOWS_PER_SLOT
    by_person = np.bincount(seen, minlength=len(building.zone) * slots).reshape(len(building.zone), slots)
    table = np.add.reduceat(by_person, np.searchsorted(building.zone, np.arange(building.zones)), axis=0)
    found: NDArray[np.float64] = table * (WINDOW_S / 60)
    return found
