"""A helper adds up whole groups that its own organisation vouches for, each node once a round, and nothing else."""

import hashlib

import msgspec
import numpy as np
import pytest
from draws_double import LeaderDouble
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aggregator.helper.desk import HelperDesk
from aggregator.helper.records import HelperRecords
from privacy.identity.authority import CertificateAuthority
from privacy.identity.certificates import Role, node_party
from privacy.secure_sum.draw import closed
from privacy.secure_sum.exchange import DrawRequest, NodeTerms, Part, SumRefusal, SumRequest
from privacy.secure_sum.mask import new_seed
from privacy.secure_sum.seeds import key_digest
from privacy.secure_sum.sums import MaskSum

AUTHORITY = CertificateAuthority.create("sums")
NODES = [AUTHORITY.enrol(node_party(n), Role.NODE) for n in range(2, 12)]
HELPER = AUTHORITY.enrol("observer", Role.OBSERVER)
LEADER = AUTHORITY.enrol("leader", Role.LEADER)
RUN = 2**64 - 3
UINT32 = np.dtype(np.uint32)
KNOWN = {identity.party: identity.certificate for identity in (*NODES, LEADER)}
NOW = 1_000_000.0


class Clock:
    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


def approve(records, nodes):
    for node in nodes:
        records.approve(node.party, 1.0, key_digest(node.certificate))


@pytest.fixture
def records(tmp_path):
    records = HelperRecords(f"sqlite:///{tmp_path}/helper.db")
    approve(records, NODES)
    yield records
    records.close()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def desk(records, clock):
    return HelperDesk(HELPER.keys, "sums", records, KNOWN.get, 3, clock=clock)


def leader_of(desk, run=RUN):
    return LeaderDouble(lambda asked: desk.draw(run, asked), HELPER, "sums", run)


@pytest.fixture
def leader(desk):
    return leader_of(desk)


def refused(desk, asked, run=RUN):
    answer = desk.answer(run, asked)
    assert answer.elements == answer.scalars == b""
    return answer.refusal, answer.because_of


def test_a_whole_group_gets_the_sum_of_its_masks(desk, leader):
    leader.draw(NODES[:4])
    answer = desk.answer(RUN, leader.request(NODES[:4]))
    total = MaskSum(5, 2, UINT32)
    for node in NODES[:4]:
        total.add(leader.seeds[node.party, 1, Part.TRAIN])
    assert answer.refusal is None
    assert answer.elements == total.elements.tobytes()
    assert answer.scalars == total.scalars.tobytes()


def test_a_group_below_the_least_cohort_gets_nothing(desk, leader):
    leader.draw(NODES[:3])
    assert refused(desk, leader.request(NODES[:2]))[0] is SumRefusal.TOO_FEW


def test_no_helper_can_be_set_to_answer_for_one_node(records):
    with pytest.raises(ValueError, match="hides nobody"):
        HelperDesk(HELPER.keys, "sums", records, lambda _: None, 1)


# --- who counts ------------------------------------------------------------------------------------------------------


def test_groups_are_drawn_over_approved_nodes_alone(desk, leader, records):
    records.withdraw(NODES[1].party)
    share = leader.draw(NODES[:4])
    assert (share.draw, share.refusal, share.because_of) == (None, SumRefusal.NOT_APPROVED, [NODES[1].party])
    assert leader.draw([NODES[0], *NODES[2:5]]).draw is not None


def test_nodes_that_the_leader_made_up_do_not_count(desk, leader, records):
    leader.draw(NODES[:4])
    records.withdraw(NODES[1].party)
    assert refused(desk, leader.request(NODES[:4])) == (SumRefusal.NOT_APPROVED, [NODES[1].party])
    assert desk.answer(RUN, leader.request([NODES[0], *NODES[2:4]])).refusal is None


def test_a_node_that_was_approved_by_name_in_older_records_does_not_count(desk, leader, records):
    leader.draw(NODES[:4])
    with records.session() as session:
        session.connection().exec_driver_sql(f"UPDATE approved_nodes SET key = NULL WHERE party = '{NODES[2].party}'")
    assert refused(desk, leader.request(NODES[:4])) == (SumRefusal.NOT_APPROVED, [NODES[2].party])
    assert leader.draw(NODES[:4], 2).because_of == [NODES[2].party]


