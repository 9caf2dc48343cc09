import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from settable_clock import Machine

from edge.sensing import hearing
from edge.sensing.advertisement import Advertisement, ClockJump, Heartbeat, RadioFrame
from edge.sensing.formats import bluetrace, gaen, ibeacon, tag
from edge.sensing.formats.ad import join
from edge.sensing.formats.ibeacon import IBeacon
from edge.sensing.hearing import Counts, decode

A, B = b"a" * 16, b"b" * 16
PHONE, TAG = gaen.encode(A, b"aaaa"), tag.encode(B, b"bbbb")
BEACON = ibeacon.encode(IBeacon(bytes(16), 1, 2, -59))
BLUETRACE = join((0x07, bluetrace.SERVICE))
WATCH = join((0xFF, b"\x4c\x00\x10\x05"))
CUT = PHONE[:-1]


def advertisements(frames, counts=None):
    return list(decode(frames, Counts() if counts is None else counts, None))


AIR = st.lists(
    st.builds(
        RadioFrame,
        st.sampled_from([PHONE, TAG, BEACON, BLUETRACE, WATCH, CUT]) | st.binary(max_size=40),
        st.integers(0, 10_000).map(float),
        st.integers(-130, 130),
        st.integers(0, 3),
    )
)


@given(AIR)
def test_every_frame_is_handed_on_or_counted_once(frames):
    counts = Counts()
    heard = advertisements(frames, counts)
    assert counts.frames == len(frames)
    assert counts.tokens == len(heard)
    assert counts.frames == counts.tokens + counts.malformed + counts.no_rssi + sum(counts.not_tokens.values())


@given(AIR)
def test_tokens_come_through_with_all_that_was_heard_of_them(frames):
    expected = [
        Advertisement(
            *({PHONE: A, TAG: B}[f.ad], f.heard_at_s, f.rssi_dbm, {PHONE: b"aaaa", TAG: b"bbbb"}[f.ad], f.receiver)
        )
        for f in frames
        if f.ad in (PHONE, TAG) and -127 <= f.rssi_dbm <= 20
    ]
    assert advertisements(frames) == expected


@given(AIR, st.integers(1, 3))
def test_what_is_remembered_changes_nothing(frames, remembered):
    plain = advertisements(frames)
    kept, hearing.REMEMBERED = hearing.REMEMBERED, remembered
    try:
        assert advertisements(frames) == plain
    finally:
        hearing.REMEMBERED = kept


def test_counts_say_what_was_kept_out_and_why():
    counts = Counts()
    frames = [(PHONE, -60), (BEACON, -60), (BEACON, -61), (BLUETRACE, -60), (WATCH, -60), (CUT, -60), (PHONE, 127)]
    advertisements([RadioFrame(ad, 0.0, rssi) for ad, rssi in frames], counts)
    assert counts.fields() == {
        "frames": 7,
        "tokens": 1,
        "malformed": 1,
        "no_rssi": 1,
        "heard_bluetrace": 1,
        "heard_ibeacon": 2,
        "heard_unknown": 1,
    }


@pytest.mark.parametrize("at_s", [math.nan, math.inf, -math.inf, 1e300])
def test_a_time_that_is_none_is_malformed(at_s):
    counts = Counts()
    assert advertisements([RadioFrame(PHONE, at_s, -60)], counts) == []
    assert counts.malformed == 1


def test_a_recording_keeps_its_own_time_and_says_nothing_of_a_clock():
    assert advertisements([Heartbeat(5.0), RadioFrame(PHONE, 7.0, -60)]) == [
        Heartbeat(5.0, None),
        Advertisement(A, 7.0, -60, b"aaaa"),
    ]


def test_live_frames_get_the_time_of_day_and_heartbeats_say_by_which_clock():
    machine = Machine(monotonic_s=100, offset_s=1_000_000)
    clock = machine.clock()
    beat, frame = decode([Heartbeat(100.0), RadioFrame(PHONE, 101.5, -60)], Counts(), clock)
    assert beat == Heartbeat(1_000_100.0, clock.reading)
    assert frame.heard_at_s == 1_000_101.5


def test_a_clock_that_is_set_is_told_before_what_is_heard_by_it():
    machine = Machine(monotonic_s=100, offset_s=1_000_000)

    def frames():
        yield Heartbeat(100.0)
        yield RadioFrame(PHONE, 101.0, -60)
        machine.offset_s += 500
        yield RadioFrame(PHONE, 102.0, -60)
        machine.offset_s -= 700
        yield Heartbeat(103.0)

    clock = machine.clock()
    heard = list(decode(frames(), Counts(), clock))
    assert [h for h in heard if isinstance(h, ClockJump)] == [ClockJump(500), ClockJump(-700)]
    times = [h.at_s if isinstance(h, Heartbeat) else getattr(h, "heard_at_s", "jump") for h in heard]
    assert times == [1_000_100, 1_000_101, "jump", 1_000_602, 1_000_602, "jump", 999_903]
    assert heard[3].clock.offset_s == 1_000_500


@given(st.lists(st.tuples(st.floats(0, 1000), st.booleans()), min_size=1))
def test_live_time_never_runs_backwards_however_late_an_adapter_reports(times):
    machine = Machine()
    frames = [RadioFrame(PHONE, at_s, -60) if frame else Heartbeat(at_s) for at_s, frame in times]
    heard = list(decode(frames, Counts(), machine.clock()))
    at = [h.at_s if isinstance(h, Heartbeat) else h.heard_at_s for h in heard]
    assert at == sorted(at)
    assert len(at) in (len(times), len(times) + 1)
    assert max(at) == pytest.approx(max(at_s for at_s, _ in times) + machine.offset_s)


def test_a_live_stream_begins_with_a_heartbeat_even_where_the_radio_gives_none():
    machine = Machine(monotonic_s=100)
    heard = list(decode([RadioFrame(PHONE, 100.0, -60)], Counts(), machine.clock()))
    assert [type(h) for h in heard] == [Heartbeat, Advertisement]


def test_what_is_heard_is_decoded_as_it_comes():
    def endless():
        while True:
            yield RadioFrame(PHONE, 0.0, -60)

    assert next(decode(endless(), Counts(), None)).identifier == A
