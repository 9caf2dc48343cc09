"""Arrays on the wire: exact to the bit, or in unbiased 8-bit steps; and what a hostile sender puts in their place."""

import copy
import pickle
import struct
import tracemalloc
import warnings
from io import BytesIO

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, RecordDict
from hypothesis import example, given
from hypothesis import strategies as st

from privacy.boundary.arrays import (
    BLOCK,
    BadArrays,
    CarriedArray,
    accumulate,
    array_view,
    arrays_of,
    pack,
    unpack,
    view,
)
from privacy.boundary.flower import CENTRE, enter_run, head_of, message_of
from privacy.boundary.messages import Encoding

enter_run(1, CENTRE)
EXACT, INT8 = Encoding.EXACT, Encoding.INT8
DTYPES = [
    *("?", "i1", "u1", "<i2", ">i2", "<u2", "<i4", ">i4", "<u4", "<i8", ">i8", "<u8", ">u8"),
    *("<f2", ">f2", "<f4", ">f4", "<f8", ">f8", "g", "<c8", ">c8", "<c16"),
    *("S3", "<U2", ">U2", "<M8[s]", "<m8[25us]"),
]
SHAPES = [(), (0,), (1,), (3,), (2, 3), (0, 5), (2, 0, 4), (2, 1, 3, 1)]
FLOATS = st.floats(-1000, 1000, width=16) | st.floats(-(2.0**100), 2.0**100, width=32)


def message(**arrays: np.ndarray) -> Message:
    return Message(RecordDict({"model": ArrayRecord({k: Array(v) for k, v in arrays.items()})}), 7, "train")


def carry(sent: Message, encoding: Encoding, base: dict, rng=None) -> Message:
    """What arrives of a message's arrays at the other side."""
    packed, sizes = pack(arrays_of(sent), encoding, base, rng)
    arrived = message_of(head_of(sent))
    unpack(arrived, packed, sizes, encoding, base)
    return arrived


def carried(sent: np.ndarray, brought: np.ndarray, rng=None) -> np.ndarray:
    """One array as it arrives in 8-bit steps against `brought`."""
    arrived = carry(message(w=sent), INT8, arrays_of(message(w=brought)), rng)
    return arrived.content["model"]["w"].numpy()


def npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    """A file in NumPy's format with whatever in its header."""
    text = header.encode("latin1")
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text + data


def described(descr: str, shape: str, order: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


def bits(values: np.ndarray) -> bytes:
    return np.ascontiguousarray(values).tobytes()


# Exact


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_exact_is_exact_to_the_bit_for_every_dtype_and_shape(dtype, shape):
    kind = np.dtype(dtype)
    size = int(np.prod(shape)) * kind.itemsize
    raw = bytes(i * 37 % (2 if kind.kind == "b" else 100 if kind.kind in "SU" else 256) for i in range(size))
    raw = bytes(size) if kind.kind == "U" else raw
    sent = np.frombuffer(raw, kind).reshape(shape) if size else np.zeros(shape, kind)
    arrived = carry(message(w=sent), EXACT, {}).content["model"]["w"]
    assert (arrived.dtype, arrived.shape) == (str(sent.dtype), shape)
    assert arrived.numpy().dtype == sent.dtype
    assert bits(arrived.numpy()) == bits(sent)
    assert arrived.data == Array(sent).data


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -0.0, 5e-324, np.float64(2) ** 1000])
def test_exact_carries_every_float(value):
    arrived = carry(message(w=np.array([value])), EXACT, {}).content["model"]["w"]
    assert bits(arrived.numpy()) == bits(np.array([value]))


def test_fortran_order_keeps_its_values():
    sent = np.asfortranarray(np.arange(12.0).reshape(3, 4))
    arrived = carry(message(w=sent), EXACT, {}).content["model"]["w"]
    np.testing.assert_array_equal(arrived.numpy(), sent)
    np.testing.assert_array_equal(arrived.numpy(), np.load(BytesIO(arrived.data)))


