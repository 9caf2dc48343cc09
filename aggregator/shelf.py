"""Arrays that go to many nodes are published once; the shelf knows what lies at the broker, and clears it away."""

from __future__ import annotations

import hashlib
import secrets
import time
from concurrent.futures import Future
from dataclasses import dataclass, field

from flwr.app import Array, Message

from privacy.boundary import blob, topics
from privacy.boundary.arrays import Key, arrays_of, packed_view
from privacy.boundary.messages import EVERYONE, MESSAGE_ID_BYTES, BlobReference, Header, Kind
from privacy.boundary.wire import Connection
from privacy.identity.authority import Identity

LIVES = 2.0
"""A blob outlives the first task that names it by this factor, so that a round's evaluation and the training that
follows it, which bring the same model, can name the same blob. After that the broker forgets it by itself, also where
a coordinator was killed before it could clear it away."""


@dataclass(slots=True)
class SharedArrays:
    """Arrays at the broker.

    Attributes:
        content: hash of names, types and values.
        header: the blob's; with it, the key and the arrays the very same payload can be made again.
        arrays: by (record name, key); empty while no open task needs them, and it is only known that they are there.
        users: how many open tasks name it.
        readers: ids of the nodes that were told of it.
    """

    content: bytes
    header: Header
    reference: BlobReference
    size: int
    arrays: dict[Key, Array]
    users: int = 0
    readers: set[int] = field(default_factory=set)
    publication: Future[None] = field(default_factory=Future)


class Shelf:
    """What this centre has published. Not safe from several threads: its grid locks."""

    def __init__(self, identity: Identity, connection: Connection) -> None:
        self._identity = identity
        self._connection = connection
        self._shared: list[SharedArrays] = []

    def take(self, message: Message, run_id: int, expires_at: float) -> SharedArrays | None:
        """The message's arrays as they lie at the broker, published now where they do not yet; one more user.

        Returns:
            None for a message without arrays.
        """
        arrays = arrays_of(message) if message.has_content() else {}
        if not arrays:
            return None
        found = self._same_objects(arrays, expires_at)
        if found is None:
            content = _content_hash(arrays)
            found = self._same_content(content, arrays, expires_at) or self._publish(
                content, arrays, run_id, expires_at
            )
        found.users += 1
        return found

    def give_back(self, shared: SharedArrays) -> None:
        """One user less. Arrays that nobody uses are let go of; at the broker they stay until others come."""
        shared.users -= 1
        if not shared.users:
            shared.arrays = {}

    def publish_again(self) -> None:
        """After a reconnection: the broker may have lost what it kept."""
        for shared in list(self._shared):
            if not shared.arrays:
                self._clear(shared)
            elif shared.publication.done():
                payload = blob.close(self._identity, shared.header, _data(shared.arrays), shared.reference.key).payload
                self._send(shared, payload)

    def clear(self) -> list[Future[None]]:
        """Take everything away from the broker."""
        return [self._clear(shared) for shared in list(self._shared)]

    def _same_objects(self, arrays: dict[Key, Array], expires_at: float) -> SharedArrays | None:
        """The messages of one round share their arrays, so that most need no hashing."""
        for shared in self._shared:
            same = shared.arrays.keys() == arrays.keys() and all(shared.arrays[key] is arrays[key] for key in arrays)
            if same and shared.header.expires_at >= expires_at:
                return shared
        return None

    def _same_content(self, content: bytes, arrays: dict[Key, Array], expires_at: float) -> SharedArrays | None:
        for shared in self._shared:
            if shared.content == content and shared.header.expires_at >= expires_at:
                if not shared.users:
                    shared.arrays = arrays
                return shared
        return None

    def _publish(self, content: bytes, arrays: dict[Key, Array], run_id: int, expires_at: float) -> SharedArrays:
        for idle in [shared for shared in self._shared if not shared.users]:
            self._clear(idle)
        now = time.time()
        header = Header(
            Kind.BLOB,
            self._identity.certificate.federation,
            self._identity.party,
            EVERYONE,
            run_id,
            secrets.token_bytes(MESSAGE_ID_BYTES),
            None,
            now,
            now + LIVES * (expires_at - now),
            False,
        )
        closed = blob.close(self._identity, header, _data(arrays))
        shared = SharedArrays(content, header, closed.reference, len(closed.payload), arrays)
        self._shared.append(shared)
        self._send(shared, closed.payload)
        return shared

    def _send(self, shared: SharedArrays, payload: bytes | bytearray) -> None:
        shared.publication = self._connection.publish(
            topics.blob(shared.reference.digest),
            payload,
            retain=True,
            expires_in_s=shared.header.expires_at - time.time(),
        )

    def _clear(self, shared: SharedArrays) -> Future[None]:
        self._shared.remove(shared)
        return self._connection.publish(topics.blob(shared.reference.digest), b"", retain=True)


def _data(arrays: dict[Key, Array]) -> list[bytes | memoryview]:
    return [packed_view(array) for array in arrays.values()]


def _content_hash(arrays: dict[Key, Array]) -> bytes:
    digest = hashlib.sha256()
    for (name, key), array in arrays.items():
        data = packed_view(array)
        digest.update(repr((name, key, array.dtype, tuple(array.shape), array.stype, len(data))).encode())
        digest.update(data)
    return digest.digest()
