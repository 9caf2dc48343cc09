"""Everything that crosses a broker, on disk: what the wire check is about.

The eavesdropper subscribes to `#` and writes each message as it came to an append-only file, so that a long run costs
disk and no memory. MQTT properties are kept too: a user property can carry a record as well as a payload can.
"""

from __future__ import annotations

import secrets
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from privacy.boundary.broker import BrokerUrl, tls_context
from privacy.boundary.client import PatientClient
from privacy.boundary.wire import KEEPALIVE_S, NotConnected

SESSION_S = 3600
"""For how long the broker keeps messages for an eavesdropper that lost its connection."""

QUESTION = "jaga/1/is-anybody-there"
"""A topic that nothing is published to: a subscription to it brings nothing, and has to be answered."""

PROPERTIES = (
    "PayloadFormatIndicator",
    "MessageExpiryInterval",
    "ContentType",
    "ResponseTopic",
    "CorrelationData",
    "UserProperty",
    "SubscriptionIdentifier",
    "TopicAlias",
)
"""All that MQTT 5 allows on a PUBLISH (section 3.3.2.3)."""

_RECORD = struct.Struct("<?IIQ")
"""Whether retained, then the lengths of topic, properties and payload, which follow."""


class EavesdropperFailed(RuntimeError):
    """The recording is not the whole truth, and nothing may be concluded from it."""


@dataclass(frozen=True, slots=True)
class Capture:
    """One message as it was heard.

    Attributes:
        retained: it was published to be kept, or the broker had kept it.
        properties: MQTT 5 properties by name, as paho gives them.
    """

    topic: str
    payload: bytes
    retained: bool = False
    properties: Mapping[str, object] = field(default_factory=dict)


