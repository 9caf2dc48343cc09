"""What of the privacy budget is spent, worked out in a process that ends: composing may need 100 MB for a second.

`python -m edge.page.spending` reads the page's settings from standard input and prints epsilon, as JSON.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import suppress

import msgspec

from edge.page.settings import Settings, read_settings
from edge.store.connection import Connection
from edge.store.trusted_clock import TrustedClock

FRESH_S = 1800.0
"""Older entries leave the record lifetime, so a figure does not hold for ever."""
LONGEST_S = 120.0
WAIT_S = 3.0
"""How long a page waits for a figure; a Pi may take longer, and then the page says so."""


class Spending:
    """Keeps the last figure, and has a new one worked out where the ledger has grown."""

    def __init__(self, settings: Settings) -> None:
        self._line = msgspec.json.encode(settings) + b"\n"
        self._known: tuple[int, float, float] | None = None
        self._work: asyncio.Task[float | None] | None = None
        self.failed = False

    async def epsilon(self, rows: int) -> float | None:
        """Epsilon spent, or None while it is being worked out, or where that `failed`.

        Args:
            rows: of the ledger; the figure is of a ledger of so many.
        """
        if rows == 0:
            return 0.0
        known = self._known
        if known is not None and known[0] == rows and time.monotonic() - known[1] < FRESH_S:
            return known[2]
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._compute(rows))
        with suppress(TimeoutError):
            return await asyncio.wait_for(asyncio.shield(self._work), WAIT_S)
        return None

    async def _compute(self, rows: int) -> float | None:
        command = (sys.executable, "-m", "edge.page.spending")
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
        try:
            printed, _ = await asyncio.wait_for(process.communicate(self._line), LONGEST_S)
            spent = msgspec.json.decode(printed, type=float)
        except (TimeoutError, msgspec.DecodeError):
            with suppress(ProcessLookupError):
                process.kill()
            self.failed = True
            return None
        self.failed = False
        self._known = rows, time.monotonic(), spent
        return spent


def ledger_rows(connection: Connection) -> int:
    """How many rows the ledger has; 0 where it was never made."""
    made = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'privacy_ledger'").fetchone()
    return 0 if made is None else int(connection.execute("SELECT count(*) FROM privacy_ledger").fetchone()[0])


def main() -> None:
    """Print epsilon, which may be infinite: JSON has no word for that, so it is the largest number then."""
    from privacy.accounting.ledger import Budget, PrivacyLedger  # noqa: PLC0415

    settings = read_settings(sys.stdin.buffer.readline())
    connection = settings.store().connect()
    try:
        budget = Budget(settings.epsilon, settings.delta, settings.record_lifetime_days * 86400)
        spent = PrivacyLedger(connection, budget, TrustedClock(connection).now).epsilon()
    finally:
        connection.close()
    with suppress(BrokenPipeError):  # the page has stopped meanwhile
        os.write(sys.stdout.fileno(), msgspec.json.encode(min(spent, sys.float_info.max)))


if __name__ == "__main__":
    main()