def test_another_key_under_an_approved_name_does_not_count(desk, leader):
    leader.draw(NODES[:4])
    false = AUTHORITY.enrol(NODES[1].party, Role.NODE)
    deceived = HelperDesk(HELPER.keys, "sums", desk._records, (KNOWN | {false.party: false.certificate}).get, 3)
    asked = leader.request(NODES[:4], **{false.party: leader.sealed(false)})
    assert refused(deceived, asked) == (SumRefusal.OTHER_KEY, [NODES[1].party])


def test_an_approved_name_without_a_certificate_does_not_count(desk, leader, records):
    ghost = AUTHORITY.enrol(node_party(99), Role.NODE)
    approve(records, [ghost])
    leader.draw([*NODES[:3], ghost])
    assert refused(desk, leader.request([*NODES[:3], ghost])) == (SumRefusal.UNKNOWN, [ghost.party])


def test_only_nodes_count(desk, leader, records):
    approve(records, [LEADER])
    leader.draw([*NODES[:3], LEADER])
    assert refused(desk, leader.request([*NODES[:3], LEADER])) == (SumRefusal.UNKNOWN, ["leader"])


# --- once ------------------------------------------------------------------------------------------------------------


def test_a_sum_over_all_but_one_is_not_given_after_the_sum_over_all(desk, leader):
    """The difference of the two would be one node's vector."""
    leader.draw(NODES)
    assert desk.answer(RUN, leader.request(NODES)).refusal is None
    assert refused(desk, leader.request(NODES[1:]))[0] is SumRefusal.COUNTED


def test_no_two_sums_of_a_round_share_a_node(desk, leader):
    leader.draw(NODES)
    assert desk.answer(RUN, leader.request(NODES[:8])).refusal is None
    again = leader.request(NODES[1:], **{NODES[3].party: leader.sealed(NODES[3], seed=new_seed())})
    assert refused(desk, again) == (SumRefusal.COUNTED, [node.party for node in NODES[1:8]])


def test_the_same_request_gets_the_same_answer_again_even_when_its_time_is_over(desk, leader, records, clock):
    leader.draw(NODES[:4])
    asked = leader.request(NODES[:4])
    first = desk.answer(RUN, asked)
    restarted = HelperDesk(HELPER.keys, "sums", records, KNOWN.get, 3, clock=clock)
    assert restarted.answer(RUN, asked) == first
    clock.now += 1e7
    assert restarted.answer(RUN, asked) == first


def test_the_same_nodes_with_another_length_are_another_request(desk, leader):
    leader.draw(NODES[:4])
    asked = leader.request(NODES[:4])
    assert desk.answer(RUN, asked).refusal is None
    assert refused(desk, msgspec.structs.replace(asked, elements=6))[0] is SumRefusal.COUNTED


def test_a_seed_for_another_round_or_run_does_not_count(desk, leader):
    leader.draw(NODES[:4])
    for at in (leader.name(2), leader_of(desk, RUN - 1).name()):
        asked = leader.request(NODES[:4], **{NODES[1].party: leader.sealed(NODES[1], at=at)})
        assert refused(desk, asked) == (SumRefusal.BAD_SEED, [NODES[1].party])


def test_training_and_evaluation_of_one_round_are_counted_apart(desk, leader):
    for part in Part:
        leader.draw(NODES[:4], part=part)
        assert desk.answer(RUN, leader.request(NODES[:4], part=part)).refusal is None


def test_nodes_that_were_asked_different_things_are_not_summed(desk, leader):
    """A leader that has the others train at a rate of zero would learn the one node that it did not."""
    leader.draw(NODES[:4])
    others = {n.party: leader.sealed(n, asked=b"b" * 32) for n in NODES[1:4]}
    assert refused(desk, leader.request(NODES[:4], **others)) == (SumRefusal.BAD_SEED, [n.party for n in NODES[1:4]])


def test_a_seed_of_another_node_does_not_count(desk, leader):
    leader.draw(NODES[:4])
    asked = leader.request(NODES[:4], **{NODES[1].party: leader.sealed(NODES[2])})
    assert refused(desk, asked) == (SumRefusal.BAD_SEED, [NODES[1].party])


