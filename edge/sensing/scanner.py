"""Where advertisements come from: a radio, or a replay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from edge.sensing.advertisement import Heard


class Scanner(Protocol):
    """Frames and heartbeats in the order of time.

    The first heartbeat says when listening began, the last one when it ended. In between one comes every `HEARTBEAT_S`;
    after a pause of more than `SILENCE_S` the next one begins anew.
    """

    def __iter__(self) -> Iterator[Heard]: ...
