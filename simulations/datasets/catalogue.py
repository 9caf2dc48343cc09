"""The public data sets that experiments name, each split over sites as its card says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from edge.sensing.contacts import BadContactFile
from simulations.datasets.card import DataCard, cards
from simulations.datasets.exp34 import SCENE_FILES, BadExp34, read_scene
from simulations.datasets.federated import FederatedData
from simulations.datasets.files import BadData, find
from simulations.datasets.nist import STRETCH_FILES, BadNist, read_stretch
from simulations.datasets.proximity import exp34_sites, nist_sites
from simulations.datasets.sociopatterns import TooFewDays, load_federation

__all__ = ["BadData", "card_of", "load"]

Paths = Mapping[str, Path]
"""Of the files of one data set, by their names, in the order of its card."""


def load(name: str, folder: Path | None = None, *, unverified: bool = False) -> FederatedData:
    """One data set, read from `folder`, else from the folder that JAGA_DATA names, else from the user's cache.

    It downloads nothing: that is for `jaga-sim data fetch`.

    Args:
        unverified: read a file that is not as published all the same, with a warning (`UnverifiedData`).

    Raises:
        BadData: no data set has that name, or a file is missing or not what it should be.
    """
    card = card_of(name)
    paths = find(name, card, folder, unverified=unverified)
    try:
        return _READERS.get(name, _contacts)(name, paths)
    except (BadContactFile, TooFewDays, BadExp34, BadNist) as why:
        raise BadData(f"{name}: {why}; it is published at {card.source}") from why


def card_of(name: str) -> DataCard:
    """The card of a data set.

    Raises:
        BadData: no data set has that name.
    """
    if name not in cards():
        raise BadData(f"no data set is called {name!r}; there are {', '.join(cards())}")
    return cards()[name]


def _contacts(name: str, paths: Paths) -> FederatedData:
    return FederatedData(name, "crowding", load_federation(*paths.values()).sites)


def _exp34(name: str, paths: Paths) -> FederatedData:
    return exp34_sites(name, [read_scene(paths[file], scene) for scene, file in SCENE_FILES.items()])


def _nist(name: str, paths: Paths) -> FederatedData:
    return nist_sites(name, [read_stretch(paths[file], pi, cm / 100) for (pi, cm), file in STRETCH_FILES.items()])


_READERS: Mapping[str, Callable[[str, Paths], FederatedData]] = {"exp34": _exp34, "nist-pi": _nist}
