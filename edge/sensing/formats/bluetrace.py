"""BlueTrace (Singapore's TraceTogether, and apps made from it): a phone says that it takes part, and not who it is.

What two phones tell each other they tell over a connection, which a node never makes. Its presence is a count.
Source: the service in the configurations of OpenTrace (github.com/opentrace-community) and of the apps built from it,
among them Australia's COVIDSafe. Apps that chose a service of their own are not seen.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge.sensing.formats.ad import uuid_128

SERVICE = uuid_128("b82ab3fc-1595-4f6a-80f0-fe094cc218f9")
UUID_BYTES = 16


@dataclass(frozen=True, slots=True)
class BlueTrace:
    """A phone that takes part."""

    format = "bluetrace"


PRESENT = BlueTrace()


def parse_services(data: bytes) -> BlueTrace | None:
    """From a list of 128-bit service UUIDs."""
    return PRESENT if any(data[n : n + UUID_BYTES] == SERVICE for n in range(0, len(data), UUID_BYTES)) else None


def parse_service_data(data: bytes) -> BlueTrace | None:
    """From service data, its 128-bit UUID first."""
    return PRESENT if data.startswith(SERVICE) else None
