import hashlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.store.blobs import BlobMismatch, Blobs, BlobTooLarge
from edge.store.meta import Meta


def named(content):
    return hashlib.sha256(content).digest(), content


def test_a_value_is_made_once_and_kept(connection):
    meta = Meta(connection)
    assert meta.get_or_make("client", lambda: b"first") == b"first"
    assert meta.get_or_make("client", lambda: b"second") == b"first"
    meta.set("client", b"third")
    assert meta.get("client") == b"third"
    assert meta.get("absent") is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(contents=st.lists(st.binary(max_size=40)))
def test_the_cache_never_exceeds_its_capacity_and_keeps_the_newest(connection, contents):
    connection.execute("DELETE FROM blobs")
    blobs = Blobs(connection, capacity_bytes=100)
    for content in contents:
        blobs.add(*named(content))
        assert blobs.size() <= 100
        assert blobs.get(named(content)[0]) == content


def test_the_one_used_longest_ago_makes_room(connection):
    blobs = Blobs(connection, capacity_bytes=100)
    (a, b, c) = (named(letter * 40) for letter in (b"a", b"b", b"c"))
    blobs.add(*a)
    blobs.add(*b)
    assert blobs.get(a[0]) == a[1]
    blobs.add(*c)
    assert blobs.get(b[0]) is None
    assert (blobs.get(a[0]), blobs.get(c[0])) == (a[1], c[1])


def test_adding_a_blob_again_is_using_it(connection):
    blobs = Blobs(connection, capacity_bytes=100)
    (a, b, c) = (named(letter * 40) for letter in (b"a", b"b", b"c"))
    for blob in (a, b, a, c):
        blobs.add(*blob)
    assert [blobs.get(blob[0]) is not None for blob in (a, b, c)] == [True, False, True]


def test_a_blob_that_is_not_what_it_says_is_refused(connection):
    with pytest.raises(BlobMismatch, match="fetch it again"):
        Blobs(connection).add(hashlib.sha256(b"one").digest(), b"another")
    assert Blobs(connection).size() == 0


def test_a_blob_larger_than_the_cache_is_refused_and_evicts_nothing(connection):
    blobs = Blobs(connection, capacity_bytes=100)
    blobs.add(*named(b"small"))
    with pytest.raises(BlobTooLarge, match="has 101 bytes, the cache 100"):
        blobs.add(*named(bytes(101)))
    assert blobs.size() == 5
