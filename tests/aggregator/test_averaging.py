"""The mean of the last rounds' models, streamed, resumed, and with rounds that gave nothing."""

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.strategies.averaging import TailAverage
from aggregator.strategies.registry import BadStrategy, make
from aggregator.strategies.state import restore, snapshot
from aggregator.strategies.streaming import Streaming
from privacy.boundary.flower import CENTRE, enter_run


@pytest.fixture(autouse=True, scope="module")
def run():
    enter_run(1, CENTRE)


class TwoNodes:
    def get_node_ids(self):
        return [1, 2]


def play(strategy, arrays, number, moves):
    """Two nodes move the model by each of `moves`; None fails."""
    tasks = strategy.configure_train(number, arrays, ConfigRecord(), TwoNodes())
    replies = []
    for task, move in zip(tasks, moves, strict=True):
        if move is None:
            replies.append(Message(Error(0, "no"), reply_to=task))
            continue
        moved = ArrayRecord({"w": Array(arrays["w"].numpy() + np.float32(move))})
        content = RecordDict({"arrays": moved, "metrics": MetricRecord({"num-examples": 1})})
        replies.append(Message(content, reply_to=task))
    return strategy.aggregate_train(number, replies)[0]


def whole_run(strategy, rounds, moves):
    model, seen = ArrayRecord({"w": Array(np.zeros(3, np.float32))}), []
    for number in range(1, rounds + 1):
        model = play(strategy, model, number, moves[number - 1]) or model
        seen.append(model["w"].numpy().copy())
    return seen


MOVES = st.lists(st.tuples(st.floats(-4, 4, width=16), st.floats(-4, 4, width=16)), min_size=1, max_size=9)


@settings(deadline=None, max_examples=25)
@given(MOVES, st.booleans(), st.data())
def test_the_last_model_is_the_mean_of_the_tail_and_those_before_are_fedavg_s(moves, streaming, data):
    rounds = len(moves)
    tail = data.draw(st.none() | st.integers(1, rounds))
    made = make("TailAverage", {} if tail is None else {"tail": tail}, streaming=streaming, rounds=rounds)
    plain = whole_run(FedAvg(), rounds, moves)
    found = whole_run(made, rounds, moves)
    np.testing.assert_allclose(found[:-1], plain[:-1], atol=1e-5)
    np.testing.assert_allclose(found[-1], np.mean(plain[-(tail or (rounds + 1) // 2) :], axis=0), atol=1e-5)
    assert found[-1].dtype == np.float32


def test_a_round_that_gave_no_model_is_not_in_the_mean():
    moves = [(1, 1), (1, 1), (None, None), (2, 2)]
    (*_, last) = whole_run(TailAverage(4, 3), 4, moves)
    np.testing.assert_allclose(last, (2.0 + 4.0) / 2)


@pytest.mark.parametrize("cut", [1, 3, 4])
def test_a_run_that_is_resumed_has_the_same_mean(cut):
    moves = [(n, n + 1) for n in range(5)]
    straight = whole_run(Streaming(TailAverage(5)), 5, moves)[-1]
    first, model = Streaming(TailAverage(5)), ArrayRecord({"w": Array(np.zeros(3, np.float32))})
    for number in range(1, cut + 1):
        model = play(first, model, number, moves[number - 1])
    second = Streaming(TailAverage(5))
    restore(second, snapshot(first))
    for number in range(cut + 1, 6):
        model = play(second, model, number, moves[number - 1])
    np.testing.assert_array_equal(model["w"].numpy(), straight)


@pytest.mark.parametrize("tail", [0, 5])
def test_a_tail_that_is_no_part_of_the_run_is_refused(tail):
    with pytest.raises(BadStrategy, match=rf"tail {tail} is not in 1\.\.4"):
        make("TailAverage", {"tail": tail}, streaming=True, rounds=4)


def test_a_strategy_that_counts_on_other_rounds_than_the_run_has_is_refused():
    with pytest.raises(BadStrategy, match="its option rounds is 40, and the run has 10: leave it out"):
        make("TailAverage", {"rounds": 40}, streaming=True, rounds=10)
    assert make("TailAverage", {"rounds": 10}, streaming=False, rounds=10).rounds == 10


def test_a_strategy_without_that_option_is_not_told_of_the_rounds():
    assert type(make("FedAvg", {}, streaming=False, rounds=10)) is FedAvg
