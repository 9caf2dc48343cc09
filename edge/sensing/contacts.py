"""Face-to-face contacts as SocioPatterns publishes them (http://www.sociopatterns.org/datasets).

A line `t i j Ci Cj` says that persons i and j, of the classes, wards or departments Ci and Cj, faced each other during
the 20 seconds that end at t. Some data sets have `t i j` alone and a second file with `person zone ...` lines.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from sys import intern

from edge.store.slots import DAY_S, SLOT_S

SOURCE = "published files are at http://www.sociopatterns.org/datasets"


class BadContactFile(ValueError):
    """The file of contacts, or of zones, is not what it should be; the message has the line and the remedy."""


@dataclass(frozen=True, slots=True)
class Contact:
    """Two people face to face.

    Attributes:
        t: end of the contact, seconds since the data set's origin.
        a: one person, as the data set names them.
        b: the other.
        zone_a: where the first belongs: a class, ward or department.
        zone_b: where the other belongs.
    """

    t: int
    a: str
    b: str
    zone_a: str
    zone_b: str

    def __post_init__(self) -> None:
        if self.t < 0:
            raise ValueError(f"time {self.t} is before the origin")
        if self.a == self.b:
            raise ValueError(f"{self.a} cannot be in contact with themselves")


@dataclass(frozen=True, slots=True)
class OpenDay:
    """When a site was open on one day.

    Attributes:
        day: `seconds // DAY_S`.
        opens_s: start of the slot of the day's first contact, seconds.
        closes_s: end of the slot of its last contact, seconds.
    """

    day: int
    opens_s: int
    closes_s: int


def read_contacts(path: Path, metadata: Path | None = None) -> list[Contact]:
    """Read a file of contacts, plain or gzipped, in time order.

    A contact that is listed twice is kept once, and one of a tag with itself is left out: published files have a few
    of both (highschool_2011: 21 and 1).

    Args:
        path: lines `t i j Ci Cj` or, with `metadata`, `t i j`; separated by tabs or spaces.
        metadata: lines `person zone`, more columns are ignored. Used for lines without zones.

    Raises:
        BadContactFile: there is no such file, it holds no contacts, or a line cannot be read.
    """
    return list(_once(sorted(stream_contacts(path, metadata), key=attrgetter("t"))))


def stream_contacts(path: Path, metadata: Path | None = None) -> Iterator[Contact]:
    """As `read_contacts`, one by one as the file has them, doubles too, for those who have little memory.

    Raises:
        BadContactFile: see `read_contacts`; raised when the stream comes to the line.
    """
    zones = {} if metadata is None else _read_zones(metadata)
    empty = True
    for number, fields in _lines(path):
        if len(fields) not in (3, 5):
            raise BadContactFile(
                f"{path}:{number}: {len(fields)} fields, expected `t i j Ci Cj` or `t i j` ({SOURCE}): remove or mend "
                "the line"
            )
        # Few distinct strings: one copy of each keeps 125,000 contacts small.
        t, a, b = fields[0], intern(fields[1]), intern(fields[2])
        if not t.isdecimal():
            raise BadContactFile(f"{path}:{number}: time {t!r} is not a whole number of seconds: mend the line")
        if a == b:
            continue
        if len(fields) == 5:
            for person, zone in ((a, intern(fields[3])), (b, intern(fields[4]))):
                if zones.setdefault(person, zone) != zone:
                    raise BadContactFile(
                        f"{path}:{number}: person {person} is in zone {zone}, but was in {zones[person]} before: a "
                        "person has one zone, mend the line"
                    )
        try:
            contact = Contact(int(t), a, b, zones[a], zones[b])
        except KeyError as missing:
            remedy = "give the file of zones as metadata" if metadata is None else f"add it to {metadata}"
            raise BadContactFile(f"{path}:{number}: no zone for person {missing.args[0]}: {remedy}") from None
        empty = False
        yield contact
    if empty:
        raise BadContactFile(f"{path}: no contacts in it: give a file with lines `t i j Ci Cj` ({SOURCE})")


def days(contacts: Iterable[Contact]) -> list[OpenDay]:
    """Opening hours: first to last contact of each day, rounded out to whole slots. They hold for every zone."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for contact in contacts:
        day = contact.t // DAY_S
        first[day] = min(first.get(day, contact.t), contact.t)
        last[day] = max(last.get(day, contact.t), contact.t)
    return [OpenDay(day, first[day] // SLOT_S * SLOT_S, (last[day] // SLOT_S + 1) * SLOT_S) for day in sorted(first)]


def zones(contacts: Iterable[Contact]) -> list[str]:
    """Every zone, by name."""
    found: set[str] = set()
    for contact in contacts:
        found.update((contact.zone_a, contact.zone_b))
    return sorted(found)


def _read_zones(path: Path) -> dict[str, str]:
    zones: dict[str, str] = {}
    for number, fields in _lines(path):
        if len(fields) < 2:
            raise BadContactFile(f"{path}:{number}: expected `person zone`, got {' '.join(fields)!r}: mend the line")
        person, zone = intern(fields[0]), intern(fields[1])
        if zones.setdefault(person, zone) != zone:
            raise BadContactFile(f"{path}:{number}: person {person} has zones {zones[person]} and {zone}: keep one")
    return zones


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and fields of each line that is not blank."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if fields := line.split():
                    yield number, fields
    except UnicodeDecodeError as error:
        raise BadContactFile(f"{path}: not a text file ({error.reason}): unpack it first ({SOURCE})") from error
    except (OSError, EOFError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise BadContactFile(f"{path}: cannot be read ({reason}): check the path; {SOURCE}") from error


def _once(contacts: Iterable[Contact]) -> Iterator[Contact]:
    """Contacts in time order, without the doubles of a pair at one time."""
    now = -1
    seen: set[tuple[str, str]] = set()
    for contact in contacts:
        if contact.t != now:
            now = contact.t
            seen.clear()
        pair = (contact.a, contact.b) if contact.a < contact.b else (contact.b, contact.a)
        if pair not in seen:
            seen.add(pair)
            yield contact
