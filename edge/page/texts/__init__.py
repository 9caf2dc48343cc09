"""All words of the page, a file a language, and how each language writes numbers, dates and sizes."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from edge.page.settings import Language

LANGUAGES: tuple[Language, ...] = ("id", "en")
FOLDER = Path(__file__).parent
_SIZES = (("gigabytes", 1e9), ("megabytes", 1e6), ("kilobytes", 1e3), ("bytes", 1.0))


class MissingText(KeyError):
    """No such text, or a value that it needs was not given."""


def load(language: str) -> dict[str, str]:
    """The texts of a language by their dotted names."""
    with (FOLDER / f"{language}.toml").open("rb") as file:
        return dict(_flat(tomllib.load(file)))


def _flat(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    found = []
    for name, value in table.items():
        found += [(prefix + name, value)] if isinstance(value, str) else _flat(value, f"{prefix}{name}.")
    return found


@dataclass(frozen=True, slots=True)
class Speech:
    """One language, at one place.

    Attributes:
        language: `id` or `en`.
        texts: its texts.
        zone: of all times that are shown.
        now: seconds since the epoch; times ago are counted from here.
    """

    language: str
    texts: Mapping[str, str]
    zone: ZoneInfo
    now: float

    def text(self, name: str, /, **values: object) -> str:
        """A text with its values.

        Raises:
            MissingText: the text, or one of its values, is not there.
        """
        try:
            return self.texts[name].format_map(values)
        except KeyError as why:
            raise MissingText(f"{self.language}: {name}: {why}") from why

    def count(self, name: str, n: int, /, **values: object) -> str:
        """A text that goes by a number."""
        return self.text(f"{name}.{'one' if n == 1 else 'other'}", n=self.number(n), **values)

    def number(self, value: float, digits: int = 0) -> str:
        marks = {",": self.texts["format.thousands"], ".": self.texts["format.decimal"]}
        return "".join(marks.get(sign, sign) for sign in f"{value:,.{digits}f}")

    def exact(self, value: float) -> str:
        """A small number with all of its digits, as 0.000001."""
        digits = f"{value:.15f}".rstrip("0").partition(".")[2]
        return self.number(value, len(digits))

    def percent(self, share: float) -> str:
        return f"{self.number(100 * share)} %" if self.language == "id" else f"{self.number(100 * share)}%"

    def size(self, count: float) -> str:
        """Bytes, to three digits."""
        unit, factor = next(((u, f) for u, f in _SIZES if count >= f), _SIZES[-1])
        value = count / factor
        return self.text(f"size.{unit}", n=self.number(value, 1 if unit != "bytes" and value < 100 else 0))

    def time(self, at: float) -> str:
        when = self._local(at)
        return self.text("format.time", hour=when.hour, minute=when.minute)

    def zone_name(self, at: float) -> str:
        return self._local(at).strftime("%Z")

    def moment(self, at: float) -> str:
        """Date, time and zone."""
        when = self._local(at)
        return self.text(
            "format.moment",
            day=when.day,
            month=self.texts["format.months_short"].split()[when.month - 1],
            year=when.year,
            time=self.time(at),
            zone=self.zone_name(at),
        )

    def day(self, day: int) -> str:
        """A day of the store, which is one of UTC."""
        when = datetime.fromtimestamp(day * 86400, UTC)
        return self.text(
            "format.date",
            weekday=self.texts["format.weekdays"].split()[when.weekday()],
            day=when.day,
            month=self.texts["format.months"].split()[when.month - 1],
            year=when.year,
        )

    def iso(self, at: float) -> str:
        """For machines that read the page."""
        return self._local(at).isoformat(timespec="seconds")

    def ago(self, at: float) -> str:
        minutes = int((self.now - at) // 60)
        if minutes < 1:
            return self.text("ago.now")
        if minutes < 60:
            return self.count("ago.minutes", minutes)
        return self.count("ago.hours", minutes // 60) if minutes < 48 * 60 else self.count("ago.days", minutes // 1440)

    def _local(self, at: float) -> datetime:
        return datetime.fromtimestamp(at, self.zone)


def preferred(accept_language: str, otherwise: Language) -> Language:
    """The language a browser asks for first among those of the page (RFC 9110, 12.5.4)."""
    best, chosen = 0.0, otherwise
    for part in accept_language[:500].split(","):
        tag, _, parameter = part.strip().partition(";")
        language = tag.strip().lower().partition("-")[0]
        # Java's and some Android browsers' old code for Indonesian.
        language = "id" if language == "in" else language
        name, _, value = parameter.strip().partition("=")
        try:
            quality = float(value) if name.strip() == "q" else 1.0
        except ValueError:
            continue
        if best < quality <= 1 and language in LANGUAGES:
            best, chosen = quality, language
    return chosen