def test_several_records_come_back_each_to_its_place():
    content = RecordDict(
        {
            "b": ArrayRecord({"2": Array(np.array([1.0])), "1": Array(np.array([2, 3]))}),
            "config": ConfigRecord({"a": 1}),
            "a": ArrayRecord({"2": Array(np.array([[4.0]]))}),
            "empty": ArrayRecord(),
        }
    )
    arrived = carry(Message(content, 7, "train"), EXACT, {}).content
    assert list(arrived) == list(content)
    assert {key: array.numpy().tolist() for key, array in arrays_of(Message(arrived, 7, "train")).items()} == {
        ("b", "2"): [1.0],
        ("b", "1"): [2, 3],
        ("a", "2"): [[4.0]],
    }
    assert arrived["config"]["a"] == 1


def test_a_message_without_content_has_no_arrays():
    assert arrays_of(Message(Error(1, "x"), reply_to=message())) == {}


def test_values_that_are_asked_for_are_one_s_own():
    arrived = carry(message(w=np.zeros(3)), EXACT, {}).content["model"]["w"]
    values = arrived.numpy()
    values += 1
    assert arrived.numpy().tolist() == [0, 0, 0]


@pytest.mark.parametrize("encoding", [EXACT, INT8])
def test_a_carried_array_can_be_copied_pickled_and_sent_on(encoding):
    """Strategies deep-copy what they aggregate, and a reply of one round is the model of the next."""
    start = np.linspace(-1, 1, 7, dtype=np.float32)
    arrived = carry(message(w=start + 0.25), encoding, arrays_of(message(w=start)))
    array = arrived.content["model"]["w"]
    assert isinstance(array, CarriedArray)
    for copied in (copy.deepcopy(array), copy.copy(array), pickle.loads(pickle.dumps(array))):  # noqa: S301
        assert type(copied) is Array
        assert bits(copied.numpy()) == bits(array.numpy())
    onward = carry(arrived, EXACT, {}).content["model"]["w"]
    assert bits(onward.numpy()) == bits(array.numpy())
    as_base = carry(message(w=start), INT8, arrays_of(arrived)).content["model"]["w"]
    np.testing.assert_allclose(as_base.numpy(), start, atol=0.01)


# In 8-bit steps


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", "g"])
@given(st.lists(st.tuples(FLOATS, FLOATS), max_size=20))
@example([(0.0, 0.0)])
@example([(1e-45, 0.0), (0.0, 0.0)])
@example([(1e30, -1e30)])
@example([(8.4e-44, 0.0)])
def test_no_element_is_off_by_more_than_a_step(dtype, pairs):
    with np.errstate(over="ignore"):
        sent, brought = (np.array([pair[i] for pair in pairs], dtype) for i in (0, 1))
    if not (np.isfinite(sent).all() and np.isfinite(brought).all()):
        return
    with np.errstate(under="ignore"):
        wide = np.float64 if dtype == "<f8" else np.longdouble
        change = sent.astype(wide) - brought.astype(wide)
        step = np.abs(change).max(initial=0) / 127 * (1 + 1e-6) + 1.5e-45
        rounding = (
            4 * np.finfo(dtype).eps * (np.abs(sent) + np.abs(brought) + step) + np.finfo(dtype).smallest_subnormal
        )
        off = np.abs(carried(sent, brought).astype(wide) - sent)
    assert (off <= step + rounding).all(), (off, step)


@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
def test_steps_have_no_bias(dtype):
    """The mean of n roundings of one value has a standard error of at most step / (2 sqrt(n)); 5 are allowed."""
    n, step = 200_000, 1.0
    rng = np.random.default_rng(7)
    for fraction in (0.0, 0.03, 0.5, 0.97):
        change = np.full(n + 1, fraction, dtype)
        change[-1] = 127 * step
        for sign in (1, -1):
            arrived = carried(sign * change, np.zeros(n + 1, dtype), rng)[:-1]
            assert set(np.unique(arrived)) <= {0.0, float(sign)}
            assert abs(arrived.mean() - sign * fraction) <= 5 * step / 2 / np.sqrt(n) + 1e-12


def test_what_is_a_whole_number_of_steps_arrives_as_it_is():
    """In particular 0, which most of a sparse change is, and the largest."""
    change = np.arange(-127, 128, dtype=np.float32)
    for _ in range(50):
        np.testing.assert_array_equal(carried(change, np.zeros_like(change)), change)


