"""A helper adds up whole groups that its own organisation vouches for, each node once a round, and nothing else."""

from collections import defaultdict

import msgspec
import numpy as np
import pytest

from aggregator.helper.desk import HelperDesk
from aggregator.helper.records import HelperRecords
from privacy.identity.authority import CertificateAuthority
from privacy.identity.certificates import Role, node_party
from privacy.secure_sum.exchange import Part, SumRefusal, SumRequest
from privacy.secure_sum.mask import new_seed
from privacy.secure_sum.seeds import Purpose, seal_seed
from privacy.secure_sum.sums import MaskSum

AUTHORITY = CertificateAuthority.create("sums")
NODES = [AUTHORITY.enrol(node_party(n), Role.NODE) for n in range(2, 12)]
HELPER = AUTHORITY.enrol("observer", Role.OBSERVER)
LEADER = AUTHORITY.enrol("leader", Role.LEADER)
RUN = 2**64 - 3
ASKED = b"a" * 32
SEEDS = defaultdict(new_seed)
UINT32 = np.dtype(np.uint32)


def sealed(node, round_number=1, seed=None, run=RUN, part=Part.TRAIN, asked=ASKED):
    return seal_seed(
        node, HELPER.certificate, Purpose("sums", run, round_number, part, asked), seed or SEEDS[node.party]
    )


def request(nodes, round_number=1, run=RUN, part=Part.TRAIN, **changes):
    """What an honest leader asks; `changes` replaces seeds of nodes."""
    seeds = {node.party: sealed(node, round_number, run=run, part=part) for node in nodes} | changes
    return SumRequest(round_number, part, ASKED, 32, 5, 2, seeds)


@pytest.fixture
def records(tmp_path):
    records = HelperRecords(f"sqlite:///{tmp_path}/helper.db")
    for node in NODES:
        records.approve(node.party, 1.0)
    yield records
    records.close()


@pytest.fixture
def desk(records):
    known = {identity.party: identity.certificate for identity in (*NODES, LEADER)}
    return HelperDesk(HELPER.keys, "sums", records, known.get, 3)


def refused(desk, asked, run=RUN):
    answer = desk.answer(run, asked)
    assert answer.elements == answer.scalars == b""
    return answer.refusal, answer.because_of


def test_a_whole_group_gets_the_sum_of_its_masks(desk):
    answer = desk.answer(RUN, request(NODES[:4]))
    total = MaskSum(5, 2, UINT32)
    for node in NODES[:4]:
        total.add(SEEDS[node.party])
    assert answer.refusal is None
    assert answer.elements == total.elements.tobytes()
    assert answer.scalars == total.scalars.tobytes()


def test_a_group_below_the_least_cohort_gets_nothing(desk):
    assert refused(desk, request(NODES[:2]))[0] is SumRefusal.TOO_FEW


def test_no_helper_can_be_set_to_answer_for_one_node(records):
    with pytest.raises(ValueError, match="hides nobody"):
        HelperDesk(HELPER.keys, "sums", records, lambda _: None, 1)


def test_nodes_that_the_leader_made_up_do_not_count(desk, records):
    records.withdraw(NODES[1].party)
    assert refused(desk, request(NODES[:4])) == (SumRefusal.NOT_APPROVED, [NODES[1].party])
    assert desk.answer(RUN, request([NODES[0], *NODES[2:5]])).refusal is None


def test_an_approved_name_without_a_certificate_does_not_count(desk, records):
    ghost = AUTHORITY.enrol(node_party(99), Role.NODE)
    records.approve(ghost.party, 1.0)
    assert refused(desk, request([*NODES[:3], ghost])) == (SumRefusal.UNKNOWN, [ghost.party])


def test_only_nodes_count(desk, records):
    records.approve(LEADER.party, 1.0)
    assert refused(desk, request([*NODES[:3], LEADER])) == (SumRefusal.UNKNOWN, ["leader"])


def test_no_two_sums_of_a_round_share_a_node(desk):
    assert desk.answer(RUN, request(NODES[:4])).refusal is None
    again = request(NODES[3:8], **{NODES[3].party: sealed(NODES[3], seed=new_seed())})
    assert refused(desk, again) == (SumRefusal.COUNTED, [NODES[3].party])
    assert desk.answer(RUN, request(NODES[4:8])).refusal is None


