"""A Flower `Grid` whose only wire is MQTT: an unmodified Flower `ServerApp` or `Strategy` runs on it.

    strategy -> desk (open tasks) -> shelf (arrays, once) + a sealed task for each node -> broker -> nodes
    strategy <- one reply at a time, opened <- signature, run and task checked <- broker <- nodes

A reply stays sealed until the strategy asks for it, and the network's thread waits while it does not: what is in
memory does not grow with the number of nodes. What is wrong with a payload is counted, logged and survived. A reply
whose signature holds and whose inside does not becomes an error reply, so that nobody waits for its node any longer.
"""

from __future__ import annotations

import secrets
import ssl
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import TimeoutError as NotInTime
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import structlog
from flwr.app import DEFAULT_TTL, Message, RecordDict
from flwr.serverapp import Grid

from aggregator.attendance import Attendance
from aggregator.batch import Arrived, Batch, OpenTask, Participation
from aggregator.desk import TaskDesk
from aggregator.revocations import ListCarrier
from aggregator.summing import HelperLine
from privacy.boundary import topics
from privacy.boundary.arrays import BadArrays, unpack
from privacy.boundary.broker import BrokerUrl, tls_context
from privacy.boundary.directory import Directory
from privacy.boundary.envelope import Reason, Rejected
from privacy.boundary.flower import (
    CENTRE,
    BadFlowerMessage,
    FlowerRun,
    check_reply,
    config_records,
    enter_run,
    message_of,
    refusal_message,
    set_message_id,
)
from privacy.boundary.gate import presence
from privacy.boundary.messages import MESSAGE_ID_BYTES, Encoding, Refusal, Reply
from privacy.boundary.wire import Connection, Delivery, PublicationRefused, Traffic
from privacy.identity.authority import Identity
from privacy.identity.revocation import Revocations
from privacy.secure_sum.terms import SEED, TERMS
from privacy.version import SOFTWARE

log = structlog.get_logger()

TTL_S = 3600.0
PATIENCE_S = 10.0
"""How long the network's thread waits for somebody to take a reply. It must stay well under the broker's patience with
a silent client, 1.5 times `wire.KEEPALIVE_S`."""
OBSERVE_S = 5.0
GOODBYE_S = 5.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """For whom a batch waits: nodes that have their task, and those of them that are not there at this moment."""

    open: frozenset[int]
    offline: frozenset[int]
    seconds_left: float | None


