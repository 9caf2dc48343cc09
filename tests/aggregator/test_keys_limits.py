"""What the health authority takes of a case, and that no key is shown while somebody may still send it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.keys.limits import (
    DAY_S,
    INTERVAL_S,
    CaseRefusal,
    CaseRefused,
    KeyRefusal,
    Limits,
    end_s,
)
from privacy.boundary.messages import Case, CaseKey

DAY = 20_000
NOW = DAY * DAY_S + 15.4 * 3600
LIMITS = Limits()


def key(name: int, day: int = DAY - 1, *, start: int = 0, period: int = 144, onset: int = 0) -> CaseKey:
    return CaseKey(bytes([name]) * 16, day * 144 + start, period, onset)


def case(*keys: CaseKey) -> Case:
    return Case(list(keys), "1-id")


def reason(*keys: CaseKey, limits: Limits = LIMITS) -> CaseRefusal:
    with pytest.raises(CaseRefused) as refused:
        limits.admit(case(*keys), NOW)
    return refused.value.reason


@given(
    st.integers(0, 20 * 144),
    st.integers(1, 144),
    st.floats(0, 20 * DAY_S),
    st.floats(2 * 3600, DAY_S),
    st.integers(1, 24),
)
def test_no_key_is_shown_before_two_hours_after_its_end_or_before_it_came(start, period, later_s, skew_s, hours):
    limits = Limits(skew_s=skew_s, window_s=hours * 3600.0)
    one = CaseKey(b"k" * 16, start, period, 0)
    now = start * INTERVAL_S + later_s
    released = limits.release_at(one, now)
    assert released >= max(end_s(one) + skew_s, now)
    assert released % (hours * 3600) == 0, "a whole window, so that it does not tell when the case was reported"
    assert released - max(end_s(one) + skew_s, now) < hours * 3600


def test_a_past_key_is_shown_at_the_next_whole_hour_and_todays_key_tomorrow():
    admitted, _ = LIMITS.admit(case(key(1), key(2, DAY)), NOW)
    assert [one.release_at - DAY * DAY_S for one in admitted] == [16 * 3600, 26 * 3600]


def test_a_key_that_ended_long_ago_or_begins_in_the_future_is_left_out_and_the_others_stay():
    admitted, refused = LIMITS.admit(
        case(key(1, DAY - 16), key(2, DAY - 15), key(3, DAY + 1), key(4, DAY), key(5, DAY, start=144, period=3)), NOW
    )
    assert [one.key.key[0] for one in admitted] == [4]
    assert refused == {KeyRefusal.TOO_OLD: 2, KeyRefusal.FUTURE: 2}
    within, _ = LIMITS.admit(case(key(6, DAY - 14)), NOW)
    assert len(within) == 1, "it ended less than 14 days ago"


def test_the_same_key_counts_once():
    admitted, refused = LIMITS.admit(case(key(1), key(1)), NOW)
    assert len(admitted) == 1
    assert refused == {KeyRefusal.KNOWN: 1}


def test_keys_that_begin_together_may_be_three_and_not_four():
    together = [key(n, start=0, period=40 * n) for n in (1, 2, 3)]
    assert len(LIMITS.admit(case(*together), NOW)[0]) == 3
    assert reason(*together, key(4, period=144)) is CaseRefusal.SAME_START


def test_keys_that_overlap_otherwise_are_two_persons_and_refused():
    assert reason(key(1), key(2, start=1)) is CaseRefusal.OVERLAP
    assert reason(key(1, DAY - 2), key(2, DAY - 2, start=143)) is CaseRefusal.OVERLAP
    LIMITS.admit(case(key(1, DAY - 2), key(2, DAY - 1)), NOW)  # one after the other is one person's


def test_too_many_keys_are_refused():
    days = [key(n, DAY - 1 - n) for n in range(5)]
    assert reason(*days, limits=Limits(max_keys=4)) is CaseRefusal.TOO_MANY_KEYS
    assert len(Limits(max_keys=5).admit(case(*days), NOW)[0]) == 5


@pytest.mark.parametrize("wrong", [{"max_keys": 0}, {"window_s": 0.0}, {"skew_s": -1.0}, {"cases_a_day": 0}])
def test_limits_that_are_none_are_refused(wrong):
    with pytest.raises(ValueError, match=r"limits are positive|not shown before its end"):
        Limits(**wrong)
