"""How the parts of a node are, told by the node process, which alone sees them all, and read by its page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge.store.connection import Connection

State = Literal["well", "waiting", "trouble", "off"]


@dataclass(frozen=True, slots=True)
class PartHealth:
    """One part's state.

    Attributes:
        part: "node", "broker", "revocations", "training", "clock", "sensing", "tracing", "page".
        detail: what a technician wants to know, in English; "" where there is nothing to say.
        since: from when on it is in this state, seconds since the epoch.
        at: when it was last said. An old `at` means that the node does not run.
    """

    part: str
    state: State
    detail: str
    since: float
    at: float


@dataclass(frozen=True, slots=True)
class Health:
    """The parts' states."""

    connection: Connection

    def tell(self, part: str, state: State, at: float, detail: str = "") -> None:
        """Say how a part is now; `since` moves only where the state is another."""
        self.connection.execute(
            "INSERT INTO health (part, state, detail, since, at) VALUES (?1, ?2, ?3, ?4, ?4) "
            "ON CONFLICT (part) DO UPDATE SET detail = excluded.detail, at = excluded.at, state = excluded.state, "
            "since = CASE WHEN state = excluded.state THEN since ELSE excluded.since END",
            (part, state, detail, at),
        )

    def parts(self) -> dict[str, PartHealth]:
        """The last word on each part."""
        rows = self.connection.execute("SELECT part, state, detail, since, at FROM health")
        return {part: PartHealth(part, state, detail, since, at) for part, state, detail, since, at in rows}
