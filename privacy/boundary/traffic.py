"""Bytes on a TCP connection, as its kernel counts them."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

TCP_INFO_BYTES = 136
BYTES_ACKED_OFFSET = 120
"""`tcpi_bytes_acked` and `tcpi_bytes_received`, two uint64 side by side in Linux's `struct tcp_info` (since 4.1)."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """TCP payload bytes of a connection's whole life, TLS and MQTT framing included."""

    sent: int = 0
    received: int = 0

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(self.sent + other.sent, self.received + other.received)

    def __sub__(self, other: Traffic) -> Traffic:
        return Traffic(self.sent - other.sent, self.received - other.received)

    @classmethod
    def of(cls, connection: object) -> Traffic:
        """What has gone over a TCP socket so far and arrived; nothing where it is none, or is closed."""
        if not isinstance(connection, socket.socket):
            return cls()
        try:
            raw = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
        except OSError:
            return cls()
        if len(raw) < TCP_INFO_BYTES:
            return cls()
        return cls(*struct.unpack_from("=QQ", raw, BYTES_ACKED_OFFSET))
