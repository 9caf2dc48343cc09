"""The sensing process, seen from the node: started, listened to, and started again when it dies."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import BinaryIO, cast

import msgspec
import structlog

from edge.sensing.settings import Settings

log = structlog.get_logger()

GRACE_S = 10.0
LONGEST_BACKOFF_S = 300.0
HEALTHY_AFTER_S = 60.0
ALARMS = frozenset({"failed", "store_full", "store_unavailable"})


class SensingChild:
    """Keeps one sensing process running.

    Attributes:
        done: set when a replay has come to its end and all of it is on disk.
    """

    def __init__(self, settings: Settings) -> None:
        self.done = threading.Event()
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._backoff_s = 1.0
        self._started_at = 0.0
        self._start_at = 0.0

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

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
            self._backoff_s = 1.0 if now - self._started_at > HEALTHY_AFTER_S else self._backoff_s
            self._start_at = now + self._backoff_s
            log.error("sensing stopped; starting it again", exit_code=process.returncode, in_s=self._backoff_s)
            self._backoff_s = min(2 * self._backoff_s, LONGEST_BACKOFF_S)
        if not self.done.is_set() and now >= self._start_at:
            self._start(now)

    def stop(self) -> None:
        """Let it save what it has heard, and end."""
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
        command = [sys.executable, "-m", "edge.sensing"]
        self._process = process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._started_at = now
        threading.Thread(target=self._follow, args=(process.stdout,), daemon=True).start()
        settings = cast("BinaryIO", process.stdin)
        try:
            settings.write(msgspec.json.encode(self._settings) + b"\n")
            settings.close()
        except BrokenPipeError:
            log.error("sensing ended at its start; see its message above")

    def _follow(self, events: BinaryIO) -> None:
        for line in events:
            try:
                event = msgspec.json.decode(line, type=dict[str, str | int | float | None])
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            name = str(event.pop("event", ""))
            (log.error if name in ("failed", "store_full", "store_unavailable") else log.info)(
                f"sensing {name}", **event
            )
            if name == "done":
                self.done.set()
        events.close()
