"""The one encrypted file of a node (SQLCipher, WAL), opened by each of its processes.

A new store appears whole: it is built beside its place and linked into it, and only then does its sidecar follow
(`<file>.keyid`). So an empty file is damage, a sidecar without a file is loss, and neither is taken for a first start,
which would forget the privacy that this node has already spent. The sidecar tells a wrong key from a damaged file,
which look the same to SQLCipher.
"""

from __future__ import annotations

import errno
import hmac
import os
import secrets
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from sqlcipher3 import dbapi2

from edge.store import connection as connections
from edge.store.connection import Connection
from edge.store.errors import CorruptStore, MissingStore, StoreFull, StoreUnavailable, WrongKey, corrupt, named
from edge.store.migration import known, migrate
from edge.store.write_ahead_log import damage

KEY_BYTES = 32
BUSY_TIMEOUT_S = 10.0
CACHE_KIB = 2048
WAL_LIMIT_BYTES = 4 * 1024 * 1024


def key_id(key: bytes) -> str:
    """Public name of a key: 8 bytes of an HMAC, in hex. It says whether two keys are the same and nothing else."""
    return hmac.digest(key, b"jaga store key id", "sha256")[:8].hex()


@dataclass(frozen=True, slots=True)
class Database:
    """A node's store.

    Attributes:
        path: the file; its `-wal`, `-shm` and `.keyid` lie beside it.
        key: 32 random bytes. Used as they are, without a password's slow derivation.
    """

    path: Path
    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        if len(self.key) != KEY_BYTES:
            raise WrongKey(f"a store's key has {KEY_BYTES} bytes, this one has {len(self.key)}: check the key file")

    @property
    def key_id_path(self) -> Path:
        return self.path.with_name(self.path.name + ".keyid")

    def connect(self) -> Connection:
        """A connection for one thread, with the newest schema; the first call makes the store.

        Raises:
            WrongKey: the store was made with another key.
            CorruptStore: the file is damaged, truncated, or gone (`MissingStore`).
            NewerSchema: a later version of the program wrote it.
            StoreFull, StoreUnavailable: the disk is full, or cannot be used.
        """
        # The sidecar is looked for first: it is made last, so where it is the file must be.
        made_with = self._read_key_id()
        if not self.path.exists():
            if made_with is not None:
                raise MissingStore(
                    f"store {self.path} is gone, though {self.key_id_path.name} says that one was made here: restore "
                    f"it from its backup; only to start anew, with what was spent of privacy forgotten, remove "
                    f"{self.key_id_path}"
                )
            self._create()
        if made_with is not None and not hmac.compare_digest(made_with, key_id(self.key)):
            raise WrongKey(
                f"store {self.path} was made with key {made_with}, the key given is {key_id(self.key)}: give the node "
                "the key file that belongs to this store; the store is untouched"
            )
        if self.path.stat().st_size == 0:
            raise corrupt(self.path, "it is empty")
        try:
            connection = self._open(self.path)
        except CorruptStore as damage:
            if made_with is None:
                raise WrongKey(
                    f"store {self.path} does not open with key {key_id(self.key)}, and {self.key_id_path.name}, "
                    "which tells a wrong key from a damaged file, is missing: try the right key first, then a backup"
                ) from damage
            raise
        if made_with is None:
            self._write_key_id()
        return connection

    def note_key(self) -> None:
        """Say in the sidecar that the store has this key now."""
        self._write_key_id()

    @staticmethod
    def transaction(connection: Connection) -> AbstractContextManager[None]:
        """See `edge.store.connection.transaction`."""
        return connections.transaction(connection)

    def check(self) -> None:
        """Check every byte that counts: the log's checksums, each page's authentication code, SQLite's own structure.

        Raises:
            CorruptStore: with the first finding.
        """
        connection = self.connect()
        try:
            # While nobody else writes, and before anything does: opened with a damaged log, a store loses its end.
            with connections.transaction(connection):
                log = damage(self.path.with_name(self.path.name + "-wal"))
            findings = [] if log is None else [f"write-ahead log: {log}"]
            findings = findings or [row[0] for row in connection.execute("PRAGMA cipher_integrity_check")]
            findings = findings or [row[0] for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
        finally:
            connection.close()
        if findings:
            raise corrupt(self.path, str(findings[0]).splitlines()[0])

    def _create(self) -> None:
        draft = self.path.with_name(f".{self.path.name}.{secrets.token_hex(8)}.new")
        try:
            os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            self._open(draft).close()
            # Another process of this node may be doing the same: the first link stays.
            with suppress(FileExistsError):
                self.path.hardlink_to(draft)
            sync_folder(self.path.parent)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise StoreFull(f"no room to make store {self.path}: make room on that disk") from error
            raise StoreUnavailable(
                f"store {self.path} cannot be made ({error.strerror}): check that its folder exists and is writable"
            ) from error
        finally:
            for name in (draft.name, draft.name + "-wal", draft.name + "-shm"):
                draft.with_name(name).unlink(missing_ok=True)
        self._write_key_id()

    def _open(self, path: Path) -> Connection:
        """Open an existing file and bring its schema up to date."""
        try:
            connection: Connection = dbapi2.connect(
                f"{path.absolute().as_uri()}?mode=rw",
                timeout=BUSY_TIMEOUT_S,
                isolation_level=None,
                factory=Connection,
                uri=True,
            )
        except dbapi2.Error as error:
            raise named(error, path) from error
        connection.path = path
        try:
            # SQLCipher would tell the terminal about each page it cannot decrypt; the exception does.
            connection.execute("PRAGMA cipher_log_level = NONE")
            connection.execute(f"PRAGMA key = \"x'{self.key.hex()}'\"")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            connection.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}")
            migrate(connection, known())
        except BaseException:
            connection.close()
            raise
        return connection

    def _read_key_id(self) -> str | None:
        try:
            return self.key_id_path.read_text("ascii").strip() or None
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise StoreUnavailable(f"{self.key_id_path} cannot be read ({error}): restore it, or remove it") from error

    def _write_key_id(self) -> None:
        draft = self.key_id_path.with_name(f".{self.key_id_path.name}.{secrets.token_hex(8)}.new")
        try:
            with draft.open("x", encoding="ascii") as file:
                file.write(key_id(self.key) + "\n")
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.key_id_path)
            sync_folder(self.path.parent)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise StoreUnavailable(f"{self.key_id_path} cannot be written ({error}): check the disk") from error


def sync_folder(folder: Path) -> None:
    """Make a new name in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
