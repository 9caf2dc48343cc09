"""Neighbouring stores: two logs of one site that differ in one slot, one person or one example, and in nothing else."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge.store.connection import Connection
from edge.store.database import Database
from edge.store.listening import Listening
from edge.store.sightings import Sighting, Sightings
from edge.store.slots import DAY_S, SLOT_S, WINDOW_S, WINDOWS_PER_SLOT

PEOPLE = 6
DAYS = 2
FIRST_SLOT, SLOTS = 16, 16
"""Of a day: the site is open from eight to four."""
CROWD = 220
"""People who are near for the whole of an extreme slot."""
NEAR_DBM = -55

Log = Mapping[int, Mapping[bytes, int]]
"""Slot to (identifier to number of windows in which it was near); a slot that is not there was not listened in."""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Two logs, and in words what differs."""

    name: str
    a: Log
    b: Log


def site_log(seed: int, now: float | None = None) -> dict[int, dict[bytes, int]]:
    """Return the log of a site over the last two whole days; the seed decides who was near and for how long."""
    rng = random.Random(seed)
    people = [rng.randbytes(16) for _ in range(PEOPLE)]
    first_day = int((time.time() if now is None else now) // DAY_S) - DAYS
    slots = [
        day * DAY_S // SLOT_S + slot
        for day in range(first_day, first_day + DAYS)
        for slot in range(FIRST_SLOT, FIRST_SLOT + SLOTS)
    ]
    return {slot: {person: rng.randrange(WINDOWS_PER_SLOT + 1) for person in people} for slot in slots}


def neighbours(seed: int, now: float | None = None) -> list[Neighbours]:
    """Return the pairs of logs that a task must not tell apart."""
    rng = random.Random(seed + 1)
    log = site_log(seed, now)
    slots = sorted(log)
    slot = slots[len(slots) // 2 + SLOTS // 4]
    person = sorted(log[slot])[0]
    crowd = {rng.randbytes(16): WINDOWS_PER_SLOT for _ in range(CROWD)}
    alone = {slot: log[slot] for slot in (slots[0], slots[1])}
    return [
        Neighbours("a slot holds something else", log, {**log, slot: {rng.randbytes(16): WINDOWS_PER_SLOT // 2}}),
        Neighbours("a slot is not there", log, {s: heard for s, heard in log.items() if s != slot}),
        Neighbours(
            "a person was never there",
            log,
            {s: {who: n for who, n in heard.items() if who != person} for s, heard in log.items()},
        ),
        Neighbours("one example, or none", alone, {slots[0]: log[slots[0]]}),
        Neighbours("a slot holds a crowd", log, {**log, slot: crowd}),
    ]


def minutes_of(log: Log) -> list[tuple[int, float]]:
    """Return (slot, close-contact person-minutes), in order: what task `crowding` reads of such a log."""
    return [(slot, sum(heard.values()) * WINDOW_S / 60.0) for slot, heard in sorted(log.items())]


def write_log(connection: Connection, log: Log) -> None:
    """Add a log to a store, as sensing would have at the end of each slot."""
    for slot, heard in sorted(log.items()):
        rows = [
            Sighting(who, slot * WINDOWS_PER_SLOT + window, 1, NEAR_DBM, NEAR_DBM**2, NEAR_DBM, NEAR_DBM)
            for who, windows in heard.items()
            for window in range(windows)
        ]
        until_s = (slot + 1) * SLOT_S
        Sightings(connection).add(rows, float(until_s))
        Listening(connection).add(slot * SLOT_S, until_s, float(until_s))


def make_store(path: Path, key: bytes, log: Log) -> Path:
    """Make an encrypted store with that log, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = Database(path, key).connect()
    write_log(connection, log)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    connection.close()
    return path
