"""A key for each day of sightings: once it is deleted, what is left of the day anywhere on the disk says nothing.

An identifier is stored as AES-256(subkey 1)[identifier]: one block, deterministic, so that it stays 16 bytes, unique
and joinable within its day. No block is longer than one, so there is no mode and nothing to chain. Metadata is masked
with the first 4 bytes of AES-256(subkey 2)[identifier]: a diagnosis key that is published tells anybody the identifier
and the metadata in clear, and an unmasked remnant would then confirm that its holder was here.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from edge.store.connection import Connection, transaction
from edge.store.meta import Meta
from edge.store.sighting import IDENTIFIER_BYTES
from edge.store.slots import DAY_S, SLOT_S, WINDOW_S
from privacy.identity.secret import Secret

KEY_BYTES = 32
WINDOWS_PER_DAY = DAY_S // WINDOW_S
SLOTS_PER_DAY = DAY_S // SLOT_S
STALE = "sightings.stale"
"""Name of the fact that rows were deleted and what stays is still to be written anew."""


@dataclass(frozen=True, slots=True)
class DayKey:
    """The key of one day; every call takes many rows at once.

    Attributes:
        key: 32 random bytes.
    """

    key: Secret

    def __post_init__(self) -> None:
        if len(self.key) != KEY_BYTES:
            raise ValueError(f"a day's key has {KEY_BYTES} bytes, this one has {len(self.key)}")

    def seal(self, identifiers: bytes) -> bytes:
        """Identifiers, 16 bytes each, as they are stored."""
        return _ecb(self.key, b"jaga identifier").encryptor().update(identifiers)

    def open(self, sealed: bytes) -> bytes:
        """The identifiers again."""
        return _ecb(self.key, b"jaga identifier").decryptor().update(sealed)

    def mask(self, identifiers: bytes, metadata: bytes) -> bytes:
        """Metadata, 4 bytes a row, masked; and out of the mask again, for it is an exclusive or.

        Args:
            identifiers: of the same rows, in clear.
        """
        blocks = _ecb(self.key, b"jaga metadata").encryptor().update(identifiers)
        # The first four bytes of each block: every fourth 32-bit word.
        masks = memoryview(blocks).cast("I")[:: IDENTIFIER_BYTES // 4].tobytes()
        return (int.from_bytes(masks, "big") ^ int.from_bytes(metadata, "big")).to_bytes(len(metadata), "big")


def _ecb(key: Secret, use: bytes) -> Cipher[modes.ECB]:
    # Single blocks of rotating, random identifiers: what ECB gives away, that two are equal, is what joins need.
    return Cipher(algorithms.AES(hmac.digest(key.reveal(), use, "sha256")), modes.ECB())  # noqa: S305


@dataclass(frozen=True, slots=True)
class DayKeys:
    """The keys of the days of which there are sightings."""

    connection: Connection

    def find(self, day: int) -> DayKey | None:
        """The key of a day, if there is one."""
        row = self.connection.execute("SELECT key FROM day_keys WHERE day = ?", (day,)).fetchone()
        return None if row is None else DayKey(Secret(row[0]))

    def get(self, day: int) -> DayKey:
        """The key of a day, made now if there is none.

        It is never kept in memory from one transaction to the next: another process may have deleted it in between.

        Raises:
            RuntimeError: outside a transaction, where another process could delete it before it is used.
        """
        if not self.connection.in_transaction:
            raise RuntimeError("a day's key is taken inside a transaction only")
        found = self.find(day)
        if found is None:
            found = DayKey(Secret(secrets.token_bytes(KEY_BYTES)))
            self.connection.execute("INSERT INTO day_keys (day, key) VALUES (?, ?)", (day, found.key.reveal()))
        return found

    def days(self) -> list[int]:
        """Days that have a key, in order."""
        return [int(day) for (day,) in self.connection.execute("SELECT day FROM day_keys ORDER BY day")]

    def drop_empty(self) -> None:
        """Delete the keys of days that have no sightings any more."""
        for day in self.days():
            windows = (day * WINDOWS_PER_DAY, (day + 1) * WINDOWS_PER_DAY)
            query = "SELECT 1 FROM sightings WHERE window_index >= ? AND window_index < ? LIMIT 1"
            if self.connection.execute(query, windows).fetchone() is None:
                self.connection.execute("DELETE FROM day_keys WHERE day = ?", (day,))

    def shred(self, day: int) -> int:
        """Delete the key of a day, the sightings that nobody can read without it, and that the node listened.

        The last bytes of it, in the write-ahead log, go with the next `Sightings.overwrite`, or `purge`.

        Returns:
            How many sightings it was.
        """
        with transaction(self.connection):
            self.connection.execute("DELETE FROM day_keys WHERE day = ?", (day,))
            windows = (day * WINDOWS_PER_DAY, (day + 1) * WINDOWS_PER_DAY)
            slots = (day * SLOTS_PER_DAY, (day + 1) * SLOTS_PER_DAY)
            rows = self.connection.execute(
                "DELETE FROM sightings WHERE window_index >= ? AND window_index < ?", windows
            ).rowcount
            self.connection.execute("DELETE FROM listened WHERE slot >= ? AND slot < ?", slots)
            self.connection.execute("DELETE FROM guessed_stretches WHERE slot >= ? AND slot < ?", slots)
            Meta(self.connection).set(STALE, b"yes")
        return int(rows)
