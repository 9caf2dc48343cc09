"""The sampler against the distribution that it claims, and its coins against exact arithmetic."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.mechanisms import discrete_gaussian
from privacy.mechanisms.discrete_gaussian import MOST_SIGMA, _coin, _exp, sample
from privacy.mechanisms.randomness import RandomWords


@pytest.mark.parametrize("sigma", [1, 2, 7])
def test_every_number_comes_as_often_as_it_should(sigma):
    n, reach = 60_000, 4 * sigma
    weights = {x: math.exp(-x * x / (2 * sigma**2)) for x in range(-40 * sigma, 40 * sigma + 1)}
    whole = sum(weights.values())
    found = sample(sigma, n)
    counts = [np.count_nonzero(found == x) for x in range(-reach, reach + 1)]
    expected = [n * weights[x] / whole for x in range(-reach, reach + 1)]
    counts.append(n - sum(counts))
    expected.append(n - sum(expected))
    chi = sum((c - e) ** 2 / e for c, e in zip(counts, expected, strict=True))
    # Of that many degrees of freedom: six standard deviations above the mean.
    assert chi < len(counts) + 6 * math.sqrt(2 * len(counts))


@given(st.integers(1, 10**9))
@settings(max_examples=10, deadline=None)
def test_large_sigmas_have_that_spread_and_no_drift(sigma):
    found = sample(sigma, 20_000).astype(np.float64) / sigma
    assert abs(found.mean()) < 6 / math.sqrt(20_000)
    assert found.std() == pytest.approx(1, rel=6 / math.sqrt(2 * 20_000))
    assert np.abs(found).max() < 7


@given(st.fractions(0, 30, max_denominator=10**6), st.integers(0, 2**64 - 1))
@settings(max_examples=60, deadline=None)
def test_a_coin_decides_as_exact_arithmetic_does(x, word):
    low, high = _exp(x, 64)
    assert low < high
    assert float(low) == pytest.approx(math.exp(-x), rel=1e-9, abs=1e-18)
    if Fraction(word, 2**64) < low - Fraction(1, 2**60):
        assert _coin(word, x, RandomWords())
    if Fraction(word, 2**64) > high + Fraction(1, 2**60):
        assert not _coin(word, x, RandomWords())


def test_a_number_on_the_edge_is_decided_with_further_bits():
    x = Fraction(1, 3)
    edge = int(_exp(x, 64)[0] * 2**64)
    falls = [_coin(edge, x, RandomWords()) for _ in range(200)]
    assert {True, False} == set(falls)


def test_coins_within_the_margin_go_the_exact_way(monkeypatch):
    monkeypatch.setattr(discrete_gaussian, "MARGIN", 1.0)  # all of them
    found = sample(3, 2000)
    assert found.std() == pytest.approx(3, rel=0.15)


@pytest.mark.parametrize("sigma", [0, -1, MOST_SIGMA + 1])
def test_other_sigmas_are_refused(sigma):
    with pytest.raises(ValueError, match="whole number"):
        sample(sigma, 1)


@pytest.mark.parametrize("bound", [1, 2, 3, 1000, 2**62])
def test_whole_numbers_below_a_bound_are_even(bound):
    found = RandomWords().below(bound, 3000)
    assert found.min() >= 0
    assert found.max() < bound
    if 1 < bound <= 3:
        assert np.bincount(found).std() < 200


def test_two_streams_never_agree():
    assert not np.array_equal(RandomWords().words(4), RandomWords().words(4))
