"""Tables that can only grow: no row is ever changed or taken out, and each one vouches for all before it.

A row's hash is SHA-256 over the hash before it and the row's own canonical bytes; triggers abort UPDATE, DELETE and any
INSERT that is not the next row. So whoever edits a row, by whatever means, breaks the chain from there on, and `verify`
names the row. What a chain alone cannot show is its last rows cut off: note `head` somewhere else to see that too.

The connection may be of `sqlite3` or `sqlcipher3`; it must be in autocommit (`isolation_level=None`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import msgspec

Value = int | float | str | bytes | None
Head = tuple[int, bytes]
"""Number and hash of a journal's last row."""

_TYPES: Mapping[str, tuple[type, ...]] = {
    "INTEGER": (int, type(None)),
    "REAL": (float,),
    "TEXT": (str,),
    "BLOB": (bytes,),
}


class BrokenChain(ValueError):
    """A row of a journal is not what was written.

    Attributes:
        row: its number, from 1.
    """

    def __init__(self, table: str, row: int, what: str) -> None:
        super().__init__(
            f"row {row} of {table} {what}: the file was edited or is damaged; trust nothing from row {row} on, keep "
            "the file for inspection, and restore a backup"
        )
        self.row = row


class UnsuitableConnection(ValueError):
    """The database connection cannot keep what a journal promises."""


class Connection(Protocol):
    """What a journal needs of a DB-API connection."""

    @property
    def in_transaction(self) -> bool: ...

    def execute(self, sql: str, parameters: Any = ..., /) -> Any: ...


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """Take the write lock before reading, so that what was read still holds when the block writes."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite itself may have rolled back already, as it does for a full disk.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


class Journal:
    """One append-only, hash-chained table.

    Args:
        columns: name and SQL type of each column, beside `row` (from 1, without gaps) and `hash` (32 bytes).
    """

    def __init__(self, connection: Connection, table: str, columns: Mapping[str, str]) -> None:
        if getattr(connection, "isolation_level", None) is not None:
            raise UnsuitableConnection(
                f"journal {table} needs a connection in autocommit: connect with isolation_level=None"
            )
        if (synchronous := connection.execute("PRAGMA synchronous").fetchone()[0]) < 2:
            raise UnsuitableConnection(
                f"journal {table} would forget rows in a power cut: PRAGMA synchronous is {synchronous}, set it to FULL"
            )
        self._connection = connection
        self._table = table
        self._columns = dict(columns)

    def create_table(self) -> None:
        """Make the table and its guards where they are missing."""
        table, names = self._table, ", ".join(f"{name} {kind}" for name, kind in self._columns.items())
        columns = f"(row INTEGER PRIMARY KEY, {names}, hash BLOB NOT NULL)"
        self._connection.execute(f"CREATE TABLE IF NOT EXISTS {table} {columns} STRICT")
        # INSERT OR REPLACE deletes without a delete trigger, so a number that is taken is refused by the third.
        for guard, event, complaint in (
            ("keeps_rows", "UPDATE", "rows are never changed"),
            ("loses_none", "DELETE", "rows are never deleted"),
            ("has_no_gaps", "INSERT", "a row must be the next one"),
        ):
            next_row = f"(SELECT coalesce(max(row), 0) + 1 FROM {table})"  # noqa: S608
            when = f"WHEN NEW.row IS NOT {next_row}" if event == "INSERT" else ""
            self._connection.execute(
                f"CREATE TRIGGER IF NOT EXISTS {table}_{guard} BEFORE {event} ON {table} {when} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only: {complaint}'); END"
            )

    def append(self, values: Sequence[Value]) -> int:
        """Add a row and return its number; call it inside a transaction that holds the write lock."""
        for value, (name, kind) in zip(values, self._columns.items(), strict=True):
            if type(value) not in _TYPES[kind]:
                raise TypeError(f"column {name} of {self._table} is {kind}, got {value!r}")
        last, before = self.head()
        row = last + 1
        marks = ", ".join("?" * (len(values) + 2))
        self._connection.execute(
            f"INSERT INTO {self._table} VALUES ({marks})",  # noqa: S608  (names come from this code)
            (row, *values, _link(before, row, values)),
        )
        return row

    def head(self) -> Head:
        """Number and hash of the last row; (0, a constant) of an empty journal."""
        last = self._connection.execute(f"SELECT row, hash FROM {self._table} ORDER BY row DESC LIMIT 1").fetchone()  # noqa: S608
        return (int(last[0]), bytes(last[1])) if last else (0, self._genesis)

    def verify(self, since: Head | None = None) -> Head:
        """Follow the whole chain and return its head.

        Args:
            since: a head that was verified before: only it and the rows after it are looked at.

        Raises:
            BrokenChain: names the first row that does not hold.
        """
        number, before = (0, self._genesis) if since is None else since
        if number and self._hash_of(number) != before:
            raise BrokenChain(self._table, number, "is not what it was a moment ago")
        rows = self._connection.execute(f"SELECT * FROM {self._table} WHERE row > ? ORDER BY row", (number,))  # noqa: S608
        for row, *values, stored in rows:
            number += 1
            if row != number:
                raise BrokenChain(self._table, number, "is missing")
            before = _link(before, row, values)
            if before != stored:
                raise BrokenChain(self._table, row, "does not match its hash")
        return number, before

    def _hash_of(self, row: int) -> bytes | None:
        found = self._connection.execute(f"SELECT hash FROM {self._table} WHERE row = ?", (row,)).fetchone()  # noqa: S608
        return None if found is None else bytes(found[0])

    @property
    def _genesis(self) -> bytes:
        return hashlib.sha256(b"jaga journal 1 " + self._table.encode()).digest()


def _link(before: bytes, row: int, values: Sequence[Value]) -> bytes:
    return hashlib.sha256(before + msgspec.json.encode([row, *values])).digest()
