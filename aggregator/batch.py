"""Tasks that are out, the replies that came to them, and what each node's part in it was."""

from __future__ import annotations

import queue
import time
from concurrent.futures import Future
from dataclasses import dataclass, field

from flwr.app import Metadata

from aggregator.shelf import SharedArrays
from privacy.boundary.envelope import Envelope
from privacy.boundary.messages import Refusal

QUEUED_REPLIES = 1
"""Replies that wait, still sealed, for whoever consumes them. With more, memory would grow with the number of nodes."""


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


@dataclass(frozen=True, slots=True)
class Arrived:
    """A reply whose signature holds, still sealed."""

    task: OpenTask
    envelope: Envelope


class Batch:
    """Tasks that were pushed together.

    Args:
        bounded: whether replies wait in a queue that holds `QUEUED_REPLIES` and no more; so it must be consumed.
    """

    def __init__(self, *, bounded: bool) -> None:
        self.tasks: dict[bytes, OpenTask] = {}
        self.missed: list[OpenTask] = []
        self.ended = False
        self._arrived: queue.Queue[Arrived] = queue.Queue(QUEUED_REPLIES if bounded else 0)

    def put(self, arrived: Arrived, patience_s: float) -> bool:
        """Queue a reply, waiting for room; False where nobody took one for `patience_s`, or the batch ended."""
        deadline = time.monotonic() + patience_s
        while not self.ended and (left := deadline - time.monotonic()) > 0:
            try:
                self._arrived.put(arrived, timeout=min(left, 0.2))
            except queue.Full:
                continue
            return True
        return False

    def get(self, timeout_s: float) -> Arrived | None:
        """The next reply; None where none came in time."""
        try:
            return self._arrived.get(timeout=timeout_s) if timeout_s > 0 else self._arrived.get_nowait()
        except queue.Empty:
            return None
