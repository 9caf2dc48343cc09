"""Events are plain numbers: what goes to disk comes back equal, and nonsense is refused by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.accounting.events import SampledGaussian, UnreadableEvents, decode_events, encode_events

events = st.builds(
    SampledGaussian,
    noise_multiplier=st.floats(0, 1e6, allow_nan=False),
    sampling_rate=st.floats(0, 1, exclude_min=True),
    steps=st.integers(1, 10**9),
    examples_per_unit=st.integers(1, 64),
)


@given(st.lists(events, max_size=4))
def test_events_come_back_from_disk_as_they_were(written):
    assert decode_events(encode_events(written)) == tuple(written)


@given(st.lists(events, max_size=4))
def test_equal_events_are_equal_bytes(written):
    assert encode_events(decode_events(encode_events(written))) == encode_events(written)


@pytest.mark.parametrize(
    ("numbers", "complaint"),
    [
        ((-0.1, 0.5, 1), "noise_multiplier -0.1"),
        ((float("nan"), 0.5, 1), "noise_multiplier nan"),
        ((float("inf"), 0.5, 1), "noise_multiplier inf"),
        ((1.0, 0.0, 1), "sampling_rate 0.0"),
        ((1.0, 1.1, 1), "sampling_rate 1.1"),
        ((1.0, 0.5, 0), "steps 0"),
        ((1.0, 0.5, 10**9 + 1), "steps 1000000001"),
        ((1.0, 0.5, 1, 0), "examples_per_unit 0"),
        ((1.0, 0.5, 1, 65), "examples_per_unit 65"),
    ],
)
def test_a_number_that_means_nothing_is_quoted(numbers, complaint):
    with pytest.raises(ValueError, match=complaint):
        SampledGaussian(*numbers)


def test_events_of_a_newer_version_are_not_guessed_at():
    with pytest.raises(UnreadableEvents, match="version 4, this software reads"):
        decode_events(b'{"version":4,"events":[],"charge":"unknown"}')


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"[]",
        b'{"version":1}',
        b'{"version":1,"events":[{"mechanism":"Laplace","scale":1.0}]}',
        encode_events([SampledGaussian(1.0, 0.5, 1)]).replace(b'"steps":1', b'"steps":0'),
        encode_events([SampledGaussian(1.0, 0.5, 1)]).replace(b'"steps":1', b'"steps":1,"discount":2'),
        encode_events([SampledGaussian(1.0, 0.5, 1)])[:-3],
    ],
)
def test_damaged_events_are_an_error_and_never_a_smaller_cost(stored):
    with pytest.raises(UnreadableEvents, match="cannot be read"):
        decode_events(stored)
