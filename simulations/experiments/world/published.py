"""Which published contacts the world is fitted to, and which are kept to compare it with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge.sensing.contacts import read_contacts
from simulations.datasets.catalogue import BadData, card_of
from simulations.datasets.exp34 import SCENE_FILES, Scene, read_scene
from simulations.datasets.files import find
from simulations.datasets.nist import STRETCH_FILES, Stretch, read_stretch
from simulations.experiments.world.likeness import Site
from simulations.world.places import PLACES, Kind, Place


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a data set.

    Attributes:
        kind: of place.
        fitted: how many of its whole days, from the first on, the world's numbers were fitted to; the others are kept.
        like: name of another site of the kind.
    """

    kind: Kind
    fitted: int
    like: str = ""

    @property
    def place(self) -> Place:
        return PLACES[self.kind]


KNOWN = {
    "lyon-school": Known("school", 1),
    "thiers-2012": Known("high-school", 3, "thiers-2011"),
    "thiers-2011": Known("high-school", 0, "thiers-2012"),
    "lyon-ward": Known("ward", 2),
    "invs-workplace": Known("workplace", 5),
}
"""Contacts, by the names of `jaga-sim data list`."""


def contacts_of(name: str, folder: Path | None) -> Site:
    """A data set's contacts.

    Raises:
        BadData: the world has no place like it, or a file is missing or not what it should be.
    """
    if name not in KNOWN:
        raise BadData(f"{name} is none of {', '.join(KNOWN)}: the world has no place like it")
    return Site.of(name, read_contacts(*find(name, card_of(name), folder).values()), KNOWN[name].place)


def scenes(folder: Path | None) -> list[Scene]:
    """All of exp34.

    Raises:
        BadData: as `contacts_of`.
    """
    paths = find("exp34", card_of("exp34"), folder)
    return [read_scene(paths[file], scene) for scene, file in SCENE_FILES.items()]


def stretches(folder: Path | None) -> list[Stretch]:
    """All of nist-pi.

    Raises:
        BadData: as `contacts_of`.
    """
    paths = find("nist-pi", card_of("nist-pi"), folder)
    return [read_stretch(paths[file], pi, cm / 100) for (pi, cm), file in STRETCH_FILES.items()]
