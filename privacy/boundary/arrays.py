"""How arrays are packed for the wire, and read from it without copying more than is needed.

`exact` keeps the bytes of Flower's arrays. `int8` sends, for each float array, one float32 step size and one signed
byte an element: the element's change against the array that the task brought, in steps, rounded up or down at random
with the probability that keeps its mean (stochastic rounding, as in QSGD, Alistarh et al. 2017, with 127 levels and
the largest change as the norm). Both sides hold the task's arrays, so nothing else has to be sent.

What comes over the wire is read by the one format that Flower writes, NumPy's 1.0 with a plain dtype. NumPy's own
reader does more than is wanted: it evaluates the header as Python, opens archives, and makes room for whatever shape is
claimed before it looks at the bytes.
"""

from __future__ import annotations

import io
import math
import re
import struct
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from flwr.app import Array, Message
from numpy.typing import NDArray

from privacy.boundary.flower import array_items, fill
from privacy.boundary.messages import Encoding

NUMPY = "numpy.ndarray"
LEVELS = 127
STEP = struct.Struct("<f")
NPY_PREAMBLE = 10
NPY = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '([<>|][biufcmMSU]\d{1,4}(?:\[\w{1,9}\])?)', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,19}, ?){0,64}(?:\d{1,19})?)\), \} *\n",
    re.DOTALL,
)
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
        steps = np.frombuffer(packed, np.int8, offset=STEP.size).reshape(self.shape)
        values = np.asarray(steps.astype(_wide(self.dtype)))
        values *= step
        values += array_view(base)
        return values.astype(self.dtype, copy=False)

    @property
    def data(self) -> bytes:  # type: ignore[override]
        """Flower's own serialisation of the values."""
        if self.__dict__["_base"] is None:
            return bytes(self.__dict__["_packed"])
        return bytes(Array(self.numpy()).data)

    def __reduce__(self) -> tuple[type[Array], tuple[str, tuple[int, ...], str, bytes]]:
        """A copy, or what a pickle holds, is a plain array: views into the wire do not travel."""
        return Array, (self.dtype, self.shape, self.stype, self.data)


def view(npy: bytes | memoryview) -> NDArray[Any]:
    """The values of an array in NumPy's file format 1.0, without a copy and read-only.

    Raises:
        BadArrays: the bytes are not such a file, or hold objects or records.
    """
    raw = memoryview(npy)
    end = NPY_PREAMBLE + int.from_bytes(raw[8:NPY_PREAMBLE], "little")
    header = NPY.fullmatch(bytes(raw[:end]))
    if header is None:
        raise BadArrays(f"{len(raw)} bytes are no NumPy array of numbers: they begin with {bytes(raw[:80])!r}")
    descr, fortran, sizes = (group.decode("ascii") for group in header.groups())
    try:
        shape = tuple(int(size) for size in sizes.split(",") if size.strip())
        values: NDArray[Any] = np.frombuffer(raw, np.dtype(descr), offset=end)
        return values.reshape(shape, order="F" if fortran == "True" else "C")
    except (ValueError, TypeError, OverflowError) as why:
        raise BadArrays(f"{len(raw) - end} bytes are no array of {descr} and shape ({sizes}): {why}") from why


def packed_view(array: Array) -> bytes | memoryview:
    """An array as it is serialised, without a copy where it lies in memory as such."""
    if isinstance(array, CarriedArray) and array.__dict__["_base"] is None:
        return cast("memoryview", array.__dict__["_packed"])
    return array.data


def blank(dtype: np.dtype[Any], shape: tuple[int, ...]) -> tuple[CarriedArray, NDArray[Any]]:
    """Zeros as a Flower `Array`, and the writable values inside it: what is written there needs no serialising."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    )
    head = file.getvalue()
    npy = bytearray(len(head) + math.prod(shape) * dtype.itemsize)
    npy[: len(head)] = head
    packed = memoryview(npy)
    values = np.frombuffer(packed, dtype, offset=len(head)).reshape(shape)
    return CarriedArray(Array(str(dtype), shape, NUMPY, b""), packed, None), values


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
        ValueError: `total` is not contiguous, so that it cannot be added to block by block.
    """
    if tuple(array.shape) != total.shape:
        raise BadArrays(f"an array of shape {tuple(array.shape)} does not add to one of shape {total.shape}")
    if not total.flags.c_contiguous:
        raise ValueError("the total must be C-contiguous: make it with np.zeros, not like another array")
    flat = total.reshape(-1)
    if not isinstance(array, CarriedArray) or array.__dict__["_base"] is None:
        _add(flat, np.ascontiguousarray(array_view(array)).reshape(-1), weight)
        return
    packed, base = array.__dict__["_packed"], array.__dict__["_base"]
    (step,) = STEP.unpack_from(packed)
    _add(flat, np.frombuffer(packed, np.int8, offset=STEP.size), weight * step)
    _add(flat, np.ascontiguousarray(array_view(base)).reshape(-1), weight)


