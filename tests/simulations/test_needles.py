"""Identifiers are found however they are written, and never where there are none."""

import base64
import bz2
import gzip
import lzma
import random
import uuid
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from simulations import needles
from simulations.needles import CHUNK_BYTES, Needles, TooDeep

RNG = random.Random(7)
IDENTIFIERS = [RNG.randbytes(16) for _ in range(2000)] + [RNG.randbytes(32) for _ in range(50)]
NEEDLES = Needles(IDENTIFIERS)
RANDOM = Needles(random.SystemRandom().randbytes(16) for _ in range(20_000))

WRITTEN = {
    "hex": lambda data: data.hex().encode(),
    "hex upper": lambda data: data.hex().upper().encode(),
    "hex colons": lambda data: data.hex(":").encode(),
    "base64": base64.b64encode,
    "base64 urlsafe": base64.urlsafe_b64encode,
    "base64 lines": base64.encodebytes,
}
COMPRESSED = {
    "zstd": zstandard.ZstdCompressor().compress,
    "zlib": zlib.compress,
    "zlib small": lambda data: zlib.compress(data, 0, wbits=9),
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}
ANY = st.binary(max_size=300)


@given(ANY, st.sampled_from(IDENTIFIERS), ANY)
def test_an_identifier_is_found_at_any_place(before, identifier, after):
    assert () in NEEDLES.search(before + identifier + after)


@given(st.sampled_from(sorted(WRITTEN)), ANY, st.sampled_from(IDENTIFIERS), ANY, st.text("xyz_", max_size=5))
def test_an_identifier_is_found_in_text_at_any_alignment(how, before, identifier, after, prefix):
    text = prefix.encode() + WRITTEN[how](before + identifier + after)
    assert (how.split()[0],) in NEEDLES.search(text, unpack=False)


@given(st.sampled_from(sorted(COMPRESSED)), ANY, st.sampled_from(IDENTIFIERS), ANY, ANY)
def test_an_identifier_is_found_in_a_compressed_stream_that_starts_anywhere(how, before, identifier, after, around):
    packed = around + COMPRESSED[how](before + identifier + after) + around
    assert {(), (how.split()[0],)} & NEEDLES.search(packed)


@given(st.permutations(["hex", "base64", "zstd", "gzip", "xz"]))
def test_layers_are_taken_off_one_by_one_and_named_from_the_outside(layers):
    data = b"z" * 50 + IDENTIFIERS[0] + b"z" * 50
    for layer in reversed(layers):
        data = (WRITTEN | COMPRESSED)[layer](data)
    assert any(set(layers) >= set(found) and found[:1] == tuple(layers[:1]) for found in NEEDLES.search(data))


@given(st.binary(max_size=5000))
def test_bytes_without_identifiers_give_none(data):
    assert RANDOM.search(data) == set()


@given(st.integers(1, 15), st.sampled_from(IDENTIFIERS[:2000]))
def test_a_part_of_an_identifier_is_not_one(missing, identifier):
    other = bytes([identifier[missing - 1] ^ 0xFF])  # or the filler could be the part that is missing
    assert NEEDLES.search(other * 40 + identifier[missing:] + other * 40) == set()


@pytest.mark.parametrize("start", [0, 1, CHUNK_BYTES - 9, CHUNK_BYTES - 1, 2 * CHUNK_BYTES - 16])
def test_an_identifier_across_the_border_of_two_chunks_is_found(start):
    data = bytearray(2 * CHUNK_BYTES)
    data[start : start + 16] = IDENTIFIERS[0]
    assert NEEDLES.search(data, unpack=False) == {()}


def test_an_identifier_written_as_a_uuid_is_found():
    assert NEEDLES.search(str(uuid.UUID(bytes=IDENTIFIERS[0])).encode()) == {("hex",)}


def test_a_decompression_bomb_is_not_vouched_for(monkeypatch):
    monkeypatch.setattr(needles, "BUDGET_BYTES", 1_000_000)
    with pytest.raises(TooDeep, match="more than 1000000 bytes"):
        NEEDLES.search(gzip.compress(bytes(2_000_000)))


def test_a_needle_that_chance_would_find_is_refused():
    with pytest.raises(ValueError, match="7 bytes"):
        Needles([b"1234567"])


def test_no_needles_find_nothing():
    assert Needles([]).search(b"anything at all, of any length") == set()
