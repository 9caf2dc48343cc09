"""Encounters: for how long two were near each other on one day, added up over the day.

Contacts are short, half of them 20 seconds, so minutes accumulate; an unbroken quarter of an hour hardly ever happens.
Who meets depends on how the node is used (`[site] mode`):

    person  the node is worn: its wearer and each other tag, weighted by the attenuation of the other
    zone    the node hangs on a wall: two tags that were both near it, weighted by the further of the two
    room    several receivers in a room: two tags that were probably within 2 m of each other

Nothing of this is stored. It is worked out when somebody asks, from the sightings of a day, in steps of ten minutes:
the life of an identifier. A tag of this site is one subject all day; a stranger is one subject within one such step,
because nothing links its identifiers, and of strangers only sums come out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge.store.site import MODES, Mode
from edge.store.slots import WINDOW_S
from edge.tracing.attenuation import AttenuationWeights
from edge.tracing.heard import WINDOWS_A_PERIOD, Heard
from edge.tracing.nearness import PathLoss, RoomMap
from edge.tracing.rooms import Rooms
from edge.tracing.tally import Tally

WEARER = ""
"""Stands for the person who wears the node, as in the table of exposures."""

MOST_TOGETHER = 512
"""So many subjects of one room pair up within ten minutes; the loudest do, the rest are counted as left out."""

STRETCH_WINDOWS = 6
"""Windows over which a tag's loudness is averaged in room mode: two minutes, five of them a life of an identifier."""

NEAR_FROM = 0.5
"""In room mode minutes count from this probability on: below, two tags anywhere in a room would add up over a day."""

MINUTES_A_WINDOW = WINDOW_S / 60