def is_finite(array: Array) -> bool:
    """Whether an array of numbers holds neither infinities nor what is not a number."""
    values = array_view(array).reshape(-1)
    return all(np.isfinite(values[start : start + BLOCK]).all() for start in range(0, values.size, BLOCK))


def _add(total: NDArray[Any], values: NDArray[Any], weight: float) -> None:
    for start in range(0, total.size, BLOCK):
        block = slice(start, start + BLOCK)
        total[block] += np.multiply(values[block], weight, dtype=total.dtype)


def arrays_of(message: Message) -> dict[Key, Array]:
    """Every array of a message by record name and key; none where it has no content."""
    return {(name, key): array for name, key, array in array_items(message.content)} if message.has_content() else {}


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
        BadArrays: an array is not what it declares, or a change is not finite, so that no step size exists.
    """
    rng = rng or np.random.default_rng()
    parts: list[bytes] = []
    for key, array in arrays.items():
        if array.stype == NUMPY:
            _check(key, array, array_view(array))
        against = _base(key, array, encoding, base)
        parts.append(array.data if against is None else _quantise(key, array, against, rng))
    return b"".join(parts), [len(part) for part in parts]


def unpack(
    message: Message, packed: bytes | memoryview, sizes: Sequence[int], encoding: Encoding, base: Mapping[Key, Array]
) -> None:
    """Give `message` its arrays back, as `CarriedArray`s over `packed`.

    Raises:
        BadArrays: lengths, shapes or dtypes contradict each other, or a step is not finite.
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
            if size != STEP.size + math.prod(like.shape):
                raise BadArrays(f"array {key} of shape {like.shape} does not fit {size} bytes")
            if not 0 <= STEP.unpack_from(chunk)[0] < math.inf:
                raise BadArrays(f"array {key} comes in steps of {STEP.unpack_from(chunk)[0]}")
        elif like.stype == NUMPY:
            _check(key, like, view(chunk))
        carried[key] = CarriedArray(like, chunk, against)
    fill(message, carried)


def _base(key: Key, array: Array, encoding: Encoding, base: Mapping[Key, Array]) -> Array | None:
    """The array to take the difference against; None where this array travels exactly. Both sides must agree."""
    if encoding is Encoding.EXACT or array.stype != NUMPY or not array.dtype.startswith("float"):
        return None
    against = base.get(key)
    if against is None or against.stype != NUMPY or against.dtype != array.dtype:
        return None
    return against if tuple(against.shape) == tuple(array.shape) else None


def _check(key: Key, declared: Array, values: NDArray[Any]) -> None:
    if str(values.dtype) != declared.dtype or values.shape != tuple(declared.shape):
        raise BadArrays(f"array {key} is {values.dtype}{values.shape}, declared {declared.dtype}{declared.shape}")


def _wide(dtype: str) -> np.dtype[Any]:
    """What changes are worked out in: float16 has too few digits for a step, and too small a range."""
    return np.promote_types(dtype, np.float32)


def _quantise(key: Key, array: Array, against: Array, rng: np.random.Generator) -> bytes:
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is named below
        change = np.asarray(np.subtract(array_view(array), array_view(against), dtype=_wide(array.dtype)))
        largest = np.abs(change).max(initial=0.0)
        step = np.float32(largest / LEVELS)
    if not np.isfinite(step):
        raise BadArrays(f"array {key} changed by {largest}, for which there is no step: send it exactly")
    if step * LEVELS < largest:  # rounded down, perhaps to 0: the largest change must lie within 127 steps
        step = np.nextafter(step, np.float32(np.inf))
    if step == 0.0:
        return STEP.pack(0.0) + bytes(change.size)
    change /= step
    steps = np.floor(change)
    change -= steps
    steps += rng.random(change.shape, np.float32) < change
    packed: bytes = np.clip(steps, -LEVELS, LEVELS).astype(np.int8).tobytes()
    return STEP.pack(step) + packed
