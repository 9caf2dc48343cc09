"""Noise that nodes share: enough in a sum of which a third is missing, bounded, and charged to the whole site."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.accounting.composition import epsilon, gaussian_epsilon
from privacy.accounting.events import ANY, SITE, SampledGaussian, SharedGaussian, decode_events, encode_events
from privacy.mechanisms.shared_noise import NoRoom, SharedNoise
from privacy.secure_sum.fixed_point import FixedPoint

CODE = FixedPoint(bound=64.0, bits=32, most=9)
NOISE = SharedNoise(noise_multiplier=1.5, clip_norm=2.0, cohort=9)
RECORDS = SharedNoise(noise_multiplier=1.5, clip_norm=0.5, cohort=9, unit="slot", unit_pieces=2)
PIECES = st.lists(st.lists(st.floats(-3, 3), min_size=4, max_size=4), min_size=1, max_size=12)


def test_two_thirds_of_a_cohort_have_the_whole_noise_together():
    n = 20_000
    shares = []
    for _ in range(NOISE.honest):
        elements = CODE.encode(np.zeros(n)).elements
        NOISE.add(elements, CODE)
        shares.append(elements)
    total = CODE.decode(np.sum(shares, axis=0, dtype=np.uint32))
    assert NOISE.honest == 6
    assert total.std() == pytest.approx(1.5 * 2.0, rel=6 / math.sqrt(2 * n))
    assert abs(total.mean()) < 6 * 3.0 / math.sqrt(n)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=30), st.floats(0.01, 5))
@settings(max_examples=60, deadline=None)
def test_no_update_moves_a_sum_by_more_than_its_bound(values, clip):
    noise = SharedNoise(1.0, clip, 3)
    elements = CODE.encode(np.array(values)).elements
    plain = elements.view(np.int32).astype(np.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("privacy.mechanisms.shared_noise.sample", lambda sigma, n: np.zeros(n, np.int64))
        report = noise.add(elements, CODE)
    left = elements.view(np.int32).astype(np.float64)
    assert np.linalg.norm(left) <= noise.bound(CODE)
    assert report.clipped == (np.linalg.norm(plain) > noise.bound(CODE) * (1 - 1e-9))
    if not report.clipped:
        np.testing.assert_array_equal(left, plain)


@given(PIECES, st.data())
def test_a_unit_that_is_removed_moves_a_sum_of_pieces_by_no_more_than_is_charged(pieces, data):
    """In whole steps and exactly, whatever the pieces: also past the code's range."""
    coded = [RECORDS.coded(np.array(piece), CODE) for piece in pieces]
    assert all((piece.astype(object) ** 2).sum() <= RECORDS.bound(CODE) ** 2 for piece in coded)
    gone = data.draw(st.sets(st.integers(0, len(pieces) - 1), max_size=2))
    many = data.draw(st.sampled_from([1, 10_000]))
    rest = many * np.sum(coded, axis=0)
    less = rest - np.sum([coded[place] for place in gone], axis=0, dtype=np.int64)
    parts = [put_without_noise(RECORDS, total.astype(np.int64)) for total in (rest, less)]
    assert ((parts[0] - parts[1]) ** 2).sum() <= RECORDS.sensitivity(CODE) ** 2
    assert RECORDS.event(CODE, 4).sensitivity == RECORDS.sensitivity(CODE) == 2 * RECORDS.bound(CODE)


def put_without_noise(noise, total):
    elements = CODE.encode(np.zeros(len(total))).elements
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("privacy.mechanisms.shared_noise.sample", lambda sigma, n: np.zeros(n, np.int64))
        noise.put(total, elements, CODE)
    return elements.view(np.int32).astype(object)


def test_two_thirds_of_a_cohort_have_the_noise_of_a_record_together():
    n = 20_000
    total = np.zeros(n, np.uint32)
    for _ in range(RECORDS.honest):
        elements = np.zeros(n, np.uint32)
        report = RECORDS.put(np.full(n, -7, np.int64), elements, CODE)
        total += elements
    decoded = CODE.decode(total)
    assert decoded.std() == pytest.approx(1.5 * 2 * 0.5, rel=6 / math.sqrt(2 * n))
    assert report.sum_noise_std == pytest.approx(1.5 * 2 * 0.5, rel=1e-5)
    assert abs(decoded.mean() + 6 * 7 * CODE.step) < 6 * 1.5 / math.sqrt(n)


def test_a_sum_past_the_code_s_range_is_set_to_it_and_never_wraps_around():
    far = np.array([2**40, -(2**40), 5], np.int64)
    kept = put_without_noise(RECORDS, far)
    assert kept[0] == -kept[1] > RECORDS.sensitivity(CODE)
    assert kept[2] == 5
    assert CODE.most * kept[0] + 10 * RECORDS.sigma(CODE) * math.sqrt(CODE.most) < 2**31


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_a_piece_that_is_not_finite_counts_for_nothing(odd):
    assert not RECORDS.coded(np.array([odd, 0.1]), CODE).any()