@dataclass(frozen=True, slots=True)
class Encounter:
    """Two who were near each other on one day.

    Attributes:
        day: `seconds // 86400`.
        a: label of a tag of this site, or `WEARER`.
        b: label of another; after `a` in the alphabet.
        minutes: weighted by attenuation (person, zone) or by probability (room), over the day.
        windows: windows of 20 s that had a part in it.
        probability: that they were within 2 m while the minutes ran, in room mode; else None.
    """

    day: int
    a: str
    b: str
    minutes: float
    windows: int
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class AmongStrangers:
    """One subject, and all unknown tokens near it on one day.

    Attributes:
        subject: label, or `WEARER`.
        tokens: how many; one person shows about six an hour.
        minutes: with them, weighted, in total.
        longest_minutes: with one token, which lasts ten minutes at most.
    """

    subject: str
    tokens: int
    minutes: float
    longest_minutes: float


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What was heard and did not count.

    Attributes:
        relays: tags and windows heard in rooms that are too far apart.
        crowded: subjects and ten minutes over `MOST_TOGETHER`.
        pair_minutes: of pairs too many to keep, the least of them.
    """

    relays: int = 0
    crowded: int = 0
    pair_minutes: float = 0.0


@dataclass(frozen=True, slots=True)
class Encounters:
    """All of one day, in one mode.

    Attributes:
        day: `seconds // 86400`.
        mode: how the node was used.
        pairs: the most minutes first.
        strangers: by subject.
        strangers_minutes: of unknown tokens with each other.
        left_out: what did not count.
    """

    day: int
    mode: Mode
    pairs: tuple[Encounter, ...]
    strangers: tuple[AmongStrangers, ...]
    strangers_minutes: float
    left_out: LeftOut


@dataclass(frozen=True, slots=True)
class Nearness:
    """What counts as near at this site.

    Attributes:
        mode: `zone`, `room` or `person`.
        rooms: which receiver hangs where.
        weights: of attenuation, in person and zone mode.
        path_loss: of its rooms, in room mode.
        wearer: label of the tag of whoever wears the node, in person mode: they do not meet themselves.
    """

    mode: Mode
    rooms: Rooms = field(default_factory=Rooms)
    weights: AttenuationWeights = field(default_factory=AttenuationWeights)
    path_loss: PathLoss = field(default_factory=PathLoss)
    wearer: str = WEARER
    _maps: Mapping[int, RoomMap] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode {self.mode!r} is unknown: choose zone, room or person")
        maps: dict[int, RoomMap] = {}
        if self.mode == "room":
            for at, name in enumerate(self.rooms.names):
                if receivers := [one for one in self.rooms.receivers if one.room == name]:
                    maps[at] = RoomMap(receivers, self.path_loss)
            if not maps:
                raise ValueError(
                    "mode room needs receivers: name those of the room in [[site.receivers]], with x_m and y_m"
                )
        object.__setattr__(self, "_maps", maps)

    def encounters(self, day: int, labels: Sequence[str], parts: Iterable[Heard]) -> Encounters:
        """All encounters of a day.

        Args:
            day: `seconds // 86400`, for the result.
            labels: tags of this site, by number.
            parts: what was heard on it, of those labels; in memory one after the other, each of whole ten minutes.
        """
        known = len(labels)
        wearer = labels.index(self.wearer) if self.mode == "person" and self.wearer in labels else None
        tally = Tally(known + 1 if self.mode == "person" else known)
        relays = 0
        for heard in parts:
            there = heard if wearer is None else heard.only(heard.subjects != wearer)
            token_windows = there.token_windows()
            relayed = self.rooms.relays(token_windows, there.receivers)
            relays += len(np.unique(token_windows[relayed]))
            for period in there.only(~relayed).periods():
                for met in self._within(period):
                    tally.add(met.first, met.second, met.minutes, met.windows, met.certain)
                    tally.crowded += met.crowded
        names = (*labels, self.wearer)
        ordered = []
        for one, other, minutes, windows, certain in tally.pairs():
            a, b = sorted((names[one], names[other]))
            probability = certain if self.mode == "room" else None
            ordered.append(Encounter(day, a, b, minutes, windows, probability))
        ordered.sort(key=lambda one: (-one.minutes, one.a, one.b))
        strangers = [
            AmongStrangers(names[at], tokens, minutes, longest) for at, tokens, minutes, longest in tally.strangers()
        ]
        strangers.sort(key=lambda one: one.subject)
        left_out = LeftOut(relays, tally.crowded, tally.left_minutes)
        return Encounters(day, self.mode, tuple(ordered), tuple(strangers), tally.strangers_minutes, left_out)

    def _within(self, period: Heard) -> Iterator[Met]:
        """Who met within ten minutes, room by room."""
        subjects, column = np.unique(period.subjects, return_inverse=True)
        row = period.windows - period.windows[0] // WINDOWS_A_PERIOD * WINDOWS_A_PERIOD
        place = self.rooms.rooms_at(period.receivers)
        weight = self.weights.weights_of(period.attenuation_db) if self.mode != "room" else period.loudness()
        near = np.zeros((len(self.rooms.names), WINDOWS_A_PERIOD, len(subjects)), np.float32)
        np.maximum.at(near, (place, row, column), weight)
        if self.mode == "person":
            yield self._wearer(len(period.labels), subjects, near.max(axis=0))
            return
        # A tag between two rooms is in the one where it is the louder.
        loudest = near.max(axis=0)
        taken = np.zeros_like(loudest, bool)
        for at in range(len(near)):
            here = np.where((near[at] == loudest) & ~taken, near[at], 0)
            taken |= here > 0
            if self.mode == "room" and at not in self._maps:
                continue
            chosen, crowded = _loudest(here)
            if not chosen.size:
                continue
            if self.mode == "zone":
                yield _together(subjects[chosen], here[:, chosen], crowded)
            else:
                levels = self._levels(at, period, row, column, len(subjects))[:, chosen]
                yield _nearby(self._maps[at], subjects[chosen], here[:, chosen] > 0, levels, crowded)

    def _wearer(self, known: int, subjects: NDArray[np.int64], near: NDArray[np.float32]) -> Met:
        minutes, windows = near.sum(axis=0) * MINUTES_A_WINDOW, (near > 0).sum(axis=0)
        met = np.flatnonzero(windows)
        # The wearer's number comes after those of the tags; strangers' move up by one.
        others = np.where(subjects[met] >= known, subjects[met] + 1, subjects[met])
        return Met(np.full(len(met), known), others, minutes[met], windows[met], minutes[met], 0)

    def _levels(
        self,
        at: int,
        period: Heard,
        row: NDArray[np.int64],
        column: NDArray[np.int64],
        subjects: int,
    ) -> NDArray[np.float64]:
        """Mean RSSI of each two minutes [stretches, subjects, receivers of the room]; NaN where it was not heard."""
        stretches = WINDOWS_A_PERIOD // STRETCH_WINDOWS
        numbers = [one.number for one in self._maps[at].receivers]
        sums = np.zeros((2, stretches, subjects, len(numbers)))
        for ear, number in enumerate(numbers):
            mine = period.receivers == number
            place = (row[mine] // STRETCH_WINDOWS, column[mine], ear)
            np.add.at(sums[0], place, period.rssi_dbm[mine])
            np.add.at(sums[1], place, 1)
        with np.errstate(invalid="ignore"):
            found: NDArray[np.float64] = sums[0] / np.where(sums[1] > 0, sums[1], np.nan)
        return found


@dataclass(frozen=True, slots=True)
class Met:
    """Who met whom within ten minutes; each pair once, as columns of equal length.

    Attributes:
        first: number of one; tags of this site, then the wearer, then strangers.
        second: of the other.
        minutes: weighted.
        windows: that had a part in it.
        certain: minutes times probability of being within 2 m, for the mean of it.
        crowded: subjects left out.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    minutes: NDArray[np.float32]
    windows: NDArray[np.int64]
    certain: NDArray[np.float32]
    crowded: int

    @classmethod
    def of_tables(
        cls,
        subjects: NDArray[np.int64],
        minutes: NDArray[np.float32],
        windows: NDArray[np.int64],
        certain: NDArray[np.float32],
        crowded: int,
    ) -> Met:
        """From symmetric tables [n, n] of subjects [n]."""
        a, b = np.nonzero(np.triu(minutes, 1))
        return cls(subjects[a], subjects[b], minutes[a, b], windows[a, b], certain[a, b], crowded)


