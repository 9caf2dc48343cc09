"""Published keys against what this node heard. It happens here, and nobody learns whether anything was found.

Three passes, so that a node with 1 GB of memory can match months of traffic against a country's keys:

1. the stored identifiers of all days, one day in memory at a time, become an index of their prefixes;
2. the keys' identifiers are derived, some hundred keys at a time, and those kept whose prefix was heard;
3. each day's sightings are read again and compared with what was kept, all 16 bytes.

An identifier is only good for ten minutes, and clocks differ: it is believed up to two hours before and after (the
tolerance of GAEN v1.2). Heard at another time it was recorded and played again: a **replay**. Heard within one window
in two rooms that no radio reaches at once it was carried there by other means: a **relay**; neither place is believed.

Memory: 40 to 72 bytes a distinct stored identifier (beyond a million, less), one day's sightings (about 100 bytes a
row), 60 bytes for each identifier of a published key that was heard, and 10 MB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from edge.store.sighting import SightingColumns
from edge.store.slots import WINDOW_S
from edge.tracing.index import HeardIndex, contains, distinct, prefixes_of
from edge.tracing.rooms import Rooms
from privacy.tokens.gaen import (
    IDENTIFIER_BYTES,
    INTERVAL_S,
    MAJOR_VERSION,
    MAJOR_VERSION_MASK,
    METADATA_BYTES,
    TX_POWER_DBM,
    TemporaryExposureKey,
    identifiers,
    metadata_masks,
)

TOLERANCE_S = 7200
"""How far from its own ten minutes an identifier is still believed, seconds."""

KEYS_AT_ONCE = 512
NO_TX_POWER = 127
"""Where a power is not known, dBm: Bluetooth's own number for that."""

_IDENTIFIER = np.dtype(f"S{IDENTIFIER_BYTES}")  # of equal length, so numpy's cut of trailing zeros tells none apart


@dataclass(frozen=True, slots=True)
class Counts:
    """Sightings of published keys, by what became of them.

    Attributes:
        matched: believed.
        replayed: at a wrong time.
        relayed: at two places at once.
        bad_metadata: of those matched, with metadata that make no sense; their power is not known.
    """

    matched: int = 0
    replayed: int = 0
    relayed: int = 0
    bad_metadata: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))


@dataclass(frozen=True, slots=True)
class Match:
    """One believed sighting of one published key.

    Attributes:
        key: index into the keys.
        interval: in which the identifier was due (ENIN).
        window: in which it was heard, `seconds // WINDOW_S`.
        tx_power_dbm: None where it was not sent, or made no sense.
    """

    key: int
    interval: int
    window: int
    receiver: int
    frames: int
    rssi_sum: int
    rssi_square_sum: int
    rssi_min: int
    rssi_max: int
    tx_power_dbm: int | None


@dataclass(frozen=True, slots=True)
class Matches:
    """The matches of one day as columns of equal length, in the order of the stored sightings.

    Attributes: as of `Match`, an array each; `tx_power_dbm` is NO_TX_POWER where it is not known.
        day: on which it was heard, UTC.
        counts: of that day.
    """

    day: int
    counts: Counts
    keys: NDArray[np.int64]
    intervals: NDArray[np.int64]
    windows: NDArray[np.int64]
    receivers: NDArray[np.uint8]
    frames: NDArray[np.int64]
    rssi_sums: NDArray[np.int64]
    rssi_square_sums: NDArray[np.int64]
    rssi_min: NDArray[np.int8]
    rssi_max: NDArray[np.int8]
    tx_power_dbm: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Match]:
        columns = (getattr(self, one.name).tolist() for one in fields(self)[2:])
        for *row, power in zip(*columns, strict=True):
            yield Match(*(*row, None if power == NO_TX_POWER else power))


def match(
    keys: Sequence[TemporaryExposureKey],
    days: Sequence[int],
    columns: Callable[[int], SightingColumns],
    rooms: Rooms | None = None,
) -> Iterator[Matches]:
    """Match keys against the sightings of some days; yields a day's matches where a key was heard on it at all.

    Of keys that are published twice the first counts, so that no minute counts twice.

    Args:
        columns: a day's sightings; each day is read twice.
        rooms: which receivers can hear one tag at once; without, none is a relay.
    """
    index = HeardIndex.of(columns(day).identifiers for day in days)
    heard = _Heard.of(keys, index)
    if not len(heard.identifiers):
        return
    prefixes = distinct(prefixes_of(heard.identifiers.tobytes()))
    for day in days:
        stored = columns(day)
        rows = np.flatnonzero(contains(prefixes, prefixes_of(stored.identifiers)))
        if len(rows) and (found := _matches_of(day, stored, rows, heard, keys, rooms)) is not None:
            yield found


