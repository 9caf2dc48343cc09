"""What the nodes of a demo live through: recorded contacts from a file, or a generated world."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from simulations.datasets.sociopatterns import Federation, federation, load_federation
from simulations.world.generator import World, write_contacts

DEFAULT_NODES = 5
LEAST_NODES = 2
WORLD_DAYS = 4


class BadScene(ValueError):
    """The data or the numbers asked for make no federation."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Contacts as a file that nodes replay, and the same as a federation that the harness can measure against.

    Attributes:
        contacts: the file; `metadata` where its people's zones are in another.
        federation: restricted to the zones that get a node.
        people: names that the data set gives to the people in those zones.
    """

    contacts: Path
    metadata: Path | None
    federation: Federation
    people: frozenset[str]


def load(data: Path, metadata: Path | None, nodes: int | None) -> Scene:
    """The scene of a SocioPatterns file: a node for each class, ward or department, or for the `nodes` busiest.

    Raises:
        BadContactFile, TooFewDays: the file is not what it should be.
        BadScene: it has fewer zones than nodes are asked for.
    """
    return _scene(data, metadata, load_federation(data, metadata), nodes)


def generate(folder: Path, seed: int, nodes: int | None) -> Scene:
    """The scene of a generated school, written to `folder`; equal seeds give equal contacts.

    Raises:
        BadScene: fewer than two nodes.
    """
    zones = nodes or DEFAULT_NODES
    if zones < LEAST_NODES:
        raise BadScene(f"--nodes {zones}: a federation needs at least {LEAST_NODES} nodes")
    path = folder / "contacts.csv"
    contacts = World(seed, zones, WORLD_DAYS, "school").contacts()
    write_contacts(contacts, path)
    return _scene(path, None, federation(f"generated school, seed {seed}", contacts), zones)


def _scene(path: Path, metadata: Path | None, whole: Federation, nodes: int | None) -> Scene:
    zones = len(whole.zones) if nodes is None else nodes
    if not LEAST_NODES <= zones <= len(whole.zones):
        raise BadScene(
            f"{whole.name} has {len(whole.zones)} zones ({', '.join(whole.zones)}): "
            f"--nodes must be from {LEAST_NODES} to {len(whole.zones)}, got {zones}"
        )
    busiest = sorted(whole.zones, key=lambda zone: -sum(minutes for _, minutes in whole.training(zone)))[:zones]
    chosen = replace(whole, minutes={zone: whole.minutes[zone] for zone in whole.zones if zone in busiest})
    people = {
        person
        for contact in whole.contacts
        for person, zone in ((contact.a, contact.zone_a), (contact.b, contact.zone_b))
        if zone in busiest
    }
    return Scene(path, metadata, chosen, frozenset(people))
