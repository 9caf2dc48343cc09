"""Replies too large for a table, as files in a folder beside the store.

A reply is sealed to the centre before it is stored, so SQLCipher would encrypt what nobody here can read; and it would
write every page twice, and once more to wipe it. On an SD card that is most of a round.
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edge.store.database import sync_folder
from edge.store.errors import StoreError, StoreFull, StoreUnavailable, corrupt

LARGE_BYTES = 64 * 1024
BLOCK_BYTES = 4096
STRETCH_BYTES = 256 * 1024
"""What is written at once."""


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
            try:
                _write(path, reply, os.O_DIRECT)
            except OSError as why:
                if why.errno != errno.EINVAL:
                    raise
                _write(path, reply, 0)  # a file system that knows no other way than through its cache
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


def _write(path: Path, reply: bytes | bytearray, how: int) -> None:
    """Write a file, and wait until it is on disk.

    Args:
        how: `O_DIRECT` to pass by the system's cache: nobody reads a reply again unless something went wrong, and
            making room for it there takes longer than all else. The price is whole blocks from memory that is aligned.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | how, 0o600)
    try:
        with mmap.mmap(-1, STRETCH_BYTES) as stretch, memoryview(reply) as left, memoryview(stretch) as room:
            for start in range(0, len(reply), STRETCH_BYTES):
                size = min(STRETCH_BYTES, len(reply) - start)
                room[:size] = left[start : start + size]
                whole = -(-size // BLOCK_BYTES) * BLOCK_BYTES
                if os.write(descriptor, room[:whole]) < whole:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.ftruncate(descriptor, len(reply))
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def _named(why: OSError, path: Path) -> StoreError:
    if why.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFull(f"no room to write {path}: make room on that disk, nothing that was saved is lost")
    return StoreUnavailable(
        f"{path} cannot be used ({why.strerror}): check the folder, its owner, and the disk (dmesg)"
    )
