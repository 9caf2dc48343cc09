"""A DB-API connection whose errors name what happened to the store, and the one way to make a transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlcipher3 import dbapi2

from edge.store.errors import named

Parameters = Sequence[Any] | Mapping[str, Any]


class Cursor(dbapi2.Cursor):  # type: ignore[misc]
    """A cursor that raises `StoreError`s; rows are tuples."""

    connection: Connection
    rowcount: int

    def execute(self, sql: str, parameters: Parameters = (), /) -> Cursor:
        try:
            super().execute(sql, parameters)
        except dbapi2.DatabaseError as error:
            raise named(error, self.connection.path) from error
        return self

    def executemany(self, sql: str, parameters: Iterable[Parameters], /) -> Cursor:
        try:
            super().executemany(sql, parameters)
        except dbapi2.DatabaseError as error:
            raise named(error, self.connection.path) from error
        return self

    def fetchone(self) -> Any:
        try:
            return super().fetchone()
        except dbapi2.DatabaseError as error:
            raise named(error, self.connection.path) from error

    def fetchall(self) -> list[Any]:
        try:
            return list(super().fetchall())
        except dbapi2.DatabaseError as error:
            raise named(error, self.connection.path) from error

    def __next__(self) -> Any:
        try:
            return super().__next__()
        except dbapi2.DatabaseError as error:
            raise named(error, self.connection.path) from error


class Connection(dbapi2.Connection):  # type: ignore[misc]
    """A SQLCipher connection in autocommit: what is not inside `transaction` commits by itself.

    Attributes:
        path: file of the store, for errors; set by `Database.connect`.
    """

    path: Path
    in_transaction: bool
    total_changes: int

    def cursor(self, factory: type[Cursor] = Cursor) -> Cursor:
        made: Cursor = super().cursor(factory)
        return made

    def execute(self, sql: str, parameters: Parameters = (), /) -> Cursor:
        return self.cursor().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Parameters], /) -> Cursor:
        return self.cursor().executemany(sql, parameters)


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """All of the block or nothing of it; a block inside a block is part of the outer one and commits with it.

    The outermost block takes the write lock at once (BEGIN IMMEDIATE), so that two processes which read before they
    write wait for each other instead of failing. The inner one is a savepoint: where its error is caught by the outer
    block, its own writes are undone and no others.

    Raises:
        StoreFull, StoreUnavailable: from the block or the commit; nothing was written.
    """
    inner = connection.in_transaction
    begin, commit = ("SAVEPOINT part", "RELEASE part") if inner else ("BEGIN IMMEDIATE", "COMMIT")
    connection.execute(begin)
    try:
        yield
        connection.execute(commit)
    except BaseException:
        # SQLite itself may have rolled back already, as it does for a full disk.
        if connection.in_transaction:
            if inner:
                connection.execute("ROLLBACK TO part")
                connection.execute("RELEASE part")
            else:
                connection.execute("ROLLBACK")
        raise
