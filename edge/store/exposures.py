"""Exposures that this node found, and the alerts that wait to be told to the site's own server."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edge.store.connection import Connection, transaction
from edge.store.site import Mode

SELF = ""
"""The subject that is the zone, or the wearer: no tag of the site."""

_COLUMNS = (
    "id, day, subject, mode, room, minutes, score, closeness, found_at, alerted_at, seen_at, seen_by, attempts, "
    "delivered_at"
)


@dataclass(frozen=True, slots=True)
class Exposure:
    """What was found of one subject on one day in one room. Those of several keys add up.

    Attributes:
        day: `seconds // 86400`.
        subject: label of a tag of this site, or `SELF`.
        minutes: near a case, weighted by attenuation.
        score: minutes, weighted by the case's infectiousness on that day too; it is what an alert goes by.
        closeness: highest probability of 2 m or less over a window, 0 to 1.
    """

    day: int
    subject: str
    mode: Mode
    room: str
    minutes: float
    score: float
    closeness: float

    def __post_init__(self) -> None:
        if not (self.minutes >= 0 and self.score >= 0):
            raise ValueError(f"minutes {self.minutes} and score {self.score} are not negative")
        if not 0 <= self.closeness <= 1:
            raise ValueError(f"closeness {self.closeness} is a probability")

    def __add__(self, other: Exposure) -> Exposure:
        if (self.day, self.subject, self.room) != (other.day, other.subject, other.room):
            raise ValueError(f"exposures of days {self.day} and {other.day}, or of two subjects or rooms, stay apart")
        return Exposure(
            self.day,
            self.subject,
            self.mode,
            self.room,
            self.minutes + other.minutes,
            self.score + other.score,
            max(self.closeness, other.closeness),
        )


@dataclass(frozen=True, slots=True)
class StoredExposure:
    """An exposure as it is in the store.

    Attributes:
        found_at: when the last key was matched that added to it, seconds since the epoch.
        alerted_at: when it passed the site's limit; None where it has not.
        seen_at: when a member of staff looked at it, and
        seen_by: who.
        attempts: how often the site's server was called.
        delivered_at: when that took it.
    """

    id: int
    exposure: Exposure
    found_at: float
    alerted_at: float | None
    seen_at: float | None
    seen_by: str | None
    attempts: int
    delivered_at: float | None


@dataclass(frozen=True, slots=True)
class Exposures:
    """The exposures of a node."""

    connection: Connection

    def add(self, found: Iterable[Exposure], now: float) -> None:
        """Write what was found, each added to what the store has of its day, subject and room.

        One that a member of staff has seen, and that grows, is to be seen again.

        Raises:
            RuntimeError: outside of a transaction: what is added twice counts twice.
        """
        if not self.connection.in_transaction:
            raise RuntimeError("exposures are written in the transaction that marks their batch as matched")
        self.connection.executemany(
            "INSERT INTO exposures (day, subject, mode, room, minutes, score, closeness, found_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (day, subject, room) DO UPDATE SET "
            "minutes = minutes + excluded.minutes, score = score + excluded.score, mode = excluded.mode, "
            "closeness = max(closeness, excluded.closeness), found_at = excluded.found_at, seen_at = NULL, "
            "seen_by = NULL",
            [(e.day, e.subject, e.mode, e.room, e.minutes, e.score, e.closeness, now) for e in found],
        )

    def raise_alerts(self, at_least: float, now: float, *, tell: bool) -> int:
        """Raise an alert for each subject whose score of a day, over all rooms, is enough; returns how many rows.

        Args:
            at_least: score of a day, minutes.
            tell: whether there is a server to be told of it.
        """
        return self.connection.execute(
            "UPDATE exposures SET alerted_at = ?2, next_try_at = CASE WHEN ?3 THEN ?2 END WHERE alerted_at IS NULL "
            "AND (day, subject) IN (SELECT day, subject FROM exposures GROUP BY day, subject HAVING sum(score) >= ?1)",
            (at_least, now, tell),
        ).rowcount

    def stored(self, *, alerts_only: bool = False) -> list[StoredExposure]:
        """All exposures, the latest day first."""
        only = "WHERE alerted_at IS NOT NULL" if alerts_only else ""
        rows = self.connection.execute(
            f"SELECT {_COLUMNS} FROM exposures {only} ORDER BY day DESC, score DESC, subject, room"  # noqa: S608
        ).fetchall()
        return [_stored(row) for row in rows]

    def seen(self, exposure_id: int, by: str, now: float) -> bool:
        """A member of staff has looked at it; the first one stays. Returns whether there was anything to note."""
        return bool(
            self.connection.execute(
                "UPDATE exposures SET seen_at = ?, seen_by = ? WHERE id = ? AND seen_at IS NULL", (now, by, exposure_id)
            ).rowcount
        )

    def to_tell(self, now: float) -> list[StoredExposure]:
        """Alerts that the site's server is to be told of now, oldest first."""
        rows = self.connection.execute(
            f"SELECT {_COLUMNS} FROM exposures WHERE next_try_at <= ? ORDER BY next_try_at, id",  # noqa: S608
            (now,),
        ).fetchall()
        return [_stored(row) for row in rows]

    def next_try_at(self) -> float | None:
        """When the next alert is to be told, seconds since the epoch; None where none waits."""
        row = self.connection.execute("SELECT min(next_try_at) FROM exposures").fetchone()
        return None if row[0] is None else float(row[0])

    def delivered(self, exposure_id: int, now: float) -> None:
        """The site's server has it."""
        self.connection.execute(
            "UPDATE exposures SET delivered_at = ?, next_try_at = NULL, attempts = attempts + 1 WHERE id = ?",
            (now, exposure_id),
        )

    def failed(self, exposure_id: int, next_try_at: float) -> None:
        """The site's server did not take it; it is told again."""
        self.connection.execute(
            "UPDATE exposures SET next_try_at = ?, attempts = attempts + 1 WHERE id = ?", (next_try_at, exposure_id)
        )

    def erase(self, subject: str) -> int:
        """Delete all of one subject; returns how many rows."""
        return self.connection.execute("DELETE FROM exposures WHERE subject = ?", (subject,)).rowcount

    def purge(self, before_day: int) -> int:
        """Delete those of days before `before_day`; returns how many."""
        with transaction(self.connection):
            return self.connection.execute("DELETE FROM exposures WHERE day < ?", (before_day,)).rowcount


def _stored(row: tuple[object, ...]) -> StoredExposure:
    number, *what, found_at, alerted_at, seen_at, seen_by, attempts, delivered_at = row
    return StoredExposure(
        number,  # type: ignore[arg-type]
        Exposure(*what),  # type: ignore[arg-type]
        found_at,  # type: ignore[arg-type]
        alerted_at,  # type: ignore[arg-type]
        seen_at,  # type: ignore[arg-type]
        seen_by,  # type: ignore[arg-type]
        attempts,  # type: ignore[arg-type]
        delivered_at,  # type: ignore[arg-type]
    )
