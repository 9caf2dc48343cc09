"""Statistics add up, and refuse what cannot be."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.proximity.stats import Stats
from edge.sensing.sightings import Sighting

LEVELS = st.lists(st.integers(-127, 20), min_size=1, max_size=50)


@given(LEVELS, LEVELS)
def test_two_stretches_add_up_to_the_whole(first, second):
    whole = Stats.of_frames(first + second, 2 if len(first + second) > 1 else 1, 2)
    assert Stats.of_frames(first) + Stats.of_frames(second) == whole


@given(LEVELS)
def test_mean_and_spread_are_those_of_the_frames(levels):
    stats = Stats.of_frames(levels)
    mean = sum(levels) / len(levels)
    assert stats.rssi_mean == pytest.approx(mean)
    by_hand = math.sqrt(sum((level - mean) ** 2 for level in levels) / len(levels))
    assert stats.rssi_std == pytest.approx(by_hand, abs=1e-5)


@given(st.lists(LEVELS, min_size=1, max_size=5))
def test_sightings_of_several_windows_are_one_statistic(windows):
    sightings = [
        Sighting(b"i" * 16, n, len(w), sum(w), sum(level * level for level in w), min(w), max(w))
        for n, w in enumerate(windows)
    ]
    together = [level for w in windows for level in w]
    assert Stats.of(sightings, len(windows) + 2) == Stats.of_frames(together, len(windows), len(windows) + 2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"frames": 0},
        {"rssi_min": -30},
        {"rssi_max": 30},
        {"rssi_sum": -200},
        {"rssi_square_sum": 1},
        {"windows_heard": 0},
        {"windows_heard": 2},
        {"frames": 1, "rssi_sum": -60, "rssi_square_sum": 3600, "windows_heard": 2, "windows_listened": 2},
    ],
)
def test_what_cannot_be_is_refused(wrong):
    right = {"frames": 2, "rssi_sum": -120, "rssi_square_sum": 7400, "rssi_min": -70, "rssi_max": -50}
    assert Stats(**right).rssi_mean == -60
    with pytest.raises(ValueError, match=r"\d"):
        Stats(**(right | wrong))


def test_what_was_not_heard_has_no_statistics():
    with pytest.raises(ValueError, match="not heard"):
        Stats.of([], 3)
    with pytest.raises(ValueError, match="not heard"):
        Stats.of_frames([])