def test_a_step_is_a_quarter_of_the_bytes():
    brought = np.zeros(10_000, np.float32)
    packed, sizes = pack(arrays_of(message(w=brought + 1)), INT8, arrays_of(message(w=brought)))
    assert sizes == [10_004]
    assert len(packed) == 10_004


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8"])
@pytest.mark.parametrize("shape", SHAPES)
def test_steps_work_for_every_shape(dtype, shape):
    brought = np.arange(np.prod(shape), dtype=dtype).reshape(shape)
    sent = np.asarray(brought * 1.5, dtype)
    arrived = carried(sent, brought)
    assert (arrived.shape, arrived.dtype) == (shape, sent.dtype)
    np.testing.assert_allclose(arrived, sent, atol=0.1)


@pytest.mark.parametrize("orders", ["CF", "FC", "FF"])
def test_steps_do_not_mind_the_order_in_memory(orders):
    sent, brought = (
        np.asarray(np.arange(12, dtype=np.float32).reshape(3, 4) * factor, order=order)
        for factor, order in zip((2, 1), orders, strict=True)
    )
    np.testing.assert_allclose(carried(sent, brought), sent, atol=0.1)


@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
def test_a_change_too_small_for_a_float32_step_is_not_lost_beyond_a_step(dtype):
    tiny = np.array([np.finfo(dtype).tiny, 0], dtype)
    assert np.abs(carried(tiny, np.zeros(2, dtype)) - tiny).max() <= np.finfo(dtype).tiny / 127 + 1.5e-45


def test_a_half_precision_change_beyond_half_precision_s_range_arrives():
    sent, brought = np.array([60_000], np.float16), np.array([-60_000], np.float16)
    np.testing.assert_allclose(carried(sent, brought), sent, rtol=0.01)


@pytest.mark.parametrize(
    ("sent", "brought"),
    [(np.nan, 0.0), (np.inf, 0.0), (-np.inf, 0.0), (0.0, np.nan), (np.inf, np.inf), (1e308, -1e308), (1e200, 0.0)],
)
def test_a_change_for_which_there_is_no_step_is_named(sent, brought):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(BadArrays, match=r"\('model', 'w'\) changed by (nan|inf|1e\+200)"):
            carried(np.array([sent, 0.0]), np.array([brought, 0.0]))


@pytest.mark.parametrize(
    ("sent", "brought"),
    [
        (np.arange(3), np.arange(3)),
        (np.arange(3, dtype=">f4"), np.arange(3, dtype=">f4")),
        (np.arange(3.0), np.arange(4.0)),
        (np.arange(3.0), np.arange(3.0, dtype=np.float32)),
        (np.array([1 + 2j]), np.array([1 + 1j])),
        (np.array([True]), np.array([False])),
    ],
)
def test_what_has_no_base_to_change_from_travels_exactly(sent, brought):
    assert bits(carried(sent, brought)) == bits(sent)


def test_arrays_of_other_serialisations_travel_as_they_are():
    odd = Message(
        RecordDict({"model": ArrayRecord({"w": Array("float32", (2,), "safetensors", b"whatever")})}), 7, "train"
    )
    base = arrays_of(odd)
    plain = arrays_of(message(w=np.zeros(2, np.float32)))
    assert carry(odd, INT8, base).content["model"]["w"].data == b"whatever"
    assert carry(odd, INT8, plain).content["model"]["w"].data == b"whatever"
    assert carried_against(np.ones(2, np.float32), base).tolist() == [1, 1]
    with pytest.raises(TypeError, match="safetensors"):
        carry(odd, EXACT, {}).content["model"]["w"].numpy()


def carried_against(sent: np.ndarray, base: dict) -> np.ndarray:
    return carry(message(w=sent), INT8, base).content["model"]["w"].numpy()


# Adding up


@pytest.mark.parametrize("encoding", [EXACT, INT8])
@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, 2 * BLOCK + 3])
def test_adding_up_block_by_block_is_adding_up(encoding, size):
    rng = np.random.default_rng(1)
    brought = rng.normal(size=size).astype(np.float32)
    arrived = carry(message(w=brought + 0.5), encoding, arrays_of(message(w=brought))).content["model"]["w"]
    total = rng.normal(size=size)
    expected = total + 0.25 * arrived.numpy().astype(np.float64)
    accumulate(total, arrived, 0.25)
    np.testing.assert_allclose(total, expected, atol=1e-6)


