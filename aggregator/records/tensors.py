"""Models between Flower's `ArrayRecord` and safetensors, the one format that models are kept and exchanged in.

safetensors sorts tensors by name and type; some strategies (FedAvgM) pair arrays by position. So the order is written
beside them, and a file without it is read in its own order.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from privacy.boundary.arrays import array_view

ORDER = "jaga-order"
HEADER_LENGTH_BYTES = 8


class BadModel(ValueError):
    """Bytes that are no model, or not the one they should be."""


def to_safetensors(arrays: ArrayRecord) -> bytes:
    """The same arrays always give the same bytes."""
    tensors: dict[str, NDArray[Any]] = {key: np.ascontiguousarray(array_view(array)) for key, array in arrays.items()}
    return bytes(save(tensors, {ORDER: json.dumps(list(tensors))}))


def from_safetensors(data: bytes) -> ArrayRecord:
    """The inverse.

    Raises:
        BadModel: not safetensors, or of types that NumPy does not have.
    """
    try:
        tensors = load(data)
        length = int.from_bytes(data[:HEADER_LENGTH_BYTES], "little")
        header = json.loads(data[HEADER_LENGTH_BYTES : HEADER_LENGTH_BYTES + length])
        order = json.loads(header.get("__metadata__", {}).get(ORDER, "null")) or [k for k in header if k in tensors]
    except (SafetensorError, ValueError, KeyError, AttributeError, TypeError) as why:
        raise BadModel(f"{len(data)} bytes are no safetensors model: {why}") from why
    if sorted(order) != sorted(tensors):
        raise BadModel(f"the model's order names {sorted(order)}, but it holds {sorted(tensors)}")
    arrays = ArrayRecord()
    for key in order:
        arrays[key] = Array(tensors.pop(key))
    return arrays


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
