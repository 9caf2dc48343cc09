"""A centre for tests of the node: speaks the boundary, and can be told to misbehave."""

import secrets
import threading
import time
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict

from privacy.boundary import flower, topics
from privacy.boundary.arrays import arrays_of, unpack
from privacy.boundary.blob import close
from privacy.boundary.broker import BrokerUrl, tls_context
from privacy.boundary.directory import Directory
from privacy.boundary.envelope import wrap
from privacy.boundary.gate import presence
from privacy.boundary.messages import MESSAGE_ID_BYTES, Encoding, Header, Kind, Presence, Reply, Task, Unready
from privacy.boundary.wire import Connection, Delivery
from privacy.identity.authority import Identity
from privacy.identity.revocation import RevocationList
from privacy.secure_sum.terms import TERMS, SumTerms

RUN = 2**63 + 7


class CentreDouble:
    """Sends tasks to nodes and keeps every reply, as payload and opened."""

    def __init__(self, folder: Path, url: str) -> None:
        self.identity = Identity.load(folder)
        self.revocation_file = folder / "revocations.pem"
        self.directory = Directory(self.identity)
        self.online: dict[str, bool] = {}
        self.unready: dict[str, Unready | None] = {}
        self.replies: list[tuple[bytes, Header, Reply]] = []
        self.changed = threading.Condition()
        self.connection = Connection(
            BrokerUrl.parse(url),
            f"leader-{secrets.token_hex(8)}",
            tls=tls_context(folder),
            session_expiry_s=3600,
            on_connected=self.announce,
        )
        self.connection.subscribe(topics.ALL_PRESENCE, self._presence)
        self.connection.subscribe(topics.ALL_REPLIES, self._reply)
        self.sent: dict[bytes, Message] = {}
        flower.enter_run(RUN, flower.CENTRE)

    def start(self) -> None:
        self.connection.start()

    def announce(self) -> None:
        if self.revocation_file.exists():
            self.publish_list(RevocationList.load(self.revocation_file, self.identity.anchor))
        here = presence(self.identity, bytes(MESSAGE_ID_BYTES), online=True, software="test")
        self.connection.publish(here.topic, here.payload, retain=True)

    def publish_list(self, newest: RevocationList) -> None:
        self.connection.publish(topics.revocations("leader"), newest.der, retain=True)

    def header(self, kind: Kind, recipient: str, **changes: object) -> Header:
        now = time.time()
        values: dict[str, object] = {
            "kind": kind,
            "federation": self.identity.certificate.federation,
            "sender": self.identity.party,
            "recipient": recipient,
            "run_id": RUN,
            "message_id": secrets.token_bytes(MESSAGE_ID_BYTES),
            "reply_to": None,
            "created_at": now,
            "expires_at": now + 120,
            "sealed": kind is Kind.TASK,
        }
        return Header(**(values | changes))

    def task(
        self,
        party: str,
        config: dict | None = None,
        message_type: str = "train",
        terms: SumTerms | None = None,
        model: dict[str, np.ndarray] | None = None,
        **changes: object,
    ):
        """A task's header and payload; its arrays are published as it is made. With `terms` it is part of a sum."""
        header = self.header(Kind.TASK, party, **changes)
        content = RecordDict(
            {
                "arrays": ArrayRecord({k: Array(v) for k, v in (model or {"w": np.zeros(9, np.float32)}).items()}),
                "config": ConfigRecord(config or {}),
            }
        )
        if terms is not None:
            content[TERMS] = ConfigRecord(terms.fields())
        message = Message(content, dst_node_id=int(party[5:], 16), message_type=message_type)
        flower.set_message_id(message, header.message_id.hex())
        data = [array.data for *_, array in flower.array_items(content)]
        blob = close(self.identity, self.header(Kind.BLOB, "*"), data)
        self.connection.publish(topics.blob(blob.reference.digest), blob.payload, retain=True)
        self.sent[header.message_id] = message
        body = Task(flower.head_of(message), blob.reference, Encoding.EXACT)
        return header, wrap(self.identity, header, body, self.directory.certificate(party))

    def send(self, party: str, payload: bytes) -> None:
        self.connection.publish(topics.task(party), payload).result(20)

    def ask(self, party: str, config: dict | None = None, **options: object) -> Reply:
        """Send one task and wait for its reply."""
        header, payload = self.task(party, config, **options)
        self.send(party, payload)
        return self.reply_to(header)

    def reply_to(self, header: Header, timeout_s: float = 60, number: int = 1) -> Reply:
        """The `number`th reply to a task, opened."""
        return self.wait_for(lambda: self._replies_to(header)[number - 1 : number], timeout_s)[0][2]

    def payloads_to(self, header: Header, number: int, timeout_s: float = 60) -> list[bytes]:
        """The payloads of the first `number` replies to a task."""
        self.wait_for(lambda: len(self._replies_to(header)) >= number, timeout_s)
        return [payload for payload, *_ in self._replies_to(header)]

    def arrays(self, header: Header, reply: Reply) -> list[np.ndarray]:
        message = flower.message_of(reply.flower)
        unpack(message, reply.arrays, reply.sizes, reply.encoding, arrays_of(self.sent[header.message_id]))
        return [array.numpy() for array in arrays_of(message).values()]

    def wait_online(self, party: str, online: bool = True, timeout_s: float = 60) -> None:
        self.wait_for(lambda: self.online.get(party) is online, timeout_s)

    def wait_ready(self, party: str, timeout_s: float = 60) -> None:
        """Until a node is there and starts tasks."""
        self.wait_for(lambda: self.online.get(party) and self.unready[party] is None, timeout_s)

    def wait_for(self, condition, timeout_s: float):
        with self.changed:
            found = self.changed.wait_for(condition, timeout_s)
        assert found, f"not in {timeout_s} s; online: {self.online}, replies: {len(self.replies)}"
        return found

    def _replies_to(self, header: Header) -> list[tuple[bytes, Header, Reply]]:
        return [found for found in self.replies if found[1].reply_to == header.message_id]

    def _presence(self, delivery: Delivery) -> None:
        header, body = self.directory.receive(delivery.topic, delivery.payload)
        assert isinstance(body, Presence)
        with self.changed:
            self.online[header.sender] = body.online
            self.unready[header.sender] = body.unready
            self.changed.notify_all()

    def _reply(self, delivery: Delivery) -> None:
        header, body = self.directory.receive(delivery.topic, delivery.payload)
        assert isinstance(body, Reply)
        with self.changed:
            self.replies.append((delivery.payload, header, body))
            self.changed.notify_all()
