"""The one MQTT 5 connection that both sides use.

It comes back by itself when the broker does, subscribes again to what it was subscribed to, and acknowledges a message
only after its handler returned: what a handler could not store is delivered again. Bytes are counted by the kernel
(TCP_INFO), so TLS and acknowledgements are in the figure.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
import structlog
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

log = structlog.get_logger()

KEEPALIVE_S = 30
RECONNECT_S = (1, 60)
MAX_PACKET_BYTES = 64 * 1024 * 1024
TCP_INFO_BYTES = 136
BYTES_ACKED_OFFSET = 120
"""`tcpi_bytes_acked` and `tcpi_bytes_received`, two uint64 side by side in Linux's `struct tcp_info` (since 4.1)."""
DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}


class BadBrokerUrl(ValueError):
    """Not the address of an MQTT broker."""


class NotConnected(ConnectionError):
    """The broker could not be reached in the time allowed."""


@dataclass(frozen=True, slots=True)
class BrokerUrl:
    """`mqtts://[user:password@]host[:port]` (TLS) or `mqtt://…` (plain; for loopback and tests)."""

    host: str
    port: int
    tls: bool
    username: str | None = None
    password: str | None = None

    @classmethod
    def parse(cls, url: str) -> BrokerUrl:
        """Take an address apart.

        Raises:
            BadBrokerUrl: naming what is wrong.
        """
        parts = urlsplit(url)
        if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
            raise BadBrokerUrl(f"{url!r} is no broker address; write mqtts://HOST:PORT (or mqtt:// without TLS)")
        try:
            port = parts.port or DEFAULT_PORTS[parts.scheme]
        except ValueError as why:
            raise BadBrokerUrl(f"{url!r}: {why}") from why
        return cls(parts.hostname, port, parts.scheme == "mqtts", parts.username, parts.password)

    def __str__(self) -> str:
        return f"mqtt{'s' if self.tls else ''}://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as it came: `retained` is true where the broker had kept it."""

    topic: str
    payload: bytes
    retained: bool


@dataclass(frozen=True, slots=True)
class Traffic:
    """TCP payload bytes of this connection's whole life, TLS and MQTT framing included."""

    sent: int = 0
    received: int = 0

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(self.sent + other.sent, self.received + other.received)

    def __sub__(self, other: Traffic) -> Traffic:
        return Traffic(self.sent - other.sent, self.received - other.received)


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker says for us when we vanish; retained."""

    topic: str
    payload: bytes


def tls_context(credentials: Path) -> ssl.SSLContext:
    """Mutual TLS 1.3 from a folder that `Identity.save` wrote.

    Raises:
        OSError: a file is missing or does not load; the message names it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cafile=credentials / "authority.pem")
    context.load_cert_chain(credentials / "party.pem", credentials / "signing.key")
    return context


Handler = Callable[[Delivery], None]


