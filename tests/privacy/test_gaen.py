"""GAEN v1.2 derivations, against the official vectors and by their properties."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.tokens.gaen import (
    DAY_INTERVALS,
    BadMetadata,
    Metadata,
    TemporaryExposureKey,
    decrypt_metadata,
    encrypt_metadata,
    identifier,
    identifier_key,
    identifiers,
    interval_of,
    metadata_key,
    metadata_masks,
)

KEYS = st.builds(
    TemporaryExposureKey,
    st.binary(min_size=16, max_size=16),
    st.integers(0, 2**31),
    st.integers(1, DAY_INTERVALS),
)
METADATA = st.builds(Metadata, st.integers(-127, 20), st.integers(0x40, 0x7F))


@pytest.fixture(scope="module")
def vectors() -> dict:
    beside = Path(__file__).parents[2].parent / "shared" / "data"
    file = Path(os.environ.get("JAGA_SHARED_DATA", beside)) / "gaen" / "gaen_v1.2_vectors.json"
    if not file.is_file():
        pytest.skip(f"no {file}: set JAGA_SHARED_DATA (vectors from google/exposure-notifications-internals)")
    return json.loads(file.read_text("ascii"))


@pytest.fixture(scope="module")
def tek(vectors) -> TemporaryExposureKey:
    return TemporaryExposureKey(bytes.fromhex(vectors["tek"]), vectors["rolling_start"])


def test_the_two_derived_keys_are_those_of_the_specification(vectors, tek):
    assert identifier_key(tek).hex() == vectors["rpik"]
    assert metadata_key(tek).hex() == vectors["aemk"]


def test_all_144_identifiers_are_those_of_the_specification(vectors, tek):
    together = identifiers(tek)
    assert len(vectors["vectors"]) == DAY_INTERVALS
    for at, vector in enumerate(vectors["vectors"]):
        assert together[16 * at : 16 * at + 16].hex() == vector["rpi"]
        assert identifier(tek, vector["enin"]).hex() == vector["rpi"]


def test_all_144_metadata_are_encrypted_and_decrypted_as_in_the_specification(vectors, tek):
    metadata = Metadata.parse(bytes.fromhex(vectors["metadata"]))
    assert metadata == Metadata(tx_power_dbm=8)
    for vector in vectors["vectors"]:
        rpi, aem = bytes.fromhex(vector["rpi"]), bytes.fromhex(vector["aem"])
        assert encrypt_metadata(tek, rpi, metadata) == aem
        assert decrypt_metadata(tek, rpi, aem) == metadata


def test_many_masks_at_once_are_those_of_one_each(vectors, tek):
    together = metadata_masks(tek, identifiers(tek))
    plain = bytes.fromhex(vectors["metadata"])
    for at, vector in enumerate(vectors["vectors"]):
        mask = together[16 * at : 16 * at + 4]
        assert bytes(a ^ b for a, b in zip(mask, plain, strict=True)).hex() == vector["aem"]


@given(KEYS, st.data())
def test_an_identifier_alone_is_that_of_the_whole_key(key, data):
    at = data.draw(st.integers(0, key.rolling_period - 1))
    assert identifiers(key)[16 * at : 16 * at + 16] == identifier(key, key.rolling_start + at)


@given(KEYS)
def test_a_key_has_no_identifier_twice(key):
    together = identifiers(key)
    assert len(together) == 16 * key.rolling_period
    assert len({together[at : at + 16] for at in range(0, len(together), 16)}) == key.rolling_period


@given(KEYS, st.sampled_from(["before", "after"]))
def test_an_interval_outside_of_the_key_has_no_identifier(key, side):
    interval = key.rolling_start - 1 if side == "before" else key.rolling_end
    with pytest.raises(ValueError, match="outside the key's"):
        identifier(key, interval)


@given(KEYS, METADATA, st.binary(min_size=16, max_size=16))
def test_metadata_come_back_as_they_were(key, metadata, heard):
    assert decrypt_metadata(key, heard, encrypt_metadata(key, heard, metadata)) == metadata


@given(METADATA)
def test_power_is_signed_and_the_reserved_bytes_are_zero(metadata):
    assert bytes(metadata) == struct.pack("<Bbxx", metadata.version, metadata.tx_power_dbm)


@given(st.binary(min_size=4, max_size=4))
def test_four_bytes_are_read_or_refused_by_major_version_and_power(plain):
    power = struct.unpack_from("b", plain, 1)[0]
    if plain[0] >> 6 == 1 and -127 <= power <= 20:
        assert Metadata.parse(plain) == Metadata(power, plain[0])
    else:
        with pytest.raises(BadMetadata):
            Metadata.parse(plain)


@pytest.mark.parametrize("size", [0, 3, 5])
def test_metadata_of_another_length_are_refused(size):
    with pytest.raises(BadMetadata, match="4 bytes"):
        decrypt_metadata(TemporaryExposureKey(bytes(16), 0), bytes(16), bytes(size))


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"key": bytes(15)}, "16 bytes"),
        ({"rolling_period": 0}, "rolls for 1 to 144"),
        ({"rolling_period": 145}, "rolls for 1 to 144"),
        ({"rolling_start": -1}, "32 bits"),
        ({"rolling_start": 2**32}, "32 bits"),
        ({"transmission_risk": 9}, "0 to 8"),
        ({"days_since_onset": -15}, "-14 to 14"),
    ],
)
def test_a_key_that_cannot_be_is_not_made(wrong, why):
    with pytest.raises(ValueError, match=why):
        TemporaryExposureKey(**{"key": bytes(16), "rolling_start": 0, **wrong})


def test_a_key_does_not_show_itself_in_a_log():
    key = TemporaryExposureKey(b"secret of 16 byt", 1)
    assert "secret" not in repr(key)
    assert key.key.hex() not in repr(key)


def test_intervals_are_ten_minutes():
    assert [interval_of(t) for t in (0, 599.9, 600, 1585785600)] == [0, 0, 1, 2642976]


def test_tokens_need_neither_numpy_nor_torch_nor_the_edge():
    found = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, privacy.tokens.export, privacy.tokens.tags\n"
            "print([m for m in sys.modules if m.split('.')[0] in {'numpy', 'torch', 'edge', 'aggregator', 'flwr'}])",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "[]"
