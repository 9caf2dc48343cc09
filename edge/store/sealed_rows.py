"""Rows of sightings as they are stored: sealed on their way in, opened on their way out, sealed anew when they move."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

from edge.store.connection import Connection, transaction
from edge.store.day_keys import WINDOWS_PER_DAY, DayKey, DayKeys
from edge.store.sighting import IDENTIFIER_BYTES, METADATA_BYTES, Sighting

Row = tuple[Any, ...]

BATCH = 2_000
"""Rows that are in memory at once, and parameters of one statement."""

ADD = (
    "INSERT INTO sightings (window_index, identifier, receiver, guessed, frames, rssi_sum, rssi_square_sum, rssi_min, "
    "rssi_max, metadata, logged_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (window_index, identifier, receiver, guessed) DO UPDATE SET frames = frames + excluded.frames, "
    "rssi_sum = rssi_sum + excluded.rssi_sum, rssi_square_sum = rssi_square_sum + excluded.rssi_square_sum, "
    "rssi_min = min(rssi_min, excluded.rssi_min), rssi_max = max(rssi_max, excluded.rssi_max), "
    "metadata = CASE length(metadata) WHEN 0 THEN excluded.metadata ELSE metadata END, "
    "logged_at = min(logged_at, excluded.logged_at)"
)

# A window that was heard both by a guess and by a certain clock has two rows, which are one to those who read.
READ = (
    "SELECT window_index, identifier, receiver, sum(frames), sum(rssi_sum), sum(rssi_square_sum), min(rssi_min), "
    "max(rssi_max), max(metadata) FROM sightings WHERE window_index >= ? AND window_index < ? "
    "GROUP BY window_index, identifier, receiver ORDER BY window_index, identifier, receiver"
)

_NONE = bytes(METADATA_BYTES)


def add(connection: Connection, rows: Iterable[Sighting], logged_at: float, *, guessed: bool) -> int:
    """Seal and store sightings; where one of the same identifier, window and receiver is there, the two add up.

    Args:
        logged_at: the store's own time, seconds; see `edge.store.trusted_clock`.
        guessed: the clock that dated them was not yet set.

    Returns:
        How many were added.
    """
    count = 0
    with transaction(connection):
        for day, same_day in groupby(rows, lambda row: row.window // WINDOWS_PER_DAY):
            key = DayKeys(connection).get(day)
            while batch := list(islice(same_day, BATCH)):
                connection.executemany(ADD, _sealed(batch, key, logged_at, guessed))
                count += len(batch)
    return count


def _sealed(rows: Sequence[Sighting], key: DayKey, logged_at: float, guessed: bool) -> Iterator[Row]:
    """Sightings of one day as `ADD` takes them."""
    clear = b"".join([row.identifier for row in rows])
    masked = _masked([row.metadata for row in rows], clear, key)
    for row, identifier, metadata in zip(rows, blocks(key.seal(clear), IDENTIFIER_BYTES), masked, strict=True):
        yield (
            row.window,
            identifier,
            row.receiver,
            int(guessed),
            row.frames,
            row.rssi_sum,
            row.rssi_square_sum,
            row.rssi_min,
            row.rssi_max,
            metadata,
            logged_at,
        )


def opened(rows: Sequence[Row], key: DayKey) -> Iterator[Sighting]:
    """Rows of one day, as `READ` gives them."""
    clear = key.open(b"".join([row[1] for row in rows]))
    metadata = _masked([row[8] for row in rows], clear, key)
    for row, identifier, meta in zip(rows, blocks(clear, IDENTIFIER_BYTES), metadata, strict=True):
        window, _, receiver, frames, rssi_sum, square_sum, low, high, _ = row
        yield Sighting(identifier, window, frames, rssi_sum, square_sum, low, high, meta, receiver)


def unmasked(metadata: Sequence[bytes], identifiers: bytes, key: DayKey) -> bytes:
    """Stored metadata in clear, 4 bytes a row, zero where there is none."""
    return b"".join([one or _NONE for one in _masked(metadata, identifiers, key)])


def blocks(joined: bytes, length: int) -> list[bytes]:
    """Cut into pieces of `length` bytes."""
    return [joined[at : at + length] for at in range(0, len(joined), length)]


def move(
    connection: Connection,
    first: int,
    end: int,
    key_of: Callable[[int], DayKey | None],
    *,
    only_guessed: bool = False,
    by_windows: int = 0,
    guessed: bool | None = None,
) -> int:
    """Take out the rows of the windows `first` to `end` (exclusive), and add them again.

    They are sealed with the key that their day has now. Inside a transaction only.

    Args:
        key_of: the key that the rows of a day are sealed with, None where it is lost: such rows are deleted.
        only_guessed: of the rows that were dated by a guess alone.
        by_windows: added to their window.
        guessed: what they are from now on; None leaves that as it is.

    Returns:
        How many rows moved.
    """
    where = "window_index >= ? AND window_index < ?" + (" AND guessed = 1" if only_guessed else "")
    columns = "window_index, identifier, receiver, guessed, frames, rssi_sum, rssi_square_sum, rssi_min, rssi_max"
    moved = 0
    with transaction(connection):
        query = f"SELECT {columns}, metadata, logged_at FROM sightings WHERE {where}"  # noqa: S608 - our own names
        rows = connection.execute(query, (first, end)).fetchall()
        connection.execute(f"DELETE FROM sightings WHERE {where}", (first, end))  # noqa: S608
        for day, same_day in groupby(sorted(rows, key=itemgetter(0)), lambda row: row[0] // WINDOWS_PER_DAY):
            old = key_of(day)
            if old is None:
                continue
            of_day = list(same_day)
            clear = old.open(b"".join([row[1] for row in of_day]))
            metadata = _masked([row[9] for row in of_day], clear, old)
            landing = zip(of_day, blocks(clear, IDENTIFIER_BYTES), metadata, strict=True)
            for new_day, some in groupby(landing, lambda one: (one[0][0] + by_windows) // WINDOWS_PER_DAY):
                new = DayKeys(connection).get(new_day)
                those = list(some)
                clear = b"".join([identifier for _, identifier, _ in those])
                masked = _masked([meta for _, _, meta in those], clear, new)
                again = blocks(new.seal(clear), IDENTIFIER_BYTES)
                connection.executemany(
                    ADD,
                    [
                        (
                            row[0] + by_windows,
                            identifier,
                            row[2],
                            row[3] if guessed is None else int(guessed),
                            *row[4:9],
                            meta,
                            row[10],
                        )
                        for (row, _, _), identifier, meta in zip(those, again, masked, strict=True)
                    ],
                )
                moved += len(those)
    return moved


def _masked(metadata: Sequence[bytes], identifiers: bytes, key: DayKey) -> list[bytes]:
    """Metadata into its mask or out of it; none stays none."""
    if not any(metadata):
        return list(metadata)
    joined = key.mask(identifiers, b"".join([one or _NONE for one in metadata]))
    turned = blocks(joined, METADATA_BYTES)
    return [new if old else b"" for old, new in zip(metadata, turned, strict=True)]
