"""How arrays are packed for the wire, and read from it without copying more than is needed.

`exact` keeps the bytes of Flower's arrays. `int8` sends, for each float array, one float32 step size and one signed
byte an element: the element's change against the array that the task brought, in steps, rounded up or down at random
with the probability that keeps its mean (stochastic rounding, as in QSGD, Alistarh et al. 2017, with 127 levels and
the largest change as the norm). Both sides hold the task's arrays, so nothing else has to be sent.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from flwr.app import Array, Message
from numpy.typing import NDArray

from privacy.boundary.flower import array_items, fill
from privacy.boundary.messages import Encoding

NUMPY = "numpy.ndarray"
LEVELS = 127
STEP = struct.Struct("<f")
NPY_PREAMBLE = 10
BLOCK = 1 << 16
"""Elements that are worked on at once where memory counts."""
Key = tuple[str, str]


class BadArrays(ValueError):
    """Packed arrays that do not fit what the message declares."""


class CarriedArray(Array):
    """A Flower `Array` whose values are still as they came over the wire; they are unpacked when asked for.

    Holding replies this way keeps one copy of a model a reply (or a quarter, for `int8`) instead of three.
    """

    def __init__(self, like: Array, packed: memoryview, base: Array | None) -> None:
        self.__dict__.update(dtype=like.dtype, shape=tuple(like.shape), stype=like.stype, _packed=packed, _base=base)

    def numpy(self) -> NDArray[Any]:
        """The values as a new, writable array."""
        packed: memoryview = self.__dict__["_packed"]
        base: Array | None = self.__dict__["_base"]
        if base is None:
            return super().numpy() if self.stype != NUMPY else view(packed).copy()
        (step,) = STEP.unpack_from(packed)
        values = np.frombuffer(packed, np.int8, offset=STEP.size).reshape(self.shape).astype(self.dtype)
        values *= step
        values += array_view(base)
        return values

    @property
    def data(self) -> bytes:  # type: ignore[override]
        """Flower's own serialisation of the values."""
        if self.__dict__["_base"] is None:
            return bytes(self.__dict__["_packed"])
        return bytes(Array(self.numpy()).data)


def view(npy: bytes | memoryview) -> NDArray[Any]:
    """The values of an array in NumPy's file format, without a copy and read-only.

    Raises:
        BadArrays: the bytes are not such a file, or hold objects.
    """
    raw = memoryview(npy)
    try:
        if bytes(raw[:7]) != b"\x93NUMPY\x01":
            return np.asarray(np.load(BytesIO(raw), allow_pickle=False))
        end = NPY_PREAMBLE + int.from_bytes(raw[8:NPY_PREAMBLE], "little")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(BytesIO(raw[8:end]))
        if dtype.hasobject:
            raise ValueError("it holds Python objects")
        values: NDArray[Any] = np.frombuffer(raw, dtype, offset=end)
        return values.reshape(shape, order="F" if fortran else "C")
    except (ValueError, TypeError, EOFError, IndexError, SyntaxError) as why:
        raise BadArrays(f"{len(raw)} bytes are no NumPy array: {why}") from why


def array_view(array: Array) -> NDArray[Any]:
    """The cheapest read-only look at an array's values."""
    if isinstance(array, CarriedArray):
        packed, base = array.__dict__["_packed"], array.__dict__["_base"]
        return view(packed) if base is None and array.stype == NUMPY else array.numpy()
    return view(array.data) if array.stype == NUMPY else array.numpy()


def accumulate(total: NDArray[Any], array: Array, weight: float) -> None:
    """Add `weight` times an array to `total`, of the same shape, in place and block by block.

    What is needed beyond `total` is one block, whatever the size of the array and however it is encoded.

    Raises:
        BadArrays: the shapes differ.
    """
    if tuple(array.shape) != total.shape:
        raise BadArrays(f"an array of shape {tuple(array.shape)} does not add to one of shape {total.shape}")
    flat = total.reshape(-1)
    if not isinstance(array, CarriedArray) or array.__dict__["_base"] is None:
        _add(flat, np.ascontiguousarray(array_view(array)).reshape(-1), weight)
        return
    packed, base = array.__dict__["_packed"], array.__dict__["_base"]
    (step,) = STEP.unpack_from(packed)
    _add(flat, np.frombuffer(packed, np.int8, offset=STEP.size), weight * step)
    _add(flat, np.ascontiguousarray(array_view(base)).reshape(-1), weight)


