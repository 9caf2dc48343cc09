"""What is known of each public data set: cards, as data, in `cards.toml` beside this module."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec

CARDS_FILE = Path(__file__).with_name("cards.toml")


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file of a data set.

    Attributes:
        name: as it is looked for and read.
        sha256: of the file as it is read, hexadecimal.
        published: name where it is published, where that is another: `.gz`, or `.zip` with this one file in it.
    """

    name: str
    sha256: str
    published: str = ""

    def __post_init__(self) -> None:
        if not self.name or Path(self.name).name != self.name:
            raise ValueError(f"{self.name!r} is not the name of a file")
        if not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError(f"{self.name}: {self.sha256!r} is not a SHA-256 of 64 hexadecimal digits")
        if self.published and not self.published.endswith((".gz", ".zip")):
            raise ValueError(f"{self.name}: {self.published!r} is neither .gz nor .zip")

    @property
    def unpacked(self) -> str:
        """For a sentence that says where to put what was downloaded by hand."""
        return f", unpacked as {self.name}," if self.published else ""


@dataclass(frozen=True, slots=True)
class DataCard:
    """What a data set is, where it is from, and what can and cannot be learnt from it.

    Attributes:
        title, what: in a line; in sentences.
        task: that its records are for.
        rows, people: of the published files, and in them (0: nobody).
        node: who is a node.
        sites, training, held_out: nodes, and their examples to learn from and to be judged on.
        split: what is held out, and why nothing of it is learnt from.
        answers, does_not_answer: which questions.
        source, commit: where it is published, for people; the state that the checksums are of.
        address: what the URL of each file begins with.
        licence, citation: under which terms, and what a paper must cite.
        files: all of them are needed.
        notes: what a careful reader of the files will stumble over.
    """

    title: str
    task: str
    what: str
    rows: int
    people: int
    node: str
    sites: int
    training: int
    held_out: int
    split: str
    answers: str
    does_not_answer: str
    source: str
    commit: str
    address: str
    licence: str
    citation: str
    files: tuple[DataFile, ...]
    notes: str = ""

    def __post_init__(self) -> None:
        if not self.files:
            raise ValueError(f"{self.title}: no file is named")
        if not self.address.startswith(("https://", "http://")):
            raise ValueError(f"{self.title}: address {self.address!r} is not one to download from")

    def url(self, file: DataFile) -> str:
        """Where a file is downloaded from."""
        return f"{self.address}/{file.published or file.name}"


@cache
def cards() -> Mapping[str, DataCard]:
    """The card of each data set, by the name that experiments use."""
    return msgspec.convert(tomllib.loads(CARDS_FILE.read_text("utf-8")), dict[str, DataCard])
