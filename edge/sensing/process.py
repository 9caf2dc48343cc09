"""The sensing process: listens, folds, and writes to the node's store. No network, and light enough to run always.

It tells its parent what happens in lines of JSON on standard output:

    {"event": "listening", "since_s": ...}              it begins (null: at the start), or goes on where it stopped
    {"event": "heard", ...counts}                       pages are on disk up to until_s
    {"event": "store_full", "reason": ..., ...counts}   once, when the disk takes no more: sightings wait in memory
    {"event": "store_unavailable", ...}                 the same, for a store that is locked or does not answer
    {"event": "store_recovered", ...counts}             once, when what waited is on disk
    {"event": "radio_trouble", "adapter", "error", "reason"}  once, when an adapter does not listen; it is tried again
    {"event": "radio_recovered", "adapter", "error", "reason"}  once, when it listens again
    {"event": "done", ...counts}                        a replay is at its end, and all of it on disk
    {"event": "stopped", ...counts}                     it was asked to stop
    {"event": "failed", "error": ..., "reason": ...}    it cannot go on; the reason says what to do

`counts` are of this run: "stored", "unsaved" and "dropped" sightings; "until_s", the time up to which it listened;
"over_capacity", frames dropped because their window had too many identifiers; "clock_jumps", how often the clock was
set; and of a scanner that decodes frames all fields of `edge.sensing.hearing.Counts`. Before "listening" there is
nothing to count.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Protocol

from edge.sensing.hearing import Counts
from edge.sensing.logbook import Logbook
from edge.sensing.scanner import Trouble
from edge.sensing.settings import Settings
from edge.store.connection import Connection
from edge.store.errors import StoreFull, StoreUnavailable
from edge.store.listening import Listening
from edge.store.trusted_clock import TrustedClock

Field = str | int | float | None
Emit = Callable[[dict[str, Field]], None]


class Stop(Protocol):
    """Says when to stop, and wakes up a wait for it; the wait says so too."""

    def asked(self) -> bool: ...
    def wait(self, seconds: float) -> bool: ...


class SignalStop:
    """Stops on SIGTERM or SIGINT. The signals are blocked and asked for, so none interrupts a write."""

    SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})

    def __init__(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, self.SIGNALS)
        self._asked = False

    def asked(self) -> bool:
        return self._asked or not self.SIGNALS.isdisjoint(signal.sigpending())

    def wait(self, seconds: float) -> bool:
        self._asked = self._asked or signal.sigtimedwait(self.SIGNALS, seconds) is not None
        return self._asked


class Sensing:
    """One run of the sensing process."""

    def __init__(self, settings: Settings, emit: Emit, stop: Stop) -> None:
        self._settings = settings
        self._emit = emit
        self._stop = stop

    def run(self) -> None:
        """Listen until the scanner ends or a stop is asked for.

        Raises:
            StoreError: the store cannot be opened, or is damaged. A full disk is waited for, and later on a lock too.
            BadContactFile, UnknownZone, ValueError: the scanner cannot be opened.
        """
        connection = self._connect()
        if connection is None:
            self._emit({"event": "stopped"})
            return
        try:
            self._listen(connection)
        finally:
            connection.close()

    def _connect(self) -> Connection | None:
        """The store, waited for while its disk is full; None where a stop was asked for first."""
        told = False
        while not self._stop.asked():
            try:
                connection = self._settings.store().connect()
            except StoreFull as error:
                if not told:
                    self._emit({"event": "store_full", "reason": str(error)})
                told = True
                self._stop.wait(self._settings.save_every_s)
            else:
                if told:
                    self._emit({"event": "store_recovered"})
                return connection
        return None

    def _tell(self, trouble: Trouble) -> None:
        event = "radio_recovered" if trouble.over else "radio_trouble"
        self._emit({"event": event, "adapter": trouble.adapter, "error": trouble.error, "reason": trouble.reason})

    def _listen(self, connection: Connection) -> None:
        since_s = Listening(connection).until()
        scanner = self._settings.scanner.open(since_s, self._stop.wait, self._tell)
        clock = TrustedClock(connection)
        logbook = Logbook(
            connection,
            capacity=self._settings.capacity,
            identifiers_a_window=self._settings.identifiers_a_window,
            clock=clock.now,
            vouches=clock.vouches_for,
        )
        saving = Saving(logbook, self._emit, getattr(scanner, "counts", None))
        self._emit({"event": "listening", "since_s": since_s})
        saved_at = time.monotonic()
        for heard in scanner:
            # Few frames close a page; to look at the clock and for signals with each would be for nothing. A scanner
            # that waits ends by itself where a stop is asked for.
            if logbook.hear(heard):
                if self._stop.asked():
                    break
                late = time.monotonic() - saved_at >= self._settings.save_every_s
                many = logbook.unsaved >= self._settings.save_rows and not saving.failing
                if late or many:
                    saving.save()
                    saved_at = time.monotonic()
        logbook.end(through=not self._stop.asked())
        saving.save()
        while logbook.pages and not self._stop.asked():
            self._stop.wait(self._settings.save_every_s)
            saving.save()
        self._emit({"event": "stopped" if self._stop.asked() else "done", **saving.counts()})


class Saving:
    """Saves a logbook and says when that begins to fail and when it works again, once each.

    Attributes:
        failing: whether the last try failed.
    """

    def __init__(self, logbook: Logbook, emit: Emit, heard: Counts | None = None) -> None:
        self.failing = False
        self._logbook = logbook
        self._emit = emit
        self._heard = heard

    def save(self) -> None:
        """Try to save.

        Raises:
            StoreError: of the kinds that waiting does not mend.
        """
        try:
            self._logbook.save()
        except (StoreFull, StoreUnavailable) as error:
            if not self.failing:
                event = "store_full" if isinstance(error, StoreFull) else "store_unavailable"
                self._emit({"event": event, "reason": str(error), **self.counts()})
            self.failing = True
            return
        if self.failing:
            self._emit({"event": "store_recovered", **self.counts()})
        self.failing = False
        self._emit({"event": "heard", **self.counts()})

    def counts(self) -> dict[str, Field]:
        """What every event after the first one tells."""
        return {
            "stored": self._logbook.stored,
            "unsaved": self._logbook.unsaved,
            "dropped": self._logbook.dropped,
            "until_s": self._logbook.until_s,
            "over_capacity": self._logbook.over_capacity,
            "clock_jumps": self._logbook.clock_jumps,
            **({} if self._heard is None else self._heard.fields()),
        }
