"""What a task asks of a node, as a hash: nodes that are summed together must have been asked the very same.

A leader that picks its tasks could otherwise single a node out without breaking a mask: it has the others train at a
learning rate of zero, or code their updates in steps so coarse that nothing is left of them, and the sum of the group
is that one node's update. So a node seals its seed for the hash of its task, and the helper adds up seeds that are for
one hash alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import MutableMapping
from typing import Any

import msgspec
import numpy as np
from flwr.app import Array, ArrayRecord, Message

from privacy.boundary.arrays import NUMPY, array_view
from privacy.secure_sum.terms import GROUP, TERMS

CONTEXT = "jaga assignment 1"
ASSIGNMENT_BYTES = hashlib.sha256().digest_size


def assignment_of(message: Message, known: MutableMapping[int, bytes] | None = None) -> bytes:
    """The hash of a task's kind, its model and everything else it says, but for the node's own group.

    Args:
        known: hashes of arrays by their `id`, where many tasks that are alive have the same arrays.

    Returns:
        SHA-256, 32 bytes.
    """
    records: list[tuple[str, str, list[tuple[str, Any]]]] = []
    for name, record in message.content.items():
        said: list[tuple[str, Any]] = (
            [(key, _array(array, known)) for key, array in record.items()]
            if isinstance(record, ArrayRecord)
            else [(key, value) for key, value in record.items() if (name, key) != (TERMS, GROUP)]
        )
        records.append((name, type(record).__name__, sorted(said, key=lambda item: item[0])))
    whole = (CONTEXT, message.metadata.message_type, sorted(records, key=lambda record: record[0]))
    return hashlib.sha256(msgspec.msgpack.encode(whole)).digest()


def _array(array: Array, known: MutableMapping[int, bytes] | None) -> tuple[str, list[int], str, bytes]:
    """By its values, however they lie in memory: a model that was read from the records again is the same model."""
    digest = None if known is None else known.get(id(array))
    if digest is None:
        data = np.ascontiguousarray(array_view(array)).data if array.stype == NUMPY else memoryview(array.data)
        digest = hashlib.sha256(data).digest()
        if known is not None:
            known[id(array)] = digest
    return array.dtype, list(array.shape), array.stype, digest
