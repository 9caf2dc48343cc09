"""paho's MQTT client with fewer copies: the one place that touches what paho does not promise to keep.

paho slices what is left of a packet before each write, and TLS takes 16 kB a write: a packet of 4 MB is copied 250
times, on average by half. A packet that comes in is copied five times before anybody sees it. Here a packet that goes
out is its head and a view of the payload, and one that comes in is read into memory of its own size and handed on as a
view.

Everything overridden below is private to paho, which is why paho is pinned exactly, and why
`tests/privacy/test_lean_client.py` exercises each method.
"""

from __future__ import annotations

import socket
import ssl
import struct
import time
from typing import Any, cast

import paho.mqtt.client as mqtt
from paho.mqtt.client import MQTT_LOG_ERR
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties, VariableByteIntegers

PUBLISH = 0x30
LARGE_BYTES = 1 << 14
"""Bodies above this, one TLS record, are read into memory of their own size."""
READS_AT_ONCE = 64
"""After that many reads the network's thread looks whether there is something to write, too."""


class UnreadablePacket(ValueError):
    """The broker sent what is no MQTT 5."""


class Packet:
    """A packet that goes out: behaves as the bytes of `head` and `payload`, one after the other, and holds no copy."""

    __slots__ = ("_head", "_payload")

    def __init__(self, head: bytes | bytearray, payload: bytes | bytearray | memoryview) -> None:
        self._head = memoryview(head)
        self._payload = memoryview(payload)

    def __len__(self) -> int:
        return len(self._head) + len(self._payload)

    def __getitem__(self, rest: slice) -> memoryview:
        """What is to be written next: from `rest.start` to the end of the head, or else of the payload."""
        start = rest.start or 0
        return self._head[start:] if start < len(self._head) else self._payload[start - len(self._head) :]


class LeanClient(mqtt.Client):
    """See the module. The payload of a message that comes in is a view of memory that nobody else uses.

    Attributes:
        keeps_room: keep the memory of the last large message for the next one of its size, if it is free by then.
    """

    keeps_room = False
    _last_room: bytearray | None = None

    def _packet_queue(
        self, command: int, packet: Any, mid: int, qos: int, info: mqtt.MQTTMessageInfo | None = None
    ) -> MQTTErrorCode:
        lean = packet if isinstance(packet, Packet) else memoryview(packet)
        return super()._packet_queue(command, cast("bytes", lean), mid, qos, info)

    def _send_publish(
        self,
        mid: int,
        topic: bytes,
        payload: bytes | bytearray = b"",
        qos: int = 0,
        retain: bool = False,
        dup: bool = False,
        info: mqtt.MQTTMessageInfo | None = None,
        properties: Properties | None = None,
    ) -> MQTTErrorCode:
        if self._sock is None:
            return MQTTErrorCode.MQTT_ERR_NO_CONN
        packed = b"\x00" if properties is None else properties.pack()  # type: ignore[no-untyped-call]
        numbered = struct.pack("!H", mid) if qos else b""
        head = bytearray((PUBLISH | dup << 3 | qos << 1 | retain,))
        self._pack_remaining_length(head, 2 + len(topic) + len(numbered) + len(packed) + len(payload))
        self._pack_str16(head, topic)
        head += numbered + packed
        return self._packet_queue(PUBLISH, Packet(head, payload), mid, qos, info)

    def _packet_read(self) -> MQTTErrorCode:
        if not self._has_large_body():
            code = super()._packet_read()
            if code != MQTTErrorCode.MQTT_ERR_AGAIN or not self._has_large_body():
                return code
        return self._read_body()

    def _sock_recv(self, bufsize: int) -> bytes:
        if bufsize > LARGE_BYTES:
            raise BlockingIOError  # paho comes back later, and then `_packet_read` sees to it
        return super()._sock_recv(bufsize)

    def _has_large_body(self) -> bool:
        """Whether the head of a packet has come that is worth memory of its own, and some of its body is to come."""
        packet = self._in_packet
        return bool(packet["have_remaining"]) and packet["remaining_length"] > LARGE_BYTES and packet["to_process"] > 0

    def _read_body(self) -> MQTTErrorCode:
        packet = self._in_packet
        if not packet["packet"]:
            packet["packet"] = self._room(packet["remaining_length"])
        with memoryview(packet["packet"]) as room:
            code = self._fill(packet, room)
        with self._msgtime_mutex:
            self._last_bytes_received = time.monotonic()
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
            return code
        code = super()._packet_read()  # which finds nothing left to read, and handles the packet
        if self.keeps_room:
            self._last_room = packet["packet"]
        return code

    def _room(self, size: int) -> bytearray:
        """Memory for a body: that of the last one, where it fits and nobody holds a view of it any more."""
        last, self._last_room = self._last_room, None
        if last is not None and len(last) == size:
            try:
                last.append(last.pop())
            except BufferError:
                return bytearray(size)
            return last
        return bytearray(size)

    def _fill(self, packet: Any, room: memoryview) -> MQTTErrorCode:
        if not isinstance(self._sock, socket.socket):
            return MQTTErrorCode.MQTT_ERR_CONN_LOST
        for _ in range(READS_AT_ONCE):
            try:
                read = self._sock.recv_into(room[-packet["to_process"] :])
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                break
            except OSError as why:
                self._easy_log(MQTT_LOG_ERR, "failed to receive on socket: %s", why)
                return MQTTErrorCode.MQTT_ERR_CONN_LOST
            if not read:
                return MQTTErrorCode.MQTT_ERR_CONN_LOST
            packet["to_process"] -= read
            if not packet["to_process"]:
                return MQTTErrorCode.MQTT_ERR_SUCCESS
        return MQTTErrorCode.MQTT_ERR_AGAIN

    def _sock_send(self, buf: Any) -> int:
        """Write as much as goes: a TLS socket takes no more than a record at once."""
        sent = super()._sock_send(buf)
        if self._sock is None or not isinstance(buf, memoryview):
            return sent
        try:
            while sent < len(buf):
                sent += self._sock.send(cast("bytes", buf[sent:]))
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return sent  # paho tries again, and waits
        return sent

    def _handle_publish(self) -> MQTTErrorCode:
        packet = memoryview(self._in_packet["packet"])
        command = self._in_packet["command"]
        qos = command >> 1 & 3
        topic_end = 2 + int.from_bytes(packet[:2], "big")
        mid_end = topic_end + (2 if qos else 0)
        length, length_bytes = VariableByteIntegers.decode(packet[mid_end : mid_end + 4])  # type: ignore[no-untyped-call]
        properties_end = mid_end + length_bytes + length
        if qos not in (0, 1) or properties_end > len(packet):
            raise UnreadablePacket(f"a publication of {len(packet)} bytes at QoS {qos}, properties to {properties_end}")
        message = mqtt.MQTTMessage(int.from_bytes(packet[topic_end:mid_end], "big"), bytes(packet[2:topic_end]))
        message.dup, message.qos, message.retain = bool(command & 8), qos, bool(command & 1)
        message.properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        message.properties.unpack(bytes(packet[mid_end:properties_end]))  # type: ignore[no-untyped-call]
        message.timestamp = time.monotonic()
        message.payload = packet[properties_end:]  # type: ignore[assignment]
        self._handle_on_message(message)
        return MQTTErrorCode.MQTT_ERR_SUCCESS
