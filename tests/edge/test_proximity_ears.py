"""Listening when asked: a radio goes on meanwhile, a recording waits."""

import math
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.proximity.ears import LiveEar, NothingLeft, RecordedEar
from edge.proximity.walk import KnownTag, hold_still
from edge.sensing.advertisement import Advertisement, Heartbeat
from edge.sensing.scanners.errors import AdapterGone
from privacy.tokens.tags import identifiers

SECRET = b"t" * 32
DAY = 20_000
TAG = KnownTag("tag-1", SECRET)


def frame(at_s, identifier=b"i" * 16, rssi=-60, receiver=0):
    return Advertisement(identifier, at_s, rssi, b"", receiver)


def of_tag(at_s, rssi=-60, receiver=0):
    day = int(at_s // 86_400)
    return frame(at_s, identifiers(SECRET, day)[int(at_s % 86_400 // 600)], rssi, receiver)


@given(st.lists(st.floats(0, 50), min_size=1, max_size=30), st.floats(1, 30))
def test_turns_of_a_recording_give_every_frame_once_and_in_order(gaps, seconds):
    times = [sum(gaps[: n + 1]) for n in range(len(gaps))]
    ear = RecordedEar(iter([Heartbeat(0.0), *(frame(at) for at in times), Heartbeat(times[-1])]))
    found = []
    while len(found) < len(times):
        turn = [heard.heard_at_s for _, heard in ear.listen(seconds)]
        assert turn[-1] - turn[0] < seconds
        found += turn
    assert found == times
    with pytest.raises(NothingLeft, match="habis"):
        next(ear.listen(seconds))


class Radio:
    """A scanner that never ends by itself: a frame each hundredth of a second, numbered."""

    def __init__(self, sleep, failure=None):
        self.sleep, self.failure, self.frames = sleep, failure, 0

    def __iter__(self):
        while not self.sleep(0.01):
            if self.failure is not None and self.frames == 5:
                raise self.failure
            self.frames += 1
            yield frame(float(self.frames))


def test_what_a_radio_hears_while_nobody_listens_is_dropped():
    with LiveEar(Radio) as ear:
        first = [heard.heard_at_s for _, heard in ear.listen(0.3) if heard is not None]
        time.sleep(0.5)
        second = [heard.heard_at_s for _, heard in ear.listen(0.3) if heard is not None]
    assert first
    assert second
    assert second[0] - first[-1] > 10
    assert not any(thread.name == "calibration" for thread in threading.enumerate())


def test_nothing_piles_up_while_nobody_listens():
    with LiveEar(Radio) as ear:
        list(ear.listen(0.1))
        time.sleep(0.5)
        assert ear._frames.qsize() <= 1  # one may have been on its way as the turn ended


def test_a_radio_that_fails_says_so_to_whoever_listens():
    with LiveEar(lambda sleep: Radio(sleep, AdapterGone("hci0: not there"))) as ear, pytest.raises(AdapterGone):
        list(ear.listen(5))


def test_time_passes_where_a_radio_hears_nothing():
    def silence(sleep):
        while not sleep(0.05):
            yield Heartbeat(0.0)

    with LiveEar(silence) as ear:
        passed = [seconds for seconds, heard in ear.listen(1.2) if heard is None]
    assert len(passed) >= 2


def test_only_the_tag_at_the_chosen_receiver_counts():
    begins = DAY * 86_400.0
    heard = [
        of_tag(begins, -50),
        frame(begins + 1, b"x" * 16, -20),
        of_tag(begins + 2, -30, receiver=1),
        of_tag(begins + 21, -60),
    ]
    told = []
    stats = hold_still(RecordedEar(iter(heard)), TAG, 0, 40, lambda *progress: told.append(progress))
    assert (stats.frames, stats.rssi_mean, stats.windows_heard, stats.windows_listened) == (2, -55, 2, 2)
    assert [frames for _, frames, _ in told] == [1, 1, 1, 2]


def test_a_tag_that_is_not_heard_has_no_statistics():
    told = []
    begins = DAY * 86_400.0
    ear = RecordedEar(iter([frame(begins), frame(begins + 1)]))
    assert hold_still(ear, TAG, 0, 20, lambda *progress: told.append(progress)) is None
    assert math.isnan(told[-1][2])


@given(st.integers(0, 143), st.sampled_from([-1, 0, 1]))
def test_a_tag_is_known_by_every_identifier_of_its_day_even_where_its_clock_is_a_day_off(interval, off):
    at_s = DAY * 86_400.0 + interval * 600
    assert TAG.is_it(identifiers(SECRET, DAY + off)[interval], at_s)
    assert not TAG.is_it(identifiers(b"o" * 32, DAY)[interval], at_s)