def test_a_seed_never_serves_twice_not_even_in_another_run(desk, leader):
    leader.draw(NODES[:4])
    assert desk.answer(RUN, leader.request(NODES[:4])).refusal is None
    leader.draw(NODES[:4], 2)
    used = leader.seeds[NODES[0].party, 1, Part.TRAIN]
    again = leader.request(NODES[:4], 2, **{NODES[0].party: leader.sealed(NODES[0], 2, seed=used)})
    assert refused(desk, again) == (SumRefusal.SEED_USED, [NODES[0].party])
    other = leader_of(desk, 5)
    other.draw(NODES[:4])
    again = other.request(NODES[:4], **{NODES[0].party: other.sealed(NODES[0], seed=used)})
    assert refused(desk, again, run=5)[0] is SumRefusal.SEED_USED


def test_two_nodes_with_one_seed_do_not_count(desk, leader):
    leader.draw(NODES[:4])
    seed = new_seed()
    asked = leader.request(NODES[:4], **{node.party: leader.sealed(node, seed=seed) for node in NODES[:2]})
    assert refused(desk, asked) == (SumRefusal.SEED_USED, [NODES[0].party, NODES[1].party])


def test_a_refusal_uses_nothing_up(desk, leader):
    leader.draw(NODES[:4])
    bad = leader.request(NODES[:4], **{NODES[1].party: leader.sealed(NODES[2])})
    assert refused(desk, bad)[0] is SumRefusal.BAD_SEED
    assert desk.answer(RUN, leader.request(NODES[:4])).refusal is None


# --- cohort and noise ------------------------------------------------------------------------------------------------


def test_a_node_that_counts_on_more_nodes_than_the_helper_s_cohort_is_refused(desk, leader):
    """It added a share of a noise that eleven nodes have together, to a sum that may be over three."""
    leader.draw(NODES)
    believes = {n.party: leader.sealed(n, said=NodeTerms(11, 500, 0)) for n in NODES}
    assert refused(desk, leader.request(NODES, **believes)) == (SumRefusal.SMALL_COHORT, [n.party for n in NODES])


@pytest.mark.parametrize("said", [NodeTerms(3, 400, 0), NodeTerms(2, 500, 0), NodeTerms(3, 0, 0)], ids=str)
def test_nodes_of_a_sum_all_say_the_same_cohort_and_noise(desk, leader, said):
    leader.draw(NODES[:4])
    noise = {n.party: leader.sealed(n, said=NodeTerms(3, 500, 0)) for n in NODES[:3]}
    other = {NODES[3].party: leader.sealed(NODES[3], said=said)}
    assert refused(desk, leader.request(NODES[:4], **noise, **other)) == (SumRefusal.UNEVEN, [NODES[3].party])


@pytest.mark.parametrize("said", [NodeTerms(3, 0, 0), NodeTerms(3, 500, 0)], ids=str)
def test_a_leader_cannot_speak_for_a_node_about_its_cohort_or_noise(desk, leader, said):
    leader.draw(NODES[:4])
    true = {n.party: leader.sealed(n, said=NodeTerms(11, 500, 0)) for n in NODES[:4]}
    lies = {party: msgspec.structs.replace(seed, said=said) for party, seed in true.items()}
    assert refused(desk, leader.request(NODES[:4], **lies))[0] is SumRefusal.BAD_SEED


# --- groups ----------------------------------------------------------------------------------------------------------


def groups_of(leader, number=1):
    found = {}
    for party, group in leader.groups[number, Part.TRAIN].items():
        found.setdefault(group, []).append(next(node for node in NODES if node.party == party))
    return [found[number] for number in sorted(found)]


def test_whole_groups_are_summed_and_nothing_else(desk, leader):
    leader.draw(NODES, size=3)
    first, second, third = groups_of(leader)
    mixed = [*first[:2], second[0]]
    assert refused(desk, leader.request(mixed, absent=[]))[0] is SumRefusal.NOT_WHOLE
    assert refused(desk, leader.request([*first, *second], absent=[]))[0] is SumRefusal.NOT_WHOLE
    for group in (first, second, third):
        assert desk.answer(RUN, leader.request(group, absent=[])).refusal is None


def test_a_node_that_was_told_another_group_is_refused(desk, leader):
    leader.draw(NODES, size=3)
    first, *_ = groups_of(leader)
    lied = {first[0].party: leader.sealed(first[0], said=NodeTerms(3, 0, 1))}
    assert refused(desk, leader.request(first, absent=[], **lied)) == (SumRefusal.OTHER_GROUP, [first[0].party])


