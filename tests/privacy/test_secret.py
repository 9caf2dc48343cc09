"""A secret is given by `reveal` and encoded on purpose, and in no other way."""

import copy
import json
import logging
import pickle
import traceback

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.identity.secret import Secret, as_bytes, as_hex, secret_of

BYTES = bytes(range(65, 97))


class Told(msgspec.Struct, frozen=True):
    key: Secret


@pytest.mark.parametrize(
    "shown",
    [repr, str, "{}".format, "{!r}".format, lambda s: f"{s:>40}", lambda s: repr([s]), lambda s: repr(Told(s))],
)
def test_no_way_of_showing_a_secret_shows_it(shown):
    said = shown(Secret(BYTES))
    assert "secret" in said
    assert BYTES[:8].decode() not in said
    assert BYTES[:8].hex() not in said


def test_a_secret_is_neither_pickled_nor_encoded_by_accident():
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(Secret(BYTES), protocol)
    with pytest.raises(TypeError):
        json.dumps(Secret(BYTES))
    with pytest.raises(TypeError):
        msgspec.json.encode(Told(Secret(BYTES)))
    with pytest.raises(TypeError):
        bytes(Secret(BYTES))
    assert copy.deepcopy(Secret(BYTES)) == Secret(BYTES)


def test_a_secret_does_not_change():
    for change in (lambda s: setattr(s, "_revealed", b""), lambda s: delattr(s, "_revealed")):
        with pytest.raises(AttributeError):
            change(Secret(BYTES))


@given(st.binary(), st.binary())
def test_secrets_are_equal_if_and_only_if_their_bytes_are(one, other):
    assert (Secret(one) == Secret(other)) == (one == other)
    assert Secret(one) != one
    assert len({Secret(one), Secret(other)}) == len({one, other})


@given(st.binary())
def test_an_encoded_secret_comes_back(revealed):
    told = Told(Secret(revealed))
    assert msgspec.json.decode(msgspec.json.encode(told, enc_hook=as_hex), type=Told, dec_hook=secret_of) == told
    packed = msgspec.msgpack.encode(told, enc_hook=as_bytes)
    assert msgspec.msgpack.decode(packed, type=Told, dec_hook=secret_of) == told


@pytest.mark.parametrize("written", ['"ABCDEFGHIJ"', "17", "null", '["ABCDEFGHIJ"]'])
def test_what_is_no_secret_is_refused_without_being_quoted(written):
    with pytest.raises(msgspec.ValidationError, match=r"\$\.key") as raised:
        msgspec.json.decode(f'{{"key": {written}}}', type=Told, dec_hook=secret_of)
    assert "ABCDEFGHIJ" not in "".join(traceback.format_exception(raised.value))


def test_a_log_call_with_a_secret_shows_nothing(caplog):
    with caplog.at_level(logging.INFO):
        logging.getLogger("x").info("key %s %r", Secret(BYTES), Secret(BYTES))
    assert "key <secret> <secret>" in caplog.text
