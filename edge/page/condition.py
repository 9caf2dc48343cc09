"""How this node is: what the page's checks see in the store, on the disk and on the clock."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge.page.settings import Settings
from edge.page.texts import Speech
from edge.store.connection import Connection
from edge.store.health import Health, PartHealth
from edge.store.sightings import Sightings
from edge.store.slots import DAY_S, SLOT_S, WINDOW_S

State = Literal["well", "note", "trouble"]

LATE_S = 600.0
"""A part that says something every minute, and has not for so long, is not running."""
QUIET_S = 12 * 3600.0
OLD_KEYS_S = 2 * DAY_S
LOW_DISK_BYTES, FULL_DISK_BYTES = 1e9, 2e8
STRIP_SLOTS = 48
_CLOCK_NOT_SYNCHRONISED = 5
"""What adjtimex(2) returns where nothing keeps the clock right (TIME_ERROR)."""
_TIMEX_BYTES = 512
"""More than `struct timex` has on any platform."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the checks go by; times in seconds since the epoch, None where there is nothing yet.

    Attributes:
        listened_until: end of the last stretch.
        last_window_end: of the last sighting.
        oldest_logged_at: of what retention has left.
        strip: share of each of the last `STRIP_SLOTS` slots that was listened to, oldest first.
        parts: what the node process said.
        keys_at: when diagnosis keys came last.
        keys_waiting: deliveries of keys that are not compared yet.
        in_the_future: sightings that a clock which was ahead has dated.
    """

    listened_until: float | None
    last_window_end: float | None
    oldest_logged_at: float | None
    strip: tuple[float, ...]
    parts: dict[str, PartHealth]
    keys_at: float | None
    keys_waiting: int
    in_the_future: int = 0

    @classmethod
    def read(cls, connection: Connection, now: float) -> Facts:
        def one(sql: str) -> float | None:
            value = connection.execute(sql).fetchone()
            return None if value is None or value[0] is None else float(value[0])

        first = int(now // SLOT_S) - STRIP_SLOTS + 1
        listened = dict(connection.execute("SELECT slot, seconds FROM listening WHERE slot >= ?", (first,)).fetchall())
        window = one("SELECT max(window_index) FROM sightings")
        return cls(
            listened_until=one("SELECT max(until_s) FROM listening") or one("SELECT until_s FROM listening_mark"),
            last_window_end=None if window is None else (window + 1) * WINDOW_S,
            oldest_logged_at=one("SELECT min(first_logged_at) FROM listening"),
            strip=tuple(min(listened.get(first + i, 0.0) / SLOT_S, 1.0) for i in range(STRIP_SLOTS)),
            parts=Health(connection).parts(),
            keys_at=one("SELECT max(received_at) FROM key_batches"),
            keys_waiting=int(one("SELECT count(*) FROM key_batches WHERE matched_at IS NULL") or 0),
            in_the_future=Sightings(connection).in_the_future(now),
        )


@dataclass(frozen=True, slots=True)
class Check:
    """One point of the node's health, in words.

    Attributes:
        detail: for a technician, in English; "" where there is none.
    """

    name: str
    state: State
    sentence: str
    detail: str = ""


def checks(facts: Facts, settings: Settings, speech: Speech) -> list[Check]:
    """All checks, in the order in which staff should look at them."""
    inspection = Inspection(facts, settings, speech)
    return [
        inspection.listening(),
        inspection.sighting(),
        inspection.part("sensing"),
        inspection.node(),
        inspection.part("broker"),
        inspection.part("training"),
        inspection.part("revocations"),
        inspection.tracing(),
        inspection.disk(),
        inspection.retention(),
        inspection.clock(),
    ]


@dataclass(frozen=True, slots=True)
class Inspection:
    """Looks at one thing after the other."""

    facts: Facts
    settings: Settings
    speech: Speech

    def listening(self) -> Check:
        until = self.facts.listened_until
        if not self.settings.listens:
            return self._check("listening", "note", "off")
        if self.settings.replay:
            return self._check("listening", "note", "replay")
        if until is None:
            return self._check("listening", "trouble", "never")
        if self._age(until) > LATE_S:
            return self._check("listening", "trouble", "late", when=self.speech.moment(until))
        return self._check("listening", "well", "well", ago=self.speech.ago(until))

    def sighting(self) -> Check:
        last = self.facts.last_window_end
        if self.settings.replay:
            return self._check("sighting", "note", "replay")
        if last is None:
            return self._check("sighting", "note", "never")
        if self._age(last) > QUIET_S:
            hours = self.speech.count("hours.span", int(self._age(last) // 3600))
            return self._check("sighting", "note", "quiet", hours=hours)
        return self._check(
            "sighting", "well", "well", ago=_capital(self.speech.ago(last)), when=self.speech.moment(last)
        )

    def node(self) -> Check:
        part = self.facts.parts.get("node")
        if part is None:
            return self._check("node", "trouble", "unknown")
        if self._age(part.at) > LATE_S:
            return self._check("node", "trouble", "late", when=self.speech.moment(part.at))
        return self._check("node", "well", "well", ago=self.speech.ago(part.at))

    def part(self, name: str) -> Check:
        part = self.facts.parts.get(name)
        if part is None or self._age(part.at) > LATE_S:
            off = name == "sensing" and not self.settings.listens
            return self._check(name, "note", "off" if off else "unknown")
        state: State = "well" if part.state == "well" else "trouble" if part.state == "trouble" else "note"
        if name in ("broker", "revocations") and part.state == "waiting" and self.speech.now - part.since > LATE_S:
            state = "trouble"
        return self._check(name, state, part.state, part.detail, when=self.speech.moment(part.since))

    def tracing(self) -> Check:
        if not self.settings.traces:
            return self._check("tracing", "note", "off")
        part, came = self.facts.parts.get("tracing"), self.facts.keys_at
        if part is not None and part.state == "trouble":
            return self._check("tracing", "trouble", "trouble", part.detail, when=self.speech.moment(part.since))
        if came is None:
            return self._check("tracing", "note", "never")
        if self._age(came) > OLD_KEYS_S:
            return self._check("tracing", "trouble", "old", when=self.speech.moment(came))
        waiting, ago = self.facts.keys_waiting, self.speech.ago(came)
        if waiting:
            return Check("tracing", "note", self.speech.count("check_tracing.waiting", waiting, ago=ago))
        return self._check("tracing", "well", "well", ago=ago)

    def disk(self) -> Check:
        try:
            disk = os.statvfs(Path(self.settings.database).parent)
        except OSError:
            return self._check("disk", "trouble", "unknown")
        free, total = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
        text = "full" if free < FULL_DISK_BYTES else "low" if free < LOW_DISK_BYTES else "well"
        state: State = "well" if text == "well" else "note" if text == "low" else "trouble"
        return self._check("disk", state, text, free=self.speech.size(free), total=self.speech.size(total))

    def retention(self) -> Check:
        oldest, days = self.facts.oldest_logged_at, self.settings.retention_days
        shown = self.speech.number(days, 0 if days == int(days) else 1)
        if oldest is None:
            return self._check("retention", "well", "empty", days=shown)
        # Housekeeping runs once an hour while the node does.
        late = self._age(oldest) > (days + 1) * DAY_S
        when = self.speech.moment(oldest)
        later = self.facts.in_the_future
        detail = f"{later} sightings are dated in the future, and set aside" if later else ""
        return self._check(
            "retention", "trouble" if late else "well", "late" if late else "well", detail, days=shown, when=when
        )

    def clock(self) -> Check:
        now = self.speech.moment(self.speech.now)
        # A part's word can be a minute old, never from the future.
        latest = max([part.at for part in self.facts.parts.values()], default=0.0)
        if latest > self.speech.now + LATE_S:
            return self._check("clock", "trouble", "back", when=now)
        part = self.facts.parts.get("clock")
        if part is not None and part.state == "trouble" and self._age(part.at) <= LATE_S:
            return self._check("clock", "trouble", "ahead", part.detail, when=now)
        kept = clock_is_kept()
        text = "unknown" if kept is None else "well" if kept else "unset"
        return self._check("clock", "well" if kept else "note", text, when=now)

    def _check(self, name: str, state: State, sentence: str, detail: str = "", **values: object) -> Check:
        return Check(name, state, self.speech.text(f"check_{name}.{sentence}", **values), detail)

    def _age(self, at: float) -> float:
        return self.speech.now - at


def clock_is_kept() -> bool | None:
    """Whether the kernel says that something keeps the clock right, as timesyncd, chrony and ntpd do; None: unknown."""
    try:
        said = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return None
    return None if said < 0 else bool(said != _CLOCK_NOT_SYNCHRONISED)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
