"""What can go wrong with a node's store, each with what to do about it."""

from __future__ import annotations

import os
from pathlib import Path

from sqlcipher3 import dbapi2

_PRIMARY_CODE = 0xFF
"""SQLite's extended result codes carry the primary code in their low byte (sqlite.org/rescode.html)."""

_ROOM_TO_WORK_BYTES = 64 * 1024
"""With less free space than this, an I/O error is a full disk: SQLite cannot grow its shared-memory file."""

_CORRUPT = frozenset({dbapi2.SQLITE_CORRUPT, dbapi2.SQLITE_NOTADB})
_NO_ACCESS = frozenset({dbapi2.SQLITE_IOERR, dbapi2.SQLITE_CANTOPEN, dbapi2.SQLITE_READONLY})
_BUSY = frozenset({dbapi2.SQLITE_BUSY, dbapi2.SQLITE_LOCKED})


class StoreError(Exception):
    """The node's store cannot do what was asked."""


class WrongKey(StoreError):
    """The key is not the one the store was made with."""


class CorruptStore(StoreError):
    """The store's file is damaged."""


class MissingStore(CorruptStore):
    """The store's file is gone, although one was made here."""


class StoreFull(StoreError):
    """There is no room left on the disk that holds the store."""


class NewerSchema(StoreError):
    """The store was written by a later version of this program."""


class StoreUnavailable(StoreError):
    """The store cannot be reached now: locked by another process, read-only, or the disk does not answer."""


def corrupt(path: Path, finding: str) -> CorruptStore:
    """The error for a damaged file; never repaired by itself, for the privacy ledger inside must not be guessed."""
    return CorruptStore(
        f"store {path} is damaged ({finding}): stop the node, check the disk (dmesg, fsck), and restore the store from "
        f"its last backup together with {path.name}.keyid; if there is none, set this node up anew"
    )


def named(error: Exception, path: Path) -> Exception:
    """The `StoreError` that says what `error` means for the store at `path`; other errors come back as they are."""
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE
    if code == dbapi2.SQLITE_FULL or (code in _NO_ACCESS and _free_bytes(path) < _ROOM_TO_WORK_BYTES):
        return StoreFull(
            f"no room to write store {path} ({error}; {_free_bytes(path)} bytes free): make room on that disk, "
            "nothing that was saved is lost"
        )
    if code in _CORRUPT:
        return corrupt(path, str(error))
    if code in _BUSY:
        return StoreUnavailable(f"store {path} is held by another process ({error}): try again, or end that process")
    if code in _NO_ACCESS:
        return StoreUnavailable(
            f"store {path} cannot be used ({error}): check that its folder exists, that this user may read and write "
            "it, and the disk's health (dmesg)"
        )
    return error


def _free_bytes(path: Path) -> int:
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return _ROOM_TO_WORK_BYTES  # no folder, hence not a full disk
    return disk.f_bavail * disk.f_frsize
