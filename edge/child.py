"""A process of the node, seen from the node: started, listened to, and started again when it dies.

A child is `python -m MODULE`. It reads one line of JSON with its settings from standard input, where no other user can
see the store's key, and tells what happens in lines of JSON on standard output, each an object with an "event".
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection
from typing import BinaryIO, cast

import msgspec
import structlog

from edge.logged_events import Field, logged
from edge.settings_line import encode
from edge.store.health import State

log = structlog.get_logger()

GRACE_S = 10.0
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 1.0, 300.0
HEALTHY_AFTER_S = 60.0
ALARMS = frozenset({"failed", "store_full", "store_unavailable", "radio_trouble"})
RECOVERED = "_recovered"
DONE = "done"

Event = dict[str, Field]
FAILED: tuple[str, Field] = ("failed", None)


class Child:
    """Keeps one process running.

    Args:
        name: what the log calls it.
        module: what it runs.
        settings: its line of settings.
        alarms: events that are logged as errors and are `trouble`. "store_recovered" ends those whose name begins with
            "store_" (of the same "adapter", where one is named), and so on; "failed" ends with the next event that is
            none of them.
        on_event: called for each event, on a thread of this child; the event holds its "event" too.

    Attributes:
        done: set when the child has said that all of its work is done: it is not started again.
    """

    def __init__(
        self,
        name: str,
        module: str,
        settings: msgspec.Struct,
        *,
        alarms: Collection[str] = ALARMS,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        self.name = name
        self.done = threading.Event()
        self._troubles: dict[tuple[str, Field], str] = {}
        self._module = module
        self._settings = settings
        self._alarms = alarms
        self._on_event = on_event
        self._process: subprocess.Popen[bytes] | None = None
        self._backoff_s = FIRST_BACKOFF_S
        self._started_at = 0.0
        self._start_at = 0.0

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def trouble(self) -> str | None:
        """What is wrong now, in words; None where nothing is known to be."""
        return "; ".join(list(self._troubles.values())) or None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def state(self) -> State:
        """In one word, for the node's page."""
        if self.trouble is not None:
            return "trouble"
        if self.running:
            return "well"
        return "off" if self.done.is_set() else "waiting"

    def keep_running(self) -> None:
        """Start the process, or start it again after a growing pause where it died. Call this now and then."""
        process = self._process
        if process is not None and process.poll() is None:
            return
        now = time.monotonic()
        if process is not None:
            self._process = None
            if self.done.is_set():
                return
            self._backoff_s = FIRST_BACKOFF_S if now - self._started_at > HEALTHY_AFTER_S else self._backoff_s
            self._start_at = now + self._backoff_s
            log.error(f"{self.name} stopped; starting it again", exit_code=process.returncode, in_s=self._backoff_s)
            ended = {FAILED: f"{self.name} stopped with exit code {process.returncode}"}
            self._troubles = ended | {key: why for key, why in self._troubles.items() if key == FAILED}
            self._backoff_s = min(2 * self._backoff_s, LONGEST_BACKOFF_S)
        if not self.done.is_set() and now >= self._start_at:
            self._start(now)

    def stop(self) -> None:
        """Let it save what it has, and end."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _start(self, now: float) -> None:
        command = [sys.executable, "-m", self._module]
        self._process = process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._started_at = now
        threading.Thread(target=self._follow, args=(process.stdout,), daemon=True).start()
        settings = cast("BinaryIO", process.stdin)
        try:
            settings.write(encode(self._settings))
            settings.close()
        except BrokenPipeError:
            log.error(f"{self.name} ended at its start; see its message above")

    def _follow(self, events: BinaryIO) -> None:
        for line in events:
            try:
                event = msgspec.json.decode(line, type=Event)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            self._heed(event)
        events.close()

    def _heed(self, event: Event) -> None:
        name = str(event.get("event", ""))
        alarm, part = name in self._alarms, event.get("adapter")
        said = logged(event)
        if said is not None:
            (log.error if alarm else log.info)(f"{self.name} {name}", **said)
        if name == FAILED[0]:
            self._troubles = {FAILED: str(event.get("reason") or name)}
        elif alarm:
            self._troubles[name, part] = str(event.get("reason") or name)
        else:
            ended = name.removesuffix(RECOVERED) + "_" if name.endswith(RECOVERED) else None
            self._troubles = {
                key: why
                for key, why in self._troubles.items()
                if key != FAILED and not (ended and key[0].startswith(ended) and key[1] == part)
            }
        if name == DONE:
            self.done.set()
        if self._on_event is not None:
            self._on_event(event)
