"""What all radios share: adapters are listened to side by side, and started again where one fails.

Everything runs in one thread, in slices of an asyncio loop, so what several adapters hear is in the order of time by
its nature and nothing piles up while the reader of the stream is busy: the kernel's buffers hold it.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol

from edge.sensing.advertisement import HEARTBEAT_S, Heard, Heartbeat, RadioFrame
from edge.sensing.clock import Clock
from edge.sensing.hearing import Counts, decode
from edge.sensing.scanner import OnTrouble, Sleep, Trouble
from edge.sensing.scanners.errors import RadioError

SLICE_S = 0.25
"""What was heard is handed on this often, seconds."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
HEALTHY_S = 60.0
"""An adapter that has listened this long, seconds, is well: the next failure is a first one."""

RESET_EVERY_S = 60.0
RESET_FROM_FAILURE = 3

Hear = Callable[[bytes, int], None]
"""Takes the advertising data and the RSSI (dBm; 127 is "not available") of one frame, now."""

Reset = Callable[[str], None]
"""Resets the adapter of that name; may take seconds.

Raises:
    OSError, subprocess.SubprocessError: it could not.
"""


class Ear(Protocol):
    """One adapter."""

    @property
    def adapter(self) -> str: ...

    async def listen(self, hear: Hear, listening: Callable[[], None]) -> None:
        """Listen; returns after `HEARTBEAT_S` without a frame, to be called again: that proves that the adapter works.

        Args:
            hear: called for each frame.
            listening: called once the adapter is known to scan.

        Raises:
            RadioError: the adapter does not listen, or does no longer.
        """


def power_cycle(adapter: str) -> None:
    """Switch an adapter off and on through BlueZ; `hciconfig hciX reset` is deprecated and needs root."""
    for powered in ("false", "true"):
        command = ["busctl", "set-property", "org.bluez", f"/org/bluez/{adapter}", "org.bluez.Adapter1", "Powered", "b"]
        subprocess.run([*command, powered], check=True, capture_output=True, timeout=10)


class RadioScanner:
    """Frames of all adapters and heartbeats of the site.

    A heartbeat is given where an adapter heard a frame or proved that it scans, so neither an adapter that is away nor
    one that has gone deaf passes for an empty room. The position of an ear is its receiver number.

    Args:
        ears: one an adapter.
        counts: told what was heard.
        clock: of the wall, for what is yielded.
        sleep: true where a stop is asked for.
        on_trouble: told when an adapter stops listening, why, and when it listens again.
        reset: called after several failures in a row, once in `RESET_EVERY_S` at most.
    """

    def __init__(
        self,
        ears: Sequence[Ear],
        counts: Counts,
        clock: Clock,
        *,
        sleep: Sleep,
        on_trouble: OnTrouble,
        reset: Reset = power_cycle,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        if not ears:
            raise ValueError("no adapter to listen with: name one, as hci0")
        self.counts = counts
        self._ears = ears
        self._clock = clock
        self._sleep = sleep
        self._on_trouble = on_trouble
        self._reset = reset
        self._first_pause_s = first_pause_s
        self._stream: list[RadioFrame | Heartbeat] = []
        self._beat_s: float | None = None
        self._listening: set[str] = set()

    def __iter__(self) -> Iterator[Heard]:
        return decode(self._frames(), self.counts, self._clock)

    def _frames(self) -> Iterator[RadioFrame | Heartbeat]:
        loop = asyncio.new_event_loop()
        tasks = [loop.create_task(self._keep_listening(ear, n)) for n, ear in enumerate(self._ears)]
        try:
            while not self._sleep(0):
                loop.run_until_complete(asyncio.sleep(SLICE_S))
                for task in tasks:
                    if task.done():
                        task.result()
                heard, self._stream = self._stream, []
                yield from heard
        finally:
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    async def _keep_listening(self, ear: Ear, receiver: int) -> None:
        trouble: Trouble | None = None
        failures, since_s, reset_s = 0, None, float("-inf")

        def listening() -> None:
            nonlocal trouble, since_s
            since_s = since_s or time.monotonic()
            self._listening.add(ear.adapter)
            self._prove(time.monotonic())
            if trouble is not None:
                self._on_trouble(Trouble(ear.adapter, trouble.error, "it listens again", over=True))
                trouble = None

        while True:
            try:
                await ear.listen(partial(self._hear, receiver), listening)
                continue
            except RadioError as error:
                why = error
            now = time.monotonic()
            healthy, since_s = since_s is not None and now - since_s >= HEALTHY_S, None
            failures = 1 if healthy else failures + 1
            self._lost(ear.adapter)
            if trouble is None or trouble.error != type(why).__name__:
                trouble = Trouble(ear.adapter, type(why).__name__, str(why))
                self._on_trouble(trouble)
            if why.reset_may_help and failures >= RESET_FROM_FAILURE and now - reset_s >= RESET_EVERY_S:
                reset_s = now
                await self._try_reset(ear.adapter)
            await asyncio.sleep(min(self._first_pause_s * 2 ** min(failures - 1, 16), LONGEST_PAUSE_S))

    async def _try_reset(self, adapter: str) -> None:
        try:
            await asyncio.to_thread(self._reset, adapter)
        except (OSError, subprocess.SubprocessError) as why:
            reason = (
                f"{adapter}: could not be switched off and on ({type(why).__name__}); unplug it or restart the node"
            )
            self._on_trouble(Trouble(adapter, "ResetFailed", reason))

    def _hear(self, receiver: int, ad: bytes, rssi_dbm: int) -> None:
        now = time.monotonic()
        self._prove(now)
        self._stream.append(RadioFrame(ad, now, rssi_dbm, receiver))

    def _prove(self, now: float) -> None:
        """An adapter works at this moment."""
        if self._beat_s is None or now - self._beat_s >= HEARTBEAT_S:
            self._beat_s = now
            self._stream.append(Heartbeat(now))

    def _lost(self, adapter: str) -> None:
        self._listening.discard(adapter)
        if not self._listening:
            self._beat_s = None
