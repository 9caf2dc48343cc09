"""The secure sum's arithmetic: exact to the bit, whoever takes part, and blind on either side."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from privacy.secure_sum.fixed_point import FixedPoint, NotEncodable
from privacy.secure_sum.mask import CHUNK_BYTES, add_mask, new_seed, subtract_mask
from privacy.secure_sum.sums import MaskSum, ShareMismatch, ShareSum, SumFull, split
from privacy.secure_sum.vector import Vector

CODES = st.builds(FixedPoint, bound=st.floats(1e-3, 1e6), bits=st.sampled_from([16, 32, 64]), most=st.integers(8, 500))
VECTORS = arrays.arrays(np.float64, st.tuples(st.integers(1, 8), st.integers(1, 40)), elements=st.floats(-2e6, 2e6))


def signed(ring):
    return ring.view(f"i{ring.itemsize}").astype(object)


@given(CODES, VECTORS, st.integers(1, 4))
def test_the_joined_sum_is_the_sum_of_the_vectors_to_the_bit(code, vectors, scalars):
    width = vectors.shape[1]
    leader = ShareSum(width, scalars, code.dtype, code.most)
    helper = MaskSum(width, scalars, code.dtype)
    elements, beside = np.zeros(width, object), np.zeros(scalars, object)
    for number, values in enumerate(vectors):
        vector = Vector(code.encode(values).elements, np.full(scalars, number, np.uint64))
        elements, beside = elements + signed(vector.elements), beside + number
        shares = split(vector)
        leader.add(shares.leader)
        helper.add(shares.seed)
    total = leader.joined(helper.elements, helper.scalars)
    assert signed(total.elements).tolist() == elements.tolist()
    assert signed(total.scalars).tolist() == beside.tolist()


@given(CODES, VECTORS)
def test_decoding_a_sum_is_off_by_half_a_step_a_vector_at_most(code, vectors):
    total = sum(code.encode(vector).elements.astype(object) for vector in vectors) % 2**code.bits
    meant = np.clip(vectors, -code.bound, code.bound).sum(axis=0)
    decoded = code.decode(np.array(total, code.dtype))
    assert np.abs(decoded - meant).max() <= len(vectors) * code.step * (0.5 + 1e-6) + 1e-9 * code.bound


@given(CODES, VECTORS)
def test_values_beyond_the_bound_are_set_to_it_and_counted(code, vectors):
    encoded = code.encode(vectors)
    assert encoded.saturated == np.count_nonzero(np.abs(np.rint(vectors.ravel() / code.step)) > code.top)
    assert np.abs(code.decode(encoded.elements)).max() <= code.bound * (1 + 1e-12)


def test_a_full_cohort_at_the_bound_does_not_wrap_around():
    code = FixedPoint(bound=1.0, bits=16, most=500)
    total = ShareSum(1, 1, code.dtype, code.most)
    for _ in range(500):
        total.add(Vector(code.encode(np.array([1.0])).elements, np.zeros(1, np.uint64)))
    assert code.decode(total.elements)[0] == pytest.approx(500)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_named(value):
    with pytest.raises(NotEncodable, match="1 of 2"):
        FixedPoint(1.0).encode(np.array([0.5, value]))


@pytest.mark.parametrize(("arguments", "words"), [((0.0,), "positive"), ((1.0, 8), "bits"), ((1.0, 16, 1000), "wider")])
def test_a_code_that_could_not_work_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        FixedPoint(*arguments)


@pytest.mark.parametrize("length", [0, 1, CHUNK_BYTES // 4 - 1, CHUNK_BYTES // 4, CHUNK_BYTES // 4 + 1, 100_000])
def test_a_mask_comes_off_as_it_went_on(length):
    vector, seed = np.arange(length, dtype=np.uint32), new_seed()
    add_mask(seed, vector)
    subtract_mask(seed, vector)
    assert (vector == np.arange(length)).all()


def test_a_longer_vector_begins_with_the_mask_of_a_shorter_one():
    seed, short, long = new_seed(), np.zeros(100, np.uint64), np.zeros(100_000, np.uint64)
    add_mask(seed, short)
    add_mask(seed, long)
    assert (long[:100] == short).all()


def test_lanes_of_a_seed_have_nothing_in_common():
    seed, lanes = new_seed(), [np.zeros(4096, np.uint64) for _ in range(3)]
    for number, lane in enumerate(lanes):
        add_mask(seed, lane, number)
    assert len(np.unique(np.concatenate(lanes))) == 3 * 4096


def vector(elements, scalars=1, dtype=np.uint32):
    return Vector(np.zeros(elements, dtype), np.zeros(scalars, np.uint64))


def test_a_leaders_share_says_nothing_about_the_vector():
    """Chi-square over 256 cells of the low and the high byte; 99.99 % of uniform samples are below 350."""
    share = split(Vector(np.full(100_000, 7, np.uint32), np.full(100_000, 7, np.uint64))).leader
    for cells in (share.elements & 0xFF, share.elements >> 24, share.scalars & 0xFF, share.scalars >> np.uint64(56)):
        counts = np.bincount(cells.astype(np.int64), minlength=256)
        assert ((counts - 100_000 / 256) ** 2 / (100_000 / 256)).sum() < 350


def test_two_vectors_never_share_a_seed():
    assert len({split(vector(1)).seed for _ in range(1000)}) == 1000


@pytest.mark.parametrize("share", [vector(4), vector(3, dtype=np.uint64), vector(3, scalars=2)])
def test_shares_that_do_not_fit_are_refused_and_change_nothing(share):
    total = ShareSum(3, 1, np.dtype(np.uint32), 10)
    with pytest.raises(ShareMismatch):
        total.add(share)
    with pytest.raises(ShareMismatch):
        total.joined(share.elements, share.scalars)
    assert total.count == 0


def test_a_sum_takes_no_more_vectors_than_its_code_allows():
    total, small = (ShareSum(1, 1, np.dtype(np.uint32), 2) for _ in range(2))
    for _ in range(2):
        total.add(vector(1))
    small.add(vector(1))
    with pytest.raises(SumFull, match="pass the 2"):
        total.add(vector(1))
    with pytest.raises(SumFull):
        total.merge(small)


@given(CODES, VECTORS, st.data())
def test_groups_that_are_merged_are_one_group(code, vectors, data):
    groups = [ShareSum(vectors.shape[1], 1, code.dtype, code.most) for _ in range(2)]
    whole = ShareSum(vectors.shape[1], 1, code.dtype, code.most)
    for values in vectors:
        share = Vector(code.encode(values).elements, np.ones(1, np.uint64))
        groups[data.draw(st.integers(0, 1))].add(share)
        whole.add(share)
    groups[0].merge(groups[1])
    assert (groups[0].elements == whole.elements).all()
    assert groups[0].count == whole.count == groups[0].scalars[0]


def test_a_seed_of_another_length_is_refused():
    with pytest.raises(ValueError, match="32 bytes"):
        add_mask(b"short", np.zeros(1, np.uint32))


def test_a_seed_is_not_printed():
    assert "seed" not in repr(split(vector(1)))
