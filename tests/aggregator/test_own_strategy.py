"""The tutorial's own strategy: no reply pulls further than the one in the middle."""

import sys

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from aggregator.strategies.registry import BadStrategy, make
from aggregator.strategies.state import restore, snapshot
from aggregator.strategies.streaming import NotLinear
from privacy.boundary.flower import CENTRE, enter_run

START = np.float32([1.0, 2.0])


@pytest.fixture(autouse=True, scope="module")
def installed(own_package):
    enter_run(1, CENTRE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(own_package)
        yield
        sys.modules.pop("own_strategy", None)


class Nodes:
    def __init__(self, number):
        self.number = number

    def get_node_ids(self):
        return range(1, self.number + 1)


def moved(updates, **options):
    """By how much the model moved after a round of these updates."""
    strategy = make("bounded", options, streaming=False)
    model = ArrayRecord({"w": Array(START)})
    tasks = strategy.configure_train(1, model, ConfigRecord(), Nodes(len(updates)))
    replies = [
        Message(
            RecordDict(
                {
                    "arrays": ArrayRecord({"w": Array(START + np.float32(update))}),
                    "metrics": MetricRecord({"num-examples": 1}),
                }
            ),
            reply_to=task,
        )
        for task, update in zip(tasks, updates, strict=True)
    ]
    arrays, _ = strategy.aggregate_train(1, replies)
    return arrays["w"].numpy() - START


def test_replies_of_one_length_are_averaged_as_they_are():
    np.testing.assert_allclose(moved([(1, 0), (0, 1)]), [0.5, 0.5], atol=1e-6)


def test_a_lie_pulls_no_further_than_an_honest_reply():
    np.testing.assert_allclose(moved([(1, 0), (1, 0), (-1e6, 0)]), [1 / 3, 0], atol=1e-6)
    np.testing.assert_allclose(moved([(1, 0), (1, 0), (-1e6, 0)], times=0.5), [0.5 / 3, 0], atol=1e-6)


def test_short_updates_stay_short_and_none_at_all_moves_nothing():
    np.testing.assert_allclose(moved([(0.5, 0), (1, 0), (9, 0)]), [2.5 / 3, 0], atol=1e-6)
    np.testing.assert_array_equal(moved([(0, 0), (0, 0)]), [0, 0])


def test_a_round_without_replies_gives_no_model():
    strategy = make("bounded", {}, streaming=False)
    list(strategy.configure_train(1, ArrayRecord({"w": Array(START)}), ConfigRecord(), Nodes(2)))
    assert strategy.aggregate_train(1, [])[0] is None


def test_a_run_with_it_can_go_on_after_a_stop():
    one, two = (make("bounded", {"times": 2.0}, streaming=False) for _ in range(2))
    list(one.configure_train(1, ArrayRecord({"w": Array(START)}), ConfigRecord(), Nodes(2)))
    restore(two, snapshot(one))
    assert two.times == 2.0


def test_it_needs_all_replies_at_once_and_says_so():
    with pytest.raises(NotLinear, match="streaming = false"):
        make("bounded", {}, streaming=True)
    with pytest.raises(BadStrategy, match="times is above 0, not 0"):
        make("bounded", {"times": 0}, streaming=False)
    assert make("bounded", {"min_train_nodes": 5}, streaming=False).min_train_nodes == 5
