"""The public data sets that experiments name, each split over sites as its card says."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from edge.sensing.contacts import SOURCE, BadContactFile
from simulations.datasets.federated import FederatedData
from simulations.datasets.sociopatterns import TooFewDays, load_federation

FOLDER_VARIABLE = "JAGA_DATA"

CONTACTS: dict[str, tuple[str, ...]] = {
    "lyon-school": ("primaryschool.csv",),
    "thiers-2011": ("highschool_2011.csv",),
    "thiers-2012": ("highschool_2012.csv",),
    "lyon-ward": ("hospital_lyon_contacts.dat",),
    "invs-workplace": ("tij_InVS.dat", "workplace_InVS_metadata.txt"),
}


class BadData(ValueError):
    """A data set cannot be used; the message names the file, its public source and what to do."""


def load(name: str, folder: Path | None = None) -> FederatedData:
    """One data set, read from `folder`, else from the folder that JAGA_DATA names, else from the user's cache.

    Raises:
        BadData: no data set has that name, or a file is missing or not what it should be.
    """
    if name not in CONTACTS:
        raise BadData(f"no data set is called {name!r}; there are {', '.join(CONTACTS)}")
    place = folder or Path(os.environ.get(FOLDER_VARIABLE) or platformdirs.user_cache_path("jaga"))
    paths = [_find(file, place) for file in CONTACTS[name]]
    try:
        whole = load_federation(*paths)
    except (BadContactFile, TooFewDays) as why:
        raise BadData(str(why)) from why
    return FederatedData(name, "crowding", whole.sites)


def _find(file: str, folder: Path) -> Path:
    for found in (folder / file, *sorted(folder.glob(f"*/{file}"))):
        if found.is_file():
            return found
    raise BadData(f"{file} is neither in {folder} nor in a folder inside it: {SOURCE}; put the file there")
