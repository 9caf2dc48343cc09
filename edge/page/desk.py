"""One thread with one connection to the store, where all requests wait in line: SQLite writes one at a time anyway."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from edge.store.connection import Connection
from edge.store.database import Database

Result = TypeVar("Result")


class Desk:
    """Does what it is asked on its own thread, until `close`."""

    def __init__(self, database: Database) -> None:
        self._thread = ThreadPoolExecutor(1, "store")
        self._database = database
        self._connection: Connection | None = None

    async def ask(self, question: Callable[[Connection], Result]) -> Result:
        """What `question` makes of the store.

        Raises:
            StoreError: the store cannot be opened or does not answer; the next question tries anew.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._answer, question)

    def ask_now(self, question: Callable[[Connection], Result]) -> Result:
        """The same, where no event loop runs."""
        return self._thread.submit(self._answer, question).result()

    def close(self) -> None:
        self._thread.submit(self._hang_up).result()
        self._thread.shutdown()

    def _answer(self, question: Callable[[Connection], Result]) -> Result:
        if self._connection is None:
            self._connection = self._database.connect()
        return question(self._connection)

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
