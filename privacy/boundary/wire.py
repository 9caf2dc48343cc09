"""The one MQTT 5 connection that both sides use.

It comes back by itself when the broker does, subscribes again to what it was subscribed to, and acknowledges a message
only after its handler returned: what a handler could not store is delivered again, in a session that outlives its
connection (`session_expiry_s`). Bytes are counted by the kernel (TCP_INFO), so TLS and acknowledgements are in the
figure.
"""

from __future__ import annotations

import socket
import ssl
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass

import paho.mqtt.client as mqtt
import structlog
from paho.mqtt.enums import LogLevel, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from privacy.boundary.broker import BrokerUrl
from privacy.boundary.client import PatientClient
from privacy.boundary.traffic import Traffic

__all__ = [
    "Connection",
    "Delivery",
    "Handler",
    "NotConnected",
    "PayloadTooLarge",
    "PublicationRefused",
    "Traffic",
    "Will",
]

log = structlog.get_logger()

KEEPALIVE_S = 30
DEAD_LINE_MS = 90_000
"""How long what was sent may stay unacknowledged by the other machine's kernel before the line counts as dead."""
UNSENT_BYTES = 128 * 1024
"""How much the kernel may hold that is not on its way yet."""
MAX_PACKET_BYTES = 64 * 1024 * 1024
PACKET_HEAD_BYTES = 64
"""More than MQTT puts before a topic and a payload."""


class NotConnected(ConnectionError):
    """The broker could not be reached in the time allowed."""


class PayloadTooLarge(ValueError):
    """A broker would hang up on this publication, and on every attempt to send it again."""


