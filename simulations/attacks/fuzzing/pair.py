"""Two trainers on neighbouring stores, asked the same things at the same time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar, cast

from edge.learning.protocol import Workplace, read_frame, write_frame
from edge.store.connection import Connection
from edge.store.database import Database
from privacy.accounting.events import UnreadableEvents, encode_events
from privacy.accounting.ledger import PrivacyLedger
from simulations.attacks.fuzzing.host import Answered, Order
from simulations.attacks.fuzzing.observation import Observation, observe
from simulations.attacks.fuzzing.stores import Log, Neighbours, make_store
from simulations.attacks.fuzzing.tasks import COHORT, NODE, Sendable
from simulations.tether import spawn

KEY = bytes(range(17, 49))
"""Of all stores of the fuzzer; that it is never written anywhere is one of the things that are looked for."""
JAGA_APP = "edge.learning.app:app_for"
EPSILON = 1e15
"""So much that a task is not refused because of those before it."""
TIMEOUT_S = 15.0
SPEED = 20.0
"""Over the slowest machine that a node may run on, for trainers that are told."""
FRESH_AFTER = 400
"""Tasks, after which ledgers begin anew: to add up a long one takes time."""
RECORD_LIFETIME_S = 14 * 86400.0
UNREADABLE = "the ledger cannot be read any more"

Found = TypeVar("Found")


class HostDied(RuntimeError):
    """The process in front of a trainer ended; its last words are in the message."""


class Station:
    """One store, the trainer on it, and all that can be seen of both.

    Args:
        folder: for the store and the log.
        app: as in `[learning] app`.
        hold_answers: whether a trainer that knows how to is to hold answers back until their time.
    """

    def __init__(
        self, folder: Path, log: Log, *, app: str = JAGA_APP, hold_answers: bool = False, cohort: int = COHORT
    ) -> None:
        self._folder = folder
        self._pristine = make_store(folder / "pristine.db", KEY, log)
        self._log_path = folder / "log.txt"
        self._app, self._hold, self._cohort = app, hold_answers, cohort
        self._host: subprocess.Popen[bytes] | None = None
        self._store: Connection | None = None
        self._read = 0

    @property
    def store(self) -> Connection:
        """The store as it is now, for who adds to it."""
        if self._store is None:
            raise ValueError("the store is made by `start`")
        return self._store

    def start(self) -> None:
        """Begin with the store as it was made."""
        self.stop()
        path = self._folder / "node.db"
        for old in self._folder.glob("node.db*"):
            old.unlink()
        for made in self._folder.glob("pristine.db*"):
            shutil.copyfile(made, self._folder / made.name.replace("pristine", "node"))
        self._store = Database(path, KEY).connect()
        self._ledger = PrivacyLedger(self._store, self._workplace(path).budget)
        with self._log_path.open("ab") as log:
            command = [sys.executable, "-m", "simulations.attacks.fuzzing.host"]
            self._host = spawn(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=_environment())
        write_frame(self._stdin, self._workplace(path))

    def ask(self, sendable: Sendable) -> Observation:
        """Send one task and look at what comes of it.

        Raises:
            HostDied: the process in front of the trainer ended.
        """
        self._written()  # what came since is of no task
        try:
            write_frame(self._stdin, Order(sendable.request, TIMEOUT_S), sendable.arrays)
            frame = read_frame(self._stdout, Answered)
        except BrokenPipeError:
            frame = None
        if frame is None:
            raise HostDied(f"{sendable.message_id.hex()}: {self._written()[-2000:]}")
        answered, packed = frame
        return observe(
            answered.response,
            packed,
            answered.seconds,
            died=answered.died,
            charge=self._charge(sendable.message_id),
            log=self._written(),
        )

    def stop(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None
        if self._host is not None:
            self._stdin.close()
            self._stdout.close()
            self._host.wait()
            self._host = None

    @property
    def epsilon(self) -> float:
        """What the ledger says is spent."""
        return self._ledger.epsilon()

    def _charge(self, message_id: bytes) -> str:
        try:
            entries = self._ledger.entries_of(message_id)
        except UnreadableEvents as why:
            return f"{UNREADABLE}: {why.__cause__}"
        said = [
            f"{e.purpose} {encode_events(e.events).decode()} {'spent' if e.spent_at else 'reserved'}" for e in entries
        ]
        return "\n".join(said)

    def _written(self) -> str:
        with self._log_path.open("rb") as log:
            log.seek(self._read)
            found = log.read()
        self._read += len(found)
        return found.decode(errors="replace")

    def _workplace(self, path: Path) -> Workplace:
        newer: dict[str, Any] = {"speed": SPEED, "hold_answers": self._hold}
        known = {name: value for name, value in newer.items() if name in Workplace.__struct_fields__}
        units = dict.fromkeys(("slot", "day", "site", "session"), (EPSILON, 1e-6))
        return Workplace(
            database=str(path),
            key=KEY,
            node_id=NODE,
            app=self._app,
            epsilon=EPSILON,
            delta=1e-6,
            record_lifetime_s=RECORD_LIFETIME_S,
            threads=1,
            node_config={},
            min_cohort=self._cohort,
            units=units,
            **known,
        )

    @property
    def _stdin(self) -> BinaryIO:
        return cast("BinaryIO", cast("subprocess.Popen[bytes]", self._host).stdin)

    @property
    def _stdout(self) -> BinaryIO:
        return cast("BinaryIO", cast("subprocess.Popen[bytes]", self._host).stdout)


class Pair:
    """Two stations; use it in a `with` block."""

    def __init__(
        self, folder: Path, neighbours: Neighbours, *, app: str = JAGA_APP, hold_answers: bool = False
    ) -> None:
        self.name = neighbours.name
        self.a, self.b = (
            Station(folder / side, log, app=app, hold_answers=hold_answers)
            for side, log in (("a", neighbours.a), ("b", neighbours.b))
        )
        self._threads = ThreadPoolExecutor(1), ThreadPoolExecutor(1)  # SQLite wants each connection in one thread
        self._asked = 0

    def ask(self, sendable: Sendable) -> tuple[Observation, Observation]:
        """Send the same to both."""
        if self._asked and self._asked % FRESH_AFTER == 0:
            self.restart()
        self._asked += 1
        a, b = self._both(lambda station: station.ask(sendable))
        return a, b

    def restart(self) -> None:
        """Begin again with both stores as they were made: their ledgers are alike again."""
        self._both(Station.start)

    def __enter__(self) -> Self:
        self.restart()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._both(Station.stop)
        for thread in self._threads:
            thread.shutdown()

    def _both(self, what: Callable[[Station], Found]) -> list[Found]:
        pairs = zip(self._threads, (self.a, self.b), strict=True)
        return [running.result() for running in [thread.submit(what, station) for thread, station in pairs]]


def _environment() -> dict[str, str]:
    """This process' own, with a wide log, so that no line is broken where a value is longer."""
    return {**os.environ, "COLUMNS": "400", "NO_COLOR": "1"}
