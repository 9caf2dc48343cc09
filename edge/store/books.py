"""A node's three books, looked over together: the ledger, the audit log and the receipts of erasure.

Each is a hash chain, so a changed or missing row in the middle shows by itself. Rows cut off at the end do not; for
that, note the heads somewhere else, and hold the books against the note later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec

from edge.store.connection import Connection
from edge.store.receipts import Receipts
from privacy.accounting.ledger import PrivacyLedger
from privacy.boundary.audit import AuditLog
from privacy.boundary.messages import Kind
from privacy.catalogue.use import Use
from privacy.journal import Head

NOTE_VERSION = 1


class BookFault(ValueError):
    """The books contradict themselves or a note of them; the message says where."""


class _Noted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    heads: dict[str, tuple[int, str]]


@dataclass(frozen=True, slots=True)
class Books:
    """The books of one store.

    Attributes:
        ledger: with the node's own budget.
    """

    connection: Connection
    ledger: PrivacyLedger

    @property
    def audit(self) -> AuditLog:
        return AuditLog(self.connection)

    @property
    def receipts(self) -> Receipts:
        return Receipts(self.connection)

    def heads(self) -> dict[str, Head]:
        """Number and hash of the last row of each book, after following the whole chain.

        Raises:
            BrokenChain: naming the first row that was tampered with.
        """
        return {
            "ledger": self.ledger.verify(),
            "audit log": self.audit.verify(),
            "receipts": self.receipts.verify(),
        }

    def verify(self) -> dict[str, Head]:
        """The chains, and whether the books agree: what went out is paid for, and may go out so.

        Raises:
            BrokenChain: see `heads`.
            BookFault: naming the row of the audit log.
        """
        heads = self.heads()
        entries = {entry.number: entry for entry in self.ledger.entries()}
        for row in self.audit.rows():
            if row.kind != Kind.REPLY:
                continue
            for number in row.entries:
                entry = entries.get(number)
                if entry is None or entry.spent_at is None:
                    raise BookFault(f"row {row.row} of the audit log was paid by entry {number}, which is not spent")
                use = Use.decode(entry.purpose)
                if use is not None and (objections := use.objections()):
                    raise BookFault(f"row {row.row} of the audit log should not have gone out: {'; '.join(objections)}")
        return heads


@dataclass(frozen=True, slots=True)
class Note:
    """Where the books ended when it was written."""

    heads: Mapping[str, Head]

    def write(self, path: Path) -> None:
        noted = {name: (row, digest.hex()) for name, (row, digest) in self.heads.items()}
        path.write_bytes(msgspec.json.format(msgspec.json.encode(_Noted(NOTE_VERSION, noted))) + b"\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a note.

        Raises:
            BookFault: it is none.
        """
        try:
            noted = msgspec.json.decode(path.read_bytes(), type=_Noted)
            heads = {name: (row, bytes.fromhex(digest)) for name, (row, digest) in noted.heads.items()}
        except (OSError, ValueError) as why:
            raise BookFault(f"{path} is no note of the books: {why}") from why
        if noted.version != NOTE_VERSION:
            raise BookFault(f"{path} has version {noted.version}, this software reads {NOTE_VERSION}")
        return cls(heads)

    def check(self, connection: Connection) -> None:
        """Whether the books go on from where they were.

        Raises:
            BookFault: rows were cut off, or the books are others: a backup was restored, or the file was exchanged.
        """
        tables = {"ledger": "privacy_ledger", "audit log": "audit_log", "receipts": "receipts"}
        for name, (row, digest) in self.heads.items():
            if name not in tables:
                raise BookFault(f"the note is of a book {name!r}, which this node does not have")
            if row == 0:
                continue
            found = connection.execute(f"SELECT hash FROM {tables[name]} WHERE row = ?", (row,)).fetchone()  # noqa: S608
            if found is None:
                raise BookFault(f"the {name} had {row} rows when it was noted, and has fewer now: rows were cut off")
            if bytes(found[0]) != digest:
                raise BookFault(f"row {row} of the {name} is another than when it was noted: these are other books")
