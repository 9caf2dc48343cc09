"""What nodes that hang on a wall find: who was near one together, and who was probably near whom in a room."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.sensing.contacts import Contact
from edge.store.slots import DAY_S, SLOT_S, WINDOW_S, WINDOWS_PER_SLOT
from edge.tracing.attenuation import TX_POWER_DBM
from edge.tracing.encounters import STRETCH_WINDOWS, Nearness
from edge.tracing.heard import Heard
from edge.tracing.nearness import PathLoss
from edge.tracing.rooms import Receiver, Rooms
from simulations.experiments.pair_days import PairDay, Score, long_ones, true_minutes
from simulations.world.seats import ROOM_M, people_of, slots

FACING_DBM = -70.0
"""Level of a tag that faces a node over a perfect radio, dBm."""


def in_zones(name: str, contacts: Sequence[Contact]) -> Score:
    """What `zone_minutes` finds, against the contacts."""
    found, truth = long_ones(zone_minutes(contacts)), long_ones(true_minutes(contacts))
    return Score(name, "zone, perfect radio", "contact", 0, len(found), len(found & truth), len(truth))


def zone_minutes(contacts: Sequence[Contact]) -> dict[PairDay, float]:
    """A node in each zone over a perfect radio, which hears whoever of the zone is in a contact, as a replay does."""
    people, zones = people_of(contacts)
    number = {person: at for at, person in enumerate(people)}
    heard: dict[tuple[str, int], set[tuple[int, int]]] = defaultdict(set)
    for contact in contacts:
        for person in (contact.a, contact.b):
            heard[zones[person], contact.t // DAY_S].add((contact.t // WINDOW_S, number[person]))
    minutes: dict[PairDay, float] = {}
    for (_, day), seen in heard.items():
        rows = np.array(sorted(seen), np.int64)
        levels, power = np.full(len(rows), float(FACING_DBM)), np.full(len(rows), TX_POWER_DBM)
        those = Heard(tuple(people), rows[:, 0], np.zeros(len(rows), np.uint8), rows[:, 1], levels, power)
        pairs = Nearness("zone").encounters(day, people, [those]).pairs
        minutes |= {(day, pair.a, pair.b): pair.minutes for pair in pairs}
    return minutes


def in_rooms(name: str, contacts: Sequence[Contact], seed: int, fading: PathLoss) -> Score:
    """What `room_minutes` finds, against the contacts."""
    found, truth = long_ones(room_minutes(contacts, seed, fading)), long_ones(true_minutes(contacts))
    return Score(name, "room, four receivers", "contact", seed, len(found), len(found & truth), len(truth))


def room_minutes(contacts: Sequence[Contact], seed: int, fading: PathLoss) -> dict[PairDay, float]:
    """Four receivers in the corners of each zone's room, with path loss and shadowing that lasts two minutes.

    Whoever is in contact with somebody of the zone stands beside them; the others sit (see `simulations.world.seats`).
    """
    rng = np.random.default_rng(seed)
    people, _ = people_of(contacts)
    wide, deep = ROOM_M
    corners = tuple(Receiver(n, "", x, y) for n, (x, y) in enumerate([(0, 0), (wide, 0), (0, deep), (wide, deep)]))
    ears = np.array([[one.x_m, one.y_m] for one in corners])
    nearness = Nearness("room", Rooms.of(corners), path_loss=fading)
    minutes: defaultdict[PairDay, float] = defaultdict(float)
    stretches = WINDOWS_PER_SLOT // STRETCH_WINDOWS
    power = fading.power_dbm + rng.normal(0, fading.power_spread_db / 2, len(people))
    for slot in slots(contacts, rng):
        day = slot.number * SLOT_S // DAY_S
        for present in slot.rooms.values():
            at = _standing(slot.seats, slot.contacts, present, slot.number, rng)
            apart = np.maximum(np.linalg.norm(at[:, :, None] - ears, axis=3), 0.3)
            shadow = np.repeat(
                rng.normal(0, fading.shadowing_db, (stretches, len(present), len(ears))), STRETCH_WINDOWS, axis=0
            )
            level = power[present][None, :, None] - 10 * fading.exponent * np.log10(apart) + shadow
            window, who, ear = np.indices(level.shape).reshape(3, -1)
            heard = Heard(
                tuple(people),
                slot.number * WINDOWS_PER_SLOT + window,
                ear.astype(np.uint8),
                present[who],
                level.reshape(-1),
                np.full(level.size, TX_POWER_DBM),
            )
            for pair in nearness.encounters(day, people, [heard]).pairs:
                minutes[day, pair.a, pair.b] += pair.minutes
    return minutes


def _standing(
    seats: NDArray[np.float64],
    contacts: NDArray[np.int64],
    present: NDArray[np.int64],
    slot: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Where those present are in each window of a half hour [windows, present, 2]."""
    column = {person: at for at, person in enumerate(present.tolist())}
    at = np.repeat(seats[present][None], WINDOWS_PER_SLOT, axis=0)
    for window, a, b in contacts.tolist():
        if a in column and b in column:
            angle = rng.uniform(0, 2 * np.pi)
            at[window - slot * WINDOWS_PER_SLOT, column[b]] = at[
                window - slot * WINDOWS_PER_SLOT, column[a]
            ] + np.array([np.cos(angle), np.sin(angle)])
    found: NDArray[np.float64] = np.clip(at, 0, ROOM_M)
    return found