class PublicationRefused(ConnectionError):
    """The broker did not take a publication; access rules or a quota forbid it."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as it came: `retained` is true where the broker had kept it. The payload is not a copy."""

    topic: str
    payload: memoryview
    retained: bool


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker says for us when we vanish; retained."""

    topic: str
    payload: bytes


Handler = Callable[[Delivery], None]


class Connection:
    """A connection to one broker, from `start` to `stop`; all methods may be called from any thread.

    Args:
        client_id: unguessable and, for a persistent session, the same at every start.
        session_expiry_s: for how long the broker keeps messages for this party while it is away.
        many_large: expect large messages of one size, one after the other, and keep memory for them.
        on_connected: called after every (re)connection, on the network's thread; must not block.
    """

    def __init__(
        self,
        url: BrokerUrl,
        client_id: str,
        *,
        tls: ssl.SSLContext | None = None,
        will: Will | None = None,
        session_expiry_s: int = 0,
        many_large: bool = False,
        on_connected: Callable[[], None] = lambda: None,
    ) -> None:
        self.url = url
        self._handlers: dict[str, Handler] = {}
        self._publications: dict[int, tuple[str, Future[None]]] = {}
        self._early: dict[int, ReasonCode] = {}
        self._lock = threading.RLock()
        self._connected = threading.Event()
        self._on_connected = on_connected
        self._closed_traffic = Traffic()
        self._stopping = False
        self._session_expiry_s = session_expiry_s
        self._trouble: str | None = None
        self._largest = MAX_PACKET_BYTES
        self._client = client = PatientClient(client_id)
        client.keeps_room = many_large
        if url.tls:
            client.tls_set_context(tls or ssl.create_default_context())
        if url.username is not None:
            client.username_pw_set(url.username, url.password)
        if will is not None:
            client.will_set(will.topic, will.payload, qos=1, retain=True)
        client.max_inflight_messages_set(100)
        client.on_log = self._logged
        client.on_connect_fail = self._connect_failed
        client.on_connect = self._connect_done
        client.on_subscribe = self._subscribed
        client.on_disconnect = self._disconnected
        client.on_message = self._message
        client.on_publish = self._published
        client.on_socket_open = self._socket_opened
        client.on_socket_close = self._socket_closing

    def start(self) -> None:
        """Begin connecting in the background, again and again until the broker is there."""
        properties = _properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = self._session_expiry_s
        properties.MaximumPacketSize = MAX_PACKET_BYTES
        self._client.connect_async(
            self.url.host, self.url.port, KEEPALIVE_S, clean_start=self._session_expiry_s == 0, properties=properties
        )
        self._client.loop_start()

    def wait_connected(self, timeout_s: float) -> None:
        """Wait for the broker.

        Raises:
            NotConnected: after `timeout_s`; says what was last heard from there.
        """
        if not self._connected.wait(timeout_s):
            why = self._trouble or "no answer"
            raise NotConnected(
                f"broker {self.url} not reached in {timeout_s:g} s ({why}); is it running, and is the address right?"
            )

    @property
    def connected(self) -> bool:
        return self._connected.is_set()

    def stop(self) -> None:
        """Say goodbye (the will is not sent) and end the network's thread."""
        self._stopping = True
        self._client.stop()
        with self._lock:
            left = [publication for _, publication in self._publications.values()]
            self._publications.clear()
            self._early.clear()
        for publication in left:
            publication.cancel()

    def subscribe(self, pattern: str, handler: Handler) -> None:
        """Let `handler` have what matches `pattern`, now and after every reconnection.

        In a session that the broker has kept, what waited there comes right after the connection: subscribe before
        `start`. A handler runs on the network's thread; nothing else moves until it returns.
        """
        with self._lock:  # also held where a new connection subscribes: a pattern cannot fall between the two
            self._handlers[pattern] = handler
            if self.connected:
                self._client.subscribe(pattern, qos=1)

    def unsubscribe(self, pattern: str) -> None:
        with self._lock:
            self._handlers.pop(pattern, None)
            if self.connected:
                self._client.unsubscribe(pattern)

    def publish(
        self, topic: str, payload: bytes | bytearray, *, retain: bool = False, expires_in_s: float | None = None
    ) -> Future[None]:
        """Send at least once (QoS 1).

        Returns:
            done when the broker has acknowledged; it stays open while the broker is away, and survives reconnections.
            It raises `PublicationRefused` where the broker would not have it. What is called when it is done runs on
            the network's thread, and must not wait for a lock that another thread holds while it publishes.

        Raises:
            PayloadTooLarge: for this broker, or for any.
        """
        size = len(topic.encode()) + len(payload) + PACKET_HEAD_BYTES
        if size > self._largest:
            raise PayloadTooLarge(f"{len(payload)} bytes for {topic}, the broker takes packets of {self._largest}")
        properties = _properties(PacketTypes.PUBLISH)
        if expires_in_s is not None:
            properties.MessageExpiryInterval = max(1, int(expires_in_s))
        info = self._client.publish(topic, payload, qos=1, retain=retain, properties=properties)
        publication: Future[None] = Future()
        if info.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:  # MQTT numbers 65535 of them
            publication.set_exception(PublicationRefused(f"{topic}: too many publications wait for {self.url}"))
            return publication
        with self._lock:
            code = self._early.pop(info.mid, None)
            if code is None:
                self._publications[info.mid] = topic, publication
        if code is not None:
            _settle(topic, publication, code)
        return publication

    def ask_again(self) -> None:
        """Have the connection made anew, so that the broker delivers again what no handler took.

        The broker says our will in between, as whenever a connection is lost.
        """
        connection = self._client.socket()
        if isinstance(connection, socket.socket):
            with suppress(OSError):  # lost already
                # Not `SSLSocket.shutdown`, which takes the decryption away under the network thread's feet.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def traffic(self) -> Traffic:
        """Bytes so far, over all reconnections."""
        with self._lock:
            return self._closed_traffic + Traffic.of(self._client.socket())

    def _connect_done(
        self, client: mqtt.Client, _userdata: object, _flags: mqtt.ConnectFlags, code: ReasonCode, properties: object
    ) -> None:
        if code.is_failure:
            self._trouble = str(code)
            log.warning("broker refused the connection", broker=str(self.url), reason=str(code))
            return
        self._trouble = None
        self._largest = min(MAX_PACKET_BYTES, getattr(properties, "MaximumPacketSize", MAX_PACKET_BYTES))
        with self._lock:
            if self._handlers:
                client.subscribe([(pattern, SubscribeOptions(qos=1)) for pattern in self._handlers])
            self._connected.set()
        try:
            self._on_connected()
        except Exception:
            log.exception("what had to be done at every connection was not")

    def _connect_failed(self, _client: mqtt.Client, _userdata: object) -> None:
        why = sys.exc_info()[1]  # paho calls this while it handles the error, which it does not hand over
        trouble = str(why) or type(why).__name__
        if trouble != self._trouble:
            log.warning("broker not reached; trying again", broker=str(self.url), reason=trouble)
        self._trouble = trouble

    def _logged(self, _client: mqtt.Client, _userdata: object, level: int, text: str) -> None:
        _, named, cause = text.partition(" on socket: ")  # "failed to receive on socket: …", then it disconnects
        if level == LogLevel.MQTT_LOG_ERR and named:
            self._trouble = cause

    def _subscribed(
        self, _client: mqtt.Client, _userdata: object, _mid: int, codes: list[ReasonCode], _properties: object
    ) -> None:
        refused = [str(code) for code in codes if code.is_failure]
        if refused:
            log.error("broker refused a subscription", broker=str(self.url), reasons=refused)

    def _disconnected(
        self, _client: mqtt.Client, _userdata: object, _flags: object, code: ReasonCode, _properties: object
    ) -> None:
        self._connected.clear()
        if code.is_failure and not self._stopping:
            self._trouble = self._trouble or str(code)
            log.warning("connection to the broker lost; trying again", broker=str(self.url), reason=self._trouble)

    def _message(self, client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        topic = ""
        try:
            topic = message.topic
            with self._lock:
                handler = next((h for p, h in self._handlers.items() if mqtt.topic_matches_sub(p, topic)), None)
            if handler is None:
                log.info("message on a topic that nobody here is subscribed to any more", topic=topic)
            else:
                handler(Delivery(topic, memoryview(message.payload), message.retain))
        except Exception:
            log.exception("message not handled; the broker will deliver it again", topic=topic)
            return
        client.ack(message.mid, message.qos)

    def _published(
        self, _client: mqtt.Client, _userdata: object, mid: int, code: ReasonCode, _properties: object
    ) -> None:
        with self._lock:
            known = self._publications.pop(mid, None)
            if known is None:  # before `publish` could note it down
                self._early[mid] = code
        if known is not None:
            _settle(*known, code)

    def _socket_opened(self, _client: mqtt.Client, _userdata: object, opened: object) -> None:
        if isinstance(opened, socket.socket):
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_LINE_MS)
            # Or a ping waits in the kernel behind megabytes that a slow line has yet to take.
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
            # Or a small message waits for the acknowledgement of the one before, 40 ms.
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _socket_closing(self, _client: mqtt.Client, _userdata: object, closing: object) -> None:
        self._connected.clear()
        with self._lock:
            self._closed_traffic += Traffic.of(closing)


def _settle(topic: str, publication: Future[None], code: ReasonCode) -> None:
    if not publication.set_running_or_notify_cancel():
        return
    if code.is_failure:
        log.error("broker refused a publication", topic=topic, reason=str(code))
        publication.set_exception(PublicationRefused(f"{topic}: {code}"))
    else:
        publication.set_result(None)


def _properties(packet: int) -> Properties:
    return Properties(packet)  # type: ignore[no-untyped-call]
