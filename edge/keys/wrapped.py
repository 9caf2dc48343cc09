"""The store's key as it lies on the disk: wrapped with what a source gives, in a small file that says which source.

During a rotation the file holds two keys, the old and the next: whichever of them a power cut leaves the store with,
the node opens it, finishes the rotation and forgets the other.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from edge.keys.sources import KEY_BYTES, KeyUnavailable, Source
from privacy.identity.keys import write_private

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

    key: bytes
    next: bytes | None = None


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """Such a file."""

    path: Path

    def source(self) -> Source:
        """Which source opens it.

        Raises:
            KeyUnavailable: the file is damaged or of a later version.
        """
        return self._read().source

    def open(self, given: bytes | None = None) -> StoreKeys:
        """The keys.

        Args:
            given: what the source gave, where it was asked already.

        Raises:
            KeyUnavailable: the source does not give its key, or another one than this file was made with.
        """
        file = self._read()
        key = file.source.key() if given is None else given
        return StoreKeys(self._open(key, file.key, b"key"), file.next and self._open(key, file.next, b"next"))

    def write(self, source: Source, given: bytes, keys: StoreKeys) -> None:
        """Make the file, or replace it; a power cut leaves the old one or the new."""
        closed = _close(given, keys.key, b"key")
        file = _File(VERSION, source, closed, keys.next and _close(given, keys.next, b"next"))
        write_private(self.path, msgspec.json.format(msgspec.json.encode(file)) + b"\n")

    def _read(self) -> _File:
        try:
            file = msgspec.json.decode(self.path.read_bytes(), type=_File)
        except (OSError, msgspec.MsgspecError) as why:
            raise KeyUnavailable(f"{self.path} cannot be read ({why}): restore it from its backup") from why
        if file.version != VERSION:
            raise KeyUnavailable(f"{self.path} has version {file.version}, this software reads {VERSION}")
        return file

    def _open(self, given: bytes, closed: bytes, which: bytes) -> bytes:
        try:
            return AESGCM(given).decrypt(closed[:NONCE_BYTES], closed[NONCE_BYTES:], _bound(which))
        except InvalidTag as why:
            raise KeyUnavailable(
                f"{self.path} does not open: the passphrase is wrong, or this is another machine, card or server than "
                "it was made with / kata sandi salah, atau mesin, kartu, atau server berbeda"
            ) from why


def _close(given: bytes, key: bytes, which: bytes) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(given).encrypt(nonce, key, _bound(which))


def _bound(which: bytes) -> bytes:
    return b"jaga wrapped store key 1 " + which