class MqttGrid(Grid):
    """See the module.

    Args:
        identity: the leader's.
        credentials: folder of the identity's files, for mutual TLS; or
        tls: a context, where the files are elsewhere. Neither for a plain `mqtt://`.
        encoding: of the arrays in replies.
        ttl_s: lifetime of a task whose message does not set one.
        on_wait: told every `observe_s` seconds without a reply for whom a batch waits.
        patience_s: how long a reply that nobody takes is held before it is let go, to be asked for again.
        revocations: the newest list that the centre has; None for one that is in memory only.
        revocation_file: where the central team puts a new list; it is published at the start and at every change.
    """

    def __init__(
        self,
        identity: Identity,
        url: BrokerUrl,
        run_id: int,
        *,
        credentials: Path | None = None,
        tls: ssl.SSLContext | None = None,
        encoding: Encoding = Encoding.INT8,
        ttl_s: float = TTL_S,
        on_wait: Callable[[Waiting], None] = lambda _: None,
        observe_s: float = OBSERVE_S,
        patience_s: float = PATIENCE_S,
        revocations: Revocations | None = None,
        revocation_file: Path | None = None,
    ) -> None:
        self.turned_away: Counter[Reason] = Counter()
        self.on_wait = on_wait
        self._identity = identity
        self._ttl_s = ttl_s
        self._observe_s = observe_s
        self._patience_s = patience_s
        self._run = enter_run(run_id, CENTRE)
        self._session = secrets.token_bytes(MESSAGE_ID_BYTES)
        self._directory = Directory(identity, revocations)
        self.attendance = Attendance(self._directory)
        self._pushed = Batch(bounded=False)
        self._last = self._pushed
        if url.tls and tls is None and credentials is not None:
            tls = tls_context(credentials)
        self._connection = Connection(
            url,
            f"{identity.party}-{secrets.token_hex(MESSAGE_ID_BYTES)}",
            tls=tls,
            will=presence(identity, self._session, online=False, software=SOFTWARE),
            many_large=True,
            on_connected=self._connected,
        )
        self._carrier = ListCarrier(
            identity.anchor,
            self._directory.revocations,
            self._connection,
            identity.party,
            revocation_file,
            on_new=self.attendance.look_again,
        )
        self._desk = TaskDesk(self._directory, self.attendance, self._connection, run_id, encoding)

    # --- connection --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to connect, in the background."""
        self._carrier.subscribe()
        self._connection.subscribe(topics.ALL_PRESENCE, self._presence)
        self._connection.subscribe(topics.ALL_REPLIES, self._reply)
        self._connection.start()
        self._carrier.keep_looking()

    def wait_connected(self, timeout_s: float) -> None:
        """Wait for the broker.

        Raises:
            NotConnected: after `timeout_s`.
        """
        self._connection.wait_connected(timeout_s)

    def close(self) -> None:
        """Clear the models away from the broker, say goodbye and disconnect."""
        self._carrier.stop()
        farewells = self._desk.clear()
        if self._connection.connected:
            gone = presence(self._identity, self._session, online=False, software=SOFTWARE)
            farewells.append(self._connection.publish(gone.topic, gone.payload, retain=True))
        deadline = time.monotonic() + GOODBYE_S
        for farewell in farewells:
            try:
                farewell.result(max(0.0, deadline - time.monotonic()))
            except (NotInTime, PublicationRefused):
                log.warning("broker did not take everything that clears up; it forgets by itself later")
                break
        self._connection.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def traffic(self) -> Traffic:
        """Bytes on the centre's own connection so far."""
        return self._connection.traffic()

    # --- what Flower asks of a grid ----------------------------------------------------------------------------------

    def set_run(self, run: FlowerRun) -> None:
        self._run = run
        self._desk.run_id = run.run_id
        enter_run(run.run_id, CENTRE)

    @property
    def run(self) -> FlowerRun:
        return self._run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        return Message(content, dst_node_id, message_type, ttl=ttl or self._ttl_s, group_id=group_id)

    def get_node_ids(self) -> list[int]:
        """The nodes that are there now; never waits."""
        return self.attendance.online()

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Send messages, each as soon as the iterable yields it; replies wait for `pull_messages`, without limit."""
        self._last = self._pushed
        for task in [task for task in self._pushed.tasks.values() if task.expires_at < time.time()]:
            self._desk.settle(task)
            del self._pushed.tasks[task.message_id]
        return [task.metadata.message_id for task in self._push(messages, self._pushed)]

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """The replies to these messages that have come so far."""
        wanted = {bytes.fromhex(message_id) for message_id in message_ids}
        replies: list[Message] = []
        others: list[Arrived] = []
        while (arrived := self._pushed.take(0)) is not None:
            if arrived.task.message_id in wanted:
                replies.append(self._opened(arrived))
            else:
                others.append(arrived)
        for arrived in others:
            self._pushed.bring(arrived, self._patience_s)
        return replies

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Send messages now; their replies come from the iterator that is returned, one at a time as they arrive.

        It ends when all have come or `timeout` seconds after this call; replies that come later are turned away.
        """
        began = time.monotonic()
        batch = Batch(bounded=True)
        if not self._push(messages, batch):
            return []
        self._last = batch
        return Replies(self, batch, None if timeout is None else began + timeout)

    # --- the helper of secure sums -----------------------------------------------------------------------------------

    def helper_line(self, helper: str, deadline_s: float) -> HelperLine:
        """A line to the second aggregator over this grid's own connection; make it before `start`."""
        return HelperLine(self._directory, self._connection, helper, lambda: self._run.run_id, deadline_s)

    # --- for the records ---------------------------------------------------------------------------------------------

    def participations(self) -> dict[int, Participation]:
        """Each node's part in the batch that was sent last, by node id."""
        return {task.node_id: task.participation() for task in self._last.tasks.values()}

    def _push(self, messages: Iterable[Message], batch: Batch) -> list[OpenTask]:
        pushed = []
        for message in messages:
            metadata = message.metadata
            if not metadata.message_id:
                set_message_id(message, uuid.uuid4().hex)
            if metadata.ttl == DEFAULT_TTL:
                metadata.ttl = self._ttl_s
            pushed.append(self._desk.open(message, batch))
        return pushed

    def _connected(self) -> None:
        """After every connection: the broker may have lost what it kept, so it gets everything again."""
        here = presence(self._identity, self._session, online=True, software=SOFTWARE)
        self._connection.publish(here.topic, here.payload, retain=True)
        self._carrier.connected()
        self._desk.send_everything_again()

    # --- what comes in, on the network's thread ----------------------------------------------------------------------

    def _presence(self, delivery: Delivery) -> None:
        try:
            attendee = self.attendance.receive(delivery)
        except Rejected as why:
            self._turn_away(delivery.topic, why)
            return
        if attendee is not None:
            if attendee.online:
                self._desk.welcome(attendee, connected_now=not delivery.retained)
        elif delivery.topic == topics.presence(self._identity.party):
            self._correct(delivery)

    def _correct(self, delivery: Delivery) -> None:
        """The will of this centre's last life, or another process of it saying goodbye: this one is still here."""
        _, body = self._directory.receive(delivery.topic, delivery.payload)
        if not getattr(body, "online", True):
            here = presence(self._identity, self._session, online=True, software=SOFTWARE)
            self._connection.publish(here.topic, here.payload, retain=True)

    def _reply(self, delivery: Delivery) -> None:
        try:
            envelope = self._directory.check(delivery.topic, delivery.payload)
            task = self._desk.answered(envelope.header)
        except Rejected as why:
            self._turn_away(delivery.topic, why)
            return
        task.seconds = time.monotonic() - task.opened_at
        task.bytes_up = len(delivery.payload)
        if not task.batch.bring(Arrived(task, envelope), self._patience_s):
            self._desk.let_go(task)

    def _turn_away(self, topic: str, why: Rejected) -> None:
        self.turned_away[why.reason] += 1
        log.warning("message turned away", topic=topic, reason=str(why), of_this_kind=self.turned_away[why.reason])

    # --- what comes in, on the strategy's thread ---------------------------------------------------------------------

    def _opened(self, arrived: Arrived) -> Message:
        """The reply as Flower's; an error reply where it is a refusal, or bad inside."""
        task = arrived.task
        try:
            self._directory.certificate(task.party)  # it may have been revoked since the reply came
            body = arrived.open(self._identity.keys)
            if not isinstance(body, Reply):
                raise Rejected(Reason.MALFORMED, type(body).__name__)
            task.refusal = body.refusal
            if body.refusal is None:
                reply = message_of(body.flower)
                check_reply(reply, task.metadata, task.node_id)
                if reply.has_content():
                    base = {} if task.shared is None else task.shared.arrays
                    unpack(reply, body.arrays, body.sizes, body.encoding, base)
                    _hand_on(body, reply)
                return reply
        except (Rejected, BadFlowerMessage, BadArrays) as why:
            log.warning("reply is bad inside; its node counts as failed", node=task.party, reason=str(why))
            task.refusal = Refusal.BAD_REPLY
        finally:
            self._desk.settle(task)
        return refusal_message(task.metadata, task.refusal or Refusal.BAD_REPLY)

    def _observe(self, unanswered: Collection[OpenTask], left_s: float | None) -> None:
        here = set(self.attendance.online())
        waiting = frozenset(task.node_id for task in unanswered)
        self.on_wait(Waiting(waiting, waiting - here, left_s))


