"""Listening for a while, when asked: to a radio that goes on meanwhile, or to a recording that waits."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Protocol

from edge.sensing.advertisement import Advertisement, Heard
from edge.sensing.scanner import Scanner, Sleep

TICK_S = 0.5
"""A radio that hears nothing says so this often, seconds."""

JOIN_S = 10.0


class NothingLeft(ValueError):
    """The recording is at its end."""


class Ear(Protocol):
    """Something to listen with."""

    def listen(self, seconds: float) -> Iterator[tuple[float, Advertisement | None]]:
        """What is heard from now on for so many seconds: (seconds since the beginning, frame).

        Without a frame for a while None is given, so that time passes on screen where nothing is heard.
        """
        ...


class RecordedEar:
    """Listens to a recording: each turn begins where the last one ended, on the recording's own time line."""

    def __init__(self, scanner: Iterable[Heard]) -> None:
        self._heard = iter(scanner)
        self._next: Advertisement | None = None

    def listen(self, seconds: float) -> Iterator[tuple[float, Advertisement | None]]:
        """See `Ear`.

        Raises:
            NothingLeft: there is no frame any more.
        """
        first = self._frame()
        if first is None:
            raise NothingLeft(
                "the recording is at its end: give a longer one / rekaman sudah habis: pakai yang lebih panjang"
            )
        frame: Advertisement | None = first
        while frame is not None and frame.heard_at_s - first.heard_at_s < seconds:
            yield frame.heard_at_s - first.heard_at_s, frame
            frame = self._frame()
        self._next = frame

    def _frame(self) -> Advertisement | None:
        if self._next is not None:
            frame, self._next = self._next, None
            return frame
        return next((heard for heard in self._heard if isinstance(heard, Advertisement)), None)


class LiveEar:
    """Listens to a radio, in a thread of its own. What comes while nobody listens is dropped.

    Args:
        open_scanner: makes the scanner; it is given a sleep that is true once listening is to end.
    """

    def __init__(self, open_scanner: Callable[[Sleep], Scanner]) -> None:
        self._stopping = threading.Event()
        self._wanted = threading.Event()
        self._frames: queue.SimpleQueue[Advertisement] = queue.SimpleQueue()
        self._failure: BaseException | None = None
        self._scanner = open_scanner(self._stopping.wait)
        self._thread = threading.Thread(target=self._scan, name="calibration", daemon=True)

    def __enter__(self) -> LiveEar:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join(JOIN_S)

    def listen(self, seconds: float) -> Iterator[tuple[float, Advertisement | None]]:
        """See `Ear`. What made the scanner end is raised here."""
        while not self._frames.empty():
            self._frames.get_nowait()
        started = time.monotonic()
        self._wanted.set()
        try:
            while (passed := time.monotonic() - started) < seconds:
                if self._failure is not None:
                    raise self._failure
                try:
                    frame = self._frames.get(timeout=min(TICK_S, seconds - passed))
                except queue.Empty:
                    yield passed, None
                    continue
                yield passed, frame
        finally:
            self._wanted.clear()

    def _scan(self) -> None:
        try:
            for heard in self._scanner:
                if isinstance(heard, Advertisement) and self._wanted.is_set():
                    self._frames.put(heard)
            if not self._stopping.is_set():
                raise NothingLeft("the scanner ended by itself: look at the adapter / pemindai berhenti sendiri")
        except BaseException as why:  # told to whoever listens: a thread has nobody to tell
            self._failure = why
