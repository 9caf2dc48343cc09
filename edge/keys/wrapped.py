"""The store's key as it lies on the disk: wrapped with what a source gives, in a small file that says which source.

During a rotation the file holds two keys, the old and the next: whichever of them a power cut leaves the store with,
the node opens it, finishes the rotation and forgets the other.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from edge.keys.sources import KEY_BYTES, KeyUnavailable, Source
from privacy.identity.keys import write_private
from privacy.identity.secret import Secret

VERSION = 1
NONCE_BYTES, TAG_BYTES = 12, 16
Closed = Annotated[
    bytes,
    msgspec.Meta(min_length=NONCE_BYTES + KEY_BYTES + TAG_BYTES, max_length=NONCE_BYTES + KEY_BYTES + TAG_BYTES),
]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    source: Source
    key: Closed
    next: Closed | None = None


@dataclass(frozen=True, slots=True)
class StoreKeys:
    """The key of the store, and during a rotation the one that comes after it."""

    key: Secret
    next: Secret | None = None


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """Such a file."""

    path: Path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else changes the file meanwhile; another command waits."""
        with self.path.with_name(f"{self.path.name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def source(self) -> Source:
        """Which source opens it.

        Raises:
            KeyUnavailable: the file is damaged or of a later version.
        """
        return self._read().source

    def open(self, given: Secret | None = None) -> StoreKeys:
        """The keys.

        Args:
            given: what the source gave, where it was asked already.

        Raises:
            KeyUnavailable: the source does not give its key, or another one than this file was made with.
        """
        file = self._read()
        key = file.source.key() if given is None else given
        opened = self._open(key, file.key, _bound(b"key", file.source))
        following = None if file.next is None else self._open(key, file.next, _bound(b"next", file.source))
        return StoreKeys(opened, following)

    def write(self, source: Source, given: Secret, keys: StoreKeys) -> None:
        """Make the file, or replace it; a power cut leaves the old one or the new."""
        closed = _close(given, keys.key, _bound(b"key", source))
        following = None if keys.next is None else _close(given, keys.next, _bound(b"next", source))
        file = _File(VERSION, source, closed, following)
        write_private(self.path, msgspec.json.format(msgspec.json.encode(file)) + b"\n")

    def rotating(self) -> bool:
        """Whether there is a next key; needs no key. False where there is no such file."""
        return self.path.exists() and self._read().next is not None

    def _read(self) -> _File:
        try:
            file = msgspec.json.decode(self.path.read_bytes(), type=_File)
        except (OSError, msgspec.MsgspecError) as why:
            raise KeyUnavailable(f"{self.path} cannot be read ({why}): restore it from its backup") from why
        if file.version != VERSION:
            raise KeyUnavailable(f"{self.path} has version {file.version}, this software reads {VERSION}")
        return file

    def _open(self, given: Secret, closed: bytes, bound: bytes) -> Secret:
        try:
            opened = AESGCM(given.reveal()).decrypt(closed[:NONCE_BYTES], closed[NONCE_BYTES:], bound)
        except InvalidTag as why:
            raise KeyUnavailable(
                f"{self.path} does not open: the passphrase is wrong, or this is another machine, card or server than "
                "it was made with / kata sandi salah, atau mesin, kartu, atau server berbeda"
            ) from why
        return Secret(opened)


def _close(given: Secret, key: Secret, bound: bytes) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(given.reveal()).encrypt(nonce, key.reveal(), bound)


def _bound(which: bytes, source: Source) -> bytes:
    """What a wrapped key is bound to: its place in the file, and all that the file says of the source."""
    return b"jaga wrapped store key 1 " + which + b" " + msgspec.json.encode(source)
