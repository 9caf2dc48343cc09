import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from edge.sensing.sightings import Sighting
from edge.store.connection import transaction
from edge.store.day_keys import DayKey, DayKeys
from edge.store.sightings import Sightings
from privacy.identity.secret import Secret

KEYS = st.binary(min_size=32, max_size=32).map(Secret).map(DayKey)
DEVICES = st.lists(st.tuples(st.binary(min_size=16, max_size=16), st.binary(min_size=4, max_size=4)), max_size=20)


@given(KEYS, DEVICES)
def test_what_is_sealed_opens_again_however_many_at_once(key, devices):
    identifiers, metadata = b"".join(i for i, _ in devices), b"".join(m for _, m in devices)
    sealed, masked = key.seal(identifiers), key.mask(identifiers, metadata)
    assert (len(sealed), len(masked)) == (len(identifiers), len(metadata))
    assert key.open(sealed) == identifiers
    assert key.mask(identifiers, masked) == metadata


@given(KEYS, DEVICES)
def test_many_at_once_are_sealed_as_each_alone(key, devices):
    identifiers, metadata = b"".join(i for i, _ in devices), b"".join(m for _, m in devices)
    assert key.seal(identifiers) == b"".join(key.seal(i) for i, _ in devices)
    assert key.mask(identifiers, metadata) == b"".join(key.mask(i, m) for i, m in devices)


@given(KEYS, KEYS, st.binary(min_size=16, max_size=16))
def test_two_days_have_nothing_in_common(one, other, identifier):
    assert (one.seal(identifier) == other.seal(identifier)) == (one == other)


def test_the_seal_is_not_the_mask_and_neither_is_aes_under_the_key_itself():
    key, identifier = DayKey(Secret(bytes(32))), bytes(range(16))
    plain = Cipher(algorithms.AES(key.key.reveal()), modes.ECB()).encryptor().update(identifier)  # noqa: S305
    sealed, mask = key.seal(identifier), key.mask(identifier, bytes(4))
    assert plain not in (sealed, identifier)
    assert mask not in (sealed[:4], plain[:4])


def test_a_key_is_made_once_and_found_again(connection):
    keys = DayKeys(connection)
    assert keys.find(7) is None
    with transaction(connection):
        made = keys.get(7)
        assert keys.get(7) == made == keys.find(7)
        assert keys.get(8) != made
    assert keys.days() == [7, 8]


def test_a_key_is_taken_inside_a_transaction_only(connection):
    with pytest.raises(RuntimeError, match="inside a transaction"):
        DayKeys(connection).get(7)


def test_a_key_is_neither_printed_nor_of_another_length():
    assert "5a5a" not in repr(DayKey(Secret(b"\x5a" * 32))).lower()
    assert "ZZZZ" not in repr(DayKey(Secret(b"\x5a" * 32)))
    with pytest.raises(ValueError, match="has 31"):
        DayKey(Secret(bytes(31)))


def test_a_process_that_goes_on_after_a_day_was_shredded_makes_a_new_key(database, connection):
    row = Sighting(b"a" * 16, 0, 1, -60, 3600, -60, -60, b"meta")
    other = database.connect()
    Sightings(connection).add([row], logged_at=0)
    old = DayKeys(connection).find(0)
    assert Sightings(other).shred(0) == 1
    Sightings(connection).add([row], logged_at=0)
    assert DayKeys(other).find(0) not in (None, old)
    assert list(Sightings(other).between(0, 20)) == [row]
    other.close()
