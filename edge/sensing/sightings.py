"""Frames of one rotating identifier, folded into one row per window and receiver.

A busy waiting room sends about a thousand frames a second and nobody needs them one by one. What a node stores is a
`Sighting`: who (a rotating identifier), when, how often, how loud. Folding is a sum, so it streams.

Two devices that show one identifier in one window (a copy; by chance it does not happen) cannot be told apart: they add
up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from edge.sensing.advertisement import Advertisement, Heartbeat
from edge.store.sighting import Sighting
from edge.store.slots import CLOSE_DBM, SLOT_S, WINDOW_S

__all__ = ["CLOSE_DBM", "SLOT_S", "WINDOW_S", "ClockWentBack", "Folding", "Sighting", "fold"]

IDENTIFIERS_A_WINDOW = 12_000
"""Sightings kept in one window at most, so that the process stays below 45 MB; frames of further ones are counted and
dropped. It takes more than ten thousand devices around one node, or somebody who floods the air."""


BEFORE_ALL = -(2**62)
"""A window before all windows."""


class ClockWentBack(ValueError):
    """A frame is older than the window that was already closed; the recording's clock jumped."""


class _Sum(msgspec.Struct, gc=False):
    """What a sighting will say, while its window is open: one object a device, not one a frame."""

    frames: int
    rssi_sum: int
    rssi_square_sum: int
    rssi_min: int
    rssi_max: int
    metadata: bytes


class Folding:
    """Folds what is heard, in time order, into sightings.

    Attributes:
        over_capacity: frames dropped because their window already had `capacity` sightings.
    """

    def __init__(self, capacity: int = IDENTIFIERS_A_WINDOW) -> None:
        self.over_capacity = 0
        self._capacity = capacity
        self._window = BEFORE_ALL
        self._starts_s = 0.0
        self._ends_s = 0.0
        # By identifier, and receiver where it is not the node's own first adapter: most sites have no other.
        self._open: dict[bytes | tuple[bytes, int], _Sum] = {}

    def add(self, heard: Advertisement | Heartbeat) -> list[Sighting]:
        """Take one frame or heartbeat; returns the window that it closes, empty where it closes none.

        Raises:
            ClockWentBack: it belongs to a window that is already closed.
        """
        if isinstance(heard, Heartbeat):
            at_s = heard.at_s
            return [] if self._starts_s <= at_s < self._ends_s else self._turn(at_s)
        at_s = heard.heard_at_s
        closed = [] if self._starts_s <= at_s < self._ends_s else self._turn(at_s)
        # This runs for every frame: sums in place, and no call more than must be.
        rssi = heard.rssi_dbm
        key = (heard.identifier, heard.receiver) if heard.receiver else heard.identifier
        known = self._open.get(key)
        if known is not None:
            known.frames += 1
            known.rssi_sum += rssi
            known.rssi_square_sum += rssi * rssi
            if rssi < known.rssi_min:
                known.rssi_min = rssi
            elif rssi > known.rssi_max:
                known.rssi_max = rssi
            if heard.metadata and not known.metadata:
                known.metadata = heard.metadata
        elif len(self._open) < self._capacity:
            self._open[key] = _Sum(1, rssi, rssi * rssi, rssi, rssi, heard.metadata)
        else:
            self.over_capacity += 1
        return closed

    def rest(self) -> list[Sighting]:
        """Close the open window; what comes next may be of any time."""
        closed = self._close()
        self._window = BEFORE_ALL
        self._starts_s = self._ends_s = 0.0
        return closed

    def _close(self) -> list[Sighting]:
        window = self._window
        closed = []
        for key, s in self._open.items():
            identifier, receiver = (key, 0) if isinstance(key, bytes) else key
            sums = (s.frames, s.rssi_sum, s.rssi_square_sum, s.rssi_min, s.rssi_max)
            closed.append(Sighting(identifier, window, *sums, s.metadata, receiver))
        self._open.clear()
        return closed

    def _turn(self, at_s: float) -> list[Sighting]:
        window = int(at_s // WINDOW_S)
        if window < self._window:
            raise ClockWentBack(f"frame of window {window} after window {self._window}")
        closed = self._close()
        self._window = window
        self._starts_s, self._ends_s = float(window * WINDOW_S), float((window + 1) * WINDOW_S)
        return closed


def fold(heard: Iterable[Advertisement | Heartbeat]) -> Iterator[Sighting]:
    """Fold a whole stream of one time line; a window is yielded as soon as what comes next is of a later one.

    Raises:
        ClockWentBack: a frame belongs to a window that was already yielded.
    """
    folding = Folding()
    for one in heard:
        yield from folding.add(one)
    yield from folding.rest()
