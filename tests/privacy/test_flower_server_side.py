"""What the adapter gives the centre: it fails here when flwr moves what it touches."""

import gc
import weakref

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.exception import InconsistentMessageReplies

from privacy.boundary.flower import (
    CENTRE,
    array_records,
    check_consistency,
    enter_run,
    metric_records,
    refusal_message,
    spoiled,
    with_content,
)
from privacy.boundary.messages import Refusal


@pytest.fixture(autouse=True, scope="module")
def run():
    enter_run(7, CENTRE)


def content() -> RecordDict:
    return RecordDict(
        {
            "config": ConfigRecord({"a": 1}),
            "arrays": ArrayRecord({"w": Array(np.ones(2))}),
            "metrics": MetricRecord({"num-examples": 3}),
        }
    )


def test_records_are_read_by_kind():
    made = content()
    assert array_records(made) == {"arrays": made["arrays"]}
    assert metric_records(made) == {"metrics": made["metrics"]}


def test_reading_records_keeps_nothing_alive():
    made = content()
    alive = weakref.ref(made["arrays"])
    gc.disable()
    try:
        array_records(made)
        metric_records(made)
        del made
        assert alive() is None
    finally:
        gc.enable()


def test_replies_are_checked_as_flower_checks_them():
    check_consistency([content(), content()], "num-examples")
    with pytest.raises(InconsistentMessageReplies, match="num-exampels"):
        check_consistency([content()], "num-exampels")


def test_a_spoiled_reply_is_the_same_nodes_to_the_same_task():
    task = Message(content(), 5, "train")
    task.metadata.__dict__["_message_id"] = "ab" * 16
    reply = Message(content(), reply_to=task)
    error = spoiled(reply, Refusal.BAD_REPLY)
    assert error.error.reason == Refusal.BAD_REPLY.value
    assert error.metadata.src_node_id == 5
    assert error.metadata.reply_to_message_id == "ab" * 16
    refused = refusal_message(task.metadata, Refusal.BUDGET_SPENT)
    assert (refused.metadata.src_node_id, refused.metadata.dst_node_id) == (5, CENTRE)


def test_content_can_be_exchanged():
    task = Message(content(), 5, "train")
    other = with_content(task, RecordDict())
    assert other.metadata == task.metadata
    assert not other.content
