"""A node for the centre's tests: small, and real where the centre can see it.

It has its own certificate, connection and directory, knows a task that comes again, fetches and checks the model, runs
an ordinary Flower `ClientApp`, and signs and seals what that answers. It has no store, no ledger and no gate: those are
the real node's, and what it forgets at its end a real one keeps.
"""

import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from flwr.app import Array, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from privacy.boundary import topics
from privacy.boundary.arrays import arrays_of, pack, unpack
from privacy.boundary.blob import open_blob
from privacy.boundary.broker import BrokerUrl, tls_context
from privacy.boundary.directory import Directory
from privacy.boundary.envelope import Rejected, wrap
from privacy.boundary.flower import head_of, message_of
from privacy.boundary.gate import presence
from privacy.boundary.messages import Encoding, Header, Kind, Refusal, Reply, Task
from privacy.boundary.wire import Connection, Delivery
from privacy.identity.authority import Identity

FETCH_S = 20.0
Answer = Callable[[Message], Message | Refusal]


class NodeDouble:
    """Answers tasks on threads of its own, from `start` to `stop`.

    Args:
        app: a Flower ClientApp, or a function from task to reply (or refusal).
        answers: whether it answers at all.
        replies: what it answered in an earlier life, by task: a real node keeps it in its store.
        tamper: changes the payload of a reply before it is published.
    """

    def __init__(
        self,
        folder: Path,
        url: str,
        app: ClientApp | Answer,
        *,
        config: dict | None = None,
        tamper: Callable[[bytes], bytes] = bytes,
        answers: bool = True,
        replies: dict[bytes, bytes] | None = None,
    ) -> None:
        self.identity = Identity.load(folder)
        self.node_id = self.identity.certificate.node_id
        self.app = app
        self.tamper = tamper
        self.answers = answers
        self.seen: list[Header] = []
        self.fetched: list[bytes] = []
        self.trained = 0
        self.leader_online = threading.Event()
        self.got_task = threading.Event()
        self._replies: dict[bytes, bytes] = {} if replies is None else replies
        self._working: set[bytes] = set()
        self._blobs: dict[bytes, bytes] = {}
        self._config = config or {}
        self._contexts: dict[int, Context] = {}
        self._directory = Directory(self.identity)
        self._early: list[Delivery] = []
        self._session = secrets.token_bytes(16)
        self._worker = ThreadPoolExecutor(1)
        parsed = BrokerUrl.parse(url)
        self.connection = Connection(
            parsed,
            f"{self.identity.party}-{secrets.token_hex(8)}",
            tls=tls_context(folder) if parsed.tls else None,
            will=presence(self.identity, self._session, online=False, software="double"),
            session_expiry_s=60,
            on_connected=self._connected,
        )

    def start(self) -> "NodeDouble":
        self.connection.subscribe(topics.presence("leader"), self._presence)
        self.connection.subscribe(topics.task(self.identity.party), self._task)
        self.connection.start()
        return self

    def stop(self) -> None:
        if self.connection.connected:
            gone = presence(self.identity, self._session, online=False, software="double")
            self.connection.publish(gone.topic, gone.payload, retain=True).result(10)
        self.vanish()

    def vanish(self) -> None:
        self.connection.stop()
        self._worker.shutdown(wait=False, cancel_futures=True)

    def publish_reply(self, payload: bytes) -> None:
        self.connection.publish(topics.reply(self.identity.party), payload).result(10)

    def sealed_reply(self, task: Header, body: Reply, **changes) -> bytes:
        """A signed reply; `changes` are to its header."""
        now = time.time()
        fields = {
            "kind": Kind.REPLY,
            "federation": task.federation,
            "sender": self.identity.party,
            "recipient": "leader",
            "run_id": task.run_id,
            "message_id": secrets.token_bytes(16),
            "reply_to": task.message_id,
            "created_at": now,
            "expires_at": max(now, task.expires_at),
            "sealed": True,
        }
        return wrap(self.identity, Header(**{**fields, **changes}), body, self._directory.certificate("leader"))

    def for_another(self, task: Header) -> bytes:
        """A reply that is sealed to this node itself, and published for the leader to find."""
        return wrap(
            self.identity,
            Header(
                Kind.REPLY,
                task.federation,
                self.identity.party,
                self.identity.party,
                task.run_id,
                secrets.token_bytes(16),
                task.message_id,
                time.time(),
                time.time() + 60,
                True,
            ),
            Reply(),
            self.identity.certificate,
        )

    def _connected(self) -> None:
        here = presence(self.identity, self._session, online=True, software="double")
        self.connection.publish(here.topic, here.payload, retain=True)

    def _presence(self, delivery: Delivery) -> None:
        _, body = self._directory.receive(delivery.topic, delivery.payload)
        if body.online:
            self.leader_online.set()
        early, self._early = self._early, []
        for task in early:
            self._task(task)

    def _task(self, delivery: Delivery) -> None:
        if "leader" not in self._directory:
            self._early.append(delivery)
            return
        try:
            header, task = self._directory.receive(delivery.topic, delivery.payload)
        except Rejected:
            return
        self.seen.append(header)
        self.got_task.set()
        if not self.answers or header.message_id in self._working:
            return
        if (known := self._replies.get(header.message_id)) is not None:
            self.connection.publish(topics.reply(self.identity.party), known)
            return
        self._working.add(header.message_id)
        self._worker.submit(self._work, header, task).add_done_callback(_raise)

    def _work(self, header: Header, task: Task) -> None:
        message = message_of(task.flower)
        base: dict[tuple[str, str], Array] = {}
        if task.arrays is not None:
            unpack(message, self._fetch(task), task.arrays.sizes, Encoding.EXACT, {})
            base = arrays_of(message)
        answer = self._run(message)
        if isinstance(answer, Refusal):
            body = Reply(refusal=answer)
        else:
            packed, sizes = pack(arrays_of(answer) if answer.has_content() else {}, task.encoding, base)
            body = Reply(memoryview(head_of(answer)), memoryview(packed), sizes, task.encoding)
        payload = self.tamper(self.sealed_reply(header, body))
        self._replies[header.message_id] = payload
        self._working.discard(header.message_id)
        self.connection.publish(topics.reply(self.identity.party), payload)

    def _run(self, message: Message) -> Message | Refusal:
        self.trained += message.metadata.message_type.startswith("train")
        if not isinstance(self.app, ClientApp):
            return self.app(message)
        run_id = message.metadata.run_id
        context = self._contexts.setdefault(run_id, Context(run_id, self.node_id, self._config, RecordDict(), {}))
        try:
            return self.app(message, context)
        except Exception:
            return Refusal.TRAINING_FAILED

    def _fetch(self, task: Task) -> bytes:
        digest = task.arrays.digest
        if digest not in self._blobs:
            arrived: Future[bytes] = Future()

            def take(delivery: Delivery) -> None:
                if delivery.payload and not arrived.done():
                    arrived.set_result(delivery.payload)

            self.connection.subscribe(topics.blob(digest), take)
            self._blobs = {digest: arrived.result(FETCH_S)}
            self.connection.unsubscribe(topics.blob(digest))
            self.fetched.append(digest)
        return open_blob(self._blobs[digest], task.arrays)


def _raise(done: Future[None]) -> None:
    if not done.cancelled():
        done.result()
