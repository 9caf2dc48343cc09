"""One real sensing process, as the node starts it, under a load of made-up frames in real time."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.sensing.settings import GeneratorSection, Settings
from edge.settings_line import encode
from edge.store.database import Database
from simulations.benchmarks.procfs import PROC, peak_resident_bytes

WARM_UP_S = 50.0
"""After two windows, and before the first heartbeat that saves them: the shortest measurement has one save in it."""
DEVICE_BYTES = 512
"""What the generator itself needs for one made-up device; 436 bytes were measured with tracemalloc."""
LONGEST_S = 30.0


class SensingWentWrong(RuntimeError):
    """The process ended, or lost frames; the message says what it said last."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is on the air.

    Attributes:
        devices: in turn.
        frames_per_s: of all together.
        seconds: to measure, after the warm-up.
    """

    devices: int
    frames_per_s: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Needs:
    """What the process needed.

    Attributes:
        core_share: CPU time over wall time.
        peak_bytes: resident at most, since its start.
        own_bytes: the same without what the made-up devices need.
        heard: frames.
        stored: sightings in its store at the end.
    """

    core_share: float
    peak_bytes: int
    own_bytes: int
    heard: int
    stored: int


def listen(load: Load, folder: Path) -> Needs:
    """Start the process, let it warm up, measure, and stop it.

    Raises:
        SensingWentWrong: it ended before, heard less than the load, or dropped something.
    """
    database = Database(folder / f"{load.devices}.db", bytes(32))
    scanner = GeneratorSection(devices=load.devices, frames_per_s=load.frames_per_s)
    settings = Settings(database=str(database.path), key=database.key, scanner=scanner)
    process = subprocess.Popen([sys.executable, "-m", "edge.sensing"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    if process.stdin is None or process.stdout is None:
        raise SensingWentWrong("it has no pipes")
    try:
        process.stdin.write(encode(settings))
        process.stdin.close()
        if not select.select([process.stdout], [], [], LONGEST_S)[0]:
            raise SensingWentWrong(f"it said nothing for {LONGEST_S:g} s")
        time.sleep(WARM_UP_S)
        cpu_s, wall_s = _cpu_s(process.pid), time.monotonic()
        time.sleep(load.seconds)
        cpu_s, wall_s = _cpu_s(process.pid) - cpu_s, time.monotonic() - wall_s
        peak = peak_resident_bytes(process.pid)
        process.send_signal(signal.SIGTERM)
        process.wait(LONGEST_S)
        said = process.stdout.read()
    finally:
        process.kill()
        process.wait()
    last = msgspec.json.decode(said.splitlines()[-1], type=dict[str, str | int | float | None])
    heard, lost = int(last.get("frames") or 0), int(last.get("dropped") or 0) + int(last.get("over_capacity") or 0)
    if last["event"] != "stopped" or lost or heard < load.frames_per_s * (WARM_UP_S + load.seconds) * 0.98:
        raise SensingWentWrong(f"its last words are {last}")
    connection = database.connect()
    try:
        stored = int(connection.execute("SELECT count(*) FROM sightings").fetchone()[0])
    finally:
        connection.close()
    if stored == 0 or stored != last["stored"]:
        raise SensingWentWrong(f"it stored {last['stored']} sightings, its store has {stored}")
    return Needs(cpu_s / wall_s, peak, peak - load.devices * DEVICE_BYTES, heard, stored)


def _cpu_s(pid: int) -> float:
    """CPU time of a process so far, user and system, seconds."""
    try:
        fields = (PROC / str(pid) / "stat").read_text("ascii").rsplit(")", 1)[1].split()
    except OSError as why:
        raise SensingWentWrong("it ended before it was measured; run `python -m edge.sensing` by hand to see") from why
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
