"""What was heard and when the node listened, kept until it is on disk; bounded where the disk takes nothing.

A page runs from one heartbeat to the next, or less where it is full: the sightings of its whole windows, and the
stretch that was listened. The two are written, or dropped, together, so a stretch whose sightings were lost never
passes for a quiet one. Pages are numbered, and the number of the last one is written with them: a page is added once,
whatever came of its commit.

What was dated by a clock that was not yet set is kept as a guess (see `edge.store.guesses`), and moved when it is set.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from edge.sensing.advertisement import SILENCE_S, Advertisement, ClockJump, ClockReading, Heard
from edge.sensing.sightings import IDENTIFIERS_A_WINDOW, WINDOW_S, ClockWentBack, Folding, Sighting
from edge.store.connection import Connection, transaction
from edge.store.guesses import Guesses, windows_off
from edge.store.listening import Listening
from edge.store.sightings import Sightings

CAPACITY = 20_000
"""Unsaved sightings kept at most, but for the last page: about 6 MB, and half an hour of two hundred people."""
FULL_PAGE = 2_000
"""A page with this many sightings does not wait for a heartbeat."""


@dataclass(frozen=True, slots=True)
class Page:
    """One stretch of listening.

    Attributes:
        from_s: start of its first whole window, seconds.
        until_s: end of its last whole window, seconds; not after `from_s` where no whole window was listened to.
        sightings: of the windows that were closed.
        clock: by which it is dated; None in a recording.
    """

    from_s: float
    until_s: float
    sightings: tuple[Sighting, ...]
    clock: ClockReading | None = None

    @property
    def weight(self) -> int:
        """What it counts against the capacity; a quiet page is not free."""
        return 1 + len(self.sightings)

    @property
    def guessed(self) -> bool:
        return self.clock is not None and not self.clock.trusted

    def by(self, clock: ClockReading) -> Page:
        """The same page as that clock dates it, to the window; one that was no guess stays as it is."""
        if self.clock is None or self.clock.trusted:
            return self
        off = windows_off(clock.offset_s, self.clock.offset_s)
        return Page(
            self.from_s + off * WINDOW_S,
            self.until_s + off * WINDOW_S,
            tuple(replace(sighting, window=sighting.window + off) for sighting in self.sightings)
            if off
            else self.sightings,
            clock,
        )


class Logbook:
    """Takes what a scanner hears and saves it page by page.

    Args:
        clock: the store's own time, seconds: when pages are logged.
        vouches: whether the store trusts a wall clock of this boot and offset that the scanner does not.

    Attributes:
        stored: sightings saved.
        dropped: sightings given up because the disk took nothing for too long.
        until_s: end of the last page, seconds; None before the first.
        clock_jumps: how often the clock was set, or a recording's went back.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        capacity: int = CAPACITY,
        identifiers_a_window: int = IDENTIFIERS_A_WINDOW,
        clock: Callable[[], float] = time.time,
        vouches: Callable[[str, float], bool] = lambda _boot, _offset_s: False,
    ) -> None:
        self.stored = 0
        self.dropped = 0
        self.until_s: float | None = None
        self.clock_jumps = 0
        self._connection = connection
        self._capacity = capacity
        self._clock = clock
        self._vouches = vouches
        self._folding = Folding(identifiers_a_window)
        self._whole: list[Sighting] = []
        self._pages: deque[Page] = deque()
        self._weight = 0
        self._beat_s: float | None = None
        self._reading: ClockReading | None = None
        # What guesses are dated by: the first clock that was certain; until then the last one.
        self._best: ClockReading | None = None
        self._run = secrets.token_bytes(8)
        self._closed_pages = 0

    @property
    def unsaved(self) -> int:
        """Sightings on pages that are not on disk."""
        return self._weight - len(self._pages)

    @property
    def pages(self) -> int:
        """Pages that are not on disk."""
        return len(self._pages)

    @property
    def over_capacity(self) -> int:
        """Frames dropped because their window had too many identifiers."""
        return self._folding.over_capacity

    def hear(self, heard: Heard) -> bool:
        """Take one frame, heartbeat or jump. Where the capacity is exceeded, the oldest pages are dropped.

        Returns:
            Whether a page was closed, so that there is something to save.
        """
        if isinstance(heard, Advertisement):
            try:
                closed = self._folding.add(heard)
            except ClockWentBack:
                return self._break() | self.hear(heard)
            if not closed:
                return False
            self._whole += closed
            # In a crowd a page ends before the next heartbeat: a frame, too, says that the scanner listened until now.
            return len(self._whole) >= FULL_PAGE and self._turn(heard.heard_at_s)
        if isinstance(heard, ClockJump):
            return self._break()
        self._reading = heard.clock
        if heard.clock is not None and (self._best is None or not self._best.trusted):
            self._best = heard.clock
        try:
            self._whole += self._folding.add(heard)
        except ClockWentBack:
            return self._break() | self.hear(heard)
        return self._turn(heard.at_s)

    def end(self, *, through: bool) -> None:
        """Nothing comes any more: close the last window, too.

        Args:
            through: a recording is at its end. One that stops midway goes on where its last page ended, and its open
                window will be heard again as a whole; what a radio heard will not.
        """
        live = self._reading is not None
        if live or through:
            self._whole += self._folding.rest()
            if self._whole:
                at_s = float((self._whole[-1].window + 1) * WINDOW_S)
                self._close(at_s, at_s)

    def save(self) -> None:
        """Write all pages in one transaction.

        Raises:
            StoreError: nothing was written, the pages are kept.
        """
        if not self._pages:
            return
        last = self._closed_pages
        with transaction(self._connection):
            logged_at = self._clock()  # with the lock in hand: what is dated anew meanwhile does not miss these rows
            listening = Listening(self._connection)
            # Of a commit that failed, and was on disk all the same, nothing is added again.
            unsaved = min(last - listening.saved_page(self._run), len(self._pages))
            self._write(list(self._pages)[len(self._pages) - unsaved :], logged_at)
            listening.page_saved(self._run, last)
        self.stored += self.unsaved
        self._pages.clear()
        self._weight = 0

    def _write(self, pages: Sequence[Page], logged_at: float) -> None:
        clock = self._best
        if clock is not None:
            if not clock.trusted and self._vouches(clock.boot, clock.offset_s):
                # For this time only: the next setting of the clock ends the store's trust.
                clock = ClockReading(clock.boot, clock.offset_s, trusted=True)
            Guesses(self._connection).follow(clock.boot, clock.offset_s, clock.trusted)
            pages = [page.by(clock) for page in pages]
        certain = [page for page in pages if not page.guessed]
        Sightings(self._connection).add(chain.from_iterable(page.sightings for page in certain), logged_at)
        listening = Listening(self._connection)
        for from_s, until_s in _joined(certain):
            listening.add(from_s, until_s, logged_at)
        if certain and clock is None:
            listening.reached(certain[-1].until_s)
        guessed = [page for page in pages if page.guessed]
        if guessed and clock is not None:
            Guesses(self._connection).add(
                list(chain.from_iterable(page.sightings for page in guessed)),
                _joined(guessed),
                logged_at,
                boot=clock.boot,
                offset_s=clock.offset_s,
            )

    def _break(self) -> bool:
        """The time line ends here, and another one begins with the next heartbeat."""
        self.clock_jumps += 1
        self._whole += self._folding.rest()
        self._beat_s = None
        # Up to where the node listened in its last moments nobody knows: the page has no stretch.
        at_s = 0.0 if self.until_s is None else self.until_s
        return self._close(at_s, at_s)

    def _turn(self, at_s: float) -> bool:
        """The scanner listened until now: close the page."""
        until_s = at_s // WINDOW_S * WINDOW_S
        if self._beat_s is None or at_s - self._beat_s > SILENCE_S:
            # Listening begins: the first window counts if it was heard from its start.
            from_s = -(-at_s // WINDOW_S) * WINDOW_S
        else:
            from_s = until_s if self.until_s is None else self.until_s
        self._beat_s = at_s
        self.until_s = max(from_s, until_s)
        return self._close(from_s, until_s)

    def _close(self, from_s: float, until_s: float) -> bool:
        if until_s <= from_s and not self._whole:
            return False
        page = Page(from_s, max(from_s, until_s), tuple(self._whole), self._reading)
        self._whole.clear()
        self._pages.append(page)
        self._closed_pages += 1
        self._weight += page.weight
        # The last page stays whatever it weighs, or a crowd on a sound disk would never be stored.
        while self._weight > self._capacity and len(self._pages) > 1:
            oldest = self._pages.popleft()
            self._weight -= oldest.weight
            self.dropped += len(oldest.sightings)
        return True


def _joined(pages: Iterable[Page]) -> list[tuple[float, float]]:
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
