"""The node's sign of life, in its store: how each of its parts is, for the page and whoever looks."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from edge.store.connection import Connection, transaction
from edge.store.errors import StoreFull, StoreUnavailable
from edge.store.health import Health, State

log = structlog.get_logger()

PULSE_S = 60.0
"""What does not change is said this often: an SD card wears out."""


class Pulse:
    """Writes all parts' states down, at once where one has changed, otherwise every `PULSE_S`."""

    def __init__(self, connection: Connection) -> None:
        self._health = Health(connection)
        self._last: Mapping[str, tuple[State, str]] = {}
        self._last_at = 0.0

    def tell(self, parts: Mapping[str, tuple[State, str]], at: float) -> None:
        """Say how all parts are, each with its detail. A store that takes nothing now is told the next time."""
        if parts == self._last and 0 <= at - self._last_at < PULSE_S:
            return
        try:
            with transaction(self._health.connection):
                for part, (state, detail) in parts.items():
                    self._health.tell(part, state, at, detail)
        except (StoreFull, StoreUnavailable) as why:
            log.debug("health not told", reason=str(why))
            return
        self._last, self._last_at = dict(parts), at
