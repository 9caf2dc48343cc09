"""Where the files of a data set are, whether they are as published, and how they come here.

Nothing is downloaded unless somebody asks for it: `find` looks, `fetch` downloads.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from simulations.datasets.card import DataCard, DataFile

FOLDER_VARIABLE = "JAGA_DATA"


class BadData(ValueError):
    """A data set cannot be used; the message names the file, its public source and what to do."""


class UnverifiedData(UserWarning):
    """A file is not as published, and is read because somebody said so."""


class State(StrEnum):
    """What is known of a file."""

    AS_PUBLISHED = "as published"
    ANOTHER = "another checksum"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Found:
    """One file that was looked for.

    Attributes:
        path: of the file; of where it would go, where it is missing.
    """

    file: DataFile
    state: State
    path: Path


def data_folder(folder: Path | None = None) -> Path:
    """Where data are looked for and downloaded to: `folder`, else what JAGA_DATA names, else the user's cache."""
    if folder is not None:
        return folder
    if named := os.environ.get(FOLDER_VARIABLE):
        return Path(named)
    import pooch  # noqa: PLC0415  (a third of a second)

    return Path(pooch.os_cache("jaga"))


def look(name: str, card: DataCard, folder: Path | None = None) -> Iterator[Found]:
    """Look for each file of a data set by its name, in the folder and in its subfolders, one level down.

    Of several with one name the first that is as published counts, else the first.
    """
    place = data_folder(folder)
    for file in card.files:
        paths = [path for path in (place / file.name, *sorted(place.glob(f"*/{file.name}"))) if path.is_file()]
        whole = [path for path in paths if _sha256(name, card, path) == file.sha256]
        if whole:
            yield Found(file, State.AS_PUBLISHED, whole[0])
        elif paths:
            yield Found(file, State.ANOTHER, paths[0])
        else:
            yield Found(file, State.MISSING, place / name / file.name)


def find(name: str, card: DataCard, folder: Path | None = None, *, unverified: bool = False) -> dict[str, Path]:
    """Paths of all files of a data set, by their names.

    Args:
        unverified: warn of a file that is not as published, instead of refusing it.

    Raises:
        BadData: a file is missing or is not as published.
    """
    paths: dict[str, Path] = {}
    for found in look(name, card, folder):
        if found.state is State.MISSING:
            raise BadData(
                f"{name}: {found.file.name} is neither in {data_folder(folder)} nor in a folder in it. Fetch it with "
                f"`jaga-sim data fetch {name}`, or get it from {card.url(found.file)} and put it{found.file.unpacked} "
                "there, or name the folder where it is"
            )
        if found.state is State.ANOTHER:
            if not unverified:
                raise BadData(
                    f"{name}: {found.path} is not as published at {card.source}, commit {card.commit}: its SHA-256 is "
                    f"another. Move it away and fetch it with `jaga-sim data fetch {name}`, or allow it unverified"
                )
            warnings.warn(
                f"{name}: {found.path} is not as published at {card.source}; figures are not comparable",
                UnverifiedData,
                stacklevel=2,
            )
        paths[found.file.name] = found.path
    return paths


def _sha256(name: str, card: DataCard, path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as why:
        raise BadData(
            f"{name}: {path} cannot be read ({why.strerror}); mend it, or get it again from {card.source}"
        ) from why
