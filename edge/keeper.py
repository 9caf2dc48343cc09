"""Keeps a node's processes running, and says how they are, on a thread of its own: a long task holds up neither."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

import structlog

from edge.child import Child
from edge.pulse import Pulse
from edge.store.connection import Connection
from edge.store.database import Database
from edge.store.errors import StoreError
from edge.store.health import State

log = structlog.get_logger()

TICK_S = 0.5


class Keeper:
    """Looks after the children of a node.

    Args:
        make: the children, which may use the keeper's connection; called on its thread.
        others: how the parts are that are no processes, each with a word for a technician.
    """

    def __init__(
        self,
        database: Database,
        make: Callable[[Connection], Sequence[Child]],
        others: Callable[[], Mapping[str, tuple[State, str]]],
    ) -> None:
        self._database = database
        self._make = make
        self._others = others
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="keeper")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Let every child save what it has, and end."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _work(self) -> None:
        store = self._connect()
        if store is None:
            return
        children = self._make(store)
        pulse = Pulse(store)
        try:
            while not self._stopping.is_set():
                for child in children:
                    child.keep_running()
                told = {child.name: (child.state, child.trouble or "") for child in children}
                pulse.tell({**told, **self._others()}, time.time())
                self._stopping.wait(TICK_S)
        finally:
            for child in children:
                child.stop()
            store.close()

    def _connect(self) -> Connection | None:
        """The store, which the node itself has open already; tried again where a disk is full just now."""
        while not self._stopping.is_set():
            try:
                return self._database.connect()
            except StoreError as why:
                log.error("processes of the node wait for its store", reason=str(why))
                self._stopping.wait(10 * TICK_S)
        return None
