"""Small facts about the node itself, by name (its MQTT client id, for one)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edge.store.connection import Connection, transaction


@dataclass(frozen=True, slots=True)
class Meta:
    """Named values."""

    connection: Connection

    def get(self, name: str) -> bytes | None:
        row = self.connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else bytes(row[0])

    def set(self, name: str, value: bytes) -> None:
        self.connection.execute(
            "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )

    def remove(self, name: str) -> None:
        """Forget a value; one that is not there is no error."""
        self.connection.execute("DELETE FROM meta WHERE name = ?", (name,))

    def get_or_make(self, name: str, make: Callable[[], bytes]) -> bytes:
        """The value, made and kept where there is none; two processes that ask at once get the same."""
        with transaction(self.connection):
            value = self.get(name)
            if value is None:
                value = make()
                self.set(name, value)
        return value
