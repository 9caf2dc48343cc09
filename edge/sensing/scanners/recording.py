"""What all recordings of frames share: they are heard again at any speed, and go on where a replay stopped."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator

from edge.sensing.advertisement import HEARTBEAT_S, Heard, Heartbeat, RadioFrame
from edge.sensing.hearing import Counts, decode
from edge.sensing.scanner import Sleep

PAUSE_S = 600.0
"""Where nothing was recorded for longer than this, seconds, nobody listened."""

AHEAD_S = 0.05
"""A paced recording is this far ahead of its time at most, seconds: a wait for each of thousands of frames costs more
than the frames."""


class BadRecording(ValueError):
    """The file is not what it should be; the message says what to give instead."""


class Pace:
    """Lets `speed` seconds of a recording pass in one second.

    Args:
        speed: None is as fast as possible.

    Raises:
        ValueError: the speed is not a positive number.
    """

    def __init__(self, speed: float | None, sleep: Sleep) -> None:
        if speed is not None and not (math.isfinite(speed) and speed > 0):
            raise ValueError(f"speed {speed} is not a positive number: leave it out to replay as fast as possible")
        self._speed = speed
        self._sleep = sleep
        self._started_s = self._from_s = 0.0

    def start(self, from_s: float) -> None:
        """The recording is at `from_s` now."""
        self._started_s, self._from_s = time.monotonic(), from_s

    def reach(self, at_s: float) -> bool:
        """Wait until the recording is at `at_s`; True where a stop was asked for meanwhile."""
        if self._speed is None:
            return False
        early = self._started_s + (at_s - self._from_s) / self._speed - time.monotonic()
        return early > AHEAD_S and bool(self._sleep(early))


class Recording:
    """A scanner that hears recorded frames.

    Args:
        frames: opens the recording from its start; frames come in the order of time.
        counts: told what was heard.
        since_s: begin here, for one that goes on where it stopped; on the recording's own time line.
        until_s: stop before this.
        speed: seconds of the recording in one second; None is as fast as possible.
        sleep: waits; true where a stop is asked for.
    """

    def __init__(
        self,
        frames: Callable[[], Iterable[RadioFrame]],
        counts: Counts | None = None,
        *,
        since_s: float | None = None,
        until_s: float | None = None,
        speed: float | None = None,
        sleep: Sleep = time.sleep,
    ) -> None:
        self.counts = Counts() if counts is None else counts
        self._frames = frames
        self._since_s = -math.inf if since_s is None else since_s
        self._until_s = math.inf if until_s is None else until_s
        self._pace = Pace(speed, sleep)

    def __iter__(self) -> Iterator[Heard]:
        return decode(self._heard(), self.counts, None)

    def _heard(self) -> Iterator[RadioFrame | Heartbeat]:
        beat_s = last_s = -math.inf
        for frame in self._frames():
            at_s = frame.heard_at_s
            if at_s < self._since_s:
                continue
            if at_s >= self._until_s:
                break
            if at_s - last_s > PAUSE_S:
                if last_s > -math.inf:
                    yield Heartbeat(last_s)
                beat_s = at_s
                self._pace.start(at_s)
                yield Heartbeat(at_s)
            while beat_s + HEARTBEAT_S <= at_s:
                beat_s += HEARTBEAT_S
                if self._pace.reach(beat_s):
                    return
                yield Heartbeat(beat_s)
            if self._pace.reach(at_s):
                return
            last_s = at_s
            yield frame
        if last_s > -math.inf:
            yield Heartbeat(last_s)
