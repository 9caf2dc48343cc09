"""Where the centre's records are: SQLite in a file unless a URL says otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from sqlalchemy import Engine, create_engine, event, inspect, select, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Session

from aggregator.records.schema import ADDED_TO_SINCE, VERSION, Base, SchemaRow

BUSY_TIMEOUT_S = 30


class RecordsError(RuntimeError):
    """The records cannot be used; the message says why and what to do."""


class WrongSchema(RecordsError):
    """The records were made by another version of Jaga."""


class Records:
    """A database of the centre; made on first use. Subclasses have tables of their own.

    Attributes:
        tables: the base of all its tables.
        schema: the table that holds their version, in one row.
        version: which one this program knows.
        added_to_since: the oldest version that lacks nothing but whole tables.
        owner: whose records these are, for errors.

    Raises:
        RecordsError: it cannot be reached, or is damaged.
        WrongSchema: it is of another version.
    """

    tables: ClassVar[type[DeclarativeBase]] = Base
    schema: ClassVar[type[Any]] = SchemaRow
    version: ClassVar[int] = VERSION
    added_to_since: ClassVar[int] = ADDED_TO_SINCE
    owner: ClassVar[str] = "Jaga"

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
            driver = "postgresql+psycopg" if parsed.drivername in ("postgresql", "postgres") else parsed.drivername
            self.engine = _engine(parsed.set(drivername=driver).render_as_string(hide_password=False))
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as why:
            raise RecordsError(
                f"{url!r} is no database that can be used here ({why}): write sqlite:///FILE, or "
                "postgresql://USER@HOST/NAME with `pip install 'jaga[postgresql]'`"
            ) from why
        self.address = parsed.render_as_string()
        with self._explained():
            self._prepare()

    @contextmanager
    def session(self) -> Iterator[Session]:
        """One transaction: committed at the end of the block, rolled back when it raises.

        Raises:
            RecordsError: the database fails.
        """
        with self._explained(), Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as why:
            raise RecordsError(f"records {self.address}: {why.orig}; {_remedy(str(why.orig))}") from why
        except SQLAlchemyError as why:
            raise RecordsError(f"records {self.address}: {why}") from why

    def _prepare(self) -> None:
        tables = inspect(self.engine).get_table_names()
        if not tables:
            self.tables.metadata.create_all(self.engine)
            with Session(self.engine) as session, session.begin():
                session.add(self.schema(version=self.version))
            return
        if self.schema.__tablename__ not in tables:
            raise WrongSchema(f"records {self.address}: another program's database; give {self.owner} one of its own")
        with Session(self.engine) as session:
            version = session.scalar(select(self.schema.version))
        if version is not None and self.added_to_since <= version < self.version:
            self.tables.metadata.create_all(self.engine)
            with Session(self.engine) as session, session.begin():
                session.execute(update(self.schema).values(version=self.version))
            return
        if version != self.version:
            raise WrongSchema(
                f"records {self.address} have schema version {version}, this Jaga needs {self.version}: use the Jaga "
                "that made them, or other records"
            )


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        # The driver's own transaction handling would begin too late, and leave two writers to find each other out.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode = WAL", "foreign_keys = ON", "synchronous = FULL"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _remedy(why: str) -> str:
    if "malformed" in why or "not a database" in why:
        return "the file is damaged: restore it from a backup"
    if "full" in why:
        return "the disk is full: make room, then start again"
    if "unable to open" in why or "readonly" in why:
        return "check that the folder exists and can be written"
    return "check that the database is there and reachable"
