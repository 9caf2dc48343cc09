"""From a radio's frames to the store: how many a core takes, and what the sensing process needs while it listens."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from edge.sensing.advertisement import Advertisement, RadioFrame
from edge.sensing.formats import bluetrace, gaen, ibeacon, tag
from edge.sensing.formats.ad import join
from edge.sensing.formats.ibeacon import IBeacon
from edge.sensing.hearing import Counts, decode
from edge.sensing.sightings import IDENTIFIERS_A_WINDOW, Folding, Sighting
from edge.store.database import Database
from edge.store.day_keys import DayKey
from edge.store.sightings import Sightings
from edge.store.slots import WINDOW_S
from privacy.identity.secret import Secret
from simulations.benchmarks.sensing_process import Load, Needs, listen
from simulations.benchmarks.table import Column, Outcome, Target

FRAMES_A_SECOND = 100_000
SUSTAINED_FRAMES_A_SECOND = 5_000
CORE_SHARE, RESIDENT_MB = 0.10, 45.0

COLUMNS = (
    Column("what", "what"),
    Column("frames_per_s", "frames/s"),
    Column("us_a_frame", "µs/frame", ".2f"),
    Column("sightings", "sightings"),
    Column("core_percent", "% core", ".1f"),
    Column("resident_bytes", "MB", ".1f", 1e6),
)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class SensingSettings:
    """How long to measure.

    Attributes:
        frames: of each mix, decoded and folded in one turn.
        turns: of each mix; the median counts.
        seconds: the sensing process listens, after it has warmed up.
    """

    frames: int = 200_000
    turns: int = 5
    seconds: float = 60.0


def mixes(frames: int) -> dict[str, Sequence[RadioFrame]]:
    """What may be on the air.

    Each payload is a new object, as it is from a radio.
    """
    random = Random(1)

    def phones(count: int) -> list[bytes]:
        return [gaen.encode(random.randbytes(16), random.randbytes(4)) for _ in range(count)]

    def tags(count: int) -> list[bytes]:
        return [tag.encode(random.randbytes(16), random.randbytes(4)) for _ in range(count)]

    def others(count: int) -> list[bytes]:
        beacons = [ibeacon.encode(IBeacon(random.randbytes(16), n, n, -59)) for n in range(count // 4)]
        watches = [join((0x01, b"\x1a"), (0xFF, b"\x4c\x00\x10" + random.randbytes(8))) for _ in range(count // 2)]
        return beacons + watches + [join((0x07, bluetrace.SERVICE))] * (count - len(beacons) - len(watches))

    def heard(payloads: Sequence[bytes], frames_a_second: float) -> list[RadioFrame]:
        return [
            RadioFrame(bytes(bytearray(payloads[n % len(payloads)])), n / frames_a_second, random.randrange(-95, -40))
            for n in range(frames)
        ]

    return {
        "500 phones": heard(phones(500), 5000),
        "half no tokens": heard([*phones(150), *tags(100), *others(250)], 5000),
        "10,000 phones": heard(phones(10_000), 10_000),
        # As many as a window takes: beyond, frames are dropped, which costs less.
        "all new": heard(phones(frames), IDENTIFIERS_A_WINDOW / WINDOW_S),
    }


def throughput(heard: Sequence[RadioFrame], turns: int) -> tuple[float, int]:
    """Seconds of CPU a frame through decoding and folding, the median of the turns; and how many sightings it made."""
    seconds = []
    sightings = 0
    for _ in range(turns):
        counts, folding, sightings = Counts(), Folding(), 0
        started = time.process_time()
        for one in decode(heard, counts, None):
            if isinstance(one, Advertisement):
                sightings += len(folding.add(one))
        sightings += len(folding.rest())
        seconds.append((time.process_time() - started) / len(heard))
        if counts.frames != len(heard) or folding.over_capacity:
            raise RuntimeError(f"{counts.frames} of {len(heard)} frames were heard, {folding.over_capacity} dropped")
    return statistics.median(seconds), sightings


def storing(folder: Path, rows: int, turns: int) -> tuple[float, float]:
    """Seconds of CPU a sighting to store it, and of these to seal it; medians of the turns."""
    random = Random(2)
    stored, sealed = [], []
    database = Database(folder / "store.db", bytes(32))
    connection = database.connect()
    try:
        for turn in range(turns):
            batch = [
                Sighting(random.randbytes(16), turn, 10, -600, 36_000, -60, -60, random.randbytes(4))
                for _ in range(rows)
            ]
            started = time.process_time()
            Sightings(connection).add(batch, logged_at=0.0)
            stored.append((time.process_time() - started) / rows)
            identifiers, metadata = b"".join(s.identifier for s in batch), b"".join(s.metadata for s in batch)
            started = time.process_time()
            key = DayKey(Secret(bytes(32)))
            key.seal(identifiers)
            key.mask(identifiers, metadata)
            sealed.append((time.process_time() - started) / rows)
    finally:
        connection.close()
    return statistics.median(stored), statistics.median(sealed)


def run_sensing(settings: SensingSettings, folder: Path, say: Say) -> Outcome:
    """Measure.

    Raises:
        SensingWentWrong: the process ended, or lost frames.
    """
    rows: list[dict[str, object]] = []
    targets = []
    for what, heard in _each_mix(settings.frames):
        say(f"{what}: {settings.turns} turns of {settings.frames:,} frames")
        seconds, sightings = throughput(heard, settings.turns)
        rows.append(_row(what, us_a_frame=seconds * 1e6, frames_per_s=1 / seconds, sightings=sightings))
        targets.append(Target(f"decode and fold: {what}", seconds * 1e6, 1e6 / FRAMES_A_SECOND, "µs a frame"))
    for what, load in (
        ("process: 500", Load(500, SUSTAINED_FRAMES_A_SECOND, settings.seconds)),
        ("process: 10,000", Load(10_000, SUSTAINED_FRAMES_A_SECOND, settings.seconds)),
    ):
        say(f"{what}: {SUSTAINED_FRAMES_A_SECOND:,} frames a second for {settings.seconds:g} s into a real store")
        needs = listen(load, folder)
        rows.append(
            _row(what, sightings=needs.stored, core_percent=100 * needs.core_share, resident_bytes=needs.peak_bytes)
        )
        targets.append(Target(f"{what}: one core", 100 * needs.core_share, 100 * CORE_SHARE, "%"))
        targets.append(_memory(what, needs))
    say("storing 10,000 sightings a turn")
    stored, sealed = storing(folder, 10_000, settings.turns)
    return Outcome(
        "sensing",
        COLUMNS,
        rows,
        targets,
        setting={"python": platform.python_version(), "machine": platform.machine(), "turns": settings.turns},
        notes=(
            f"To store a sighting takes {stored * 1e6:.1f} µs of CPU, {sealed * 1e6:.2f} of it ({sealed / stored:.0%}) "
            "to seal its identifier and mask its metadata.",
            "The sensing process makes its own frames here (scanner `generator`): part of its time, and of its memory "
            "about 0.5 KB a device.",
            "The first four rows: decoding and folding on one core, in seconds of CPU time. Phones show an identifier "
            "and repeat it, 10 frames a second each (the 10,000: one); `all new` repeats none. The last two: the real "
            "process at 5,000 frames a second in real time, MB resident at most.",
        ),
    )


def _each_mix(frames: int) -> Iterator[tuple[str, Sequence[RadioFrame]]]:
    yield from mixes(frames).items()


def _memory(what: str, needs: Needs) -> Target:
    return Target(f"{what}: memory, without its made-up devices", needs.own_bytes / 1e6, RESIDENT_MB, "MB")


def _row(what: str, **figures: float) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(column.key for column in COLUMNS)
    return row | {"what": what} | figures