def test_a_group_that_shrank_is_summed_with_the_one_that_the_rule_names(desk, leader):
    leader.draw(NODES[:9], size=3)
    first, second, third = groups_of(leader)
    gone = [first[0].party]
    asked = {n: leader.request(group, absent=gone) for n, group in {1: second, 2: [*first[1:], *third]}.items()}
    wrong = leader.request([*first[1:], *third], absent=gone)
    assert refused(desk, wrong)[0] is SumRefusal.NOT_WHOLE
    assert desk.answer(RUN, leader.request([*first[1:], *second], absent=gone)).refusal is None
    assert desk.answer(RUN, leader.request(third, absent=gone)).refusal is None
    assert all(refused(desk, one)[0] in (SumRefusal.NOT_WHOLE, SumRefusal.COUNTED) for one in asked.values())


def test_a_leader_cannot_leave_out_more_than_half_of_a_group(desk, leader):
    """It would leave out all but its own nodes and the one that it is after."""
    leader.draw(NODES)
    assert refused(desk, leader.request(NODES[:4]))[0] is SumRefusal.ABSENT
    assert desk.answer(RUN, leader.request(NODES[:5])).refusal is None


def test_who_is_absent_is_fixed_by_the_first_answer(desk, leader):
    leader.draw(NODES, size=3)
    large, second, _ = groups_of(leader)
    assert desk.answer(RUN, leader.request(second, absent=[])).refusal is None
    assert refused(desk, leader.request(large[:-1], absent=[large[-1].party]))[0] is SumRefusal.CLOSED
    assert desk.answer(RUN, leader.request(large, absent=[])).refusal is None


def test_nodes_that_were_not_drawn_are_in_no_sum(desk, leader):
    leader.draw(NODES[:4])
    assert refused(desk, leader.request(NODES[:5], absent=[])) == (SumRefusal.NOT_WHOLE, [NODES[4].party])


# --- the draw --------------------------------------------------------------------------------------------------------


def test_a_leader_that_does_not_like_the_groups_cannot_draw_again(desk, leader):
    first = leader.draw(NODES).draw
    assert leader.draw(NODES).refusal is SumRefusal.DRAWN
    assert leader.draw(NODES[:9]).refusal is SumRefusal.DRAWN
    secret = leader.secrets[1, Part.TRAIN]
    assert leader.draw(NODES, secret=secret).draw == first
    assert leader.draw(NODES, secret=secret, size=4).refusal is SumRefusal.DRAWN


def test_a_restarted_helper_gives_the_same_draw(desk, leader, records, clock):
    first = leader.draw(NODES).draw
    restarted = HelperDesk(HELPER.keys, "sums", records, KNOWN.get, 3, clock=clock)
    leader._draw = lambda asked: restarted.draw(RUN, asked)
    assert leader.draw(NODES, secret=leader.secrets[1, Part.TRAIN]).draw == first


def test_a_leader_cannot_reveal_another_number_than_it_committed_to(desk, leader):
    leader.draw(NODES[:4])
    asked = msgspec.structs.replace(leader.request(NODES[:4]), reveal=b"x" * 32)
    assert refused(desk, asked)[0] is SumRefusal.NOT_REVEALED


def test_a_sum_whose_groups_nobody_drew_is_not_given(desk, leader):
    assert refused(desk, leader.request(NODES[:4]))[0] is SumRefusal.NOT_DRAWN


def test_a_leader_that_draws_and_lets_go_is_refused_after_a_few(records, clock):
    """Under ever new runs it could otherwise draw until it likes the groups."""
    desk = HelperDesk(HELPER.keys, "sums", records, KNOWN.get, 3, most_unused=4, clock=clock)
    given = [leader_of(desk, run).draw(NODES).refusal for run in range(6)]
    assert given == [None] * 4 + [SumRefusal.UNUSED] * 2
    clock.now += 90_000
    assert leader_of(desk, 7).draw(NODES).refusal is None


def test_draws_that_are_used_are_not_counted_as_let_go(records, clock):
    desk = HelperDesk(HELPER.keys, "sums", records, KNOWN.get, 3, most_unused=1, clock=clock)
    for run in range(5):
        leader = leader_of(desk, run)
        assert leader.draw(NODES).refusal is None
        assert desk.answer(run, leader.request(NODES)).refusal is None