class Recording:
    """Captures in a file: appended one by one, read back from the first as often as wanted, never all in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("xb", buffering=1 << 20)
        self._lock = threading.Lock()
        self._count = 0

    def append(self, capture: Capture) -> None:
        topic = capture.topic.encode()
        properties = msgspec.msgpack.encode(dict(capture.properties))
        head = _RECORD.pack(capture.retained, len(topic), len(properties), len(capture.payload))
        with self._lock:
            for part in (head, topic, properties, capture.payload):
                self._file.write(part)
            self._count += 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Capture]:
        """Every capture appended so far, in order.

        Raises:
            EavesdropperFailed: the file ends inside a record, or could not be written.
        """
        self.flush()
        with self.path.open("rb") as file:
            while head := file.read(_RECORD.size):
                sizes = _RECORD.unpack(head) if len(head) == _RECORD.size else (False, 1, 0, 0)
                parts = [file.read(size) for size in sizes[1:]]
                if [len(part) for part in parts] != list(sizes[1:]):
                    raise EavesdropperFailed(f"{self.path} ends inside a record: it was cut off or the disk was full")
                topic, properties, payload = parts
                yield Capture(topic.decode(), payload, sizes[0], msgspec.msgpack.decode(properties))

    def flush(self) -> None:
        """Hand everything appended to the operating system.

        Raises:
            EavesdropperFailed: the disk does not take it.
        """
        try:
            with self._lock:
                if not self._file.closed:
                    self._file.flush()
        except OSError as why:
            raise EavesdropperFailed(f"{self.path}: {why}; make room and run again") from why

    def close(self) -> None:
        """Flush and close; what is recorded can still be read.

        Raises:
            EavesdropperFailed: the disk does not take it.
        """
        self.flush()
        with self._lock:
            self._file.close()


class Eavesdropper:
    """Listens to a broker from `start` to `stop`.

    Args:
        credentials: folder of a party that may read everything (`observer`), as `Identity.save` wrote it.
        path: of the recording, which must not exist.
    """

    def __init__(self, url: str, credentials: Path, path: Path) -> None:
        self.url = BrokerUrl.parse(url)
        self.recording = Recording(path)
        self.gaps = 0
        """How often the broker had forgotten us, so that messages may have passed unheard."""
        self._heard = threading.Condition()
        self._listening = threading.Event()
        self._error: OSError | None = None
        self._answers = 0
        self._client = client = PatientClient(f"observer-{secrets.token_hex(16)}")
        if self.url.tls:
            client.tls_set_context(tls_context(credentials))
        if self.url.username is not None:
            client.username_pw_set(self.url.username, self.url.password)
        client.reconnect_delay_set(1, 2)
        client.on_connect = self._connected
        client.on_subscribe = self._subscribed
        client.on_message = self._message

    def start(self, timeout_s: float = 10.0) -> Self:
        """Connect, and wait until the subscription holds.

        Raises:
            NotConnected: the broker does not let us listen.
        """
        session = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        session.SessionExpiryInterval = SESSION_S
        self._client.connect_async(self.url.host, self.url.port, KEEPALIVE_S, clean_start=False, properties=session)
        self._client.loop_start()
        if not self._listening.wait(timeout_s):
            self.stop()
            raise NotConnected(f"the eavesdropper could not listen to {self.url} within {timeout_s:.0f} s")
        return self

    def settle(self, quiet_s: float = 0.5, timeout_s: float = 60.0) -> None:
        """Wait until the broker has answered a question and nothing was heard for `quiet_s` afterwards.

        A connection keeps its order, so what the broker had sent before its answer is here by then. The embedded broker
        needs the question, too: the end of a large message may stay in its TLS buffer until it sends something else.

        Raises:
            EavesdropperFailed: it does not become quiet, or something heard could not be written.
        """
        deadline = time.monotonic() + timeout_s
        heard = -1
        while heard != len(self.recording):
            heard, answers = len(self.recording), self._answers
            self._client.subscribe(QUESTION)
            with self._heard:
                while self._answers == answers and time.monotonic() < deadline:
                    self._heard.wait(deadline - time.monotonic())
                if time.monotonic() > deadline:
                    raise EavesdropperFailed(f"{self.url} was not quiet for {quiet_s} s within {timeout_s:.0f} s")
                if heard == len(self.recording):
                    self._heard.wait(quiet_s)
        self._check()
        self.recording.flush()

    def wait_heard(self, count: int, timeout_s: float = 60.0) -> None:
        """Wait until at least `count` messages were heard since the start.

        Raises:
            EavesdropperFailed: they were not, or could not be written.
        """
        with self._heard:
            if not self._heard.wait_for(lambda: len(self.recording) >= count or self._error, timeout_s):
                raise EavesdropperFailed(f"heard {len(self.recording)} of {count} messages within {timeout_s:.0f} s")
        self._check()

    def stop(self) -> Recording:
        """Stop listening and return what was heard.

        Raises:
            EavesdropperFailed: something heard could not be written.
        """
        self._client.stop()
        self._check()
        self.recording.close()
        return self.recording

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _check(self) -> None:
        if self._error is not None:
            raise EavesdropperFailed(f"{self.recording.path}: {self._error}; make room and run again") from self._error

    def _connected(
        self, client: mqtt.Client, _userdata: object, flags: mqtt.ConnectFlags, code: ReasonCode, _properties: object
    ) -> None:
        if code.is_failure:
            return
        if self._listening.is_set() and not flags.session_present:
            self.gaps += 1
        # The retained flag stays as it was published, so that what was meant to be kept can be told from what was not.
        client.subscribe("#", options=SubscribeOptions(qos=1, retainAsPublished=True))

    def _subscribed(
        self, _client: mqtt.Client, _userdata: object, _mid: int, codes: list[ReasonCode], _properties: object
    ) -> None:
        if not any(code.is_failure for code in codes):
            self._listening.set()
        with self._heard:
            self._answers += 1
            self._heard.notify_all()

    def _message(self, client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        properties = {
            name: getattr(message.properties, name) for name in PROPERTIES if hasattr(message.properties, name)
        }
        try:
            self.recording.append(Capture(message.topic, bytes(message.payload), message.retain, properties))
        except OSError as why:
            self._error = why
        client.ack(message.mid, message.qos)
        with self._heard:
            self._heard.notify_all()