def test_the_report_says_how_much_noise_there_is():
    elements = CODE.encode(np.full(100, 0.1)).elements
    report = NOISE.add(elements, CODE)
    assert report.sum_noise_std == pytest.approx(3.0, rel=1e-6)
    assert report.noise_std == pytest.approx(3.0 / math.sqrt(6), rel=1e-6)
    assert report.snr == pytest.approx(1.0 / (report.noise_std * 10), rel=0.01)


@pytest.mark.parametrize(
    ("noise", "code"),
    [
        (SharedNoise(100.0, 64.0, 3), FixedPoint(64.0, 16, 3)),
        (SharedNoise(1.0, 1e-12, 3), CODE),
        (SharedNoise(20.0, 64.0, 3), CODE),
    ],
)
def test_a_code_without_room_for_the_noise_is_refused(noise, code):
    with pytest.raises(NoRoom, match=r"raise secure_sum|lower the bound"):
        noise.sigma(code)


def test_the_charge_is_that_of_one_gaussian_and_never_less():
    event = NOISE.event(CODE, 1000)
    assert event.unit == SITE
    assert event.rho == pytest.approx(1 / (2 * 1.5**2), rel=1e-6)
    # What a unit holds is replaced: twice as far as when it is taken out, which is half the noise.
    exact = gaussian_epsilon(1.5 / 2, 1e-6)
    assert exact <= epsilon([event], 1e-6) <= 1.005 * exact
    assert epsilon([event] * 3 + [SampledGaussian(2.0, 1.0, 4)], 1e-6) >= gaussian_epsilon(
        1 / 2 / math.sqrt(3 / 1.5**2 + 4 / 2.0**2), 1e-6
    )


@pytest.mark.parametrize(("sigma", "nodes"), [(4.0, 1), (4.0, 2), (5.5, 6)])
def test_fine_discrete_noise_tells_no_more_than_the_gaussian_that_it_is_charged_as(sigma, nodes):
    """By convolution, in one dimension: the exact hockey-stick divergence of the sum against the Gaussian's."""
    wide = math.ceil(14 * sigma)
    one = np.exp(-(np.arange(-wide, wide + 1) ** 2) / (2 * sigma**2))
    total = one / one.sum()
    for _ in range(nodes - 1):
        total = np.convolve(total, one / one.sum())
    for sensitivity in (1, 3, 9):
        event = SharedGaussian(sensitivity, sigma, nodes, 1)
        shift = 2 * sensitivity
        p, q = np.pad(total, (0, shift)), np.pad(total, (shift, 0))
        charged = gaussian_epsilon(1 / event.shift(2.0), 1e-6)
        assert np.maximum(p - math.exp(charged) * q, 0).sum() <= 1e-6
    assert SharedGaussian(1, 3.9, nodes, 1).shift() is None


def test_coarse_discrete_noise_is_charged_as_concentrated_dp_and_more_than_fine_noise():
    fine, coarse = SharedGaussian(4e6, 4e6, 6, 10), SharedGaussian(3, 3, 6, 10)
    assert epsilon([coarse], 1e-6) > epsilon([fine], 1e-6)
    assert epsilon([coarse, fine], 1e-6) > epsilon([coarse], 1e-6)


def test_sums_of_few_coarse_gaussians_are_charged_for_what_they_differ():
    fine, coarse = SharedGaussian(1000, 1000, 6, 10), SharedGaussian(1, 1, 6, 10)
    assert coarse.rho > fine.rho * (1 + 1e-6)


def test_events_are_read_as_they_were_written_and_those_of_version_1_too():
    events = (NOISE.event(CODE, 7), SampledGaussian(1.0, 0.5, 2, 3, "slot"))
    assert decode_events(encode_events(events)) == events
    old = (
        b'{"version":1,"events":[{"mechanism":"SampledGaussian","noise_multiplier":1.0,"sampling_rate":1.0,'
        b'"steps":1,"examples_per_unit":2}]}'
    )
    # It did not say what a day moved: 48 slots is the most there can be.
    assert decode_events(old) == (SampledGaussian(1.0, 1.0, 1, 2, ANY, 48.0),)


@pytest.mark.parametrize(
    "wrong",
    [
        {"noise_multiplier": 0},
        {"clip_norm": math.inf},
        {"cohort": 1},
        {"noise_multiplier": math.nan},
        {"unit_pieces": 0},
        {"unit_pieces": 2},
    ],
)
def test_a_mechanism_that_protects_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SharedNoise(**{"noise_multiplier": 1.0, "clip_norm": 1.0, "cohort": 3} | wrong)
