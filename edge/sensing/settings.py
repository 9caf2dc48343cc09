"""What the sensing process is told: one line of JSON on its standard input, where no other user can read the key.

A scanner's own module is imported when it is opened, so that a node holds in memory what it uses.
"""
# ruff: noqa: PLC0415

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import msgspec

from edge.sensing.logbook import CAPACITY
from edge.sensing.scanner import OnTrouble, Scanner, Sleep
from edge.sensing.sightings import IDENTIFIERS_A_WINDOW
from edge.settings_line import check_store_key, decode
from edge.store.database import Database
from privacy.identity.secret import Secret


class BadSettings(ValueError):
    """The settings cannot be read; the message names the field, never its value."""


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", kw_only=True):
    """A scanner, by its `kind`."""

    def open(self, since_s: float | None, sleep: Sleep, on_trouble: OnTrouble) -> Scanner:
        """The scanner.

        Args:
            since_s: a recording begins there.
            sleep: waits; true where a stop is asked for.
            on_trouble: told what happens to adapters.

        Raises:
            ValueError: it cannot be opened; the message says why.
        """
        raise NotImplementedError


class BluepySection(_Section, frozen=True, tag="bluepy"):
    """A radio, through bluepy's helper: passive scanning without a daemon.

    Attributes:
        adapters: the position of an adapter is its receiver number.
        helper: another bluepy-helper than the installed one.
        sysfs: where the kernel lists adapters.
    """

    adapters: tuple[str, ...] = ("hci0",)
    helper: str | None = None
    sysfs: str = "/sys/class/bluetooth"

    def open(self, since_s: float | None, sleep: Sleep, on_trouble: OnTrouble) -> Scanner:
        from edge.sensing.clock import Clock
        from edge.sensing.hearing import Counts
        from edge.sensing.scanners.bluepy import BluepyEar
        from edge.sensing.scanners.radio import RadioScanner

        counts = Counts()
        helper = None if self.helper is None else Path(self.helper)
        ears = [BluepyEar(name, counts, executable=helper, sysfs=Path(self.sysfs)) for name in self.adapters]
        return RadioScanner(ears, counts, Clock(), sleep=sleep, on_trouble=on_trouble)


class BleakSection(_Section, frozen=True, tag="bleak"):
    """A radio, through BlueZ.

    Attributes:
        adapters: the position of an adapter is its receiver number.
    """

    adapters: tuple[str, ...] = ("hci0",)

    def open(self, since_s: float | None, sleep: Sleep, on_trouble: OnTrouble) -> Scanner:
        from edge.sensing.clock import Clock
        from edge.sensing.hearing import Counts
        from edge.sensing.scanners.bleak import BleakEar
        from edge.sensing.scanners.radio import RadioScanner

        ears = [BleakEar(name, on_trouble) for name in self.adapters]
        return RadioScanner(ears, Counts(), Clock(), sleep=sleep, on_trouble=on_trouble)


class ReplaySection(_Section, frozen=True, tag="replay"):
    """Recorded contacts; the fields are those of `ReplayScanner` and `stream_contacts`."""

    contacts: str
    zone: str
    seed: int
    metadata: str | None = None
    until_s: float | None = None
    speed: float | None = None

    def open(self, since_s: float | None, sleep: Sleep, on_trouble: OnTrouble) -> Scanner:
        """See `_Section`.

        Raises:
            BadContactFile, UnknownZone, ValueError: see there.
        """
        from edge.sensing.contacts import stream_contacts
        from edge.sensing.replay import ReplayScanner

        return ReplayScanner(
            stream_contacts(Path(self.contacts), None if self.metadata is None else Path(self.metadata)),
            self.zone,
            self.seed,
            self.until_s,
            self.speed,
            since_s=since_s,
            sleep=sleep,
        )


class CaptureSection(_Section, frozen=True, tag="btsnoop"):
    """A raw capture of a controller: a btsnoop file."""

    capture: str
    until_s: float | None = None
    speed: float | None = None

    def open(self, since_s: float | None, sleep: Sleep, on_trouble: OnTrouble) -> Scanner:
        from edge.sensing.hearing import Counts
        from edge.sensing.scanners.btsnoop import capture
        from edge.sensing.scanners.recording import Recording

        frames = partial(capture, Path(self.capture), counts := Counts())
        return Recording(frames, counts, since_s=since_s, until_s=self.until_s, speed=self.speed, sleep=sleep)


