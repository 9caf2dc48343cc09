"""The tracing process, seen from the node: started where there is work, and ends by itself."""

from __future__ import annotations

import time
from collections.abc import Callable

from edge.child import ALARMS, FAILED, FIRST_BACKOFF_S, LONGEST_BACKOFF_S, Child, Event, log
from edge.store.connection import Connection
from edge.store.errors import StoreUnavailable
from edge.store.exposures import Exposures
from edge.store.health import State
from edge.store.key_batches import KeyBatches
from edge.tracing.settings import Settings


class TracingChild(Child):
    """Runs a tracing process whenever keys wait to be matched, or an alert to be told.

    Args:
        store: this thread's connection.
    """

    def __init__(
        self,
        settings: Settings,
        store: Connection,
        *,
        on_event: Callable[[Event], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__("tracing", "edge.tracing", settings, alarms=ALARMS | {"webhook_failed"}, on_event=on_event)
        self._store = store
        self._clock = clock

    @property
    def state(self) -> State:
        """In one word, for the node's page: to have nothing to do is to be well."""
        return "well" if self.trouble is None else "trouble"

    def work_waiting(self) -> bool:
        """Whether keys wait to be matched, or the site's own server to be told of an alert."""
        try:
            due = Exposures(self._store).next_try_at()
            return KeyBatches(self._store).waiting() > 0 or (due is not None and due <= self._clock())
        except StoreUnavailable as why:
            log.debug("store not looked at", reason=str(why))
            return False

    def keep_running(self) -> None:
        """Start the process where there is work and none runs; after one that died, after a growing pause.

        Call this now and then; a running one is left alone.
        """
        process, now = self._process, time.monotonic()
        if process is not None:
            code = process.poll()
            if code is None:
                return
            self._process = None
            if code == 0:
                self._backoff_s, self._start_at = FIRST_BACKOFF_S, now
            else:
                self._start_at = now + self._backoff_s
                log.error("tracing broke off; what waits still waits", exit_code=code, in_s=self._backoff_s)
                self._troubles.setdefault(FAILED, f"tracing broke off with exit code {code}")
                self._backoff_s = min(2 * self._backoff_s, LONGEST_BACKOFF_S)
        if now >= self._start_at and self.work_waiting():
            self._start(now)
