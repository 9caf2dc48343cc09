"""Erasing all that a node holds of one tag, so that the bytes are gone, and a receipt for it.

Everything is deleted in one transaction, which also enters the receipt: a power cut leaves all of it or nothing of it.
Then the bytes are overwritten, and only then is the receipt handed out.

Encounters are worked out when somebody asks and never stored, so there are none to erase.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from edge.store.connection import Connection, transaction
from edge.store.errors import StoreUnavailable
from edge.store.receipts import Receipts, SignedReceipt, key_of
from edge.store.sightings import Sightings
from edge.store.tags import Tag
from privacy.identity.authority import Identity
from privacy.tokens.tags import day_key, identifiers

ATTEMPTS = 6
PAUSE_S = 2.0

REWRITTEN = ("exposures", "seen_keys", "calibration_sessions", "calibration_steps", "corrections", "tags")
"""Tables that may have named the tag; parents before those that refer to them."""


class StillReadable(StoreUnavailable):
    """The rows are deleted, but another process is reading, so their bytes are still in the write-ahead log."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose data is to be erased.

    Attributes:
        label: in the register and in what was derived; None for one who is in neither.
        secret: of the tag; None where only identifiers are known.
        identifiers: beyond those that follow from the secret.
    """

    label: str | None = None
    secret: bytes | None = field(default=None, repr=False)
    identifiers: frozenset[bytes] = field(default=frozenset(), repr=False)

    def __post_init__(self) -> None:
        if self.secret is None and not self.identifiers:
            raise ValueError("nothing to look for: a tag's secret or identifiers are needed")

    @classmethod
    def of(cls, tag: Tag) -> Subject:
        return cls(tag.label, tag.secret)

    def identifiers_of(self, days: Iterable[int]) -> frozenset[bytes]:
        """All identifiers that the tag can have shown on these days, or, by a clock that is off, on the next."""
        found = set(self.identifiers)
        if self.secret is not None:
            for day in _with_neighbours(days):
                found.update(identifiers(self.secret, day))
        return frozenset(found)

    @property
    def key(self) -> bytes:
        """What a receipt commits to."""
        return key_of(self.identifiers) if self.secret is None else self.secret


@dataclass(frozen=True, slots=True)
class Erasure:
    """Erases from one store.

    Attributes:
        connection: in autocommit, outside any transaction.
        pause: waits between attempts to empty the write-ahead log, seconds.
    """

    connection: Connection
    pause: Callable[[float], None] = time.sleep

    def erase(self, subject: Subject, identity: Identity, now: float) -> SignedReceipt:
        """Erase, overwrite, and sign for it.

        Args:
            now: seconds since the epoch.

        Raises:
            StillReadable: all is deleted, but not yet overwritten; `finish` goes on from there.
            StoreFull: there is no room to delete; nothing was.
            RuntimeError: inside a transaction, where the log cannot be emptied.
        """
        if self.connection.in_transaction:
            raise RuntimeError("erasing cannot run inside a transaction: commit first")
        receipts = Receipts(self.connection)
        with transaction(self.connection):
            sightings = Sightings(self.connection)
            days = sightings.days()
            counts = {"sightings": sightings.erase(subject.identifiers_of(days))} | self._rows(subject, days)
            _rewrite(self.connection, REWRITTEN)
            row = receipts.issue(identity, subject.key, counts, len(days), now)
        return self.finish(row)

    def finish(self, row: int) -> SignedReceipt:
        """Overwrite what was deleted, and hand out the receipt of that number.

        Raises:
            StillReadable: another process is reading.
            BadReceipt: there is no such receipt.
        """
        receipt = Receipts(self.connection).get(row)
        for attempt in range(ATTEMPTS):
            if attempt:
                self.pause(PAUSE_S)
            if Sightings(self.connection).overwrite():
                return receipt
        raise StillReadable(
            f"store {self.connection.path}: all is deleted, but another process reads, or the disk is full, so bytes "
            f"are still there: stop the node (systemctl stop jaga-node), then run `jaga-node erase NODE.toml --finish "
            f"{row} --receipt FILE` / semua sudah dihapus, tetapi byte-nya belum ditimpa: hentikan node, lalu jalankan "
            "perintah tersebut"
        )

    def _rows(self, subject: Subject, days: Sequence[int]) -> dict[str, int]:
        """Delete what was derived from the tag's sightings, or measured with it."""
        counts = {
            "exposures": self._deleted("DELETE FROM exposures WHERE subject = ?", subject.label),
            "calibration_sessions": self._deleted(
                "DELETE FROM calibration_sessions WHERE transmitter = ?", subject.label
            ),
            "corrections": self._deleted(
                "DELETE FROM corrections WHERE kind = 'transmitter' AND name = ?", subject.label
            ),
            "reported_keys": 0,
            "tags": self._deleted("DELETE FROM tags WHERE label = ? OR secret = ?", subject.label, subject.secret),
        }
        if subject.secret is not None:
            # A key that its owner reported gives all identifiers of its day away.
            for day in _with_neighbours(days):
                counts["reported_keys"] += self._deleted(
                    "DELETE FROM seen_keys WHERE key = ?", day_key(subject.secret, day)
                )
        return counts

    def _deleted(self, sql: str, *of: str | bytes | None) -> int:
        return max(self.connection.execute(sql, of).rowcount, 0)


def _with_neighbours(days: Iterable[int]) -> list[int]:
    return sorted({day + beside for day in days for beside in (-1, 0, 1) if day + beside >= 0})


def _rewrite(connection: Connection, tables: Sequence[str]) -> None:
    """Write tables anew, parents first; see `Sightings.overwrite` for why deleting is not enough.

    A table that others refer to is emptied after them and filled before them.
    """
    for table in tables:
        connection.execute(f"CREATE TABLE kept_{table} AS SELECT * FROM {table}")  # noqa: S608 - our own names
    for table in reversed(tables):
        connection.execute(f"DELETE FROM {table}")  # noqa: S608
    for table in tables:
        connection.execute(f"INSERT INTO {table} SELECT * FROM kept_{table}")  # noqa: S608
    for table in tables:
        connection.execute(f"DROP TABLE kept_{table}")
