"""The sensing process, seen from the node."""

from __future__ import annotations

from collections.abc import Callable

from edge.child import ALARMS, Child, Event
from edge.sensing.settings import Settings

__all__ = ["ALARMS", "SensingChild"]


class SensingChild(Child):
    """Keeps one sensing process running; `done` is set when a replay is at its end, and all of it on disk."""

    def __init__(self, settings: Settings, on_event: Callable[[Event], None] | None = None) -> None:
        super().__init__("sensing", "edge.sensing", settings, alarms=ALARMS | {"radio_trouble"}, on_event=on_event)
