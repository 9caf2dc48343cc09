"""Blobs: arrays for many, closed under a key that travels elsewhere."""

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.boundary.blob import close, open_blob
from privacy.boundary.envelope import SIGNATURE_BYTES, Reason, Rejected, wrap
from privacy.boundary.messages import EVERYONE, BlobReference, Claim, Header, Kind
from privacy.identity.authority import CertificateAuthority
from privacy.identity.certificates import Role

OURS = CertificateAuthority.create("ours")
LEADER = OURS.enrol("leader", Role.LEADER)
HEADER = Header(Kind.BLOB, "ours", "leader", EVERYONE, 1, b"m" * 16, None, 0.0, 1.0, False)
CLOSED = close(LEADER, HEADER, [b"weights", b"", b"bias"])


def turned_away(payload: bytes, reference: BlobReference) -> Reason:
    with pytest.raises(Rejected) as why:
        open_blob(payload, reference)
    return why.value.reason


def referring_to(payload: bytes, **changes) -> BlobReference:
    """A reference with the right hash, so that what comes after the hash is tried."""
    digest = hashlib.sha256(payload).digest()
    return msgspec.structs.replace(CLOSED.reference, digest=digest, **changes)


@given(st.lists(st.binary(max_size=50), max_size=5))
def test_arrays_come_back_joined_and_with_their_lengths(arrays):
    closed = close(LEADER, HEADER, arrays)
    assert open_blob(closed.payload, closed.reference) == b"".join(arrays)
    assert closed.reference.sizes == [len(array) for array in arrays]
    assert closed.reference.digest == hashlib.sha256(closed.payload).digest()


def test_a_blob_shows_nothing_and_no_two_are_alike():
    again = close(LEADER, HEADER, [b"weights", b"", b"bias"])
    assert b"weights" not in CLOSED.payload
    assert again.payload != CLOSED.payload
    assert again.reference.key != CLOSED.reference.key


def test_the_same_blob_can_be_made_again_with_its_key():
    assert close(LEADER, HEADER, [b"weights", b"", b"bias"], CLOSED.reference.key) == CLOSED


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_no_changed_byte_opens(position, mask):
    changed = bytearray(CLOSED.payload)
    changed[position % len(changed)] ^= mask
    assert turned_away(bytes(changed), CLOSED.reference) is Reason.MALFORMED


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_no_changed_byte_of_the_body_opens_even_under_its_own_hash(position, mask):
    """A leader that is deceived about the hash still has the cipher's own check."""
    changed = bytearray(CLOSED.payload)
    end = len(changed) - SIGNATURE_BYTES
    body = end - (len(b"weightsbias") + 16)
    changed[body + position % (end - body)] ^= mask
    assert turned_away(bytes(changed), referring_to(bytes(changed))) is Reason.CANNOT_OPEN


def test_no_beginning_opens():
    for length in range(len(CLOSED.payload)):
        part = CLOSED.payload[:length]
        assert turned_away(part, CLOSED.reference) is Reason.MALFORMED
        assert turned_away(part, referring_to(part)) in {Reason.MALFORMED, Reason.CANNOT_OPEN}


@given(st.binary(max_size=200))
def test_random_bytes_do_not_open_even_under_their_own_hash(junk):
    assert turned_away(junk, referring_to(junk)) is Reason.MALFORMED


@pytest.mark.parametrize("in_place", [False, True])
def test_a_blob_opens_into_new_memory_or_its_own(in_place):
    assert open_blob(bytearray(CLOSED.payload), CLOSED.reference, in_place=in_place) == b"weightsbias"


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_blob_does_not_open_in_its_own_memory_either(position, mask):
    changed = bytearray(CLOSED.payload)
    changed[-1 - SIGNATURE_BYTES - position % 27] ^= mask
    with pytest.raises(Rejected, match="sealed to other keys"):
        open_blob(changed, referring_to(bytes(changed)), in_place=True)


def test_a_wrong_key_does_not_open():
    assert turned_away(CLOSED.payload, referring_to(CLOSED.payload, key=bytes(32))) is Reason.CANNOT_OPEN


@pytest.mark.parametrize(
    "sizes", [[], [7, 0], [7, 0, 5], [7, 0, 3], [11, 1, -1], [12, -1, 0], [2**64 - 1, 12 - 2**64], [2**63] * 3]
)
def test_lengths_that_lie_are_turned_away(sizes):
    assert turned_away(CLOSED.payload, referring_to(CLOSED.payload, sizes=sizes)) is Reason.MALFORMED


def test_another_message_is_no_blob():
    head = msgspec.structs.replace(HEADER, kind=Kind.CLAIM)
    payload = wrap(LEADER, head, Claim("i", "h"))
    assert turned_away(payload, referring_to(payload)) is Reason.MALFORMED


def test_the_key_is_not_in_what_is_published():
    assert CLOSED.reference.key not in CLOSED.payload
