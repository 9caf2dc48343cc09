"""Model blobs fetched from the centre, kept by their SHA-256 so that each is fetched once; bounded in bytes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from edge.store.connection import Connection, transaction

CAPACITY_BYTES = 64 * 1024 * 1024


class BlobMismatch(ValueError):
    """The content does not have the hash it goes by."""


class BlobTooLarge(ValueError):
    """The content alone is larger than the whole cache."""


@dataclass(frozen=True, slots=True)
class Blobs:
    """A cache of blobs; the one that was used longest ago makes room.

    Attributes:
        connection: of the store.
        capacity_bytes: sum of the contents, at most.
    """

    connection: Connection
    capacity_bytes: int = CAPACITY_BYTES

    def add(self, sha256: bytes, content: bytes) -> None:
        """Keep a blob.

        Raises:
            BlobMismatch: `content` is not what `sha256` names.
            BlobTooLarge: it exceeds the capacity.
        """
        found = hashlib.sha256(content).digest()
        if found != sha256:
            raise BlobMismatch(f"blob {sha256.hex()} has content with SHA-256 {found.hex()}: fetch it again")
        if len(content) > self.capacity_bytes:
            raise BlobTooLarge(
                f"blob {sha256.hex()} has {len(content)} bytes, the cache {self.capacity_bytes}: use a smaller model "
                "or a larger cache"
            )
        with transaction(self.connection):
            if self._use(sha256):
                return
            kept = self.size()
            while kept + len(content) > self.capacity_bytes:
                freed = self.connection.execute(
                    "DELETE FROM blobs WHERE sha256 = (SELECT sha256 FROM blobs ORDER BY used LIMIT 1) RETURNING bytes"
                ).fetchall()
                kept -= freed[0][0]
            self.connection.execute(
                "INSERT INTO blobs (sha256, used, bytes, content) "
                "VALUES (?, (SELECT coalesce(max(used), 0) + 1 FROM blobs), ?, ?)",
                (sha256, len(content), content),
            )

    def get(self, sha256: bytes) -> bytes | None:
        """The content, or None where it is not kept (any more)."""
        with transaction(self.connection):
            if not self._use(sha256):
                return None
            row = self.connection.execute("SELECT content FROM blobs WHERE sha256 = ?", (sha256,)).fetchone()
        return bytes(row[0])

    def size(self) -> int:
        """Sum of the contents, bytes."""
        return int(self.connection.execute("SELECT coalesce(sum(bytes), 0) FROM blobs").fetchone()[0])

    def _use(self, sha256: bytes) -> bool:
        changed = self.connection.execute(
            "UPDATE blobs SET used = (SELECT max(used) + 1 FROM blobs) WHERE sha256 = ?", (sha256,)
        ).rowcount
        return changed == 1
