import math

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict

from aggregator.batch import Participation
from aggregator.cohort import CohortTooSmall
from aggregator.intake import Intake
from aggregator.records.schema import PartState
from aggregator.screen import Screen
from privacy.boundary.flower import CENTRE, enter_run
from privacy.boundary.messages import Refusal

enter_run(1, CENTRE)  # before the first message can be made
MODEL = ArrayRecord({"w": Array(np.zeros(2, np.float32)), "b": Array(np.zeros(1, np.float32))})


def task(node_id: int) -> Message:
    return Message(RecordDict({"config": ConfigRecord()}), node_id, "train")


def reply(
    node_id: int = 1, *, arrays: dict | None = None, metrics: dict | None = None, name: str = "arrays"
) -> Message:
    values = {"w": np.ones(2, np.float32), "b": np.ones(1, np.float32)} if arrays is None else arrays
    content = RecordDict({name: ArrayRecord({key: Array(np.asarray(value)) for key, value in values.items()})})
    content["metrics"] = MetricRecord({"num-examples": 1} if metrics is None else metrics)
    return Message(content, reply_to=task(node_id))


def failure(node_id: int, words: str = "privacy budget spent") -> Message:
    return Message(Error(0, words), reply_to=task(node_id))


def intake(replies, asked=(1, 2, 3), *, min_replies: int = 1, screen: Screen | None = None) -> Intake:
    parts = {n: Participation(n, "ab" * 16, 100, 50, 2.0, None) for n in asked}
    return Intake(
        replies,
        asked,
        lambda: parts,
        model=MODEL,
        screen=screen or Screen(MODEL, "num-examples"),
        min_replies=min_replies,
        name=lambda node_id: f"site {node_id}",
        on_reply=lambda node_id, refusal: None,
    )


FAULTS = {
    "another shape": reply(arrays={"w": np.ones(3, np.float32), "b": np.ones(1, np.float32)}),
    "another array": reply(arrays={"w": np.ones(2, np.float32), "c": np.ones(1, np.float32)}),
    "one array less": reply(arrays={"w": np.ones(2, np.float32)}),
    "no number": reply(arrays={"w": np.array([1.0, math.nan], np.float32), "b": np.ones(1, np.float32)}),
    "infinity": reply(arrays={"w": np.array([1.0, math.inf], np.float32), "b": np.ones(1, np.float32)}),
    "text": reply(arrays={"w": np.array(["a", "b"]), "b": np.ones(1, np.float32)}),
    "no weight": reply(metrics={"loss": 1.0}),
    "a weight of nought": reply(metrics={"num-examples": 0}),
    "a negative weight": reply(metrics={"num-examples": -5}),
    "a weight that is no number": reply(metrics={"num-examples": math.nan}),
    "a list as weight": reply(metrics={"num-examples": [1, 2]}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_reply_that_cannot_be_averaged_becomes_a_failure_of_its_node_alone(fault):
    taken = intake([FAULTS[fault], reply(2)], asked=(1, 2))
    first, second = taken
    assert first.error.reason == Refusal.BAD_REPLY.value
    assert first.metadata.src_node_id == 1
    assert second.has_content()
    assert [part.state for part in taken.contributions()] == [PartState.REFUSED, PartState.ANSWERED]


@pytest.mark.parametrize(
    "other", [{"metrics": {"num-examples": 1, "loss": 1.0}}, {"name": "weights"}, {"metrics": {"num-examples": 1.0}}]
)
def test_the_first_reply_says_how_the_others_must_look(other):
    first, second = intake([reply(1), reply(2, **other)], asked=(1, 2))
    assert first.has_content()
    assert second.has_error() is (other != {"metrics": {"num-examples": 1.0}})


def test_arrays_come_out_in_the_models_order():
    swapped = reply(arrays={"b": np.full(1, 5, np.float32), "w": np.full(2, 7, np.float32)})
    (message,) = intake([swapped], asked=(1,))
    assert list(message.content["arrays"]) == ["w", "b"]
    assert message.content["arrays"]["b"].numpy() == 5


def test_everybodys_part_is_noted():
    replies = [reply(1, metrics={"num-examples": 1, "epsilon": 1.25}), failure(2)]
    taken = intake(replies)
    assert len(list(taken)) == 2
    answered, refused, silent = taken.contributions()
    assert (answered.state, answered.epsilon, answered.bytes_up) == (PartState.ANSWERED, 1.25, 50)
    assert (refused.state, refused.refusal) == (PartState.REFUSED, "privacy budget spent")
    assert (silent.state, silent.refusal) == (PartState.SILENT, None)


def test_too_few_usable_replies_end_the_round_and_say_who_gave_none_and_why():
    taken = intake([reply(1), failure(2)], min_replies=2)
    with pytest.raises(CohortTooSmall, match=r"1 of 3 .* site 2 \(privacy budget spent\), site 3 \(no answer\)"):
        list(taken)
