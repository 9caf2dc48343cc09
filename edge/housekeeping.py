"""What a node does now and then, timed by the monotonic clock: looks at the clock, deletes what is due, tidies up."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from edge.store.cases import Cases
from edge.store.connection import Connection
from edge.store.errors import StoreFull, StoreUnavailable
from edge.store.exposures import Exposures
from edge.store.inbox import Inbox
from edge.store.key_batches import KeyBatches
from edge.store.retention import PURGE_EVERY_S, Retention
from edge.store.slots import DAY_S
from edge.store.staff import StaffSessions
from edge.store.trusted_clock import LOOK_EVERY_S, Verdict

log = structlog.get_logger()

AGAIN_S = 60.0
"""A store that could not be purged is tried again after this, seconds."""


class Housekeeping:
    """The upkeep of one store.

    Args:
        cases_kept_s: how long a report of a case is kept, seconds.
        monotonic: seconds; nobody sets it.
    """

    def __init__(
        self,
        connection: Connection,
        retention: Retention,
        cases_kept_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection
        self._retention = retention
        self._cases_kept_s = cases_kept_s
        self._monotonic = monotonic
        self._look_at = self._purge_at = monotonic()
        self.verdict: Verdict | None = None

    def tick(self) -> bool:
        """Do what is due; call this often. Returns whether the store was purged."""
        now_s = self._monotonic()
        try:
            if now_s >= self._look_at:
                self._look_at = now_s + LOOK_EVERY_S
                self._retention.clock.look()
                self._say(self._retention.clock.verdict())
            if now_s < self._purge_at:
                return False
            self._purge_at = now_s + AGAIN_S
            self._purge()
        except (StoreFull, StoreUnavailable) as why:
            log.error("housekeeping put off", reason=str(why))
            return False
        self._purge_at = now_s + PURGE_EVERY_S
        return True

    def _purge(self) -> None:
        enforced = self._retention.enforce()
        date, store = self._retention.clock.date(), self._connection
        Inbox(store).forget(date - DAY_S)
        KeyBatches(store).forget(date)
        Exposures(store).purge(int((date - self._retention.kept_s) // DAY_S))
        Cases(store).purge(date - self._cases_kept_s)
        StaffSessions(store).purge(date - DAY_S)
        # How many is a count of this site, and a log is read by others: the page and the doctor show it.
        if enforced.slots or enforced.sessions:
            log.info("records past their retention deleted")
        if enforced.more:
            log.warning("one purge deletes at most a day of records; the next one goes on")
        if enforced.dated_anew:
            log.warning("records dated in the future count from now on")

    def _say(self, verdict: Verdict) -> None:
        before, self.verdict = self.verdict, verdict
        if before is not None and (before.trusted, before.jumped) == (verdict.trusted, verdict.jumped):
            return
        if verdict.trusted:
            log.info("the wall clock is trusted")
        else:
            log.warning("the wall clock is not trusted", jumped=verdict.jumped, reason=verdict.reason)
