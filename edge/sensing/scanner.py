"""Where advertisements come from: a radio, or a replay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from edge.sensing.advertisement import Heard

Sleep = Callable[[float], object]
"""Waits that many seconds or less; what it returns is true where a stop was asked for. `time.sleep` is one."""


class Scanner(Protocol):
    """Frames and heartbeats in the order of time.

    The first heartbeat says when listening began, the last one when it ended. In between one comes every `HEARTBEAT_S`;
    after a pause of more than `SILENCE_S` the next one begins anew. While no adapter listens there are no heartbeats.
    """

    def __iter__(self) -> Iterator[Heard]: ...


@dataclass(frozen=True, slots=True)
class Trouble:
    """What happened to one adapter: told once when it begins, and once when it is over.

    Attributes:
        adapter: its name, as `hci0`.
        error: the kind of trouble, the name of an exception of `edge.sensing.scanners.errors`.
        reason: what happened and what to do.
        over: the adapter listens again.
    """

    adapter: str
    error: str
    reason: str
    over: bool = False


OnTrouble = Callable[[Trouble], None]