def _hand_on(body: Reply, reply: Message) -> None:
    """The sealed seed of a masked share goes to the strategy, in the share's own config record."""
    terms = config_records(reply.content).get(TERMS)
    if body.seed is not None and terms is not None:
        terms[SEED] = msgspec.msgpack.encode(body.seed)


class Replies(Iterator[Message]):
    """The replies to one batch as they come. Ends it when it is exhausted, closed or forgotten."""

    def __init__(self, grid: MqttGrid, batch: Batch, deadline: float | None) -> None:
        self._grid = grid
        self._batch = batch
        self._deadline = deadline
        self._left = len(batch.tasks)
        self._in_hand: Arrived | None = None

    def __next__(self) -> Message:
        self._put_down()
        while self._left:
            wait_s = self._grid._observe_s
            if self._deadline is not None:
                wait_s = min(wait_s, self._deadline - time.monotonic())
            if self._batch.missed:
                self._grid._desk.ask_again(self._batch)
            arrived = self._batch.take(wait_s)
            if arrived is not None:
                self._left -= 1
                self._in_hand = arrived
                return self._grid._opened(arrived)
            if self._deadline is not None and time.monotonic() >= self._deadline:
                break
            self._grid._observe(self._unanswered(), self._seconds_left())
        self.close()
        raise StopIteration

    def close(self) -> None:
        """Wait for nothing more; what comes later is turned away."""
        self._left = 0
        self._put_down()
        self._batch.end()
        for task in self._batch.tasks.values():
            self._grid._desk.settle(task)

    def __del__(self) -> None:
        self.close()

    def _put_down(self) -> None:
        """Whoever asks for the next reply has done with the last one."""
        if self._in_hand is not None:
            self._batch.release(self._in_hand)
            self._in_hand = None

    def _unanswered(self) -> list[OpenTask]:
        return [task for task in self._batch.tasks.values() if task.seconds is None]

    def _seconds_left(self) -> float | None:
        return None if self._deadline is None else self._deadline - time.monotonic()
