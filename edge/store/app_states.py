"""What learning apps keep between rounds, by run: Flower's contexts. Made of records, so none outlives them."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from edge.store.connection import Connection
from edge.store.meta import Meta

PREFIX = "flower context "
WRITTEN_AT = struct.Struct(">d")


@dataclass(frozen=True, slots=True)
class AppStates:
    """The states of one store."""

    connection: Connection

    def get(self, run_id: int) -> bytes | None:
        """The state after this run's last task here; None where there is none."""
        stored = Meta(self.connection).get(_name(run_id))
        return None if stored is None else stored[WRITTEN_AT.size :]

    def keep(self, run_id: int, state: bytes, now: float) -> None:
        """Keep a state in the place of the last one."""
        Meta(self.connection).set(_name(run_id), WRITTEN_AT.pack(now) + state)

    def purge(self, before: float) -> int:
        """Delete the states that were written before, seconds; returns how many."""
        rows = self.connection.execute("SELECT name, value FROM meta WHERE name LIKE ?", (f"{PREFIX}%",)).fetchall()
        # Those of an earlier version of this program have no time before them, or any: they go with the first purge.
        old = [(name,) for name, value in rows if len(value) < WRITTEN_AT.size or not _written(value) >= before]
        self.connection.executemany("DELETE FROM meta WHERE name = ?", old)
        return len(old)


def _name(run_id: int) -> str:
    return f"{PREFIX}{run_id:016x}"


def _written(value: bytes) -> float:
    (at,) = WRITTEN_AT.unpack_from(value)
    return float(at)
