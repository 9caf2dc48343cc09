"""Batches of diagnosis keys: kept from the broker's hands until they are matched, and known again afterwards."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from edge.store.connection import Connection, transaction
from edge.store.slots import DAY_S

KEPT_DAYS = 14
"""For as long keys are of use; afterwards batch and keys are forgotten."""


class BatchReceipt(Enum):
    """What the node knows of a batch that came in."""

    NEW = "new"
    KNOWN = "known"
    OTHER_CONTENT = "another file came under this name before"
    OTHER_NAME = "this file came under another name before"


@dataclass(frozen=True, slots=True)
class KeyBatch:
    """A batch that waits to be matched.

    Attributes:
        id: position in the queue.
        batch: its name.
        export: the export file, as the health authority signed it.
        attempts: how often matching was started, this time included.
    """

    id: int
    region: str
    batch: str
    export: bytes
    attempts: int


@dataclass(frozen=True, slots=True)
class KeyBatches:
    """The batches of a node."""

    connection: Connection

    def receive(
        self, digest: bytes, region: str, batch: str, starts_at: float, ends_at: float, export: bytes, now: float
    ) -> BatchReceipt:
        """Keep a batch that was verified, or recognise it; of one that comes again, the first copy stays.

        Args:
            digest: SHA-256 of the export file.
            starts_at: of the time that the batch is about, seconds since the epoch.
            ends_at: the same.
        """
        with transaction(self.connection):
            known = self.known(digest, region, batch)
            if known is BatchReceipt.NEW:
                self.connection.execute(
                    "INSERT INTO key_batches (digest, region, batch, starts_at, ends_at, received_at, export) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (digest, region, batch, starts_at, ends_at, now, export),
                )
        return known

    def known(self, digest: bytes, region: str, batch: str) -> BatchReceipt:
        """Whether a file and a name are new, belong together, or contradict what came before."""
        rows = self.connection.execute(
            "SELECT digest = ?1, region = ?2 AND batch = ?3 FROM key_batches "
            "WHERE digest = ?1 OR (region = ?2 AND batch = ?3)",
            (digest, region, batch),
        ).fetchall()
        if not rows:
            return BatchReceipt.NEW
        if (1, 1) in rows:
            return BatchReceipt.KNOWN
        return BatchReceipt.OTHER_CONTENT if (0, 1) in rows else BatchReceipt.OTHER_NAME

    def waiting(self) -> int:
        """How many batches are not matched."""
        return int(self.connection.execute("SELECT count(*) FROM key_batches WHERE matched_at IS NULL").fetchone()[0])

    def start(self) -> KeyBatch | None:
        """The next batch to match, its attempt counted on disk; those that were tried least come first.

        Raises:
            RuntimeError: inside a transaction, which would count it too late.
        """
        if self.connection.in_transaction:
            raise RuntimeError("an attempt must be on disk before the work: start it outside of a transaction")
        row = self.connection.execute(
            "UPDATE key_batches SET attempts = attempts + 1 WHERE id = "
            "(SELECT id FROM key_batches WHERE matched_at IS NULL ORDER BY attempts, id LIMIT 1) "
            "RETURNING id, region, batch, export, attempts"
        ).fetchone()
        return None if row is None else KeyBatch(row[0], row[1], row[2], bytes(row[3]), row[4])

    def unseen(self, keys: Iterable[bytes]) -> set[bytes]:
        """Those of the keys (16 bytes each) that no batch before has brought."""
        return {
            key
            for key in keys
            if self.connection.execute("SELECT 1 FROM seen_keys WHERE key = ?", (key,)).fetchone() is None
        }

    def matched(self, batch_id: int, keys: Iterable[tuple[bytes, int]], now: float) -> bool:
        """Note that a batch is done, with each of its keys and the day on which that ends; the file is let go.

        Returns:
            False where another process was first: what goes with it must not be written.

        Raises:
            RuntimeError: outside of a transaction; what was found must be written with it or not at all.
        """
        if not self.connection.in_transaction:
            raise RuntimeError("a batch is done in the transaction that writes what was found")
        done = self.connection.execute(
            "UPDATE key_batches SET matched_at = ?, export = NULL WHERE id = ? AND matched_at IS NULL", (now, batch_id)
        ).rowcount
        if not done:
            return False
        self.connection.executemany("INSERT OR IGNORE INTO seen_keys (key, day) VALUES (?, ?)", keys)
        return True

    def forget(self, now: float) -> int:
        """Drop batches and keys that are of no use any more, matched or not; returns how many batches."""
        with transaction(self.connection):
            before = now - KEPT_DAYS * DAY_S
            self.connection.execute("DELETE FROM seen_keys WHERE day < ?", (int(before // DAY_S) - 1,))
            return self.connection.execute("DELETE FROM key_batches WHERE ends_at < ?", (before,)).rowcount
