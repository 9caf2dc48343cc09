"""What decoded messages say, leaf by leaf: every string, and every row of numbers that could be bytes in disguise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from flwr.app import ArrayRecord, Message
from numpy.typing import NDArray

from privacy.boundary.arrays import BadArrays, view
from privacy.boundary.messages import Body, Header


def strings(value: object) -> Iterator[str]:
    """Every string in nested mappings and sequences, keys included."""
    for leaf in _walk(value):
        if isinstance(leaf, str):
            yield leaf


def disguised(value: object) -> Iterator[bytes]:
    """Every list of numbers as bytes, one a number, where numbers that are no byte count as 0."""
    for leaf in _walk(value):
        if isinstance(leaf, list | tuple) and leaf and all(isinstance(number, int | float) for number in leaf):
            yield as_bytes(np.array(leaf, np.float64))


def as_bytes(values: NDArray[Any]) -> bytes:
    """Numbers of any type as bytes, one each: 0 where a number is not a whole one from 0 to 255."""
    with np.errstate(invalid="ignore"):
        narrow = values.astype(np.uint8)
    return bytes(np.where(narrow == values, narrow, np.uint8(0)).tobytes())


def array_bytes(packed: bytes | memoryview, sizes: Sequence[int]) -> Iterator[bytes]:
    """The numbers of every NumPy array in packed arrays, as `as_bytes` gives them; other arrays are left out."""
    raw, start = memoryview(packed), 0
    for size in sizes:
        try:
            values = view(raw[start : start + size])
        except BadArrays:
            values = np.empty(0)
        if values.dtype.kind in "iuf" and values.dtype.itemsize > 1:
            yield as_bytes(values.ravel())
        start += size


def said_by(struct: Body | Header) -> object:
    """A message of ours as nested mappings and sequences."""
    return msgspec.to_builtins(struct, builtin_types=(bytes, memoryview))


def said_by_flower(message: Message) -> object:
    """A Flower message as nested mappings and sequences: its ids and types, names and values of its records.

    Array bytes are not among them; they travel apart.
    """
    metadata = message.metadata
    said: dict[str, object] = {
        "metadata": [metadata.message_id, metadata.reply_to_message_id, metadata.group_id, metadata.message_type]
    }
    if message.has_content():
        said["content"] = {
            name: (
                {key: [array.dtype, array.stype] for key, array in record.items()}
                if isinstance(record, ArrayRecord)
                else dict(record)
            )
            for name, record in message.content.items()
        }
    return said


def _walk(value: object) -> Iterator[object]:
    yield value
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _walk(key)
            yield from _walk(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _walk(inner)
