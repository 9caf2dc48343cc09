"""Tasks that are out, the replies that came to them, and what each node's part in it was."""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

from flwr.app import Metadata

from aggregator.shelf import SharedArrays
from privacy.boundary.envelope import Envelope
from privacy.boundary.messages import Body, Refusal
from privacy.identity.keys import PrivateKeys


@dataclass(frozen=True, slots=True)
class Participation:
    """A node's part in one batch.

    Attributes:
        bytes_down, bytes_up: of payloads; the model counts where the node had to fetch it.
        seconds: from the task's publication to the reply's arrival; None while there is none.
        refusal: why the node, or the centre on its behalf, gave no usable reply.
    """

    node_id: int
    message_id: str
    bytes_down: int
    bytes_up: int
    seconds: float | None
    refusal: Refusal | None

    @property
    def answered(self) -> bool:
        return self.seconds is not None


@dataclass(slots=True)
class OpenTask:
    """A task that a node has, or will get, and has not answered.

    Attributes:
        head: the Flower message without its arrays.
        session: the node's session that it was last published to; None where it is still to be.
    """

    batch: Batch
    metadata: Metadata
    node_id: int
    party: str
    message_id: bytes
    head: bytes
    shared: SharedArrays | None
    opened_at: float = field(default_factory=time.monotonic)
    session: bytes | None = None
    publication: Future[None] | None = None
    bytes_down: int = 0
    bytes_up: int = 0
    seconds: float | None = None
    refusal: Refusal | None = None

    @property
    def expires_at(self) -> float:
        """Seconds since the epoch."""
        return self.metadata.created_at + self.metadata.ttl

    def participation(self) -> Participation:
        return Participation(
            self.node_id, self.metadata.message_id, self.bytes_down, self.bytes_up, self.seconds, self.refusal
        )


@dataclass(slots=True, eq=False)
class Arrived:
    """A reply whose signature holds, still sealed."""

    task: OpenTask
    envelope: Envelope | None
    taken: bool = False
    released: bool = False

    def open(self, keys: PrivateKeys) -> Body:
        """Open it, once, into the payload's own memory where that can be written.

        Raises:
            Rejected: CANNOT_OPEN or MALFORMED.
        """
        envelope, self.envelope = self.envelope, None
        if envelope is None:
            raise RuntimeError(f"the reply to {self.task.metadata.message_id} was opened before")
        return envelope.open(keys, in_place=not envelope.body.readonly)


class Batch:
    """Tasks that were pushed together, and the door that their replies come through.

    Args:
        bounded: a reply comes in only when somebody takes it; whoever brings it waits until it is done with, because
            it is open in the memory that it came in. So there is one reply in memory, open or sealed or coming in.
            Unbounded, replies wait here, sealed, as many as there are.
    """

    def __init__(self, *, bounded: bool) -> None:
        self.tasks: dict[bytes, OpenTask] = {}
        self.missed: list[OpenTask] = []
        self.ended = False
        self._bounded = bounded
        self._waiting: deque[Arrived] = deque()
        self._changed = threading.Condition()

    def bring(self, arrived: Arrived, patience_s: float) -> bool:
        """Bring a reply; False where nobody took it for `patience_s`, or the batch has ended.

        Whoever takes one and works on it for longer than that has two in memory meanwhile: the line must not go dead.
        """
        deadline = time.monotonic() + patience_s
        with self._changed:
            self._waiting.append(arrived)
            self._changed.notify_all()
            if not self._bounded:
                return True
            while not arrived.taken and not self.ended and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            if not arrived.taken:
                self._waiting.remove(arrived)
                return False
            while not arrived.released and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            return True

    def take(self, timeout_s: float) -> Arrived | None:
        """The next reply; None where none came in time. `release` it when it is done with."""
        with self._changed:
            if not self._changed.wait_for(lambda: bool(self._waiting), max(0.0, timeout_s)):
                return None
            arrived = self._waiting.popleft()
            arrived.taken = True
            return arrived

    def release(self, arrived: Arrived) -> None:
        """The next one may come in."""
        with self._changed:
            arrived.released = True
            self._changed.notify_all()

    def end(self) -> None:
        """Nothing is taken any more."""
        with self._changed:
            self.ended = True
            self._changed.notify_all()
