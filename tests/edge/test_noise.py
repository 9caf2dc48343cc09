"""Noise is normal, never repeats, and has the shape that was asked for."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.learning.noise import BATCH, drawn, gaussian, gaussian_rows, uniform


@given(st.lists(st.integers(0, 7), min_size=1, max_size=3))
def test_noise_has_the_shape_that_was_asked_for(shape):
    assert gaussian(tuple(shape)).shape == tuple(shape)
    assert uniform(shape[0]).shape == (shape[0],)


@pytest.mark.parametrize(("rows", "length"), [(0, 5), (3, 0), (7, 13), (3, BATCH), (5, BATCH // 2), (2, BATCH + 1)])
def test_rows_are_as_many_and_as_long_as_asked_for(rows, length):
    found = list(gaussian_rows(rows, length))
    assert [row.shape for row in found] == [(length,)] * rows
    if length:
        assert len({float(row[0]) for row in found}) == rows


@pytest.mark.parametrize("noise", [gaussian((300_000,)), np.concatenate(list(gaussian_rows(300, 1000)))])
def test_noise_is_standard_normal_up_to_its_fourth_moment(noise):
    """Bounds are six standard errors of each moment over 300,000 values."""
    error = 6 / math.sqrt(len(noise))
    assert abs(noise.mean()) < error
    assert abs((noise**2).mean() - 1) < error * math.sqrt(2)
    assert abs((noise**3).mean()) < error * math.sqrt(15)
    assert abs((noise**4).mean() - 3) < error * math.sqrt(96)


def test_the_two_halves_of_a_draw_are_not_correlated():
    """Box and Muller's formula gives values in pairs."""
    noise = gaussian((200_000,))
    assert abs(np.corrcoef(noise[:100_000], noise[100_000:])[0, 1]) < 6 / math.sqrt(100_000)


def test_uniform_values_fill_their_range_evenly():
    values = uniform(200_000)
    assert values.min() >= 0
    assert values.max() < 1
    counts = np.histogram(values, bins=100, range=(0, 1))[0]
    assert ((counts - 2000) ** 2 / 2000).sum() < 170  # chi-square with 99 degrees; 99.999 % are below


@pytest.mark.parametrize("rate", [0.0001, 0.0625, 0.5, 0.999])
def test_a_sample_holds_each_with_its_probability_and_all_at_a_rate_of_one(rate):
    n = 200_000
    found = drawn(n, rate)
    assert abs(len(found) - n * rate) < 6 * (n * rate * (1 - rate)) ** 0.5 + 1
    assert (np.diff(found) > 0).all()
    assert len(drawn(7, 1.0)) == 7
    assert len(drawn(0, rate)) == 0