@pytest.mark.parametrize("order", ["C", "F"])
def test_adding_up_puts_every_element_in_its_place(order):
    sent = np.asarray(np.arange(6.0).reshape(2, 3), order=order)
    total = np.zeros((2, 3))
    accumulate(total, Array(sent), 2.0)
    np.testing.assert_array_equal(total, 2 * sent)
    scalar = np.zeros(())
    accumulate(scalar, Array(np.array(3.0)), 2.0)
    assert scalar == 6


def test_a_total_that_would_be_added_to_in_a_copy_is_refused():
    with pytest.raises(ValueError, match="C-contiguous"):
        accumulate(np.zeros((2, 3), order="F"), Array(np.ones((2, 3))), 1.0)
    with pytest.raises(BadArrays, match=r"\(3, 2\) does not add to one of shape \(2, 3\)"):
        accumulate(np.zeros((2, 3)), Array(np.ones((3, 2))), 1.0)


# Hostile


@pytest.mark.parametrize(
    "sizes", [[], [136], [136, 0, 0], [137, -1], [-1, 137], [0, 136], [68, 68], [2**64, 136 - 2**64]]
)
def test_sizes_that_lie_are_named(sizes):
    sent = message(w=np.array(1.0), v=np.zeros(0))
    packed = arrays_of(sent)["model", "w"].data + arrays_of(sent)["model", "v"].data
    assert len(packed) == 136 + 128
    with pytest.raises(BadArrays, match=r"sizes say|no NumPy array|no array|declared"):
        unpack(message_of(head_of(sent)), packed, sizes, EXACT, {})


@given(st.binary(max_size=300), st.lists(st.integers(-2, 300), max_size=3), st.sampled_from([EXACT, INT8]))
def test_random_packed_arrays_are_named(packed, sizes, encoding):
    sent = message(w=np.zeros(3, np.float32), v=np.zeros((2, 2)))
    if encoding is INT8 and sizes == [7, 8] and len(packed) == 15:
        return
    with pytest.raises(BadArrays):
        unpack(message_of(head_of(sent)), packed, sizes, encoding, arrays_of(sent))


@given(st.integers(0, 127), st.integers(1, 255))
def test_a_changed_header_is_named_or_says_the_same(position, mask):
    sent = message(w=np.arange(6.0).reshape(2, 3))
    packed = bytearray(arrays_of(sent)["model", "w"].data)
    packed[position] ^= mask
    arrived = message_of(head_of(sent))
    try:
        unpack(arrived, bytes(packed), [len(packed)], EXACT, {})
    except BadArrays:
        return
    array = arrived.content["model"]["w"]
    assert (array.numpy().dtype, array.numpy().shape) == (np.dtype(float), (2, 3))


