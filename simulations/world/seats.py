"""Where people were while a data set of contacts was recorded: made up around the contacts, which are real.

Published contacts say who faced whom, not where the others were. So that a radio can also hear those who are *not* in
contact, this fills the rest in: everybody who has any contact within a half hour is in the room of their zone (class,
ward or role), 8 by 6 metres, on a seat that is drawn for that half hour, or for the day; those in contact stand 0.5 to
1.5 m from each other. Zones never hear each other unless in contact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.sensing.contacts import Contact
from edge.store.slots import DAY_S, SLOT_S, WINDOW_S, WINDOWS_PER_SLOT

ROOM_M = (8.0, 6.0)
FACING_M = (0.5, 1.5)
"""SocioPatterns' badges hear each other, worn on the chest, within 1 to 1.5 m (Cattuto et al. 2010)."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Windows in which two were in reach of each other's radios, as columns of equal length.

    Attributes:
        window: `seconds // WINDOW_S`.
        a: index of one person; below that of the other.
        b: the other.
        distance_m: between them.
        in_contact: whether the data set says that they faced each other.
    """

    window: NDArray[np.int64]
    a: NDArray[np.int64]
    b: NDArray[np.int64]
    distance_m: NDArray[np.float64]
    in_contact: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Slot:
    """One half hour.

    Attributes:
        number: `seconds // 1800`.
        rooms: people present, by zone.
        seats: of each person of the site [persons, 2], metres; NaN where absent.
        contacts: rows (window, a, b), a below b [n, 3].
    """

    number: int
    rooms: dict[str, NDArray[np.int64]]
    seats: NDArray[np.float64]
    contacts: NDArray[np.int64]

    def pairs(self, rng: np.random.Generator) -> Pairs:
        """All windows of the half hour."""
        first = self.number * WINDOWS_PER_SLOT
        count = len(self.seats)
        keys = (self.contacts[:, 0] - first) * count * count + self.contacts[:, 1] * count + self.contacts[:, 2]
        rows = [(self.contacts, rng.uniform(*FACING_M, len(keys)), np.ones(len(keys), bool))]
        for people in self.rooms.values():
            i, j = np.triu_indices(len(people), 1)
            a, b = people[i], people[j]
            apart = np.maximum(np.linalg.norm(self.seats[a] - self.seats[b], axis=1), FACING_M[0])
            window = np.repeat(np.arange(WINDOWS_PER_SLOT), len(a))
            seated = np.stack([window + first, np.tile(a, WINDOWS_PER_SLOT), np.tile(b, WINDOWS_PER_SLOT)], axis=1)
            apart = np.tile(apart, WINDOWS_PER_SLOT)
            free = ~np.isin(window * count * count + seated[:, 1] * count + seated[:, 2], keys)
            rows.append((seated[free], apart[free], np.zeros(int(free.sum()), bool)))
        who, distance, contact = (np.concatenate(column) for column in zip(*rows, strict=True))
        return Pairs(who[:, 0], who[:, 1], who[:, 2], distance, contact)


def people_of(contacts: Sequence[Contact]) -> tuple[list[str], dict[str, str]]:
    """Everybody, in order, and the zone of each."""
    zones: dict[str, str] = {}
    for contact in contacts:
        zones[contact.a], zones[contact.b] = contact.zone_a, contact.zone_b
    return sorted(zones), zones


def slots(contacts: Sequence[Contact], rng: np.random.Generator, *, all_day: bool = False) -> Iterator[Slot]:
    """The half hours in which there was any contact, in order.

    Args:
        all_day: people keep their seats for a day; else they are drawn anew for each half hour.
    """
    people, zones = people_of(contacts)
    number = {person: at for at, person in enumerate(people)}
    rows = np.array([(c.t // WINDOW_S, *sorted((number[c.a], number[c.b]))) for c in contacts], np.int64)
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    of_slot = rows[:, 0] // WINDOWS_PER_SLOT
    taken: dict[tuple[int, int], NDArray[np.float64]] = {}
    for slot in np.unique(of_slot).tolist():
        mine = rows[of_slot == slot]
        seats = np.full((len(people), 2), np.nan)
        rooms: dict[str, list[int]] = {}
        for person in np.unique(mine[:, 1:]).tolist():
            rooms.setdefault(zones[people[person]], []).append(person)
            seat = slot * SLOT_S // DAY_S if all_day else slot
            if (person, seat) not in taken:
                taken[person, seat] = rng.uniform((0, 0), ROOM_M)
            seats[person] = taken[person, seat]
        yield Slot(slot, {zone: np.array(those) for zone, those in sorted(rooms.items())}, seats, mine)
