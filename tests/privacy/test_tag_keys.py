"""The day keys of our own tags."""

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.tokens import gaen
from privacy.tokens.tags import day_key, exposure_key, identifiers, new_secret

SECRETS = st.binary(min_size=32, max_size=32)
DAYS = st.integers(0, 100_000)


@given(SECRETS, DAYS)
def test_a_day_key_is_hkdf_of_the_secret_as_rfc_5869_writes_it(secret, day):
    extracted = hmac.digest(bytes(32), secret, "sha256")
    expanded = hmac.digest(extracted, b"JAGA-TEK" + day.to_bytes(4, "big") + b"\x01", "sha256")
    assert day_key(secret, day) == expanded[:16]


@given(SECRETS, DAYS)
def test_a_day_key_is_good_for_its_day_alone(secret, day):
    key = exposure_key(secret, day)
    assert key.key == day_key(secret, day)
    assert (key.rolling_start, key.rolling_end) == (day * 144, (day + 1) * 144)


@given(SECRETS, DAYS)
def test_a_tag_advertises_what_its_published_key_gives(secret, day):
    shown = identifiers(secret, day)
    assert len(shown) == len(set(shown)) == 144
    assert b"".join(shown) == gaen.identifiers(exposure_key(secret, day))


@given(st.sets(SECRETS, min_size=2, max_size=2), st.sets(DAYS, min_size=2, max_size=2))
def test_no_two_tags_and_no_two_days_share_a_key(secrets, days):
    assert len({day_key(secret, day) for secret in secrets for day in days}) == 4


def test_a_new_secret_is_new():
    assert len({new_secret() for _ in range(100)}) == 100
    assert len(new_secret()) == 32


@pytest.mark.parametrize("secret", [b"", bytes(16), bytes(33)])
def test_a_secret_of_another_length_is_refused_without_showing_it(secret):
    with pytest.raises(ValueError, match=f"32 bytes, this one {len(secret)}"):
        day_key(secret, 0)


@pytest.mark.parametrize("day", [-1, 2**32 // 144])
def test_a_day_that_no_interval_can_name_is_refused(day):
    with pytest.raises(ValueError, match=f"day {day}"):
        day_key(bytes(32), day)
