from collections import Counter
from dataclasses import replace
from functools import reduce
from operator import add

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.sensing.advertisement import Advertisement, Heartbeat
from edge.sensing.sightings import WINDOW_S, ClockWentBack, Folding, Sighting, fold

A, B = b"a" * 16, b"b" * 16


def heard(identifier: bytes, at_s: float, rssi_dbm: int = -60) -> Advertisement:
    return Advertisement(identifier=identifier, heard_at_s=at_s, rssi_dbm=rssi_dbm)


def one(identifier: bytes, rssi: int = -60, window: int = 0, metadata: bytes = b"", receiver: int = 0) -> Sighting:
    return Sighting(identifier, window, 1, rssi, rssi * rssi, rssi, rssi, metadata, receiver)


FRAMES = st.lists(st.tuples(st.sampled_from([A, B]), st.integers(0, 300), st.integers(-100, -30))).map(
    lambda frames: [heard(*f) for f in sorted(frames, key=lambda f: f[1])]
)


@given(FRAMES)
def test_no_frame_is_lost_or_invented(frames):
    sightings = list(fold(frames))
    assert sum(s.frames for s in sightings) == len(frames)
    assert sum(s.rssi_sum for s in sightings) == sum(f.rssi_dbm for f in frames)


@given(FRAMES)
def test_an_identifier_has_one_sighting_a_window(frames):
    sightings = list(fold(frames))
    assert {(s.identifier, s.window) for s in sightings} == {(f.identifier, f.heard_at_s // WINDOW_S) for f in frames}
    assert len({(s.identifier, s.window) for s in sightings}) == len(sightings)


@given(FRAMES, st.lists(st.integers(0, 300)))
def test_heartbeats_change_nothing_but_when(frames, beats):
    at = [(f.heard_at_s, f) for f in frames] + [(b, Heartbeat(b)) for b in beats]
    stream = [h for _, h in sorted(at, key=lambda pair: pair[0])]
    assert list(fold(stream)) == list(fold(frames))


def test_a_window_is_yielded_before_the_stream_ends():
    stream = fold(iter([heard(A, 0), heard(A, 1), heard(A, 21)]))
    assert next(stream).frames == 2


def test_a_heartbeat_closes_the_window_of_one_who_left():
    def stream():
        yield heard(A, 0)
        yield Heartbeat(20)
        raise AssertionError("the window should have come before")

    assert next(fold(stream())) == Sighting(A, 0, 1, -60, 3600, -60, -60)


def test_a_clock_that_jumps_back_is_named():
    with pytest.raises(ClockWentBack, match="window 0 after window 3"):
        list(fold([heard(A, 60), heard(A, 1)]))


def test_sightings_of_two_identifiers_do_not_add_up():
    with pytest.raises(ValueError, match="do not add up"):
        one(A) + one(B)
    with pytest.raises(ValueError, match="at receivers 0 and 1"):
        one(A) + one(A, receiver=1)


def test_the_mean_is_over_the_frames():
    assert next(fold([heard(A, 0, -50), heard(A, 1, -70)])).rssi_mean == -60


@pytest.mark.parametrize(
    ("identifier", "rssi", "complaint"), [(b"short", -60, "has 5"), (A, -128, "-128 dBm"), (A, 21, "21 dBm")]
)
def test_a_frame_that_no_radio_can_hear_is_refused(identifier, rssi, complaint):
    with pytest.raises(ValueError, match=complaint):
        heard(identifier, 0, rssi)


def test_a_sighting_without_frames_or_with_an_impossible_level_is_refused():
    with pytest.raises(ValueError, match="at least one frame, got 0"):
        Sighting(A, 0, 0, 0, 0, -60, -60)
    with pytest.raises(ValueError, match="outside"):
        Sighting(A, 0, 1, 60, 3600, 60, 60)


@given(FRAMES, st.integers(1, 3))
def test_beyond_the_capacity_of_a_window_new_identifiers_are_dropped_and_counted(frames, capacity):
    folding = Folding(capacity)
    sightings = [s for frame in frames for s in folding.add(frame)] + folding.rest()
    assert sum(s.frames for s in sightings) + folding.over_capacity == len(frames)
    windows = Counter(s.window for s in sightings)
    assert max(windows.values(), default=0) <= capacity
    # Who is in the window already goes on being heard.
    expected = {(s.window, s.identifier): s for s in fold(frames)}
    assert all(expected[s.window, s.identifier] == s for s in sightings)


def test_ten_thousand_devices_at_once_are_all_heard():
    identifiers = [n.to_bytes(16, "big") for n in range(10_000)]
    sightings = list(fold(heard(i, at, -60 - at) for at in range(3) for i in identifiers))
    assert [s.identifier for s in sightings] == identifiers
    assert {(s.frames, s.rssi_min, s.rssi_max) for s in sightings} == {(3, -62, -60)}


@given(FRAMES)
def test_a_sighting_tells_the_spread_of_its_frames(frames):
    for s in fold(frames):
        levels = [f.rssi_dbm for f in frames if (f.identifier, f.heard_at_s // WINDOW_S) == (s.identifier, s.window)]
        assert (s.rssi_min, s.rssi_max) == (min(levels), max(levels))
        assert (s.rssi_sum, s.rssi_square_sum) == (sum(levels), sum(x * x for x in levels))


PARTS = st.lists(st.builds(one, st.just(A), st.integers(-127, 20), metadata=st.just(b"meta")), min_size=1)


@given(PARTS, st.data())
def test_sightings_add_up_in_any_order_and_grouping(parts, data):
    total = reduce(add, parts)
    assert reduce(add, data.draw(st.permutations(parts))) == total
    cut = data.draw(st.integers(1, len(parts)))
    assert reduce(add, [reduce(add, parts[:cut]), *parts[cut:]]) == total
    assert total.frames == len(parts)


def test_receivers_are_kept_apart_and_metadata_is_kept_once_it_was_heard():
    frames = [
        Advertisement(A, 0.0, -60),
        Advertisement(A, 1.0, -70, b"meta"),
        Advertisement(A, 2.0, -80, b"othr"),
        Advertisement(A, 3.0, -90, receiver=1),
    ]
    assert list(fold(frames)) == [Sighting(A, 0, 3, -210, 14_900, -80, -60, b"meta"), one(A, -90, receiver=1)]


def test_two_devices_that_show_one_identifier_add_up():
    near, far = heard(A, 0, -40), heard(A, 1, -90)
    assert list(fold([near, far])) == [one(A, -40) + one(A, -90)]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"rssi_min": -50, "rssi_max": -60}, "rssi_min -50 to rssi_max -60"),
        ({"rssi_sum": -500}, "rssi_sum -500 dBm is not that of 2 frames"),
        ({"rssi_square_sum": 7000}, "rssi_square_sum 7000 is too small"),
        ({"metadata": b"five."}, "16 and 5"),
    ],
)
def test_numbers_that_contradict_each_other_are_refused(change, complaint):
    with pytest.raises(ValueError, match=complaint):
        replace(Sighting(A, 0, 2, -120, 7200, -60, -60), **change)
