"""A world of our own: who was near whom in buildings that never were, for demos, tests and experiments.

A world has zones of one kind, classes or wards, a node each. They are dealt to buildings of at most a dozen; each has a
timetable of its own, and people of different zones meet in its yard or canteen. Everything is drawn from one seed, a
building at a time, so a world is made again wherever it is needed, never stored, and no larger in memory than one
building.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import numpy as np

from edge.sensing.contacts import Contact
from edge.store.slots import WINDOW_S
from simulations.world.building import Building
from simulations.world.episodes import Episodes
from simulations.world.places import PLACES, Kind


@dataclass(frozen=True, slots=True)
class Raised:
    """One building of a world, and what happened there.

    Attributes:
        building: its people and their days.
        episodes: every contact.
        zones: name of each of its zones; of the whole world, each once.
        first_person: number of its first person in the whole world.
    """

    building: Building
    episodes: Episodes
    zones: tuple[str, ...]
    first_person: int


@dataclass(frozen=True, slots=True)
class World:
    """`zones` classes or wards, observed for `days` days from midnight of day 0 on."""

    seed: int
    zones: int = 5
    days: int = 4
    kind: Kind = "school"

    def __post_init__(self) -> None:
        if self.zones < 1 or self.days < 1:
            raise ValueError(f"a world needs at least one zone and one day, got {self.zones} and {self.days}")
        if self.kind not in PLACES:
            raise ValueError(f"kind {self.kind!r} is unknown: choose one of {', '.join(PLACES)}")
        if self.seed < 0:
            raise ValueError(f"seed {self.seed} is negative")

    def buildings(self) -> Iterator[Raised]:
        """One after the other; equal for equal worlds."""
        place = PLACES[self.kind]
        count = -(-self.zones // place.most_zones)
        zone = person = 0
        for number in range(count):
            zones = self.zones // count + (number < self.zones % count)
            random = np.random.default_rng([self.seed, list(PLACES).index(self.kind), self.days, number, zones])
            building = Building.raised(place, zones, self.days, random)
            names = tuple(f"{place.zone_names}-{zone + n + 1}" for n in range(zones))
            yield Raised(building, building.episodes(random), names, person)
            zone += zones
            person += len(building.zone)

    def contacts(self) -> list[Contact]:
        """Every contact, one a window, in time order; equal for equal worlds.

        Objects, for nodes that replay them. Worlds of hundreds of zones are for `federate`, which makes none.
        """
        found: list[Contact] = []
        for raised in self.buildings():
            names = [f"person-{raised.first_person + n}" for n in range(len(raised.building.zone))]
            zones = [raised.zones[zone] for zone in raised.building.zone.tolist()]
            rows = zip(*(column.tolist() for column in raised.episodes.windows()), strict=True)
            found += [Contact(w * WINDOW_S, names[a], names[b], zones[a], zones[b]) for w, a, b in sorted(rows)]
        return sorted(found, key=attrgetter("t"))


def write_contacts(contacts: Iterable[Contact], path: Path) -> None:
    """Write contacts in time order in the SocioPatterns format `t i j Ci Cj`, which `read_contacts` reads."""
    lines = (f"{c.t}\t{c.a}\t{c.b}\t{c.zone_a}\t{c.zone_b}\n" for c in sorted(contacts, key=attrgetter("t")))
    path.write_text("".join(lines), encoding="utf-8")
