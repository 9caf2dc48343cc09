"""Replies too large for a table, as files in a folder beside the store.

A reply is sealed to the centre before it is stored, so SQLCipher would encrypt what nobody here can read; and it would
write every page twice, and once more to wipe it. On an SD card that is most of a round.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edge.store.database import sync_folder
from edge.store.errors import StoreError, StoreFull, StoreUnavailable, corrupt

LARGE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class ReplyFiles:
    """One file for each large reply, named after the message that it answers.

    A file counts only once a committed row names it: what a power cut left half written is written anew, or cleared
    away by `keep_only`.
    """

    folder: Path

    @classmethod
    def beside(cls, store: Path) -> ReplyFiles:
        return cls(store.with_name(f"{store.name}-replies"))

    def write(self, message_id: bytes, reply: bytes | bytearray) -> None:
        """Write a reply, and wait until it is on disk.

        Raises:
            StoreFull, StoreUnavailable: it could not be written.
        """
        path = self._path(message_id)
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                left = memoryview(reply)
                while left:
                    left = left[os.write(descriptor, left) :]
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
            sync_folder(self.folder)
        except OSError as why:
            raise _named(why, path) from why

    def read(self, message_id: bytes, sha256: bytes) -> bytes:
        """Read a reply.

        Raises:
            CorruptStore: it is gone, or not the one with this hash.
        """
        path = self._path(message_id)
        try:
            reply = path.read_bytes()
        except FileNotFoundError as why:
            raise corrupt(path, "it is gone") from why
        except OSError as why:
            raise _named(why, path) from why
        if hashlib.sha256(reply).digest() != sha256:
            raise corrupt(path, "its content has another hash")
        return reply

    def keep_only(self, message_ids: Iterable[bytes]) -> None:
        """Remove every other file."""
        kept = {self._path(message_id) for message_id in message_ids}
        try:
            for path in self.folder.glob("*"):
                if path not in kept:
                    path.unlink(missing_ok=True)
        except OSError as why:
            raise _named(why, self.folder) from why

    def _path(self, message_id: bytes) -> Path:
        return self.folder / message_id.hex()


def _named(why: OSError, path: Path) -> StoreError:
    if why.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFull(f"no room to write {path}: make room on that disk, nothing that was saved is lost")
    return StoreUnavailable(
        f"{path} cannot be used ({why.strerror}): check the folder, its owner, and the disk (dmesg)"
    )
