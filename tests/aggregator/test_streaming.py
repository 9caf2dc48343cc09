import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.serverapp.exception import InconsistentMessageReplies
from flwr.serverapp.strategy import (
    FedAdagrad,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedMedian,
    FedProx,
    FedTrimmedAvg,
    FedXgbBagging,
    FedYogi,
    Krum,
    QFedAvg,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aggregator.strategies.streaming import AlreadyTaken, HeldArray, NotLinear, RunningMean, Streaming
from privacy.boundary.arrays import BadArrays, array_view, arrays_of, pack, unpack
from privacy.boundary.flower import CENTRE, enter_run, head_of, message_of
from privacy.boundary.messages import Encoding

SHAPES = {"w": (3, 2), "b": (2,), "steps": ()}
DTYPES = {"w": np.float32, "b": np.float64, "steps": np.int64}
LINEAR = {
    "FedAvg": FedAvg,
    "FedProx": lambda: FedProx(proximal_mu=0.1),
    "FedAvgM": lambda: FedAvgM(server_learning_rate=0.5, server_momentum=0.9),
    "FedAdam": lambda: FedAdam(eta=0.3, tau=0.01),
    "FedAdagrad": lambda: FedAdagrad(eta=0.3, tau=0.01),
    "FedYogi": lambda: FedYogi(eta=0.3, tau=0.01),
}


@pytest.fixture(autouse=True, scope="module")
def run():
    enter_run(1, CENTRE)


class TwoNodes:
    """The little that `configure_train` asks of a grid."""

    def get_node_ids(self):
        return [1, 2]


def task(arrays: ArrayRecord | None = None) -> Message:
    return Message(RecordDict({"arrays": arrays or ArrayRecord(), "config": ConfigRecord()}), 1, "train")


def reply(values: dict[str, np.ndarray], metrics: dict | None, name: str = "arrays") -> Message:
    content = RecordDict({name: ArrayRecord({key: Array(np.asarray(v)) for key, v in values.items()})})
    if metrics is not None:
        content["metrics"] = MetricRecord(metrics)
    return Message(content, reply_to=task())


def failure() -> Message:
    return Message(Error(0, "privacy budget spent"), reply_to=task())


def finite(dtype) -> st.SearchStrategy:
    numbers = st.integers(-8, 8) if np.issubdtype(dtype, np.integer) else st.floats(-8, 8, width=32)
    return numbers


models = st.fixed_dictionaries(
    {key: hnp.arrays(DTYPES[key], SHAPES[key], elements=finite(DTYPES[key])) for key in SHAPES}
)
metrics = st.fixed_dictionaries(
    {
        "num-examples": st.integers(1, 1000),
        "loss": st.floats(0, 100),
        "per-class": st.lists(st.floats(0, 1), min_size=2, max_size=2),
    }
)
rounds = st.lists(st.lists(st.tuples(models, metrics), min_size=1, max_size=4), min_size=1, max_size=3)


def play(strategy, rounds) -> list[tuple[ArrayRecord, MetricRecord]]:
    """Round after round from a model of zeros, as `Strategy.start` does."""
    arrays = ArrayRecord({key: Array(np.zeros(SHAPES[key], DTYPES[key])) for key in SHAPES})
    results = []
    for number, replies in enumerate(rounds, 1):
        list(strategy.configure_train(number, arrays, ConfigRecord(), TwoNodes()))
        arrays, found = strategy.aggregate_train(number, (reply(*r) for r in replies))
        results.append((arrays, found))
    return results


@pytest.mark.parametrize("name", LINEAR)
@settings(deadline=None)
@given(rounds=rounds)
def test_streaming_learns_what_the_stock_strategy_learns(name, rounds):
    stock, streamed = play(LINEAR[name](), rounds), play(Streaming(LINEAR[name]()), rounds)
    for (want, wanted), (got, found) in zip(stock, streamed, strict=True):
        assert list(got) == list(want)
        for key in want:
            assert got[key].dtype == want[key].dtype
            np.testing.assert_allclose(got[key].numpy(), want[key].numpy(), rtol=2e-3, atol=2e-3)
        assert found["loss"] == pytest.approx(wanted["loss"], rel=1e-9, abs=1e-9)
        assert found["per-class"] == pytest.approx(wanted["per-class"], rel=1e-9, abs=1e-9)
        assert "num-examples" not in found


@settings(deadline=None)
@given(rounds=rounds)
def test_a_plain_mean_agrees_to_the_last_digits_of_float32(rounds):
    for (want, _), (got, _) in zip(play(FedAvg(), rounds), play(Streaming(FedAvg()), rounds), strict=True):
        for key in want:
            np.testing.assert_allclose(got[key].numpy(), want[key].numpy(), rtol=1e-5, atol=1e-4)


@settings(deadline=None)
@given(values=hnp.arrays(np.float32, 8, elements=st.floats(-10, 10, width=32)), base=models)
def test_eight_bit_replies_add_up_as_their_own_unpacked_values_do(values, base):
    sent = task(ArrayRecord({"w": Array(np.linspace(-1, 1, 8, dtype=np.float32))}))
    answer = Message(
        RecordDict({"arrays": ArrayRecord({"w": Array(values)}), "metrics": MetricRecord({"num-examples": 3})}),
        reply_to=sent,
    )
    packed, sizes = pack(arrays_of(answer), Encoding.INT8, arrays_of(sent))
    carried = message_of(head_of(answer))
    unpack(carried, packed, sizes, Encoding.INT8, arrays_of(sent))
    mean = RunningMean("num-examples")
    mean.add(carried)
    mean.add(carried)
    got = mean.take()["w"].numpy()
    want = carried.content["arrays"]["w"].numpy()
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


ONES = {"w": np.ones(2)}
BAD_PAIRS = {
    "other array keys": [(ONES, {"num-examples": 1}), ({"v": np.ones(2)}, {"num-examples": 1})],
    "another record name": [(ONES, {"num-examples": 1}), (ONES, {"num-examples": 1}, "weights")],
    "other metric keys": [(ONES, {"num-examples": 1}), (ONES, {"num-examples": 1, "loss": 1.0})],
    "no metrics": [(ONES, {"num-examples": 1}), (ONES, None)],
    "no weight": [(ONES, {"loss": 1.0}), (ONES, {"loss": 1.0})],
    "a list as weight": [(ONES, {"num-examples": [1, 2]})] * 2,
}


@pytest.mark.parametrize("name", BAD_PAIRS)
def test_inconsistent_replies_fail_with_the_stock_strategys_own_words(name):
    with pytest.raises(InconsistentMessageReplies) as stock:
        FedAvg().aggregate_train(1, [reply(*args) for args in BAD_PAIRS[name]])
    with pytest.raises(InconsistentMessageReplies) as streamed:
        Streaming(FedAvg()).aggregate_train(1, [reply(*args) for args in BAD_PAIRS[name]])
    assert str(streamed.value) == str(stock.value)


def test_shapes_that_do_not_agree_are_both_named():
    replies = [reply({"w": np.ones(2)}, {"num-examples": 1}), reply({"w": np.ones(3)}, {"num-examples": 1})]
    with pytest.raises(BadArrays, match=r"\(3,\).*\(2,\)"):
        Streaming(FedAvg()).aggregate_train(1, replies)


def test_failures_are_left_out_of_the_mean():
    replies = [failure(), reply({"w": np.full(2, 6.0)}, {"num-examples": 2}), failure()]
    arrays, _ = Streaming(FedAvg()).aggregate_train(1, replies)
    assert arrays["w"].numpy().tolist() == [6.0, 6.0]


def test_a_round_of_failures_alone_has_no_result():
    assert Streaming(FedAvg()).aggregate_train(1, [failure(), failure()]) == (None, None)


def test_a_reply_is_let_go_of_before_the_next_is_taken():
    alive: list[int] = []
    living = 0

    class Counted(Message):
        def __del__(self) -> None:
            nonlocal living
            living -= 1

    def replies():
        nonlocal living
        for _ in range(5):
            alive.append(living)
            living += 1
            plain = reply({"w": np.ones(2)}, {"num-examples": 1})
            yield Counted(plain.content, reply_to=task())

    Streaming(FedAvg()).aggregate_train(1, replies())
    assert alive == [0] * 5


def test_evaluation_averages_metrics():
    replies = [reply({"w": np.ones(2)}, {"num-examples": n, "loss": loss}) for n, loss in [(1, 1.0), (3, 5.0)]]
    assert Streaming(FedAvg()).aggregate_evaluate(1, replies)["loss"] == pytest.approx(4.0)


@pytest.mark.parametrize("strategy", [FedMedian, FedTrimmedAvg, Krum, QFedAvg, FedXgbBagging], ids=lambda s: s.__name__)
def test_a_strategy_that_needs_all_replies_is_refused_by_name(strategy):
    options = {"client_learning_rate": 0.1} if strategy is QFedAvg else {}
    with pytest.raises(NotLinear, match=f"{strategy.__name__} needs all replies at once.*streaming = false"):
        Streaming(strategy(**options))


def test_metrics_combined_by_a_function_of_ones_own_are_refused():
    with pytest.raises(NotLinear, match="train_metrics_aggr_fn"):
        Streaming(FedAvg(train_metrics_aggr_fn=lambda records, key: MetricRecord()))


def test_the_mean_is_handed_over_once():
    mean = RunningMean("num-examples")
    mean.add(reply({"w": np.ones(2)}, {"num-examples": 1}))
    held = HeldArray(array_view(mean.take()["w"]))
    assert len(mean.take()) == 0
    assert held.numpy().tolist() == [1.0, 1.0]
    with pytest.raises(AlreadyTaken, match="keep what"):
        held.numpy()
