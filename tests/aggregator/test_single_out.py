"""A leader that asks the others of a group for nothing, to be left with one node's update, is given nothing itself."""

import msgspec
import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg

from aggregator.strategies.draws import MemoryBook
from aggregator.strategies.secure_sum import SecureSum, SumSettings, UnevenTasks
from aggregator.strategies.streaming import Streaming
from privacy.boundary.assignment import assignment_of
from privacy.boundary.flower import CENTRE, enter_run, set_message_id, with_content
from privacy.identity.certificates import node_party
from privacy.secure_sum.exchange import Part, SealedSeed, SumRefusal, SumRequest
from privacy.secure_sum.terms import ELEMENTS, SEED, SHARE, TERMS
from simulations.summed import FIRST_NODE, SummedFederation

NODES = [FIRST_NODE, FIRST_NODE + 1, FIRST_NODE + 2]
SETTINGS = SumSettings("helper", bound=4.0)


@pytest.fixture(autouse=True)
def run():
    enter_run(1, CENTRE)


@pytest.fixture
def federation(tmp_path):
    federation = SummedFederation(tmp_path, len(NODES), 3)
    yield federation
    federation.close()


class Grid:
    def get_node_ids(self):
        return NODES


class Uneven(FedAvg):
    """Has all nodes but the first train at a rate of zero."""

    def configure_train(self, server_round, arrays, config, grid):
        for message in super().configure_train(server_round, arrays, config, grid):
            rate = 1.0 if message.metadata.dst_node_id == NODES[0] else 0.0
            yield with_content(message, RecordDict({**message.content, "config": ConfigRecord({"lr": rate})}))


class Book(MemoryBook):
    def closed(self, number, part):
        return []

    def close(self, number, part, groups):
        pass


def app(message, _context):
    rate = message.content["config"].get("lr", 1.0)
    arrays = ArrayRecord({"w": Array(message.content["arrays"]["w"].numpy() + np.float32(rate))})
    return Message(RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": 1})}), reply_to=message)


def tasks(federation, inner, book=None):
    made = SecureSum(inner, SETTINGS, federation, book)
    few = ArrayRecord({"w": Array(np.zeros(4, np.float32))})
    messages = list(made.configure_train(1, few, ConfigRecord(), Grid()))
    for place, message in enumerate(messages):
        set_message_id(message, f"{place:032x}")
    return messages


def request(federation, book, messages, assignment):
    """What a leader asks that has these tasks answered."""
    replies = [federation.answer(message, app) for message in messages]
    seeds = {
        node_party(message.metadata.dst_node_id): msgspec.msgpack.decode(reply.content[TERMS][SEED], type=SealedSeed)
        for message, reply in zip(messages, replies, strict=True)
    }
    elements = replies[0].content[SHARE][ELEMENTS].numpy().size
    return SumRequest(1, Part.TRAIN, assignment, 32, elements, 1, seeds, book.drawing(1, Part.TRAIN).secret)


FLAT = {"min_available_nodes": 3, "min_train_nodes": 3, "fraction_evaluate": 0.0}


def test_a_strategy_that_asks_different_things_of_nodes_is_refused_before_anything_is_sent(federation):
    with pytest.raises(UnevenTasks, match="Uneven asks 2 different things of 3 nodes"):
        tasks(federation, Streaming(Uneven(**FLAT)))


@pytest.mark.parametrize("change", [{"bound": 1e6}, {"weight-bound": 1e9}], ids=str)
def test_others_whose_updates_are_coded_to_nothing_do_not_leave_one_alone(federation, change):
    book = Book()
    messages = tasks(federation, Streaming(FedAvg(**FLAT)), book)
    for message in messages[1:]:
        message.content[TERMS].update(change)
    share = federation.ask(request(federation, book, messages, assignment_of(messages[0])))
    others = [node_party(message.metadata.dst_node_id) for message in messages[1:]]
    assert (share.refusal, share.because_of) == (SumRefusal.BAD_SEED, others)


def test_others_that_train_at_a_rate_of_zero_do_not_leave_one_alone(federation):
    book = Book()
    messages = tasks(federation, Streaming(FedAvg(**FLAT)), book)
    for message in messages[1:]:
        message.content["config"] = ConfigRecord({**message.content["config"], "lr": 0.0})
    for assignment in {assignment_of(message) for message in messages}:
        share = federation.ask(request(federation, book, messages, assignment))
        assert share.refusal is SumRefusal.BAD_SEED
        assert share.elements == b""


def test_nodes_that_were_asked_the_same_are_summed(federation):
    book = Book()
    messages = tasks(federation, Streaming(FedAvg(**FLAT)), book)
    assert federation.ask(request(federation, book, messages, assignment_of(messages[-1]))).refusal is None
