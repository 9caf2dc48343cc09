import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAdam, FedAvg, FedAvgM, FedYogi

from aggregator.strategies.registry import BadStrategy, make, names
from aggregator.strategies.state import StateMismatch, UnsavableStrategy, restore, snapshot
from aggregator.strategies.streaming import NotLinear, Streaming
from privacy.boundary.flower import CENTRE, enter_run

MAKERS = {
    "FedAdam": lambda: FedAdam(eta=0.1),
    "FedYogi": lambda: FedYogi(eta=0.1),
    "FedAvgM": lambda: FedAvgM(server_momentum=0.9, server_learning_rate=0.7),
    "Streaming FedAdam": lambda: Streaming(FedAdam(eta=0.1)),
}
ROUNDS = 5


@pytest.fixture(autouse=True, scope="module")
def run():
    enter_run(1, CENTRE)


class TwoNodes:
    def get_node_ids(self):
        return [1, 2]


def play(strategy, arrays: ArrayRecord, number: int) -> ArrayRecord:
    (task, _) = strategy.configure_train(number, arrays, ConfigRecord(), TwoNodes())
    moved = ArrayRecord({"w": Array(arrays["w"].numpy() + np.float32([1.0, -2.0, 0.5]) / number)})
    content = RecordDict({"arrays": moved, "metrics": MetricRecord({"num-examples": 1})})
    arrays, _ = strategy.aggregate_train(number, [Message(content, reply_to=task)])
    return arrays


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("cut", [1, 3])
def test_a_strategy_that_is_restored_goes_on_as_if_nothing_had_been(name, cut):
    model = ArrayRecord({"w": Array(np.zeros(3, np.float32))})
    straight, whole = MAKERS[name](), model
    for number in range(1, ROUNDS + 1):
        whole = play(straight, whole, number)
    first, parts = MAKERS[name](), model
    for number in range(1, cut + 1):
        parts = play(first, parts, number)
    second = MAKERS[name]()
    restore(second, snapshot(first))
    for number in range(cut + 1, ROUNDS + 1):
        parts = play(second, parts, number)
    np.testing.assert_array_equal(parts["w"].numpy(), whole["w"].numpy())


def test_the_state_of_another_strategy_is_named():
    with pytest.raises(StateMismatch, match="of a FedAvg in version 1, not of a FedAdam"):
        restore(FedAdam(), snapshot(FedAvg()))


@pytest.mark.parametrize("damage", [lambda s: s[:-3], lambda s: b"", lambda s: s[:20] + b"\xff" * 20 + s[40:]])
def test_a_damaged_state_is_refused(damage):
    with pytest.raises(StateMismatch):
        restore(FedAdam(), damage(snapshot(FedAdam())))


def test_a_strategy_that_keeps_what_no_snapshot_holds_is_refused_by_attribute():
    strategy = FedAvg()
    strategy.secret = object()
    with pytest.raises(UnsavableStrategy, match=r"FedAvg\.secret is a object"):
        snapshot(strategy)


def test_strategies_go_by_flowers_names():
    assert {"FedAvg", "FedAdam", "FedMedian", "Krum"} <= set(names())
    assert "Strategy" not in names()
    strategy = make("FedAdam", {"eta": 0.5}, streaming=True)
    assert isinstance(strategy, Streaming)
    assert strategy.inner.eta == 0.5


def test_a_strategy_of_ones_own_goes_by_module_and_class():
    assert type(make("flwr.serverapp.strategy:FedAvg", {}, streaming=False)) is FedAvg


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("FedAvgg", {}, "did you mean FedAvg"),
        ("Nonsense", {}, "flwr ships .*FedAdam"),
        ("FedAdam", {"etta": 1.0}, "no option 'etta': did you mean eta"),
        ("no.such.module:Thing", {}, "cannot be imported"),
        ("pathlib:Path", {}, "none that can be made"),
        ("flwr.serverapp.strategy:Strategy", {}, "complete subclass"),
    ],
)
def test_a_wrong_name_or_option_is_named(name, options, says):
    with pytest.raises(BadStrategy, match=says):
        make(name, options, streaming=False)


def test_streaming_a_median_is_refused():
    with pytest.raises(NotLinear):
        make("FedMedian", {}, streaming=True)
