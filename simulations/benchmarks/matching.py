"""`jaga-sim bench matching`: published keys against stored sightings, beside the key derivations alone.

Every sighting has an identifier of its own, which no node sees and which is the hardest case: what is heard in a real
room repeats for ten minutes. Some are planted: heard in time, replayed at another time, relayed to another room. A run
that does not find exactly those is no measurement.
"""

from __future__ import annotations

import gc
import os
import platform
import time
import tracemalloc
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from statistics import median

import numpy as np

from edge.store.sighting import SightingColumns
from edge.store.slots import DAY_S, WINDOW_S
from edge.tracing.matching import Counts, match
from edge.tracing.rooms import Receiver, Rooms
from privacy.tokens.gaen import (
    DAY_INTERVALS,
    IDENTIFIER_BYTES,
    INTERVAL_S,
    KEY_BYTES,
    METADATA_BYTES,
    Metadata,
    TemporaryExposureKey,
    encrypt_metadata,
    identifier,
    identifiers,
)
from simulations.benchmarks.table import Column, Outcome, Target

TIMES_DERIVATIONS = 2.0
MEMORY = 100e6
MANY_KEYS = 100_000
"""From here on time is judged: of few keys, planted ones are so large a share that they take the time."""

FIRST_DAY = 20_000
ROOMS = Rooms.of([Receiver(0, "hall"), Receiver(1, "ward")], home="hall")
TX_POWER_DBM = -12

COLUMNS = (
    Column("keys", "keys"),
    Column("identifiers", "ids M", ".2f", 1e6),
    Column("sightings", "sightings"),
    Column("derivations", "derive s", ".2f"),
    Column("matching", "match s", ".2f"),
    Column("ratio", "ratio", ".2f"),
    Column("nanoseconds", "ns/id", ".0f"),
    Column("memory", "MB", ",.0f", 1e6),
    Column("matched", "found"),
    Column("replayed", "replay"),
    Column("relayed", "relay"),
)
NOTES = (
    "derive: HKDF-SHA256 and AES-128 of all identifiers, alone; match: with them. CPU seconds, medians of "
    "runs that took turns.",
    "MB: the most that matching allocated beyond its keys and sightings, in a run of its own.",
    "Every sighting has an identifier of its own. Planted ones were found, all and no others.",
)


class NotWhatWasPlanted(RuntimeError):
    """Matching found something else than was there to find; its time means nothing."""


@dataclass(frozen=True, slots=True)
class MatchingSettings:
    """What to measure.

    Attributes:
        people: diagnosed, each with a key a day.
        sightings: stored, over all days.
        planted: of each kind (matched, replayed, relayed).
        repeats: of derivations and matching, in turns.
    """

    people: int = 10_000
    days: int = 14
    sightings: int = 1_000_000
    planted: int = 1000
    repeats: int = 5
    seed: int = 1

    def __post_init__(self) -> None:
        if min(self.people, self.repeats, self.planted) < 1 or self.days < 2:
            raise ValueError("nothing to measure: people, planted and repeats are 1 or more, days 2 or more")
        if self.sightings < 8 * self.planted or self.people * self.days * DAY_INTERVALS < 3 * self.planted:
            raise ValueError(f"too few sightings or keys for {self.planted} planted of each kind")