class Connection:
    """A connection to one broker, from `start` to `stop`; all methods may be called from any thread.

    Args:
        client_id: unguessable and, for a persistent session, the same at every start.
        session_expiry_s: for how long the broker keeps messages for this party while it is away.
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
        on_connected: Callable[[], None] = lambda: None,
    ) -> None:
        self.url = url
        self._handlers: dict[str, Handler] = {}
        self._publications: dict[int, Future[None]] = {}
        self._early: set[int] = set()
        self._lock = threading.RLock()
        self._connected = threading.Event()
        self._on_connected = on_connected
        self._closed_traffic = Traffic()
        self._stopping = False
        self._session_expiry_s = session_expiry_s
        self._refused_connection: str | None = None
        self._client = client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5, manual_ack=True
        )
        if url.tls:
            client.tls_set_context(tls or ssl.create_default_context())
        if url.username is not None:
            client.username_pw_set(url.username, url.password)
        if will is not None:
            client.will_set(will.topic, will.payload, qos=1, retain=True)
        client.reconnect_delay_set(*RECONNECT_S)
        client.max_inflight_messages_set(100)
        client.on_connect = self._connect_done
        client.on_disconnect = self._disconnected
        client.on_message = self._message
        client.on_publish = self._published
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
            why = self._refused_connection or "no answer"
            raise NotConnected(
                f"broker {self.url} not reached in {timeout_s:.0f} s ({why}); is it running, and is the address right?"
            )

    @property
    def connected(self) -> bool:
        return self._connected.is_set()

    def stop(self) -> None:
        """Say goodbye (the will is not sent) and end the network's thread."""
        self._stopping = True
        self._client.disconnect()
        self._client.loop_stop()
        with self._lock:
            for publication in self._publications.values():
                publication.cancel()
            self._publications.clear()

    def subscribe(self, pattern: str, handler: Handler) -> None:
        """Let `handler` have what matches `pattern`, now and after every reconnection."""
        with self._lock:
            self._handlers[pattern] = handler
        if self.connected:
            self._client.subscribe(pattern, qos=1)

    def unsubscribe(self, pattern: str) -> None:
        with self._lock:
            self._handlers.pop(pattern, None)
        if self.connected:
            self._client.unsubscribe(pattern)

    def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, expires_in_s: float | None = None
    ) -> Future[None]:
        """Send at least once (QoS 1).

        Returns:
            done when the broker has acknowledged; it stays open while the broker is away, and survives reconnections.
        """
        properties = _properties(PacketTypes.PUBLISH)
        if expires_in_s is not None:
            properties.MessageExpiryInterval = max(1, int(expires_in_s))
        info = self._client.publish(topic, payload, qos=1, retain=retain, properties=properties)
        publication: Future[None] = Future()
        with self._lock:
            if info.mid in self._early:
                self._early.discard(info.mid)
                publication.set_result(None)
            else:
                self._publications[info.mid] = publication
        return publication

    def ask_again(self) -> None:
        """Reconnect, so that the broker delivers again what no handler took."""
        self._client.reconnect()

    def traffic(self) -> Traffic:
        """Bytes so far, over all reconnections."""
        with self._lock:
            return self._closed_traffic + _traffic_of(self._client.socket())

    def _connect_done(
        self, _client: mqtt.Client, _userdata: object, _flags: mqtt.ConnectFlags, code: ReasonCode, _properties: object
    ) -> None:
        if code.is_failure:
            self._refused_connection = str(code)
            log.warning("broker refused the connection", broker=str(self.url), reason=str(code))
            return
        with self._lock:
            patterns = list(self._handlers)
        if patterns:
            self._client.subscribe([(pattern, SubscribeOptions(qos=1)) for pattern in patterns])
        self._connected.set()
        self._on_connected()

    def _disconnected(
        self, _client: mqtt.Client, _userdata: object, _flags: object, code: ReasonCode, _properties: object
    ) -> None:
        self._connected.clear()
        if code.is_failure and not self._stopping:
            self._refused_connection = str(code)
            log.warning("connection to the broker lost; trying again", broker=str(self.url), reason=str(code))

    def _message(self, client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        topic = message.topic
        with self._lock:
            handler = next((h for p, h in self._handlers.items() if mqtt.topic_matches_sub(p, topic)), None)
        try:
            if handler is not None:
                handler(Delivery(topic, bytes(message.payload), message.retain))
        except Exception:
            log.exception("message not handled; the broker will deliver it again", topic=topic)
            return
        client.ack(message.mid, message.qos)

    def _published(self, _client: mqtt.Client, _userdata: object, mid: int, _code: object, _properties: object) -> None:
        with self._lock:
            publication = self._publications.pop(mid, None)
            if publication is None:
                self._early.add(mid)
            elif not publication.cancelled():
                publication.set_result(None)

    def _socket_closing(self, _client: mqtt.Client, _userdata: object, closing: object) -> None:
        with self._lock:
            self._closed_traffic += _traffic_of(closing)


def _properties(packet: int) -> Properties:
    return Properties(packet)  # type: ignore[no-untyped-call]


def _traffic_of(connection: object) -> Traffic:
    if not isinstance(connection, socket.socket):
        return Traffic()
    try:
        raw = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
    except OSError:
        return Traffic()
    if len(raw) < TCP_INFO_BYTES:
        return Traffic()
    sent, received = struct.unpack_from("=QQ", raw, BYTES_ACKED_OFFSET)
    return Traffic(sent, received)
