"""A draw: neither organisation chooses who is summed with whom, and everyone works out the same groups."""

from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.identity.keys import PrivateKeys
from privacy.secure_sum.draw import (
    BadDraw,
    SumName,
    closed,
    commitment_of,
    groups_of,
    merged,
    new_secret,
    sign_draw,
    spread,
    verify_draw,
)
from privacy.secure_sum.exchange import Part

AT = SumName("ours", 2**64 - 3, 7, Part.TRAIN)
PARTIES = st.sets(st.integers(0, 2**64 - 1).map(lambda n: f"node-{n:016x}"), min_size=1, max_size=60)
SECRETS = st.binary(min_size=32, max_size=32)


@given(nodes=PARTIES, secret=SECRETS, nonce=SECRETS, size=st.integers(2, 20), order=st.randoms())
@settings(deadline=None)
def test_every_node_is_in_one_group_and_none_is_smaller_than_asked(nodes, secret, nonce, size, order):
    groups = groups_of(AT, secret, nonce, nodes, size, 2)
    assert groups.keys() == nodes
    sizes = Counter(groups.values())
    assert sorted(sizes) == list(range(len(sizes)))
    assert min(sizes.values()) >= min(size, len(nodes))
    assert max(sizes.values()) - min(sizes.values()) <= 1
    shuffled = list(nodes)
    order.shuffle(shuffled)
    assert groups_of(AT, secret, nonce, shuffled, size, 2) == groups


NODES = sorted(f"node-{n:016x}" for n in range(30))
SECRET, NONCE = b"s" * 32, b"n" * 32


@pytest.mark.parametrize(
    "change",
    [
        {"at": SumName("theirs", AT.run_id, 7, Part.TRAIN)},
        {"at": SumName("ours", 1, 7, Part.TRAIN)},
        {"at": SumName("ours", AT.run_id, 8, Part.TRAIN)},
        {"at": SumName("ours", AT.run_id, 7, Part.EVALUATE)},
        {"secret": b"t" * 32},
        {"nonce": b"m" * 32},
        {"min_cohort": 3},
    ],
    ids=str,
)
def test_groups_depend_on_both_numbers_and_on_the_very_sum(change):
    asked = {"at": AT, "secret": SECRET, "nonce": NONCE, "nodes": NODES, "size": 3, "min_cohort": 2}
    assert groups_of(**(asked | change)) != groups_of(**asked)


def together(groups):
    """Whether the first two nodes are in one group."""
    return groups[NODES[0]] == groups[NODES[1]]


@pytest.mark.parametrize("who", ["leader", "helper"])
def test_whoever_fixes_one_number_still_gets_fair_groups_from_the_other(who):
    """Two of 30 nodes in ten groups of three are together in 2 of 29 draws, whatever one side chose."""
    tries = 3000
    count = 0
    for _ in range(tries):
        secret, nonce = (SECRET, new_secret()) if who == "leader" else (new_secret(), NONCE)
        count += together(groups_of(AT, secret, nonce, NODES, 3, 3))
    expected = tries * 2 / 29
    assert abs(count - expected) < 6 * expected**0.5


def test_a_commitment_binds_and_does_not_show():
    secret = new_secret()
    assert commitment_of(secret) == commitment_of(secret) != commitment_of(new_secret())
    assert secret not in commitment_of(secret)


@given(sizes=st.dictionaries(st.integers(0, 9), st.integers(1, 6), min_size=1), least=st.integers(2, 7))
@settings(deadline=None)
def test_groups_that_are_too_small_are_merged_until_none_is(sizes, least):
    into = merged(sizes, least)
    totals = Counter()
    for number, target in into.items():
        totals[target] += sizes[number]
    assert all(total >= least for total in totals.values())
    assert all(into[target] == target for target in totals)
    if sum(sizes.values()) >= least:
        assert into.keys() == sizes.keys()
    else:
        assert not into
    assert merged(dict(reversed(sizes.items())), least) == into  # in whatever order they are told


@given(nodes=PARTIES, gone=st.sets(st.integers(0, 59)), size=st.integers(2, 8), least=st.integers(2, 8))
@settings(deadline=None)
def test_sums_are_disjoint_and_hold_all_who_are_not_absent(nodes, gone, size, least):
    groups = groups_of(AT, SECRET, NONCE, nodes, size, least)
    absent = {party for place, party in enumerate(sorted(nodes)) if place in gone}
    sums = closed(groups, absent, least)
    members = [party for one in sums.values() for party in one.nodes]
    assert len(members) == len(set(members))
    left = nodes - absent
    assert set(members) == (left if len(left) >= least else set())
    assert all(len(one.nodes) >= least and one.drawn >= len(one.nodes) for one in sums.values())


def test_groups_are_no_larger_than_one_message_holds():
    assert max(Counter(spread([str(n) for n in range(9000)], 9000).values()).values()) <= 4000


KEYS = PrivateKeys.generate()
DRAW = sign_draw(KEYS.signing, AT, commitment_of(SECRET), 3, 1e9)


def test_a_helper_s_draw_is_its_own_and_fresh():
    verify_draw(KEYS.signing.public_key(), AT, DRAW)
    assert sign_draw(KEYS.signing, AT, commitment_of(SECRET), 3, 1e9).nonce != DRAW.nonce
    with pytest.raises(BadDraw, match="train of round 7"):
        verify_draw(PrivateKeys.generate().signing.public_key(), AT, DRAW)


@pytest.mark.parametrize(
    "change",
    [{"commitment": bytes(32)}, {"nonce": bytes(32)}, {"min_cohort": 11}, {"expires_at": 2e9}],
    ids=lambda change: next(iter(change)),
)
def test_nothing_of_a_draw_can_be_changed(change):
    with pytest.raises(BadDraw):
        verify_draw(KEYS.signing.public_key(), AT, msgspec.structs.replace(DRAW, **change))
