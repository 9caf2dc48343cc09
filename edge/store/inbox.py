"""Tasks from the centre: each is answered once, however often MQTT delivers it and wherever the power fails."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum

from edge.store.connection import Connection, transaction
from edge.store.replies import LARGE_BYTES, ReplyFiles


class Receipt(Enum):
    """What the node knows of a message that came in."""

    NEW = "new"
    IN_PROGRESS = "in progress"
    ANSWERED = "answered"


class UnknownMessage(LookupError):
    """No such message was received, or it was forgotten."""


class AlreadyAnswered(ValueError):
    """The message has its reply, and a reply is never made twice."""


@dataclass(frozen=True, slots=True)
class InboxItem:
    """A message that waits for its reply.

    Attributes:
        message_id: as the sender gave it.
        run_id: unsigned 64 bits.
        payload: the message itself.
        expires_at: seconds since the epoch.
        attempts: how often work on it was started, not counting this time.
    """

    message_id: bytes
    run_id: int
    payload: bytes
    expires_at: float
    attempts: int


@dataclass(frozen=True, slots=True)
class Inbox:
    """The messages of a node that came in."""

    connection: Connection

    def receive(self, message_id: bytes, run_id: int, payload: bytes, expires_at: float) -> Receipt:
        """Keep a message, or recognise it; of one that comes again, the first copy stays."""
        with transaction(self.connection):
            known = self.connection.execute(
                "SELECT reply IS NOT NULL FROM inbox WHERE message_id = ?", (message_id,)
            ).fetchone()
            if known is not None:
                return Receipt.ANSWERED if known[0] else Receipt.IN_PROGRESS
            self.connection.execute(
                "INSERT INTO inbox (message_id, run_id, payload, expires_at) VALUES (?, ?, ?, ?)",
                (message_id, run_id.to_bytes(8, "big"), payload, expires_at),
            )
        return Receipt.NEW

    def next(self, now: float) -> InboxItem | None:
        """The oldest message that has no reply and has not expired."""
        row = self.connection.execute(
            "SELECT message_id, run_id, payload, expires_at, attempts FROM inbox "
            "WHERE reply IS NULL AND expires_at > ? ORDER BY id LIMIT 1",
            (now,),
        ).fetchone()
        if row is None:
            return None
        message_id, run_id, payload, expires_at, attempts = row
        return InboxItem(message_id, int.from_bytes(run_id, "big"), payload, expires_at, attempts)

    def start(self, message_id: bytes) -> int:
        """Count an attempt, on disk before the work starts, so that a message which kills the node shows.

        Returns:
            Attempts, this one included.

        Raises:
            UnknownMessage: it was never received, or forgotten.
            AlreadyAnswered: there is nothing left to do.
            RuntimeError: inside a transaction, which would commit it too late.
        """
        if self.connection.in_transaction:
            raise RuntimeError("an attempt must be on disk before the work: start it outside of a transaction")
        with transaction(self.connection):
            if self._reply_of(message_id) is not None:
                raise AlreadyAnswered(f"message {message_id.hex()} has its reply: send that again")
            row = self.connection.execute(
                "UPDATE inbox SET attempts = attempts + 1 WHERE message_id = ? RETURNING attempts", (message_id,)
            ).fetchone()
        return int(row[0])

    def answer(self, message_id: bytes, reply: bytes | bytearray, sha256: bytes | None = None) -> None:
        """Keep the reply; the same one again changes nothing.

        A large one lies in a file beside the store, which is on disk before the transaction that names it.

        Args:
            sha256: of the reply, where it is known already.

        Raises:
            UnknownMessage: it was never received, or forgotten.
            AlreadyAnswered: it has another reply.
        """
        with transaction(self.connection):
            if self._reply_of(message_id) is not None:
                known = self.reply(message_id) or b""
                if known == reply:
                    return
                raise AlreadyAnswered(
                    f"message {message_id.hex()} has a reply of {len(known)} bytes, and another one of {len(reply)} "
                    "bytes was made: send the first again"
                )
            in_file = len(reply) > LARGE_BYTES
            if in_file:
                self._files.write(message_id, reply)
            kept = (sha256 or hashlib.sha256(reply).digest()) if in_file else reply
            self.connection.execute(
                "UPDATE inbox SET reply = ?, in_file = ?, payload = x'' WHERE message_id = ?",
                (kept, in_file, message_id),
            )

    def reply(self, message_id: bytes) -> bytes | None:
        """The reply as it was made, or None while there is none.

        Raises:
            CorruptStore: its file is not what was written, or gone.
        """
        row = self.connection.execute("SELECT reply, in_file FROM inbox WHERE message_id = ?", (message_id,)).fetchone()
        if row is None or row[0] is None:
            return None
        return self._files.read(message_id, row[0]) if row[1] else bytes(row[0])

    def forget(self, before: float) -> int:
        """Drop what expired before `before`, answered or not; returns how many.

        Leave a margin to the present: a message that is forgotten, and comes again before it has expired, is new.
        """
        forgotten = self.connection.execute("DELETE FROM inbox WHERE expires_at < ?", (before,)).rowcount
        known = self.connection.execute("SELECT message_id FROM inbox WHERE in_file").fetchall()
        self._files.keep_only(message_id for (message_id,) in known)
        return forgotten

    def drop(self, message_id: bytes) -> None:
        """Forget a message that has no reply; one that is not there is no error."""
        self.connection.execute("DELETE FROM inbox WHERE message_id = ? AND reply IS NULL", (message_id,))

    def drop_unanswered(self) -> int:
        """Forget what waits for its reply; returns how many. One that comes again is new."""
        return self.connection.execute("DELETE FROM inbox WHERE reply IS NULL").rowcount

    @property
    def _files(self) -> ReplyFiles:
        return ReplyFiles.beside(self.connection.path)

    def _reply_of(self, message_id: bytes) -> bytes | None:
        row = self.connection.execute("SELECT reply FROM inbox WHERE message_id = ?", (message_id,)).fetchone()
        if row is None:
            raise UnknownMessage(f"message {message_id.hex()} was never received here, or is forgotten")
        return None if row[0] is None else bytes(row[0])
