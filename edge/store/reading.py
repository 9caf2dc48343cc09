"""Reading what was declared and nothing else: SQLite itself holds a task to its sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlcipher3 import dbapi2

from edge.store.connection import Connection

HARMLESS = frozenset({dbapi2.SQLITE_SELECT, dbapi2.SQLITE_FUNCTION, dbapi2.SQLITE_RECURSIVE})


class UndeclaredRead(PermissionError):
    """Something was read that was not declared; the message names table and column."""


@contextmanager
def reading_only(connection: Connection, sources: Mapping[str, tuple[str, ...]]) -> Iterator[None]:
    """In this block the connection reads these columns, by table, and does nothing else.

    Raises:
        UndeclaredRead: the block tried to.
    """
    allowed = {(table, column) for table, columns in sources.items() for column in (*columns, "")}
    denied: list[str] = []

    def authorize(action: int, table: str | None, column: str | None, *_: object) -> int:
        if action in HARMLESS:
            return int(dbapi2.SQLITE_OK)
        if action == dbapi2.SQLITE_READ and (table, column or "") in allowed:
            return int(dbapi2.SQLITE_OK)
        denied.append(f"{table}.{column}" if action == dbapi2.SQLITE_READ else f"action {action} on {table}")
        return int(dbapi2.SQLITE_DENY)

    connection.set_authorizer(authorize)
    try:
        yield
    except Exception as why:
        if denied:
            raise UndeclaredRead(
                f"{denied[0]} is not among the declared sources: declare it, or do not read it"
            ) from why
        raise
    finally:
        connection.set_authorizer(None)
