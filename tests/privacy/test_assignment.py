"""Nodes of one sum were asked the very same: whatever could tell one from the others changes the hash of its task."""

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from privacy.boundary import flower
from privacy.boundary.arrays import arrays_of, pack, unpack
from privacy.boundary.assignment import assignment_of
from privacy.boundary.messages import Encoding
from privacy.secure_sum.exchange import Draw, Part
from privacy.secure_sum.terms import TERMS, SumTerms
from privacy.secure_sum.vector import Plan

DRAW = Draw(bytes(32), bytes(32), 3, 2e9, bytes(64))
MODEL = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.fixture(autouse=True)
def in_a_run():
    flower.enter_run(7, flower.CENTRE)


def task(node=5, kind="train", model=MODEL, config=None, group=0, more=None, **terms):
    plan = Plan(**({"bound": 4.0, "most": 10} | terms))
    said = SumTerms(plan, "helper", 1, Part.TRAIN, group, "num-examples", DRAW).fields()
    content = RecordDict(
        {
            "arrays": ArrayRecord({"w": Array(model), "b": Array(np.zeros(2, np.float32))}),
            "config": ConfigRecord({"lr": 0.1, "steps": 3, "names": ["a"]} if config is None else config),
            TERMS: ConfigRecord(said),
            **(more or {}),
        }
    )
    message = Message(content, dst_node_id=node, message_type=kind)
    flower.set_message_id(message, f"{node:032x}")
    return message


def test_two_nodes_that_are_asked_the_same_have_one_hash_whatever_their_groups():
    assert assignment_of(task(5, group=0)) == assignment_of(task(6, group=3))


@pytest.mark.parametrize(
    "changed",
    [
        {"kind": "evaluate"},
        {"kind": "train.other"},
        {"model": MODEL + np.float32(1e-7)},
        {"model": MODEL.reshape(4, 3)},
        {"model": MODEL.astype(np.float64)},
        {"config": {"lr": 0.0, "steps": 3, "names": ["a"]}},
        {"config": {"lr": 0.1, "steps": 3.0, "names": ["a"]}},
        {"config": {"lr": 0.1, "steps": 3}},
        {"bound": 1e30},
        {"weight_bound": 1e30},
        {"most": 11},
        {"more": {"metrics": MetricRecord({"lr": 0.1})}},
        {"more": {"more": ConfigRecord({})}},
    ],
    ids=str,
)
def test_whatever_else_a_leader_changes_changes_the_hash(changed):
    assert assignment_of(task(**changed)) != assignment_of(task())


def test_it_is_the_same_at_both_ends_of_the_wire():
    sent = task()
    received = flower.message_of(flower.head_of(sent))
    packed, sizes = pack(arrays_of(sent), Encoding.EXACT, {})
    unpack(received, packed, sizes, Encoding.EXACT, {})
    assert assignment_of(received) == assignment_of(sent)


def test_a_model_that_lies_in_memory_in_another_way_is_the_same_model():
    assert assignment_of(task(model=np.asfortranarray(MODEL))) == assignment_of(task())


def test_hashes_of_arrays_that_are_known_are_used():
    known: dict[int, bytes] = {}
    message = task()
    assert assignment_of(message, known) == assignment_of(message, known) == assignment_of(message)
    assert len(known) == 2
