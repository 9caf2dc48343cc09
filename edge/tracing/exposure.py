"""Who was near a case: from matched sightings of one published key to minutes of the tags of this site.

The case joins the site's tags as one more, for the time of this computation, and `edge.tracing.encounters` says who met
it, as it does among the site's own: co-presence in a zone, probable nearness in a room, nearness to the wearer. So an
exposure means what an encounter means in this mode. The zone itself, or the wearer, is a subject too.

Only the ten-minute steps in which the case was heard are read, an hour at a time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from edge.proximity.closeness import Closeness
from edge.proximity.features import Levels
from edge.proximity.stats import Stats
from edge.store.connection import Connection
from edge.store.exposures import SELF, Exposure
from edge.store.sighting import Sighting
from edge.store.sightings import Sightings
from edge.store.site import Mode, ModeStretch, SiteModes
from edge.store.slots import DAY_S, WINDOW_S
from edge.store.tags import Tags
from edge.tracing.calibration import Calibration
from edge.tracing.encounters import MINUTES_A_WINDOW, Nearness
from edge.tracing.heard import PERIOD_S, WINDOWS_A_PERIOD, Heard
from edge.tracing.matching import Matches, match
from edge.tracing.register import Known, Register
from edge.tracing.scoring import Scoring
from privacy.tokens.gaen import IDENTIFIER_BYTES, TemporaryExposureKey, identifiers
from privacy.tokens.tags import exposure_key

CASE = "\0case"
"""Stands for the case among labels; no tag can be called so."""

PART_WINDOWS = 6 * WINDOWS_A_PERIOD
CLOSENESS_WINDOWS = 8
"""Windows that one probability of closeness is about: 160 s, as it was fitted to 150 s."""


@dataclass(frozen=True, slots=True)
class Site:
    """What of a node's configuration an exposure depends on.

    Attributes:
        mode: where the store has no history of it.
        nearness: what counts as near, by mode; only those modes that the configuration allows.
        tx_power_dbm: of tags that do not say theirs.
        calibration: of its receivers and tags.
    """

    mode: Mode
    nearness: Mapping[str, Nearness]
    tx_power_dbm: float
    calibration: Calibration
    scoring: Scoring = field(default_factory=Scoring)


@dataclass(frozen=True, slots=True)
class Contact:
    """One published key, heard on one day: when and where.

    Attributes:
        tek: the key.
        at: windows and receivers at which its sightings are believed.
    """

    tek: TemporaryExposureKey
    day: int
    at: frozenset[tuple[int, int]]


def contacts_of(matches: Iterable[Matches], keys: Sequence[TemporaryExposureKey]) -> Iterator[Contact]:
    """The matches of each key and day."""
    for found in matches:
        at: dict[int, set[tuple[int, int]]] = defaultdict(set)
        for key, window, receiver in zip(
            found.keys.tolist(), found.windows.tolist(), found.receivers.tolist(), strict=True
        ):
            at[key].add((window, receiver))
        for key, places in sorted(at.items()):
            yield Contact(keys[key], found.day, frozenset(places))


@dataclass(frozen=True, slots=True)
class Exposing:
    """Works exposures out from a store."""

    connection: Connection
    site: Site
    closeness: Closeness

    def of_keys(self, keys: Sequence[TemporaryExposureKey]) -> list[Exposure]:
        """All exposures to the owners of these keys, one for each day, subject and room."""
        counting = [key for key in keys if self.site.scoring.weight(key) > 0]
        sightings = Sightings(self.connection)
        rooms = next(iter(self.site.nearness.values())).rooms
        register = Register.of(Tags(self.connection))
        total: dict[tuple[int, str, str], Exposure] = {}
        for contact in contacts_of(match(counting, sightings.days(), sightings.columns, rooms), counting):
            for exposure in self.of_contact(contact, register):
                place = (exposure.day, exposure.subject, exposure.room)
                total[place] = exposure if place not in total else total[place] + exposure
        return [total[place] for place in sorted(total)]

    def of_contact(self, contact: Contact, register: Register) -> Iterator[Exposure]:
        """The exposures to one key on one day, of the tags in the register and of the zone or the wearer."""
        start = float(contact.day * DAY_S)
        modes = SiteModes(self.connection).during(start, start + DAY_S)
        for stretch in modes or [ModeStretch(self.site.mode, start, start + DAY_S)]:
            nearness = self.site.nearness.get(stretch.mode) or self.site.nearness[self.site.mode]
            begin, end = (int(-(-at // PERIOD_S) * PERIOD_S // WINDOW_S) for at in (stretch.from_s, stretch.until_s))
            then = replace(contact, at=frozenset(place for place in contact.at if begin <= place[0] < end))
            if not (nearness.mode == "person" and _is_of(contact, nearness.wearer, register)):
                yield from self._in_mode(then, nearness, register)

    def _in_mode(self, contact: Contact, nearness: Nearness, register: Register) -> Iterator[Exposure]:
        labels = (*register.labels, CASE)
        minutes: dict[tuple[str, str], float] = defaultdict(float)
        closest: dict[tuple[str, str], float] = defaultdict(float)
        for part in sorted({window // PART_WINDOWS for window, _ in contact.at}):
            levels = _Levels()
            rows = self._rows(contact, register, part, levels)
            heard = Heard.of(
                (row for row, _ in rows),
                Known(labels, {row.identifier: owner for row, owner in rows}),
                tx_power_dbm=self.site.tx_power_dbm,
                calibration=self.site.calibration,
            )
            near = self._near([(row, owner[0]) for row, owner in rows], labels, levels)
            for room, there in _by_room(heard, nearness):
                for subject, more, probability in self._met(contact.day, nearness, labels, there, near):
                    minutes[subject, room] += more
                    closest[subject, room] = max(closest[subject, room], probability)
        weight = self.site.scoring.weight(contact.tek)
        for (subject, room), total in minutes.items():
            if total > 0:
                yield Exposure(contact.day, subject, nearness.mode, room, total, total * weight, closest[subject, room])

    def _rows(
        self, contact: Contact, register: Register, part: int, levels: _Levels
    ) -> list[tuple[Sighting, tuple[int, TemporaryExposureKey]]]:
        """Sightings of the case and of the site's tags, with owners, in the steps of one hour that heard the case."""
        steps = {window // WINDOWS_A_PERIOD for window, _ in contact.at}
        from_s, until_s = (float(at * PART_WINDOWS * WINDOW_S) for at in (part, part + 1))
        shown = identifiers(contact.tek)
        case = {shown[at : at + IDENTIFIER_BYTES] for at in range(0, len(shown), IDENTIFIER_BYTES)}
        owner_of, number = register.known(from_s, until_s).owner_of, len(register.labels)
        found: list[tuple[Sighting, tuple[int, TemporaryExposureKey]]] = []
        for row in Sightings(self.connection).between(from_s, until_s):
            if row.window // WINDOWS_A_PERIOD not in steps:
                continue
            levels.hear(row)
            if row.identifier in case:
                if (row.window, row.receiver) in contact.at:
                    found.append((row, (number, contact.tek)))
            elif (owner := owner_of.get(row.identifier)) is not None:
                found.append((row, owner))
        return found

    def _met(
        self, day: int, nearness: Nearness, labels: Sequence[str], heard: Heard, near: Mapping[tuple[int, int], float]
    ) -> Iterator[tuple[str, float, float]]:
        """(subject, minutes, probability) of all who met the case."""
        blocks = {int(window) // CLOSENESS_WINDOWS for window in heard.windows[heard.subjects == len(labels) - 1]}
        case = {block: near.get((len(labels) - 1, block), 0.0) for block in blocks}
        alone = max(case.values(), default=0.0)
        if nearness.mode != "person":
            yield SELF, _own_minutes(heard, nearness, len(labels) - 1), alone
        wearer = nearness.wearer if nearness.mode == "person" else None
        for pair in nearness.encounters(day, labels, [heard]).pairs:
            if CASE not in (pair.a, pair.b):
                continue
            subject = pair.b if pair.a == CASE else pair.a
            if wearer is not None:
                if subject == wearer:
                    yield SELF, pair.minutes, alone
                continue
            both = [min(p, near.get((labels.index(subject), block), 0.0)) for block, p in case.items()]
            yield subject, pair.minutes, max(both, default=0.0) if pair.probability is None else pair.probability

    def _near(
        self, rows: Iterable[tuple[Sighting, int]], labels: Sequence[str], levels: _Levels
    ) -> dict[tuple[int, int], float]:
        """Probability that each subject was within 2 m of a receiver, by subject and block of windows: the highest."""
        sums: dict[tuple[int, int, int], list[Sighting]] = defaultdict(list)
        for row, subject in rows:
            sums[subject, row.window // CLOSENESS_WINDOWS, row.receiver].append(row)
        calibration = self.site.calibration
        found: dict[tuple[int, int], float] = defaultdict(float)
        for (subject, block, receiver), some in sums.items():
            stats = Stats.of(_by_window(some), CLOSENESS_WINDOWS)
            probability = self.closeness.probability(
                stats,
                correction_db=calibration.correction_db(receiver, labels[subject]),
                standing=levels.at(block, receiver).standing(
                    stats.rssi_max + calibration.tags_db.get(labels[subject], 0)
                ),
                frames_per_window=calibration.frames_per_window.get(receiver),
            )
            found[subject, block] = max(found[subject, block], probability)
        return found


class _Levels:
    """The loudest frame of everybody whom a receiver heard, by block of windows."""

    def __init__(self) -> None:
        self._loudest: dict[tuple[int, int], dict[bytes, int]] = defaultdict(dict)
        self._levels: dict[tuple[int, int], Levels] = {}

    def hear(self, row: Sighting) -> None:
        heard = self._loudest[row.window // CLOSENESS_WINDOWS, row.receiver]
        heard[row.identifier] = max(heard.get(row.identifier, row.rssi_max), row.rssi_max)

    def at(self, block: int, receiver: int) -> Levels:
        """How loud all were; asked for once everything has been heard."""
        levels = self._levels.get((block, receiver))
        if levels is None:
            levels = self._levels[block, receiver] = Levels()
            for loudest in self._loudest[block, receiver].values():
                levels.add(loudest)
        return levels


def _is_of(contact: Contact, label: str, register: Register) -> bool:
    """Whether the key is that of a tag of this site."""
    return any(
        tag.label == label and exposure_key(tag.secret, contact.day).key == contact.tek.key for tag in register.tags
    )


def _by_window(rows: Iterable[Sighting]) -> list[Stats]:
    """One a window: at the turn of an identifier a tag is heard under both."""
    found: dict[int, Stats] = {}
    for row in rows:
        one = Stats(row.frames, row.rssi_sum, row.rssi_square_sum, row.rssi_min, row.rssi_max)
        known = found.get(row.window)
        found[row.window] = one if known is None else _within_one_window(known, one)
    return list(found.values())


def _within_one_window(a: Stats, b: Stats) -> Stats:
    return Stats(
        a.frames + b.frames,
        a.rssi_sum + b.rssi_sum,
        a.rssi_square_sum + b.rssi_square_sum,
        min(a.rssi_min, b.rssi_min),
        max(a.rssi_max, b.rssi_max),
    )


def _by_room(heard: Heard, nearness: Nearness) -> Iterator[tuple[str, Heard]]:
    """What was heard while the case was in each room: where it was heard the loudest."""
    case = heard.subjects == len(heard.labels) - 1
    place, windows, level = nearness.rooms.rooms_at(heard.receivers[case]), heard.windows[case], heard.rssi_dbm[case]
    order = np.lexsort((-level, windows))
    where, first = np.unique(windows[order], return_index=True)
    room_of: NDArray[np.int16] = place[order][first]
    for room in np.unique(room_of):
        yield nearness.rooms.names[int(room)], heard.only(np.isin(heard.windows, where[room_of == room]))


def _own_minutes(heard: Heard, nearness: Nearness, case: int) -> float:
    """How long the case was near the node itself: each window by its least attenuation."""
    mine = heard.subjects == case
    windows, at = np.unique(heard.windows[mine], return_inverse=True)
    weights = np.zeros(len(windows), np.float32)
    np.maximum.at(weights, at, nearness.weights.weights_of(heard.attenuation_db[mine]))
    return float(weights.sum() * MINUTES_A_WINDOW)