def test_a_sum_over_all_but_one_is_not_given_after_the_sum_over_all(desk):
    """The difference of the two would be one node's vector."""
    assert desk.answer(RUN, request(NODES)).refusal is None
    assert refused(desk, request(NODES[1:]))[0] is SumRefusal.COUNTED


def test_the_same_request_gets_the_same_answer_again(desk, records):
    asked = request(NODES[:4])
    first = desk.answer(RUN, asked)
    restarted = HelperDesk(HELPER.keys, "sums", records, {n.party: n.certificate for n in NODES}.get, 3)
    assert restarted.answer(RUN, asked) == first


def test_the_same_nodes_with_another_length_are_another_request(desk):
    asked = request(NODES[:4])
    assert desk.answer(RUN, asked).refusal is None
    assert refused(desk, msgspec.structs.replace(asked, elements=6))[0] is SumRefusal.COUNTED


def test_a_seed_for_another_round_or_run_does_not_count(desk):
    for stale in (sealed(NODES[1], round_number=2), sealed(NODES[1], run=RUN - 1)):
        asked = request(NODES[:4], **{NODES[1].party: stale})
        assert refused(desk, asked) == (SumRefusal.BAD_SEED, [NODES[1].party])


def test_training_and_evaluation_of_one_round_are_counted_apart(desk):
    assert desk.answer(RUN, request(NODES[:4])).refusal is None
    fresh = {n.party: sealed(n, seed=new_seed(), part=Part.EVALUATE) for n in NODES[:4]}
    assert desk.answer(RUN, request(NODES[:4], part=Part.EVALUATE, **fresh)).refusal is None


def test_nodes_that_were_asked_different_things_are_not_summed(desk):
    """A leader that has the others train at a rate of zero would learn the one node that it did not."""
    others = {n.party: sealed(n, asked=b"b" * 32) for n in NODES[1:4]}
    assert refused(desk, request(NODES[:4], **others)) == (SumRefusal.BAD_SEED, [n.party for n in NODES[1:4]])


def test_a_seed_of_another_node_does_not_count(desk):
    asked = request(NODES[:4], **{NODES[1].party: sealed(NODES[2])})
    assert refused(desk, asked) == (SumRefusal.BAD_SEED, [NODES[1].party])


def test_a_seed_never_serves_twice_not_even_in_another_run(desk):
    assert desk.answer(RUN, request(NODES[:4])).refusal is None
    later = {n.party: sealed(n, 2, new_seed()) for n in NODES[1:4]}
    refusal, because_of = refused(desk, request(NODES[:4], 2, **later))
    assert (refusal, because_of) == (SumRefusal.SEED_USED, [NODES[0].party])
    assert refused(desk, request(NODES[:4], run=5), run=5)[0] is SumRefusal.SEED_USED


def test_two_nodes_with_one_seed_do_not_count(desk):
    seed = new_seed()
    asked = request(NODES[:4], **{node.party: sealed(node, seed=seed) for node in NODES[:2]})
    assert refused(desk, asked) == (SumRefusal.SEED_USED, [NODES[0].party, NODES[1].party])


def test_a_refusal_uses_nothing_up(desk):
    bad = request(NODES[:4], **{NODES[1].party: sealed(NODES[2])})
    assert refused(desk, bad)[0] is SumRefusal.BAD_SEED
    assert desk.answer(RUN, request(NODES[:4])).refusal is None


def test_approvals_are_listed_and_withdrawn(records):
    assert set(records.approved()) == {node.party for node in NODES}
    assert [records.approve(NODES[0].party, 2.0), records.withdraw(NODES[0].party)] == [False, True]
    assert not records.withdraw(NODES[0].party)
    assert NODES[0].party not in records.approved()


@pytest.mark.parametrize(
    "change",
    [
        {"bits": 24},
        {"assignment": b"short"},
        {"part": "both"},
        {"elements": -1},
        {"scalars": 0},
        {"round_number": 0},
        {"seeds": {}},
    ],
)
def test_a_request_that_makes_no_sense_does_not_decode(change):
    raw = msgspec.to_builtins(request(NODES[:4])) | change
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(msgspec.msgpack.encode(raw), type=SumRequest)
