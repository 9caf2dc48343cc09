"""The tasks that are out: published, published again when they may have been lost, and answered once."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from concurrent.futures import Future

import structlog
from flwr.app import Message

from aggregator.attendance import Attendance, Attendee
from aggregator.batch import Batch, OpenTask
from aggregator.shelf import Shelf
from privacy.boundary import topics
from privacy.boundary.directory import Directory
from privacy.boundary.envelope import Reason, Rejected, wrap
from privacy.boundary.flower import head_of
from privacy.boundary.messages import Encoding, Header, Kind, Task
from privacy.boundary.wire import Connection
from privacy.identity.certificates import node_party

log = structlog.get_logger()

REMEMBERED_ANSWERS = 10_000
"""So many answered tasks are told from those that were never asked."""


class TaskDesk:
    """Where a grid's tasks lie open. Safe from any thread.

    Attributes:
        run_id: of the run that tasks and replies belong to.
    """

    def __init__(
        self, directory: Directory, attendance: Attendance, connection: Connection, run_id: int, encoding: Encoding
    ) -> None:
        self.run_id = run_id
        self._directory = directory
        self._identity = directory.identity
        self._attendance = attendance
        self._connection = connection
        self._encoding = encoding
        self._shelf = Shelf(directory.identity, connection)
        self._lock = threading.RLock()
        self._open: dict[bytes, OpenTask] = {}
        self._answered: OrderedDict[bytes, None] = OrderedDict()

    def open(self, message: Message, batch: Batch) -> OpenTask:
        """Make a message, which has its id, a task of `batch`, and send it."""
        metadata = message.metadata
        with self._lock:
            task = OpenTask(
                batch,
                metadata,
                metadata.dst_node_id,
                node_party(metadata.dst_node_id),
                bytes.fromhex(metadata.message_id),
                head_of(message),
                self._shelf.take(message, self.run_id, metadata.created_at + metadata.ttl),
            )
            batch.tasks[task.message_id] = self._open[task.message_id] = task
            self._send(task)
            return task

    def send_everything_again(self) -> None:
        """After a connection: the broker may have lost what it kept."""
        with self._lock:
            self._shelf.publish_again()
            for task in self._open.values():
                self._send(task)

    def welcome(self, node: Attendee, *, connected_now: bool) -> None:
        """A node that started anew may have lost its task. So may one that connected again: a broker that was killed
        forgets sessions, and drops what was published before the node was back. A node that has it recognises it."""
        with self._lock:
            for task in self._open.values():
                if task.node_id == node.node_id and (connected_now or task.session != node.session):
                    log.info("task sent to a node that came (back)", node=task.party, task=task.metadata.message_id)
                    self._send(task)

    def answered(self, header: Header) -> OpenTask:
        """The open task that a reply answers; it is open no longer.

        Raises:
            Rejected: WRONG_RUN, DUPLICATE or UNASKED.
        """
        if header.run_id != self.run_id:
            raise Rejected(Reason.WRONG_RUN, f"run {header.run_id:016x}, this is {self.run_id:016x}")
        asked = header.reply_to or b""
        with self._lock:
            task = self._open.get(asked)
            if task is None or task.party != header.sender:
                raise Rejected(Reason.DUPLICATE if asked in self._answered else Reason.UNASKED, asked.hex())
            del self._open[asked]
            self._answered[asked] = None
            while len(self._answered) > REMEMBERED_ANSWERS:
                self._answered.popitem(last=False)
        return task

    def let_go(self, task: OpenTask) -> None:
        """Nobody took the reply: forget it, and ask for it again when somebody does take replies."""
        with self._lock:
            self._answered.pop(task.message_id, None)
            task.seconds, task.bytes_up = None, 0
            if task.batch.ended:
                return
            log.warning("reply let go because nobody takes replies; it will be asked for again", node=task.party)
            self._open[task.message_id] = task
            task.batch.missed.append(task)

    def ask_again(self, batch: Batch) -> None:
        """Somebody takes replies now: have those sent again that were let go."""
        with self._lock:
            missed, batch.missed = batch.missed, []
            for task in missed:
                if task.message_id in self._open:
                    self._send(task)

    def settle(self, task: OpenTask) -> None:
        """Nobody waits for this task any longer, and it needs its arrays no more."""
        with self._lock:
            if self._open.get(task.message_id) is task:  # the same may have been sent anew, in another batch
                del self._open[task.message_id]
            if task.shared is not None:
                self._shelf.give_back(task.shared)
                task.shared = None

    def clear(self) -> list[Future[None]]:
        """Settle all tasks; where there is a connection, take everything away from the broker."""
        with self._lock:
            for task in list(self._open.values()):
                self.settle(task)
            return self._shelf.clear() if self._connection.connected else []

    def _send(self, task: OpenTask) -> None:
        """Publish a task, if the node's certificate is known; else its first presence will bring it here again."""
        if task.publication is not None and not task.publication.done():
            return
        left_s = task.expires_at - time.time()
        if left_s <= 0:
            return
        if task.party not in self._directory:
            log.info("task waits for a node that has not presented itself", node=task.party)
            return
        header = Header(
            Kind.TASK,
            self._identity.certificate.federation,
            self._identity.party,
            task.party,
            self.run_id,
            task.message_id,
            None,
            task.metadata.created_at,
            task.expires_at,
            True,
        )
        body = Task(task.head, None if task.shared is None else task.shared.reference, self._encoding)
        payload = wrap(self._identity, header, body, self._directory.certificate(task.party))
        task.publication = self._connection.publish(topics.task(task.party), payload, expires_in_s=left_s)
        attendee = self._attendance.of(task.node_id)
        task.session = None if attendee is None else attendee.session
        task.bytes_down += len(payload)
        if task.shared is not None and task.node_id not in task.shared.readers:
            task.shared.readers.add(task.node_id)
            task.bytes_down += task.shared.size
