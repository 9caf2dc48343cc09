"""Groups of a sum: what is added is what comes out, whatever order and whoever is missing; each node counts once."""

import msgspec
import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.strategies.groups import MOST_KINDS, BadShare, Groups
from privacy.boundary.flower import CENTRE, enter_run, set_message_id
from privacy.secure_sum.exchange import (
    SEALED_SEED_BYTES,
    SIGNATURE_BYTES,
    Draw,
    NodeTerms,
    Part,
    SealedSeed,
)
from privacy.secure_sum.terms import ELEMENTS, METRICS, SCALARS, SEED, SHARE, TERMS, SumTerms
from privacy.secure_sum.vector import Plan

ELEMENTS_OF_ALL = 4
DRAW = Draw(bytes(32), bytes(32), 3, 2e9, bytes(64))
SEED_OF_ALL = msgspec.msgpack.encode(SealedSeed(NodeTerms(3, 0, 0), bytes(SEALED_SEED_BYTES), bytes(SIGNATURE_BYTES)))


@pytest.fixture(autouse=True)
def run():
    enter_run(1, CENTRE)


def terms(group, most=64):
    return SumTerms(Plan(1.0, most), "helper", 1, Part.TRAIN, group, "num-examples", DRAW)


def share(node, metrics=("loss",)):
    """A share whose elements tell its node."""
    task = Message(RecordDict(), dst_node_id=node, message_type="train")
    set_message_id(task, f"{node:032x}")
    arrays = {ELEMENTS: np.full(ELEMENTS_OF_ALL, node, np.uint32), SCALARS: np.full(1 + len(metrics), node, np.uint64)}
    content = RecordDict(
        {
            SHARE: ArrayRecord({name: Array(values) for name, values in arrays.items()}),
            TERMS: ConfigRecord({METRICS: list(metrics), SEED: SEED_OF_ALL}),
        }
    )
    return Message(content, reply_to=task)


def made(sizes, present=None, most=64):
    """Groups of these sizes, of nodes 2, 3, ... in turn."""
    places = [group for group, size in enumerate(sizes) for _ in range(size)]
    return Groups({node: terms(group, most) for node, group in enumerate(places, 2)}, ELEMENTS_OF_ALL, present)


def nodes_of(groups):
    return sorted(sorted(group.seeds) for group in groups)


def assert_adds_up(group):
    total = sum(group.seeds)
    assert (group.total.elements == np.uint32(total)).all()
    assert (group.total.scalars == np.uint64(total)).all()
    assert group.total.count == len(group.seeds)


@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=6),
    gone=st.sets(st.integers(2, 40)),
    least=st.integers(2, 4),
    order=st.randoms(),
)
@settings(deadline=None, max_examples=60)
def test_every_share_is_in_one_group_none_is_too_small_and_all_add_up(sizes, gone, least, order):
    groups = made(sizes)
    came = [node for node in range(2, 2 + sum(sizes)) if node not in gone]
    order.shuffle(came)
    for node in came:
        groups.add(share(node))
    ready, lost = groups.close(least)
    assert all(len(group.seeds) >= least for group in ready)
    assert sorted(node for group in (*ready, *lost) for node in group.seeds) == sorted(came)
    assert bool(ready) == (len(came) >= least)  # all have the same metrics, so a group too small always finds another
    assert not (ready and lost)
    for group in (*ready, *lost):
        assert_adds_up(group)


def test_groups_that_are_large_enough_stay_as_they_were_drawn():
    groups = made([3, 3])
    for node in range(2, 8):
        groups.add(share(node))
    assert nodes_of(groups.close(3)[0]) == [[2, 3, 4], [5, 6, 7]]


def test_nodes_with_other_metrics_than_most_are_in_no_group_and_no_sum_loses_its_own():
    groups = made([3, 3, 3])
    for node in range(2, 11):
        groups.add(share(node, ("acc",) if node in (3, 9, 10) else ("loss",)))
    ready, lost = groups.close(3)
    assert (nodes_of(ready), nodes_of(lost)) == ([[2, 4, 8], [5, 6, 7]], [[3], [9, 10]])
    for group in ready:
        assert_adds_up(group)


def test_nobody_can_make_the_leader_hold_ever_more_sums():
    groups = made([MOST_KINDS + 1])
    for place in range(MOST_KINDS):
        groups.add(share(2 + place, (f"metric {place}",)))
    with pytest.raises(BadShare, match="nobody else of its group"):
        groups.add(share(2 + MOST_KINDS, ("one more",)))


def test_a_node_counts_once_even_with_other_metrics():
    groups = made([3])
    groups.add(share(2))
    for metrics in (("loss",), ("acc",)):
        with pytest.raises(BadShare, match="added before"):
            groups.add(share(2, metrics))
    groups.add(share(3))
    (group,), _ = groups.close(2)
    assert_adds_up(group)


def test_who_was_not_asked_is_not_added():
    with pytest.raises(BadShare, match="not asked"):
        made([3]).add(share(9))


def test_a_sum_that_could_wrap_around_takes_no_more():
    groups = made([3], most=2)
    groups.add(share(2))
    groups.add(share(3))
    with pytest.raises(BadShare, match="the sum holds 2"):
        groups.add(share(4))
    (group,), _ = groups.close(2)
    assert_adds_up(group)


def test_after_it_was_asked_for_a_set_is_whole_or_lost_and_late_ones_are_left_out():
    groups = made([3, 2, 3], {2, 3, 4, 5, 7, 8, 9})  # 5 is alone in its group and joins another, 6 had not answered
    with pytest.raises(BadShare, match="before this reply came"):
        groups.add(share(6))
    for node in (9, 2, 8, 5, 3, 4):
        groups.add(share(node))
    ready, lost = groups.close(3)
    assert (nodes_of(ready), nodes_of(lost)) == ([[2, 3, 4, 5]], [[8, 9]])
    assert_adds_up(ready[0])
