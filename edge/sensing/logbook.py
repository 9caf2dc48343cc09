"""What was heard and when the node listened, kept until it is on disk; bounded where the disk takes nothing.

A page runs from one heartbeat to the next: the sightings of its whole windows, and the stretch that was listened. The
two are written, or dropped, together, so a stretch whose sightings were lost never passes for a quiet one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

from edge.sensing.advertisement import SILENCE_S, Heard, Heartbeat
from edge.sensing.sightings import WINDOW_S, Folding, Sighting
from edge.store.connection import Connection, transaction
from edge.store.listening import Listening
from edge.store.sightings import Sightings

CAPACITY = 20_000
"""Unsaved sightings kept at most: about 5 MB, and half an hour of two hundred people."""


@dataclass(frozen=True, slots=True)
class Page:
    """One stretch of listening.

    Attributes:
        from_s: start of its first whole window, seconds.
        until_s: end of its last whole window, seconds; not after `from_s` where no whole window was listened to.
        sightings: of the windows that were closed.
    """

    from_s: float
    until_s: float
    sightings: tuple[Sighting, ...]

    @property
    def weight(self) -> int:
        """What it counts against the capacity; a quiet page is not free."""
        return 1 + len(self.sightings)


class Logbook:
    """Takes what a scanner hears and saves it page by page.

    Attributes:
        stored: sightings saved, that the store did not have before.
        dropped: sightings given up because the disk took nothing for too long.
        until_s: end of the last page, seconds; None before the first.
    """

    def __init__(
        self, connection: Connection, *, capacity: int = CAPACITY, clock: Callable[[], float] = time.time
    ) -> None:
        self.stored = 0
        self.dropped = 0
        self.until_s: float | None = None
        self._connection = connection
        self._capacity = capacity
        self._clock = clock
        self._folding = Folding()
        self._whole: list[Sighting] = []
        self._pages: deque[Page] = deque()
        self._weight = 0
        self._beat_s: float | None = None

    @property
    def unsaved(self) -> int:
        """Sightings on pages that are not on disk."""
        return self._weight - len(self._pages)

    @property
    def pages(self) -> int:
        """Pages that are not on disk."""
        return len(self._pages)

    def hear(self, heard: Heard) -> None:
        """Take one frame or heartbeat. Where the capacity is exceeded, the oldest pages are dropped.

        Raises:
            ClockWentBack: see `fold`.
        """
        self._whole += self._folding.add(heard)
        if isinstance(heard, Heartbeat):
            self._turn(heard.at_s)

    def save(self) -> None:
        """Write all pages in one transaction.

        Raises:
            StoreError: nothing was written, the pages are kept.
        """
        if not self._pages:
            return
        logged_at = self._clock()
        with transaction(self._connection):
            new = Sightings(self._connection).add(chain.from_iterable(p.sightings for p in self._pages), logged_at)
            listening = Listening(self._connection)
            for from_s, until_s in _joined(self._pages):
                listening.add(from_s, until_s, logged_at)
        self.stored += new
        self._pages.clear()
        self._weight = 0

    def _turn(self, at_s: float) -> None:
        """Close a page at a heartbeat."""
        until_s = at_s // WINDOW_S * WINDOW_S
        if self._beat_s is None or at_s - self._beat_s > SILENCE_S:
            # Listening begins: the first window counts if it was heard from its start.
            from_s = -(-at_s // WINDOW_S) * WINDOW_S
        else:
            from_s = until_s if self.until_s is None else self.until_s
        self._beat_s = at_s
        self.until_s = max(from_s, until_s)
        if until_s > from_s or self._whole:
            page = Page(from_s, until_s, tuple(self._whole))
            self._whole.clear()
            self._pages.append(page)
            self._weight += page.weight
        while self._weight > self._capacity:
            oldest = self._pages.popleft()
            self._weight -= oldest.weight
            self.dropped += len(oldest.sightings)


def _joined(pages: deque[Page]) -> list[tuple[float, float]]:
    """The stretches of the pages, in one where the next begins where the last ended."""
    stretches: list[tuple[float, float]] = []
    for page in pages:
        if page.until_s <= page.from_s:
            continue
        if stretches and stretches[-1][1] == page.from_s:
            stretches[-1] = (stretches[-1][0], page.until_s)
        else:
            stretches.append((page.from_s, page.until_s))
    return stretches
