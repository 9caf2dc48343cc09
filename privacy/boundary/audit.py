"""What left this node, when, to whom and at what cost: a log that field staff can read and nobody can rewrite.

The log keeps the SHA-256 of each payload and never the payload, so that it can be shown to anybody. See
`privacy.journal` for what its hash chain proves.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from privacy.journal import Connection, Journal, transaction

_TABLE = "audit_log"
_COLUMNS = {
    "at": "REAL",
    "kind": "TEXT",
    "recipient": "TEXT",
    "bytes": "INTEGER",
    "sha256": "BLOB",
    "entries": "TEXT",
    "note": "TEXT",
}


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One payload that left.

    Attributes:
        row: number, from 1 without gaps.
        at: seconds since the epoch, never before the row above it.
        kind: declared message type.
        recipient: party it was sealed for, or that everybody may read it.
        size_bytes: of the payload as published.
        sha256: of the payload as published, 32 bytes.
        entries: numbers of the ledger entries that paid for it.
        note: what it was, in words.
    """

    row: int
    at: float
    kind: str
    recipient: str
    size_bytes: int
    sha256: bytes
    entries: tuple[int, ...]
    note: str

    def __str__(self) -> str:
        when = datetime.fromtimestamp(self.at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        paid = "ledger " + ", ".join(str(entry) for entry in self.entries) if self.entries else "no ledger entry"
        return f"{self.row}. {when}: {self.kind} to {self.recipient}, {self.size_bytes} bytes, {paid}: {self.note}"


def create_tables(connection: Connection) -> None:
    """Make the log's table where it is missing."""
    Journal(connection, _TABLE, _COLUMNS).create_table()


class AuditLog:
    """Append-only list of what left.

    Args:
        clock: seconds since the epoch. Where it goes back, rows keep the time of the row above.
    """

    def __init__(self, connection: Connection, clock: Callable[[], float] = time.time) -> None:
        self._journal = Journal(connection, _TABLE, _COLUMNS)
        self._connection = connection
        self._clock = clock
        create_tables(connection)

    def append(
        self,
        *,
        kind: str,
        recipient: str,
        payload: bytes | bytearray,
        entries: Sequence[int] = (),
        note: str = "",
        sha256: bytes | None = None,
    ) -> int:
        """Write down what is about to leave; returns the row's number.

        Inside the caller's transaction it commits with it, so that a payload is queued if and only if it is logged. The
        payload's `sha256` is worked out here where it is not known already.
        """
        digest = sha256 or hashlib.sha256(payload).digest()
        paid = msgspec.json.encode(list(entries)).decode()
        with nullcontext() if self._connection.in_transaction else transaction(self._connection):
            last = self._connection.execute("SELECT at FROM audit_log ORDER BY row DESC LIMIT 1").fetchone()
            at = max(float(self._clock()), last[0]) if last else float(self._clock())
            return self._journal.append((at, kind, recipient, len(payload), digest, paid, note))

    def rows(self, since: int = 0) -> list[AuditRow]:
        """All rows with a number above `since`, oldest first."""
        found = self._connection.execute(
            "SELECT row, at, kind, recipient, bytes, sha256, entries, note FROM audit_log WHERE row > ? ORDER BY row",
            (since,),
        )
        return [
            AuditRow(row, at, kind, recipient, size, digest, msgspec.json.decode(paid, type=tuple[int, ...]), note)
            for row, at, kind, recipient, size, digest, paid, note in found
        ]

    def verify(self) -> tuple[int, bytes]:
        """Follow the hash chain; returns number and hash of the last row.

        Raises:
            BrokenChain: names the first row that was tampered with.
        """
        return self._journal.verify()
