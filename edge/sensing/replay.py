"""A scanner that replays recorded contacts, as the node of one zone would have heard them.

The tag of every member of the zone who is in a contact at t is heard once at t. Tags show rotating identifiers as a
phone would: HMAC-SHA256 of the ten-minute period under a key of the person, which nobody but this scanner holds.
"""

from __future__ import annotations

import hmac
import math
import time
import zlib
from collections.abc import Iterable, Iterator

from edge.sensing.advertisement import HEARTBEAT_S, IDENTIFIER_BYTES, Advertisement, Heard, Heartbeat
from edge.sensing.contacts import Contact, OpenDay, days
from edge.sensing.scanner import Sleep
from edge.sensing.scanners.recording import Pace
from edge.store.slots import CLOSE_DBM

ROTATION_S = 600
"""An identifier lasts this long, seconds; a multiple of the window, so that a person has one identifier a window."""

JITTER_DBM = 16


class UnknownZone(ValueError):
    """Nobody in the contacts belongs to the zone."""


def person_key(seed: int, person: str) -> bytes:
    """The secret of a person's tag, 32 bytes; the same in every process that knows the seed."""
    return hmac.digest(seed.to_bytes(8, "big"), b"jaga replay tag " + person.encode(), "sha256")


def identifier_of(key: bytes, period: int) -> bytes:
    """The 16 bytes a tag shows during `period` (`seconds // ROTATION_S`)."""
    return hmac.digest(key, period.to_bytes(8, "big"), "sha256")[:IDENTIFIER_BYTES]


class ReplayScanner:
    """What the node of one zone heard.

    Heartbeats cover the opening hours of the whole data set, so that a zone's quiet half hours count as listened.

    Args:
        contacts: of all zones, in any order; what concerns others is not kept.
        zone: the node's.
        seed: of the tags' keys, unsigned 64 bits.
        until_s: stop here; a contact at this very time is not heard. None: at the end of the last day.
        speed: seconds of the recording in one second; None is as fast as possible.
        since_s: begin here, for one that goes on where it stopped.
        sleep: waits; true where a stop is asked for.

    Raises:
        UnknownZone: with the zones there are.
        ValueError: the speed is not a positive number, or the seed is out of range.
    """

    def __init__(
        self,
        contacts: Iterable[Contact],
        zone: str,
        seed: int,
        until_s: float | None = None,
        speed: float | None = None,
        *,
        since_s: float | None = None,
        sleep: Sleep = time.sleep,
    ) -> None:
        if not 0 <= seed < 2**64:
            raise ValueError(f"seed {seed} is not within 0..2**64-1")
        present: dict[int, set[str]] = {}
        everywhere: set[str] = set()

        def noted() -> Iterator[Contact]:
            # One pass, so that the contacts of a whole site are never in memory together.
            for contact in contacts:
                everywhere.update((contact.zone_a, contact.zone_b))
                if contact.zone_a == zone:
                    present.setdefault(contact.t, set()).add(contact.a)
                if contact.zone_b == zone:
                    present.setdefault(contact.t, set()).add(contact.b)
                yield contact

        self._days = days(noted())
        if not present:
            raise UnknownZone(f"nobody belongs to zone {zone!r}: choose one of {', '.join(sorted(everywhere))}")
        self._present = {t: tuple(sorted(present[t])) for t in sorted(present)}
        self._until_s = math.inf if until_s is None else until_s
        self._since_s = 0.0 if since_s is None else since_s
        self._pace = Pace(speed, sleep)
        members = {person for people in self._present.values() for person in people}
        self.person_keys = {person: person_key(seed, person) for person in sorted(members)}

    def __iter__(self) -> Iterator[Heard]:
        for day in self._days:
            opens, closes = max(day.opens_s, self._since_s), min(day.closes_s, self._until_s)
            if opens < closes:
                self._pace.start(opens)
                for heard in self._heard(day, opens, closes):
                    if self._pace.reach(heard.at_s if isinstance(heard, Heartbeat) else heard.heard_at_s):
                        return
                    yield heard

    def identifiers(self) -> set[bytes]:
        """Every identifier that the zone's tags can show in the opening hours, whether heard or not."""
        return {
            identifier_of(key, period)
            for key in self.person_keys.values()
            for day in self._days
            for period in range(day.opens_s // ROTATION_S, day.closes_s // ROTATION_S)
        }

    def _heard(self, day: OpenDay, opens: float, closes: float) -> Iterator[Advertisement | Heartbeat]:
        yield Heartbeat(opens)
        beat = opens + HEARTBEAT_S
        period, shown = -1, dict[str, bytes]()
        for t, people in self._present.items():
            if not opens <= t < closes:
                continue
            while beat <= t:
                yield Heartbeat(beat)
                beat += HEARTBEAT_S
            if t // ROTATION_S != period:
                period, shown = t // ROTATION_S, {}
            for person in people:
                identifier = shown.get(person)
                if identifier is None:
                    identifier = shown[person] = identifier_of(self.person_keys[person], period)
                yield Advertisement(identifier, float(t), _rssi(identifier, t))
        while beat < closes:
            yield Heartbeat(beat)
            beat += HEARTBEAT_S
        yield Heartbeat(closes)


def _rssi(identifier: bytes, t: int) -> int:
    """Close, within `CLOSE_DBM` and `JITTER_DBM` above; the same in every replay."""
    return CLOSE_DBM + zlib.crc32(t.to_bytes(8, "big"), zlib.crc32(identifier)) % JITTER_DBM
