"""A federation out of one file of contacts: a node for every class, ward or department, and days to learn and to test.

The first half of the days (rounded up) is what the nodes may log and learn from; the later days are held out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.sensing.contacts import Contact, OpenDay, days, read_contacts
from edge.store.slots import DAY_S, SLOT_S, WINDOW_S
from simulations.datasets.federated import SiteData

Minutes = list[tuple[int, float]]
"""(slot, close-contact person-minutes) of the slots in which a node listened."""


class TooFewDays(ValueError):
    """The contacts cover one day or none, so nothing later is left to test on."""


@dataclass(frozen=True, slots=True)
class Federation:
    """Contacts, split in time, with what each zone's node would log of them.

    Attributes:
        name: of the file or world.
        contacts: of all days, in time order.
        open_days: opening hours, the same for every zone.
        minutes: what the node of each zone logs over all days.
        training_days: how many of `open_days`, from the first on, are learnt from.
    """

    name: str
    contacts: Sequence[Contact]
    open_days: tuple[OpenDay, ...]
    minutes: Mapping[str, Minutes]
    training_days: int

    @property
    def zones(self) -> tuple[str, ...]:
        """A node each, by name."""
        return tuple(self.minutes)

    @property
    def sites(self) -> tuple[SiteData, ...]:
        """The same split, without the contacts that it is made of."""
        return tuple(SiteData(zone, self.training(zone), self.held_out(zone)) for zone in self.zones)

    @property
    def training_until_s(self) -> int:
        """End of the training days, seconds: a replay stops here."""
        return (self.open_days[self.training_days - 1].day + 1) * DAY_S

    def training(self, zone: str) -> Minutes:
        """What the zone's node logs on the training days."""
        return [(slot, minutes) for slot, minutes in self.minutes[zone] if slot * SLOT_S < self.training_until_s]

    def held_out(self, zone: str) -> Minutes:
        """The same of the days after them."""
        return [(slot, minutes) for slot, minutes in self.minutes[zone] if slot * SLOT_S >= self.training_until_s]


def federation(name: str, contacts: Sequence[Contact]) -> Federation:
    """Split contacts, in time order, into nodes and days.

    Raises:
        TooFewDays: they are of fewer than two days.
    """
    open_days = tuple(days(contacts))
    if len(open_days) < 2:
        raise TooFewDays(
            f"{name}: contacts of {len(open_days)} day(s); at least two are needed, one to learn from and a later one "
            "to test on"
        )
    return Federation(name, contacts, open_days, zone_minutes(contacts, open_days), (len(open_days) + 1) // 2)


def load_federation(path: Path, metadata: Path | None = None) -> Federation:
    """Read a SocioPatterns file as a federation.

    Raises:
        BadContactFile: see `read_contacts`.
        TooFewDays: see `federation`.
    """
    return federation(path.name, read_contacts(path, metadata))


def zone_minutes(contacts: Iterable[Contact], open_days: Sequence[OpenDay]) -> dict[str, Minutes]:
    """What the nodes would log, without replaying: the short way to the same numbers.

    Every member of a zone who is in contact, with whomever, counts once in a sighting window. A slot inside the opening
    hours in which nobody was is 0; slots outside of them are absent.
    """
    seen: dict[str, set[tuple[int, str]]] = {}
    for contact in contacts:
        window = contact.t // WINDOW_S
        seen.setdefault(contact.zone_a, set()).add((window, contact.a))
        seen.setdefault(contact.zone_b, set()).add((window, contact.b))
    open_slots = [slot for day in open_days for slot in range(day.opens_s // SLOT_S, day.closes_s // SLOT_S)]
    minutes: dict[str, Minutes] = {}
    for zone in sorted(seen):
        windows = Counter(window * WINDOW_S // SLOT_S for window, _ in seen[zone])
        minutes[zone] = [(slot, windows[slot] * WINDOW_S / 60) for slot in open_slots]
    return minutes
