"""A new key for the store, in steps that a power cut may come between.

    file: old            rotation is asked for
    file: old, next      `begin`: the next key is on disk, wrapped, before anything is written with it
    store: old -> next   `finish`: SQLCipher writes every page anew, in one transaction
    sidecar: next
    file: next           the old key is forgotten

Whoever finds two keys in the file finishes first: the store opens with exactly one of them.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from sqlcipher3 import dbapi2

from edge.keys.sources import KEY_BYTES, KeyUnavailable, Source
from edge.keys.wrapped import StoreKeys, WrappedKey
from edge.store.database import Database
from edge.store.errors import StoreUnavailable, WrongKey
from privacy.identity.secret import Secret


def begin(wrapped: WrappedKey) -> None:
    """Have a new key ready; the node does the rest when it starts the next time, or the next moment where it runs.

    Raises:
        KeyUnavailable: the source does not give its key, or was changed meanwhile.
    """
    source = wrapped.source()
    given = source.key()  # may take long: somebody types, a server answers
    with wrapped.locked():
        keys = _current(wrapped, source).open(given)
        if keys.next is None:
            wrapped.write(source, given, StoreKeys(keys.key, Secret(secrets.token_bytes(KEY_BYTES))))


def rewrap(wrapped: WrappedKey, old: Source, given: Secret, new: Source, given_by_new: Secret) -> None:
    """Wrap the same keys by another source.

    Args:
        given: by the old source.

    Raises:
        KeyUnavailable: the source was changed meanwhile.
    """
    with wrapped.locked():
        wrapped.write(new, given_by_new, _current(wrapped, old).open(given))


def finish(wrapped: WrappedKey, store: Path) -> Secret:
    """Finish a rotation that was begun, and return the store's key. No other process may have the store open.

    Raises:
        KeyUnavailable: the source does not give its key, or was changed meanwhile.
        WrongKey: neither key opens the store.
        StoreUnavailable: somebody has it open, or the disk fails.
    """
    source = wrapped.source()
    given = source.key()
    if not wrapped.rotating():
        return wrapped.open(given).key
    with wrapped.locked():
        keys = _current(wrapped, source).open(given)
        if keys.next is None:
            return keys.key
        if store.exists():
            if not _opens(store, keys.next):
                if not _opens(store, keys.key):
                    raise WrongKey(
                        f"store {store} opens with neither key of {wrapped.path}: restore both from one backup"
                    )
                _rekey(store, keys.key, keys.next)
            Database(store, keys.next).note_key()
        wrapped.write(source, given, StoreKeys(keys.next))
        return keys.next


def _current(wrapped: WrappedKey, source: Source) -> WrappedKey:
    if wrapped.source() != source:
        raise KeyUnavailable(f"{wrapped.path} was given another source meanwhile: do it once more / ulangi sekali lagi")
    return wrapped


def _opens(store: Path, key: Secret) -> bool:
    connection = dbapi2.connect(f"{store.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)
    try:
        connection.execute("PRAGMA cipher_log_level = NONE")
        connection.execute(f"PRAGMA key = \"x'{key.reveal().hex()}'\"")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except dbapi2.DatabaseError:
        return False
    finally:
        connection.close()
    return True


def _rekey(store: Path, old: Secret, new: Secret) -> None:
    connection = dbapi2.connect(f"{store.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=10)
    try:
        connection.execute("PRAGMA cipher_log_level = NONE")
        connection.execute(f"PRAGMA key = \"x'{old.reveal().hex()}'\"")
        # Every page is written anew under a rollback journal: a power cut in its midst leaves the old key whole.
        if connection.execute("PRAGMA journal_mode = DELETE").fetchone()[0] != "delete":
            raise StoreUnavailable(f"store {store} is open elsewhere: stop what uses it, then start the node again")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("COMMIT")
        connection.execute(f"PRAGMA rekey = \"x'{new.reveal().hex()}'\"")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except dbapi2.OperationalError as why:
        raise StoreUnavailable(f"store {store} cannot be given its new key now ({why}): start the node again") from why
    finally:
        connection.close()
