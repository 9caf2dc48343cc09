"""A seed counts only for the node that sealed it, the round it was sealed for, and the helper it was sealed to."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.identity.authority import CertificateAuthority
from privacy.identity.certificates import Role, node_party
from privacy.secure_sum.draw import SumName
from privacy.secure_sum.exchange import NodeTerms, Part, SealedSeed
from privacy.secure_sum.mask import new_seed
from privacy.secure_sum.seeds import BadSeed, Purpose, open_seed, seal_seed

AUTHORITY = CertificateAuthority.create("sums")
NODE, OTHER = (AUTHORITY.enrol(node_party(n), Role.NODE) for n in (2, 3))
HELPER, LEADER = AUTHORITY.enrol("observer", Role.OBSERVER), AUTHORITY.enrol("leader", Role.LEADER)
ASKED = b"a" * 32
DRAW = b"d" * 32


def purpose(federation="sums", run=2**63 + 1, number=7, part=Part.TRAIN, asked=ASKED, draw=DRAW):
    return Purpose(SumName(federation, run, number, part), asked, draw)


ROUND = purpose()
SAID = NodeTerms(11, 4_000, 2)
SEED = new_seed()
SEALED = seal_seed(NODE, HELPER.certificate, ROUND, SAID, SEED)


def test_the_helper_opens_what_the_node_sealed():
    assert open_seed(HELPER.keys, NODE.certificate, ROUND, SEALED) == SEED


def test_it_takes_less_than_two_kilobytes():
    assert len(msgspec.msgpack.encode(SEALED)) < 1500


@pytest.mark.parametrize(
    "change",
    [
        {"federation": "other"},
        {"run": 2**63},
        {"number": 8},
        {"part": Part.EVALUATE},
        {"asked": b"b" * 32},
        {"draw": b"e" * 32},
    ],
    ids=str,
)
def test_a_seed_is_for_one_round_and_draw_alone(change):
    with pytest.raises(BadSeed, match="did not sign"):
        open_seed(HELPER.keys, NODE.certificate, purpose(**change), SEALED)


@pytest.mark.parametrize("said", [NodeTerms(3, 4_000, 2), NodeTerms(11, 4_001, 2), NodeTerms(11, 4_000, 1)], ids=str)
def test_a_leader_cannot_have_a_node_say_another_cohort_noise_or_group(said):
    with pytest.raises(BadSeed, match="did not sign"):
        open_seed(HELPER.keys, NODE.certificate, ROUND, SealedSeed(said, SEALED.sealed, SEALED.signature))


def test_a_node_s_terms_are_inside_its_seal_too():
    """Even the node itself cannot sign a seed under other terms than those that it sealed it with."""
    other = seal_seed(NODE, HELPER.certificate, ROUND, NodeTerms(3, 0, 2), SEED)
    signature = seal_seed(NODE, HELPER.certificate, ROUND, SAID, SEED)
    with pytest.raises(BadSeed):
        open_seed(HELPER.keys, NODE.certificate, ROUND, SealedSeed(SAID, other.sealed, signature.signature))


def test_a_seed_cannot_be_passed_off_as_another_nodes():
    with pytest.raises(BadSeed, match=f"{OTHER.party} did not sign"):
        open_seed(HELPER.keys, OTHER.certificate, ROUND, SEALED)


def test_a_node_cannot_sign_a_seed_that_it_did_not_seal():
    stolen = SealedSeed(SAID, SEALED.sealed, seal_seed(OTHER, HELPER.certificate, ROUND, SAID, SEED).signature)
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
    changed = SealedSeed(SAID, bytes(raw[: len(SEALED.sealed)]), bytes(raw[len(SEALED.sealed) :]))
    with pytest.raises(BadSeed):
        open_seed(HELPER.keys, NODE.certificate, ROUND, changed)


def test_a_seed_of_another_length_is_named():
    short = seal_seed(NODE, HELPER.certificate, ROUND, SAID, b"short")
    with pytest.raises(BadSeed, match="5 bytes"):
        open_seed(HELPER.keys, NODE.certificate, ROUND, short)
