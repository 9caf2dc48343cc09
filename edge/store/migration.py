"""Numbered migrations: `migrations/NNNN_name.sql`, counted in `PRAGMA user_version`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlcipher3 import dbapi2

from edge.store.connection import Connection, transaction
from edge.store.errors import NewerSchema

FOLDER = Path(__file__).with_name("migrations")


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema.

    Attributes:
        number: position, from 1 without gaps; the schema's version once it ran.
        sql: statements, each ended by a semicolon.
    """

    number: int
    sql: str

    def statements(self) -> Iterator[str]:
        """The statements one by one; `executescript` would commit behind the transaction's back."""
        statement = ""
        for line in self.sql.splitlines(keepends=True):
            statement += line
            if dbapi2.complete_statement(statement):
                yield statement
                statement = ""


def known(folder: Path = FOLDER) -> list[Migration]:
    """All migrations of this version of the program, in order.

    Raises:
        ValueError: the numbers have a gap or a double.
    """
    files = sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.sql"))
    numbers = [int(file.name[:4]) for file in files]
    if numbers != list(range(1, len(files) + 1)):
        raise ValueError(f"migrations in {folder} are numbered {numbers}: number them from 1 without gaps")
    return [Migration(number, file.read_text("utf-8")) for number, file in zip(numbers, files, strict=True)]


def migrate(connection: Connection, migrations: Sequence[Migration]) -> int:
    """Bring the schema to the newest version, each step whole or not at all; returns the version.

    Raises:
        NewerSchema: the store is ahead of `migrations`.
    """
    newest = len(migrations)
    version = _version(connection)
    if version > newest:
        raise NewerSchema(
            f"store {connection.path} has schema {version}, this program knows up to {newest}: install the version of "
            "jaga that wrote it, or a later one; the store is untouched"
        )
    for step in migrations[version:]:
        with transaction(connection):
            # Another process of this node may have come first while this one waited for the lock.
            if _version(connection) >= step.number:
                continue
            for statement in step.statements():
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {step.number}")
    return newest


def _version(connection: Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
