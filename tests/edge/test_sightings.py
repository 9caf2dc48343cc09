import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.sensing.advertisement import Advertisement, Heartbeat
from edge.sensing.sightings import WINDOW_S, ClockWentBack, Sighting, fold

A, B = b"a" * 16, b"b" * 16


def heard(identifier: bytes, at_s: float, rssi_dbm: int = -60) -> Advertisement:
    return Advertisement(identifier=identifier, heard_at_s=at_s, rssi_dbm=rssi_dbm)


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

    assert next(fold(stream())) == Sighting(A, 0, 1, -60, -60)


def test_a_clock_that_jumps_back_is_named():
    with pytest.raises(ClockWentBack, match="window 0 after window 3"):
        list(fold([heard(A, 60), heard(A, 1)]))


def test_sightings_of_two_identifiers_do_not_add_up():
    with pytest.raises(ValueError, match="do not add up"):
        Sighting.of(heard(A, 0)) + Sighting.of(heard(B, 0))


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
        Sighting(A, 0, 0, 0, -60)
    with pytest.raises(ValueError, match="outside"):
        Sighting(A, 0, 1, 60, 60)