class Exp34Section(_Section, frozen=True, tag="exp34"):
    """DP-3T's measurements between phones; one phone is the node."""

    measurements: str
    receiver: str
    seed: int = 0
    until_s: float | None = None
    speed: float | None = None

    def open(self, since_s: float | None, sleep: Sleep, on_trouble: OnTrouble) -> Scanner:
        from edge.sensing.scanners.exp34 import exp34
        from edge.sensing.scanners.recording import Recording

        frames = partial(exp34, Path(self.measurements), self.receiver, self.seed)
        return Recording(frames, since_s=since_s, until_s=self.until_s, speed=self.speed, sleep=sleep)


class NistSection(_Section, frozen=True, tag="nist"):
    """NIST's measurements between two Raspberry Pi."""

    measurements: str
    until_s: float | None = None
    speed: float | None = None

    def open(self, since_s: float | None, sleep: Sleep, on_trouble: OnTrouble) -> Scanner:
        from edge.sensing.hearing import Counts
        from edge.sensing.scanners.nist import nist
        from edge.sensing.scanners.recording import Recording

        frames = partial(nist, Path(self.measurements), counts := Counts())
        return Recording(frames, counts, since_s=since_s, until_s=self.until_s, speed=self.speed, sleep=sleep)


class GeneratorSection(_Section, frozen=True, tag="generator"):
    """Made-up devices; the fields are those of `generated`.

    Attributes:
        from_s: None is now: a drill.
        speed: 1 is as the clock goes, None as fast as possible.
    """

    devices: int
    frames_per_s: float
    seed: int = 0
    shown_as: str = "gaen"
    from_s: float | None = None
    seconds: float | None = None
    speed: float | None = 1.0

    def open(self, since_s: float | None, sleep: Sleep, on_trouble: OnTrouble) -> Scanner:
        from edge.sensing.scanners.generator import generated
        from edge.sensing.scanners.recording import Recording

        if self.shown_as not in ("gaen", "tag"):
            raise ValueError(f"shown_as {self.shown_as!r} is neither gaen nor tag")
        frames = partial(
            generated,
            self.devices,
            self.frames_per_s,
            self.seed,
            shown_as="gaen" if self.shown_as == "gaen" else "tag",
            from_s=time.time() if self.from_s is None else self.from_s,
            seconds=self.seconds,
        )
        # A drill starts anew at each start of the process; a generated recording goes on.
        return Recording(frames, since_s=since_s if self.from_s is not None else None, speed=self.speed, sleep=sleep)


ScannerSection = (
    BluepySection | BleakSection | ReplaySection | CaptureSection | Exp34Section | NistSection | GeneratorSection
)


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the sensing process.

    Attributes:
        database: path of the node's store.
        key: its key.
        scanner: what to listen to, by its `kind`.
        save_every_s: longest time between two writes, and between two tries while the disk takes nothing, seconds.
        save_rows: write earlier where this many sightings are unsaved.
        capacity: unsaved sightings kept at most.
        identifiers_a_window: sightings kept in one window at most.
    """

    database: str
    key: Secret
    scanner: ScannerSection
    save_every_s: float = 10.0
    save_rows: int = 5_000
    capacity: int = CAPACITY
    identifiers_a_window: int = IDENTIFIERS_A_WINDOW

    def __post_init__(self) -> None:
        check_store_key(self.key)
        if self.save_every_s <= 0 or min(self.save_rows, self.capacity, self.identifiers_a_window) < 1:
            raise ValueError("save_every_s, save_rows, capacity and identifiers_a_window are positive")

    def store(self) -> Database:
        return Database(Path(self.database), self.key)


def read_settings(line: str | bytes) -> Settings:
    """Settings from JSON.

    Raises:
        BadSettings: says which field is wrong.
    """
    try:
        return decode(line, Settings)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadSettings(f"settings of the sensing process: {error}") from error