HOSTILE = {
    "objects": npy(described("'|O'", "(1,)"), pickle.dumps([1])),
    "objects by another name": npy(described("'O'", "(1,)"), bytes(8)),
    "records": npy(described("[('a', '<f8')]", "(1,)"), bytes(8)),
    "records with objects": npy(described("[('a', '|O')]", "(1,)"), bytes(8)),
    "void": npy(described("'|V8'", "(1,)"), bytes(8)),
    "a pickle": pickle.dumps(np.zeros(3)),
    "an archive": b"PK\x03\x04" + bytes(100),
    "a huge shape": npy(described("'<f8'", "(1000000000000,)"), bytes(8)),
    "a shape that overflows": npy(described("'<f8'", "(4294967296, 4294967296, 2)"), b""),
    "a shape that overflows to nothing": npy(described("'<f8'", f"({2**32}, {2**32})"), b""),
    "a shape beyond int64": npy(described("'<f8'", f"({10**18}, {9 * 10**18}, 99)"), b""),
    "a number of 10000 digits": npy(described("'<f8'", f"({'9' * 10_000},)"), b""),
    "a negative shape": npy(described("'<f8'", "(-1,)"), bytes(24)),
    "sixty-five dimensions": npy(described("'<f8'", f"({'1, ' * 65})"), bytes(8)),
    "ten thousand dimensions": npy(described("'<f8'", f"({'1, ' * 10_000})"), bytes(8)),
    "too little": npy(described("'<f8'", "(3,)"), bytes(23)),
    "too much": npy(described("'<f8'", "(3,)"), bytes(25)),
    "half an element": npy(described("'<f8'", "()"), bytes(4)),
    "elements of no size": npy(described("'|S0'", "(5,)"), b""),
    "an unknown dtype": npy(described("'<f7'", "(1,)"), bytes(7)),
    "an unknown time": npy(described("'<M8[parsecs]'", "(1,)"), bytes(8)),
    "nested brackets": npy("(" * 3000),
    "a long sum": npy(described("'<f8'", "(" + "1+" * 20_000 + "1,)")),
    "minus minus": npy(described("'<f8'", "(" + "-" * 20_000 + "1,)")),
    "a call": npy("__import__('os').getpid()"),
    "another key": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), 'x': 1, }", bytes(8)),
    "keys in another order": npy("{'shape': (1,), 'fortran_order': False, 'descr': '<f8', }", bytes(8)),
    "version 2": npy(described("'<f8'", "(1,)"), bytes(8), b"\x02\x00"),
    "version 3": npy(described("'<f8'", "(1,)"), bytes(8), b"\x03\x00"),
    "version 1.1": npy(described("'<f8'", "(1,)"), bytes(8), b"\x01\x01"),
    "a header that ends early": b"\x93NUMPY\x01\x00\xff\xff{'descr': '<f8', 'fortran_order': False, 'shape': (), }",
    "a header of nothing": b"\x93NUMPY\x01\x00\x00\x00",
    "half a magic": b"\x93NUMP",
    "nothing": b"",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_array_is_named_and_takes_no_room(what):
    data = HOSTILE[what]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tracemalloc.start()
        with pytest.raises(BadArrays):
            view(data)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 4 * len(data) + 500_000


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda junk: b"\x93NUMPY\x01\x00" + junk))
def test_random_bytes_are_no_array(data):
    with pytest.raises(BadArrays):
        view(data)


def test_a_view_is_not_a_copy_and_cannot_be_written_to():
    data = Array(np.arange(3.0)).data
    values = view(data)
    assert not values.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        values[0] = 1


@pytest.mark.parametrize(
    ("declared", "found"),
    [
        (np.zeros(3), np.zeros(4)),
        (np.zeros(3), np.zeros(3, np.float32)),
        (np.zeros(3), np.zeros(3, ">f8")),
        (np.zeros(3), np.zeros((3, 1))),
        (np.zeros((2, 3)), np.zeros((3, 2))),
        (np.zeros(()), np.zeros(1)),
        (np.zeros(3, np.int64), np.zeros(3, np.uint64)),
    ],
)
def test_an_array_that_is_not_what_it_declares_is_named_by_either_side(declared, found):
    data = Array(found).data
    with pytest.raises(BadArrays, match="declared"):
        unpack(message_of(head_of(message(w=declared))), data, [len(data)], EXACT, {})
    lying = {("model", "w"): Array(str(declared.dtype), declared.shape, "numpy.ndarray", data)}
    for encoding in (EXACT, INT8):
        with pytest.raises(BadArrays, match="declared"):
            pack(lying, encoding, arrays_of(message(w=declared)))


@pytest.mark.parametrize("step", [float("nan"), float("inf"), -1.0, float("-inf")])
def test_a_step_that_is_none_is_named(step):
    sent = message(w=np.zeros(3, np.float32))
    with pytest.raises(BadArrays, match="steps of"):
        unpack(message_of(head_of(sent)), struct.pack("<f", step) + bytes(3), [7], INT8, arrays_of(sent))


@pytest.mark.parametrize("length", [0, 3, 4, 6, 8, 24])
def test_steps_that_do_not_fit_their_shape_are_named(length):
    sent = message(w=np.zeros(3, np.float32))
    with pytest.raises(BadArrays, match=rf"\(3,\) does not fit {length} bytes"):
        unpack(message_of(head_of(sent)), bytes(length), [length], INT8, arrays_of(sent))


@given(st.binary(min_size=3, max_size=3))
def test_every_byte_is_a_step(steps):
    sent = message(w=np.zeros(3, np.float32))
    arrived = message_of(head_of(sent))
    unpack(arrived, struct.pack("<f", 2.0) + steps, [7], INT8, arrays_of(sent))
    values = arrived.content["model"]["w"].numpy()
    assert values.tolist() == [2.0 * s for s in struct.unpack("3b", steps)]
    np.testing.assert_array_equal(array_view(arrived.content["model"]["w"]), values)
