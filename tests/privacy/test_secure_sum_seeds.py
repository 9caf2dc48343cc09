"""A seed counts only for the node that sealed it, the round it was sealed for, and the helper it was sealed to."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.identity.authority import CertificateAuthority
from privacy.identity.certificates import Role, node_party
from privacy.secure_sum.exchange import Part, SealedSeed
from privacy.secure_sum.mask import new_seed
from privacy.secure_sum.seeds import BadSeed, Purpose, open_seed, seal_seed

AUTHORITY = CertificateAuthority.create("sums")
NODE, OTHER = (AUTHORITY.enrol(node_party(n), Role.NODE) for n in (2, 3))
HELPER, LEADER = AUTHORITY.enrol("observer", Role.OBSERVER), AUTHORITY.enrol("leader", Role.LEADER)
ASKED = b"a" * 32
ROUND = Purpose("sums", 2**63 + 1, 7, Part.TRAIN, ASKED)
SEED = new_seed()
SEALED = seal_seed(NODE, HELPER.certificate, ROUND, SEED)


def test_the_helper_opens_what_the_node_sealed():
    assert open_seed(HELPER.keys, NODE.certificate, ROUND, SEALED) == SEED


def test_it_takes_less_than_two_kilobytes():
    assert len(msgspec.msgpack.encode(SEALED)) < 1500


@pytest.mark.parametrize(
    "purpose",
    [
        Purpose("other", 2**63 + 1, 7, Part.TRAIN, ASKED),
        Purpose("sums", 2**63, 7, Part.TRAIN, ASKED),
        Purpose("sums", 2**63 + 1, 8, Part.TRAIN, ASKED),
        Purpose("sums", 2**63 + 1, 7, Part.EVALUATE, ASKED),
        Purpose("sums", 2**63 + 1, 7, Part.TRAIN, b"b" * 32),
    ],
)
def test_a_seed_is_for_one_round_alone(purpose):
    with pytest.raises(BadSeed, match="did not sign"):
        open_seed(HELPER.keys, NODE.certificate, purpose, SEALED)


def test_a_seed_cannot_be_passed_off_as_another_nodes():
    with pytest.raises(BadSeed, match=f"{OTHER.party} did not sign"):
        open_seed(HELPER.keys, OTHER.certificate, ROUND, SEALED)


def test_a_node_cannot_sign_a_seed_that_it_did_not_seal():
    stolen = SealedSeed(SEALED.sealed, seal_seed(OTHER, HELPER.certificate, ROUND, SEED).signature)
    with pytest.raises(BadSeed):
        open_seed(HELPER.keys, OTHER.certificate, ROUND, stolen)


def test_the_leader_cannot_open_it():
    with pytest.raises(BadSeed, match="other keys"):
        open_seed(LEADER.keys, NODE.certificate, ROUND, SEALED)


@given(st.data())
@settings(deadline=None, max_examples=50)
def test_a_changed_byte_is_found(data):
    raw = bytearray(SEALED.sealed + SEALED.signature)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    changed = SealedSeed(bytes(raw[: len(SEALED.sealed)]), bytes(raw[len(SEALED.sealed) :]))
    with pytest.raises(BadSeed):
        open_seed(HELPER.keys, NODE.certificate, ROUND, changed)


def test_a_seed_of_another_length_is_named():
    short = seal_seed(NODE, HELPER.certificate, ROUND, b"short")
    with pytest.raises(BadSeed, match="5 bytes"):
        open_seed(HELPER.keys, NODE.certificate, ROUND, short)
