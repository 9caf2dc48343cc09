"""From radio frames to advertisements: what is kept, what is counted, and on which time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from edge.sensing.advertisement import RSSI_RANGE_DBM, Advertisement, ClockJump, Heard, Heartbeat, RadioFrame
from edge.sensing.clock import Clock
from edge.sensing.formats import Broken, read, token

REMEMBERED = 4_096
"""Payloads that are not decoded again, about 1 MB: a device sends the same one for ten minutes."""

LOOK_EVERY_S = 0.25
"""The wall clock is looked at this often while frames come, seconds."""

FURTHEST_S = 1e11
"""No time is further from the epoch than this, seconds: three thousand years."""

LEVELS = {dbm: dbm for dbm in range(RSSI_RANGE_DBM[0], RSSI_RANGE_DBM[1] + 1)}
"""Every RSSI there is: what is kept of a crowd shares these numbers instead of having two of its own a device."""

UNKNOWN = "unknown"


@dataclass(slots=True)
class Counts:
    """What became of what was heard; every frame is in exactly one of the counts below `frames`.

    What happens to tokens later on, the logbook counts.

    Attributes:
        frames: reports that came from the radio, or from a recording.
        tokens: frames of rotating identifiers, which were handed on.
        malformed: frames, or lines of a recording, that could not be read; nothing of them was kept.
        no_rssi: frames without an RSSI, or with an impossible one.
        not_tokens: whole frames that are not kept, by format; `unknown` is all that no format claims.
    """

    frames: int = 0
    tokens: int = 0
    malformed: int = 0
    no_rssi: int = 0
    not_tokens: Counter[str] = field(default_factory=Counter)

    def fields(self) -> dict[str, int]:
        """All counts by name, for an event."""
        return {
            "frames": self.frames,
            "tokens": self.tokens,
            "malformed": self.malformed,
            "no_rssi": self.no_rssi,
            **{f"heard_{name}": count for name, count in sorted(self.not_tokens.items())},
        }


def decode(frames: Iterable[RadioFrame | Heartbeat], counts: Counts, clock: Clock | None) -> Iterator[Heard]:
    """Advertisements of rotating identifiers, heartbeats, and jumps of the clock; all else is counted and ends here.

    Args:
        frames: in the order of time; a live scanner's on the monotonic clock.
        counts: added to.
        clock: of a live scanner, which begins with a heartbeat; one that is set shows as a `ClockJump`, then a
            `Heartbeat` on the new time. None for a recording, whose times are taken as they are.
    """
    sieve = _Sieve(counts)
    offset_s = 0.0 if clock is None else clock.offset_s
    latest_s = look_at_s = -FURTHEST_S
    begun = False
    for frame in frames:
        beat = isinstance(frame, Heartbeat)
        at_s = frame.at_s if isinstance(frame, Heartbeat) else frame.heard_at_s
        if clock is not None:
            # Two adapters may report a moment late; time never runs backwards for what comes after.
            latest_s = at_s = max(at_s, latest_s)
            if beat or at_s >= look_at_s:
                look_at_s = at_s + LOOK_EVERY_S
                jump_s = clock.look()
                if jump_s:
                    offset_s = clock.offset_s
                    yield ClockJump(jump_s)
                if (jump_s or not begun) and not beat:
                    yield Heartbeat(at_s + offset_s, clock.reading)
                begun = True
            at_s += offset_s
        if isinstance(frame, Heartbeat):
            yield Heartbeat(at_s, None if clock is None else clock.reading)
        elif (kept := sieve.keep(frame, at_s)) is not None:
            yield kept


class _Sieve:
    """Keeps rotating identifiers, and counts everything."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._remembered: dict[bytes, tuple[bytes, bytes] | str] = {}

    def keep(self, frame: RadioFrame, at_s: float) -> Advertisement | None:
        counts = self._counts
        counts.frames += 1
        known = self._remembered.get(frame.ad)
        if known is None:
            if len(self._remembered) >= REMEMBERED:
                self._remembered.clear()
            known = self._remembered[frame.ad] = _known(frame.ad)
        if isinstance(known, str):
            if known:
                counts.not_tokens[known] += 1
            else:
                counts.malformed += 1
            return None
        rssi_dbm = LEVELS.get(frame.rssi_dbm)
        if rssi_dbm is None:
            counts.no_rssi += 1
            return None
        if not -FURTHEST_S < at_s < FURTHEST_S:
            counts.malformed += 1
            return None
        counts.tokens += 1
        return Advertisement(known[0], at_s, rssi_dbm, known[1], frame.receiver)


def _known(ad: bytes) -> tuple[bytes, bytes] | str:
    """Identifier and metadata; or the format of what is kept out, empty for what is broken."""
    kept = token(ad)
    if kept is not None:
        return kept
    found = read(ad)
    if isinstance(found, Broken):
        return ""
    return UNKNOWN if found is None else found.format
