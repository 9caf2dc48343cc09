"""What waits to be published; it survives power loss, and a large queue is read one payload at a time."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass

from edge.store.connection import Connection, transaction
from edge.store.inbox import Inbox


@dataclass(frozen=True, slots=True)
class OutboxItem:
    """A message to publish.

    Attributes:
        id: position in the queue.
        topic: MQTT topic.
        payload: the bytes to publish.
        message_id: the message this is, or answers.
        expires_at: seconds since the epoch.
    """

    id: int
    topic: str
    payload: bytes | bytearray
    message_id: bytes
    expires_at: float


@dataclass(frozen=True, slots=True)
class Outbox:
    """The messages of a node that go out."""

    connection: Connection

    def put(self, topic: str, payload: bytes | None, *, expires_at: float, message_id: bytes) -> int:
        """Queue a message; where one of this `message_id` still waits, that one stays and its id is returned.

        Args:
            payload: None for the reply that the inbox keeps for this message, so that it is stored once.
        """
        with transaction(self.connection):
            waiting = self.connection.execute("SELECT id FROM outbox WHERE message_id = ?", (message_id,)).fetchone()
            if waiting is not None:
                return int(waiting[0])
            row = self.connection.execute(
                "INSERT INTO outbox (message_id, topic, payload, expires_at) VALUES (?, ?, ?, ?) RETURNING id",
                (message_id, topic, payload, expires_at),
            ).fetchone()
        return int(row[0])

    def pending(self, now: float, without: Container[int] = ()) -> Iterator[OutboxItem]:
        """What has not expired, oldest first, and not those `without`, whose payloads are not even read.

        Between two items no statement is open: mark them `sent` as you go.
        """
        last = 0
        while True:
            row = self.connection.execute(
                "SELECT id, topic, message_id, expires_at FROM outbox WHERE id > ? AND expires_at > ? "
                "ORDER BY id LIMIT 1",
                (last, now),
            ).fetchone()
            if row is None:
                return
            last, topic, message_id, expires_at = row
            if last not in without and (payload := self._payload(last, message_id)) is not None:
                yield OutboxItem(last, topic, payload, message_id, expires_at)

    def _payload(self, item_id: int, message_id: bytes) -> bytes | None:
        """None where the item has been sent, or what it answers was forgotten, meanwhile."""
        row = self.connection.execute("SELECT payload FROM outbox WHERE id = ?", (item_id,)).fetchone()
        if row is None:
            return None
        return Inbox(self.connection).reply(message_id) if row[0] is None else bytes(row[0])

    def sent(self, item_id: int) -> None:
        """The broker has it; an id that is gone already is no error."""
        self.connection.execute("DELETE FROM outbox WHERE id = ?", (item_id,))

    def drop(self, topic: str) -> int:
        """Drop all that waits for this topic; returns how many."""
        return self.connection.execute("DELETE FROM outbox WHERE topic = ?", (topic,)).rowcount

    def drop_expired(self, now: float) -> int:
        """Drop what came too late; returns how many."""
        return self.connection.execute("DELETE FROM outbox WHERE expires_at <= ?", (now,)).rowcount