@dataclass(frozen=True, slots=True)
class MatchingWorld:
    """Published keys, what a node stored, and what is to be found in it."""

    keys: Sequence[TemporaryExposureKey]
    days: dict[int, SightingColumns]
    planted: Counts

    @classmethod
    def of(cls, settings: MatchingSettings) -> MatchingWorld:
        rng = np.random.default_rng(settings.seed)
        days = range(FIRST_DAY, FIRST_DAY + settings.days)
        keys = [
            TemporaryExposureKey(rng.bytes(KEY_BYTES), day * DAY_INTERVALS)
            for _ in range(settings.people)
            for day in days
        ]
        planted: dict[int, list[tuple[bytes, bytes, int, int]]] = {day: [] for day in days}
        chosen = rng.choice(len(keys) * DAY_INTERVALS, size=(3, settings.planted), replace=False)
        for kind, places in zip(("matched", "replayed", "relayed"), chosen.tolist(), strict=True):
            for at in places:
                key = keys[at // DAY_INTERVALS]
                interval = key.rolling_start + at % DAY_INTERVALS
                heard = identifier(key, interval)
                metadata = encrypt_metadata(key, heard, Metadata(TX_POWER_DBM))
                day, window = key.rolling_start // DAY_INTERVALS, interval * INTERVAL_S // WINDOW_S + at % 30
                if kind == "replayed":
                    other = day + 1 if day + 1 in planted else day - 1
                    day, window = other, window + (other - day) * (DAY_S // WINDOW_S)
                for receiver in (0, 1) if kind == "relayed" else (at % 2,):
                    planted[day].append((heard, metadata, window, receiver))
        each = settings.sightings // settings.days
        columns = {day: _columns(day, rows, max(each - len(rows), 0), rng) for day, rows in planted.items()}
        return cls(keys, columns, Counts(settings.planted, settings.planted, 2 * settings.planted))


@dataclass(frozen=True, slots=True)
class MatchingMeasurement:
    """One run.

    Attributes:
        derivations: CPU seconds of each repeat.
        matching: the same.
        memory: most bytes allocated beyond the input.
    """

    keys: int
    identifiers: int
    sightings: int
    derivations: tuple[float, ...]
    matching: tuple[float, ...]
    memory: int
    found: Counts

    @property
    def ratio(self) -> float:
        """Matching over derivations, of the medians."""
        return median(self.matching) / median(self.derivations)


def measure(settings: MatchingSettings, tell: Callable[[str], None] = lambda _: None) -> MatchingMeasurement:
    """Make a world, and take turns at deriving and matching.

    Raises:
        NotWhatWasPlanted: it found something else.
    """
    tell(f"making {settings.people * settings.days:,} keys and {settings.sightings:,} sightings")
    world = MatchingWorld.of(settings)
    derivations, matching = [], []
    for turn in range(settings.repeats):
        tell(f"turn {turn + 1} of {settings.repeats}")
        derivations.append(_cpu_s(lambda: _derive(world.keys)))
        matching.append(_cpu_s(lambda: _match(world)))
    tell("once more, for its memory")
    gc.collect()
    tracemalloc.start()
    found = _match(world)
    memory = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return MatchingMeasurement(
        len(world.keys),
        sum(key.rolling_period for key in world.keys),
        sum(map(len, world.days.values())),
        tuple(derivations),
        tuple(matching),
        memory,
        found,
    )


def run_matching(settings: MatchingSettings, tell: Callable[[str], None] = lambda _: None) -> Outcome:
    """Measure, and hold it against the targets.

    Raises:
        NotWhatWasPlanted: it found something else than was there.
    """
    return outcome(measure(settings, tell))


def outcome(one: MatchingMeasurement) -> Outcome:
    """The table and the verdicts."""
    return Outcome(
        name="bench matching",
        columns=COLUMNS,
        rows=[
            {
                "keys": one.keys,
                "identifiers": one.identifiers,
                "sightings": one.sightings,
                "derivations": median(one.derivations),
                "matching": median(one.matching),
                "ratio": one.ratio,
                "nanoseconds": median(one.matching) / one.identifiers * 1e9,
                "memory": one.memory,
                "matched": one.found.matched,
                "replayed": one.found.replayed,
                "relayed": one.found.relayed,
                "all_derivations": list(one.derivations),
                "all_matching": list(one.matching),
            }
        ],
        targets=[
            *(
                [Target("matching, in derivations alone", one.ratio, TIMES_DERIVATIONS, "x")]
                if one.keys >= MANY_KEYS
                else []
            ),
            Target("memory beyond keys and sightings", one.memory / 1e6, MEMORY / 1e6, "MB"),
        ],
        setting={
            "cores": os.cpu_count(),
            "machine": platform.machine(),
            "cryptography": version("cryptography"),
            "numpy": version("numpy"),
            "load": round(os.getloadavg()[0], 1),
        },
        notes=NOTES,
    )


def _derive(keys: Sequence[TemporaryExposureKey]) -> None:
    for key in keys:
        identifiers(key)


def _match(world: MatchingWorld) -> Counts:
    found = sum((one.counts for one in match(world.keys, list(world.days), world.days.__getitem__, ROOMS)), Counts())
    if found != world.planted:
        raise NotWhatWasPlanted(f"planted {world.planted}, found {found}")
    return found


def _cpu_s(work: Callable[[], object]) -> float:
    gc.collect()
    began = time.process_time()
    work()
    return time.process_time() - began


def _columns(
    day: int, planted: Sequence[tuple[bytes, bytes, int, int]], strangers: int, rng: np.random.Generator
) -> SightingColumns:
    """Planted sightings among strangers', in the order of their windows, as the store gives them."""
    first, a_day = day * (DAY_S // WINDOW_S), DAY_S // WINDOW_S
    windows = np.concatenate(
        [np.array([row[2] for row in planted], np.int64), first + rng.integers(a_day, size=strangers)]
    )
    order = np.argsort(windows, kind="stable")
    seen = np.frombuffer(b"".join(row[0] for row in planted) + rng.bytes(IDENTIFIER_BYTES * strangers), np.uint8)
    said = np.frombuffer(b"".join(row[1] for row in planted) + rng.bytes(METADATA_BYTES * strangers), np.uint8)
    at = np.concatenate([np.array([row[3] for row in planted], np.uint8), rng.integers(2, size=strangers)])
    rssi = rng.integers(-95, -45, size=len(windows))
    return SightingColumns(
        seen.reshape(-1, IDENTIFIER_BYTES)[order].tobytes(),
        said.reshape(-1, METADATA_BYTES)[order].tobytes(),
        array("q", windows[order].tobytes()),
        array("B", at.astype(np.uint8)[order].tobytes()),
        array("q", np.ones(len(windows), np.int64).tobytes()),
        array("q", rssi.tobytes()),
        array("q", (rssi * rssi).tobytes()),
        array("b", rssi.astype(np.int8).tobytes()),
        array("b", rssi.astype(np.int8).tobytes()),
    )
