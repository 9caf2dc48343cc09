"""A forked process for work on records: whatever becomes of it, the trainer is as it was before.

The trainer decides what to refuse, and has never read a record. Work on records runs in a copy of it that can return an
answer and nothing else: it has no output but one pipe, and it is ended when its time is over.
"""

from __future__ import annotations

import gc
import io
import os
import select
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import msgspec

from edge.learning.protocol import Response, read_frame, write_frame

Job = Callable[[], tuple[Response, bytes]]
CHUNK_BYTES = 1 << 20
FIRST_TO_DIE = "1000"
"""Linux ends this process before the trainer when memory runs out."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a job.

    Attributes:
        answer: its response and bulk; None if it raised, died or took too long.
        trouble: what went wrong, for a technician: the type of an error and the place in the code, never its message,
            which may quote a record. It stays in the node's encrypted store.
        seconds: that it took.
    """

    answer: tuple[Response, memoryview] | None
    trouble: str = ""
    seconds: float = 0.0


def run_isolated(job: Job, seconds: float) -> Result:
    """Run a job in a forked process that has `seconds` for it."""
    started = time.monotonic()
    reading, writing = os.pipe()
    gc.freeze()  # what the two share stays shared
    child = os.fork()
    if child == 0:
        os.close(reading)
        _work(job, writing)
    os.close(writing)
    gc.unfreeze()
    try:
        written = _read_until(reading, started + seconds)
    finally:
        os.close(reading)
        _end(child)
    if written is None:
        return Result(None, f"not done after {seconds:g} s")
    try:
        frame = read_frame(io.BytesIO(written), Response)
    except (msgspec.DecodeError, MemoryError, OverflowError):  # the work wrote into the pipe by itself
        frame = None
    if frame is None:
        return Result(None, "the work's process died")
    response, bulk = frame
    took_s = time.monotonic() - started
    return Result(None, response.trouble, took_s) if response.trouble else Result((response, bulk), "", took_s)


def _work(job: Job, writing: int) -> NoReturn:
    """Be the forked process: never return into the trainer's own code."""
    status = 1
    try:
        mine = os.getpid()
        os.setsid()
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_DIE, "ascii")
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        os.closerange(3, writing)
        os.closerange(writing + 1, os.sysconf("SC_OPEN_MAX"))
        try:
            response, bulk = job()
        except BaseException as error:  # also SystemExit of somebody's task
            response, bulk = Response(trouble=_place(error)), b""
        if os.getpid() == mine:  # a task may have forked, and both come here
            with os.fdopen(writing, "wb") as stream:
                write_frame(stream, response, bulk)
            status = 0
    finally:
        os._exit(status)


def _place(error: BaseException) -> str:
    """An error's type and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno} in {frames[-1].name}" if frames else ""
    return f"{type(error).__name__}{place}"


def _read_until(reading: int, deadline: float) -> bytearray | None:
    """All that is written to a pipe until it is closed; None if it is not closed in time."""
    os.set_blocking(reading, False)
    written = bytearray()
    waiting = select.poll()
    waiting.register(reading, select.POLLIN)
    while (left_s := deadline - time.monotonic()) > 0:
        if not waiting.poll(left_s * 1000):
            break
        chunk = os.read(reading, CHUNK_BYTES)
        if not chunk:
            return written
        written += chunk
    return None


def _end(child: int) -> None:
    """End the process and those it started."""
    for kill in (os.killpg, os.kill):
        try:
            kill(child, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue
    os.waitpid(child, 0)