def _add(total: NDArray[Any], values: NDArray[Any], weight: float) -> None:
    for start in range(0, total.size, BLOCK):
        block = slice(start, start + BLOCK)
        total[block] += np.multiply(values[block], weight, dtype=total.dtype)


def arrays_of(message: Message) -> dict[Key, Array]:
    return {(name, key): array for name, key, array in array_items(message.content)}


def pack(
    arrays: Mapping[Key, Array], encoding: Encoding, base: Mapping[Key, Array], rng: np.random.Generator | None = None
) -> tuple[bytes, list[int]]:
    """Pack a reply's arrays.

    Args:
        base: the arrays that the task brought.
        rng: for stochastic rounding; from the operating system's entropy unless a test gives one.

    Returns:
        the packed bytes and each array's length in them, in order.

    Raises:
        BadArrays: a value is not finite, so that no step size exists.
    """
    rng = rng or np.random.default_rng()
    parts: list[bytes] = []
    for key, array in arrays.items():
        if against := _base(key, array, encoding, base):
            parts += [_quantise(key, array_view(array) - array_view(against), rng)]
        else:
            parts.append(array.data)
    return b"".join(parts), [len(part) for part in parts]


def unpack(
    message: Message, packed: bytes | memoryview, sizes: Sequence[int], encoding: Encoding, base: Mapping[Key, Array]
) -> None:
    """Give `message` its arrays back, as `CarriedArray`s over `packed`.

    Raises:
        BadArrays: lengths, shapes or dtypes contradict each other.
    """
    raw, offset = memoryview(packed), 0
    empty = arrays_of(message)
    if len(sizes) != len(empty) or min(sizes, default=0) < 0 or sum(sizes) != len(raw):
        raise BadArrays(f"{len(empty)} arrays in {len(raw)} bytes, but the sizes say {len(sizes)} in {sum(sizes)}")
    carried: dict[Key, Array] = {}
    for (key, like), size in zip(empty.items(), sizes, strict=True):
        chunk, offset = raw[offset : offset + size], offset + size
        against = _base(key, like, encoding, base)
        if against is not None:
            if size != STEP.size + int(np.prod(like.shape)):
                raise BadArrays(f"array {key} of shape {like.shape} does not fit {size} bytes")
        elif like.stype == NUMPY:
            values = view(chunk)
            if str(values.dtype) != like.dtype or values.shape != tuple(like.shape):
                raise BadArrays(f"array {key} is {values.dtype}{values.shape}, declared {like.dtype}{like.shape}")
        carried[key] = CarriedArray(like, chunk, against)
    fill(message, carried)


def _base(key: Key, array: Array, encoding: Encoding, base: Mapping[Key, Array]) -> Array | None:
    """The array to take the difference against; None where this array travels exactly. Both sides must agree."""
    if encoding is Encoding.EXACT or array.stype != NUMPY or not array.dtype.startswith("float"):
        return None
    against = base.get(key)
    fits = against is not None and tuple(against.shape) == tuple(array.shape) and against.dtype == array.dtype
    return against if fits else None


def _quantise(key: Key, change: NDArray[Any], rng: np.random.Generator) -> bytes:
    largest = float(np.abs(change).max(initial=0.0))
    if not np.isfinite(largest):
        raise BadArrays(f"array {key} holds values that are not finite")
    step = np.float32(largest / LEVELS)
    if step == 0.0:
        return STEP.pack(0.0) + bytes(change.size)
    steps = change / step
    steps += rng.random(change.shape, np.float32)
    np.floor(steps, out=steps)
    return STEP.pack(step) + np.clip(steps, -LEVELS, LEVELS).astype(np.int8).tobytes()
