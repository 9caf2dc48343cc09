"""What the sensing process is told: one line of JSON on its standard input, where no other user can read the key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from edge.sensing.contacts import stream_contacts
from edge.sensing.logbook import CAPACITY
from edge.sensing.replay import ReplayScanner
from edge.sensing.scanner import Scanner
from edge.store.database import KEY_BYTES, Database


class BadSettings(ValueError):
    """The settings cannot be read; the message names the field, never its value."""


class ReplaySection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="replay", tag_field="kind"):
    """A replay of recorded contacts; the fields are those of `ReplayScanner` and `stream_contacts`."""

    contacts: str
    zone: str
    seed: int
    metadata: str | None = None
    until_s: float | None = None
    speed: float | None = None

    def open(self, since_s: float | None, sleep: Callable[[float], None]) -> Scanner:
        """The scanner, which begins at `since_s`.

        Raises:
            BadContactFile, UnknownZone, ValueError: see there.
        """
        return ReplayScanner(
            stream_contacts(Path(self.contacts), None if self.metadata is None else Path(self.metadata)),
            self.zone,
            self.seed,
            self.until_s,
            self.speed,
            since_s=since_s,
            sleep=sleep,
        )


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the sensing process.

    Attributes:
        database: path of the node's store.
        key: its key, 64 hexadecimal digits.
        scanner: what to listen to, by its `kind`.
        save_every_s: longest time between two writes, and between two tries while the disk takes nothing, seconds.
        save_rows: write earlier where this many sightings are unsaved.
        capacity: unsaved sightings kept at most.
    """

    database: str
    key: str
    scanner: ReplaySection
    save_every_s: float = 10.0
    save_rows: int = 5_000
    capacity: int = CAPACITY

    def __post_init__(self) -> None:
        try:
            right = len(bytes.fromhex(self.key)) == KEY_BYTES
        except ValueError:
            right = False
        if not right:
            raise ValueError(f"key is not {2 * KEY_BYTES} hexadecimal digits")
        if self.save_every_s <= 0 or self.save_rows < 1 or self.capacity < 1:
            raise ValueError("save_every_s, save_rows and capacity are positive")

    def store(self) -> Database:
        return Database(Path(self.database), bytes.fromhex(self.key))


def read_settings(line: str | bytes) -> Settings:
    """Settings from JSON.

    Raises:
        BadSettings: says which field is wrong.
    """
    try:
        return msgspec.json.decode(line, type=Settings)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadSettings(f"settings of the sensing process: {error}") from error