@dataclass(frozen=True, slots=True)
class _Heard:
    """Identifiers of published keys that may have been heard, in the order of their bytes, each once.

    Attributes:
        identifiers: 16 bytes each.
        keys: index of the first key with it.
        intervals: in which it is due.
    """

    identifiers: NDArray[np.bytes_]
    keys: NDArray[np.int64]
    intervals: NDArray[np.int64]

    @classmethod
    def of(cls, keys: Sequence[TemporaryExposureKey], index: HeardIndex) -> _Heard:
        """Derive all identifiers, and keep those that the index has."""
        parts: list[tuple[NDArray[np.bytes_], NDArray[np.int64], NDArray[np.int64]]] = []
        for first in range(0, len(keys), KEYS_AT_ONCE):
            some = keys[first : first + KEYS_AT_ONCE]
            derived = b"".join(map(identifiers, some))
            at = index.candidates(prefixes_of(derived))
            if len(at):
                ends = np.cumsum([key.rolling_period for key in some])
                of_key = np.searchsorted(ends, at, side="right")
                starts = np.array([key.rolling_end for key in some]) - ends
                parts.append((np.frombuffer(derived, _IDENTIFIER)[at], first + of_key, starts[of_key] + at))
        if not parts:
            return cls(np.zeros(0, _IDENTIFIER), np.zeros(0, np.int64), np.zeros(0, np.int64))
        every, of_key, intervals = (np.concatenate(column) for column in zip(*parts, strict=True))
        unique, firsts = np.unique(every, return_index=True)  # the first of equals: the key that comes first
        return cls(unique, of_key[firsts], intervals[firsts])


def _matches_of(
    day: int,
    stored: SightingColumns,
    rows: NDArray[np.intp],
    heard: _Heard,
    keys: Sequence[TemporaryExposureKey],
    rooms: Rooms | None,
) -> Matches | None:
    """What is to be believed of the rows, whose prefixes are published keys'; None where their other halves are not."""
    whole = np.frombuffer(stored.identifiers, _IDENTIFIER)[rows]
    at = np.minimum(np.searchsorted(heard.identifiers, whole), len(heard.identifiers) - 1)
    same = heard.identifiers[at] == whole
    rows, at = rows[same], at[same]
    if not len(rows):
        return None
    windows = np.asarray(stored.windows)[rows]
    receivers = np.asarray(stored.receivers)[rows]
    early = heard.intervals[at] * INTERVAL_S - windows * WINDOW_S
    in_time = (early <= TOLERANCE_S) & (early >= -TOLERANCE_S - INTERVAL_S)
    relayed = np.zeros(len(rows), bool)
    if rooms is not None:
        since_first = windows - windows.min()
        groups = at * (since_first.max() + 1) + since_first  # a number for each identifier and window
        relayed = rooms.relays(groups, receivers) & in_time
    good = in_time & ~relayed
    rows, at = rows[good], at[good]
    power, bad = _powers(stored, rows, heard.keys[at], keys)
    counts = Counts(len(rows), int((~in_time).sum()), int(relayed.sum()), bad)
    return Matches(
        day,
        counts,
        heard.keys[at],
        heard.intervals[at],
        windows[good],
        receivers[good],
        np.asarray(stored.frames)[rows],
        np.asarray(stored.rssi_sums)[rows],
        np.asarray(stored.rssi_square_sums)[rows],
        np.asarray(stored.rssi_min)[rows],
        np.asarray(stored.rssi_max)[rows],
        power,
    )


def _powers(
    stored: SightingColumns, rows: NDArray[np.intp], of_key: NDArray[np.int64], keys: Sequence[TemporaryExposureKey]
) -> tuple[NDArray[np.int8], int]:
    """Transmit power of each row, dBm [n], and how many had metadata that make no sense.

    Metadata are hidden, not signed: whoever carries a frame on can flip bits of the power. What no radio has is caught.
    """
    blocks = np.frombuffer(stored.identifiers, np.uint8).reshape(-1, IDENTIFIER_BYTES)[rows]
    sent = np.frombuffer(stored.metadata, np.uint8).reshape(-1, METADATA_BYTES)[rows]
    plain = np.zeros_like(sent)
    order = np.argsort(of_key, kind="stable")
    for part in np.split(order, np.flatnonzero(np.diff(of_key[order])) + 1) if len(order) else ():
        masks = metadata_masks(keys[int(of_key[part[0]])], blocks[part].tobytes())
        plain[part] = sent[part] ^ np.frombuffer(masks, np.uint8).reshape(-1, IDENTIFIER_BYTES)[:, :METADATA_BYTES]
    power = plain[:, 1].view(np.int8)
    low, high = TX_POWER_DBM
    sensible = (plain[:, 0] & MAJOR_VERSION_MASK == MAJOR_VERSION) & (power >= low) & (power <= high)
    was_sent = sent.any(axis=1)
    known = sensible & was_sent
    return np.where(known, power, np.int8(NO_TX_POWER)), int((was_sent & ~sensible).sum())