def test_seeds_end_with_their_round(desk, leader, clock):
    leader.draw(NODES[:4])
    asked = leader.request(NODES[:4])
    clock.now += 3601
    assert refused(desk, asked)[0] is SumRefusal.EXPIRED


def test_a_round_that_ended_without_a_sum_is_drawn_anew_and_old_seeds_count_no_longer(desk, leader, clock):
    leader.draw(NODES[:4])
    old = leader.request(NODES[:4]).seeds
    clock.now += 3601
    leader.seeds.clear()
    assert leader.draw(NODES[:4]).refusal is None
    mixed = leader.request(NODES[:4], **{NODES[0].party: old[NODES[0].party]})
    assert refused(desk, mixed) == (SumRefusal.BAD_SEED, [NODES[0].party])
    assert desk.answer(RUN, leader.request(NODES[:4])).refusal is None
    clock.now += 3601
    assert leader.draw(NODES[:4]).refusal is SumRefusal.DRAWN  # this one was answered for


def test_no_draw_lives_longer_than_the_helper_allows(records, clock):
    desk = HelperDesk(HELPER.keys, "sums", records, KNOWN.get, 3, lifetime_s=60.0, clock=clock)
    assert leader_of(desk).draw(NODES).draw.expires_at == clock.now + 60


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"nodes": [NODES[0].party, NODES[1].party]}, SumRefusal.TOO_FEW),
        ({"group_size": 2}, SumRefusal.TOO_FEW),
        ({"min_cohort": 2}, SumRefusal.TOO_FEW),
        ({"nodes": [NODES[1].party, NODES[0].party, NODES[2].party]}, SumRefusal.MALFORMED),
        ({"nodes": [NODES[0].party] * 4}, SumRefusal.MALFORMED),
    ],
)
def test_a_draw_that_could_make_a_sum_too_small_is_refused(desk, change, refusal):
    asked = DrawRequest(1, Part.TRAIN, bytes(32), sorted(n.party for n in NODES), 3, 3, 60.0)
    assert desk.draw(RUN, msgspec.structs.replace(asked, **change)).refusal is refusal


@given(absent=st.sets(st.integers(0, 9), max_size=6), size=st.integers(3, 6), data=st.data())
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_of_any_draw_and_whoever_is_absent_exactly_the_closed_groups_are_answered_for(
    tmp_path_factory, absent, size, data
):
    records = HelperRecords(f"sqlite:///{tmp_path_factory.mktemp('desk')}/helper.db")
    approve(records, NODES)
    desk = HelperDesk(HELPER.keys, "sums", records, KNOWN.get, 3, quorum=0.0)
    leader = leader_of(desk)
    leader.draw(NODES, size=size)
    gone = sorted(NODES[place].party for place in absent)
    sums = closed(leader.groups[1, Part.TRAIN], gone, 3)
    here = [node for place, node in enumerate(NODES) if place not in absent]
    order = data.draw(st.permutations(range(len(here))))
    some = [here[place] for place in order[: data.draw(st.integers(3, len(here)))]]
    if {node.party for node in some} not in [one.nodes for one in sums.values()]:
        assert refused(desk, leader.request(some, absent=gone))[0] is SumRefusal.NOT_WHOLE
    for one in sums.values():
        members = [node for node in NODES if node.party in one.nodes]
        assert desk.answer(RUN, leader.request(members, absent=gone)).refusal is None
    records.close()


# --- records ---------------------------------------------------------------------------------------------------------


def test_approvals_are_listed_and_withdrawn(records):
    assert set(records.approved()) == {node.party for node in NODES}
    key = key_digest(NODES[0].certificate)
    assert [records.approve(NODES[0].party, 2.0, key), records.withdraw(NODES[0].party)] == [False, True]
    assert not records.withdraw(NODES[0].party)
    assert NODES[0].party not in records.approved()


def test_a_new_key_of_a_node_is_approved_in_the_place_of_the_old(records):
    key = hashlib.sha256(b"another").digest()
    assert records.approve(NODES[0].party, 2.0, key)
    assert records.approved()[NODES[0].party].key == key


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
        {"reveal": b"short"},
        {"type": "draw"},
    ],
)
def test_a_request_that_makes_no_sense_does_not_decode(change, leader):
    leader.draw(NODES[:4])
    raw = msgspec.to_builtins(leader.request(NODES[:4])) | change
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(msgspec.msgpack.encode(raw), type=SumRequest)