def _loudest(here: NDArray[np.float32]) -> tuple[NDArray[np.intp], int]:
    """Columns of the subjects that pair up, in order, and how many more there were."""
    total = here.sum(axis=0)
    some = np.flatnonzero(total > 0)
    if len(some) <= MOST_TOGETHER:
        return some, 0
    kept = some[np.argsort(-total[some], kind="stable")[:MOST_TOGETHER]]
    return np.sort(kept), len(some) - MOST_TOGETHER


def _together(subjects: NDArray[np.int64], near: NDArray[np.float32], crowded: int) -> Met:
    """Both near the node: a window counts by the further of the two."""
    minutes = np.zeros((len(subjects), len(subjects)), np.float32)
    for window in near:
        minutes += np.minimum.outer(window, window)
    there = (near > 0).astype(np.float32)
    minutes *= MINUTES_A_WINDOW
    return Met.of_tables(subjects, minutes, np.asarray(there.T @ there, np.int64), minutes, crowded)


def _nearby(
    room: RoomMap,
    subjects: NDArray[np.int64],
    heard: NDArray[np.bool_],
    levels: NDArray[np.float64],
    crowded: int,
) -> Met:
    """Probably near each other, two minutes at a time."""
    size = len(subjects)
    minutes, windows = np.zeros((size, size), np.float32), np.zeros((size, size), np.int64)
    certain = np.zeros_like(minutes)
    for stretch, cloud in enumerate(room.tracks(levels)):
        there = heard[stretch * STRETCH_WINDOWS : (stretch + 1) * STRETCH_WINDOWS].astype(np.float32)
        present = np.flatnonzero(there.any(axis=0))
        if len(present) < 2:
            continue
        near = room.near(cloud[present])
        both = there[:, present].T @ there[:, present] * (near >= NEAR_FROM)
        table = np.ix_(present, present)
        minutes[table] += near * both * MINUTES_A_WINDOW
        certain[table] += near * near * both * MINUTES_A_WINDOW
        windows[table] += both.astype(np.int64)
    return Met.of_tables(subjects, minutes, windows, certain, crowded)
