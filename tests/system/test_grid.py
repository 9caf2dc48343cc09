"""Flower apps, unmodified, over a real Mosquitto with mutual TLS and production's access rules."""

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAdam, FedAvg, FedMedian
from small_federation import RUN_ID, SmallFederation, wait_for_nodes

from privacy.boundary.messages import Encoding
from simulations.broker import mosquitto_program

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(mosquitto_program() is None, reason="Mosquitto is not installed"),
]

MEANS = {101: 1.0, 102: 4.0, 2**64 - 103: 9.0}
EXAMPLES = {101: 10, 102: 30, 2**64 - 103: 5}
RATE = 0.5
ROUNDS = 4

app = ClientApp()


@app.train()
def train(msg: Message, context: Context) -> Message:
    """As in Flower's documentation: half a step from the global model to this node's own mean."""
    ndarrays = msg.content["arrays"].to_numpy_ndarrays()
    moved = [w + np.float32(RATE) * (np.float32(context.node_config["mean"]) - w) for w in ndarrays]
    state = context.state.metric_records.setdefault("seen", MetricRecord({"rounds": 0}))
    state["rounds"] += 1
    metrics = MetricRecord({"num-examples": context.node_config["examples"], "rounds-seen": state["rounds"]})
    keys = list(msg.content["arrays"].keys())
    arrays = ArrayRecord({key: Array(np.asarray(value)) for key, value in zip(keys, moved, strict=True)})
    return Message(content=RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=msg)


@app.evaluate()
def evaluate(msg: Message, context: Context) -> Message:
    weight = msg.content["arrays"].to_numpy_ndarrays()[0]
    error = float(np.mean((weight - context.node_config["mean"]) ** 2))
    metrics = MetricRecord({"num-examples": context.node_config["examples"], "mse": error})
    return Message(content=RecordDict({"metrics": metrics}), reply_to=msg)


@pytest.fixture
def federation(tmp_path):
    federation = SmallFederation(tmp_path)
    yield federation
    federation.close()


@pytest.fixture
def three_nodes(federation):
    """Started and about to arrive; `grid_with` waits for them, for FedAvg samples from who is there at the moment."""
    for node_id, mean in MEANS.items():
        federation.node(node_id, app, config={"mean": mean, "examples": EXAMPLES[node_id]})
    return federation


def grid_with(federation: SmallFederation, **options):
    grid = federation.grid(**options)
    wait_for_nodes(grid, *MEANS)
    return grid


def first_model() -> ArrayRecord:
    return ArrayRecord({"w": Array(np.zeros((50, 20), np.float32)), "b": Array(np.zeros(7, np.float32))})


def the_same_here(strategy) -> tuple[np.ndarray, dict]:
    """What the strategy makes of the same nodes with no wire between."""

    class InProcess(Grid):
        def __init__(self) -> None:
            self.contexts = {
                n: Context(RUN_ID, n, {"mean": MEANS[n], "examples": EXAMPLES[n]}, RecordDict(), {}) for n in MEANS
            }

        run = property(lambda self: None)

        def set_run(self, run): ...

        def create_message(self, *args, **kwargs): ...

        def push_messages(self, messages): ...

        def pull_messages(self, message_ids): ...

        def get_node_ids(self):
            return list(MEANS)

        def send_and_receive(self, messages, *, timeout=None):
            return [app(message, self.contexts[message.metadata.dst_node_id]) for message in messages]

    result = strategy.start(grid=InProcess(), initial_arrays=first_model(), num_rounds=ROUNDS)
    return result.arrays.to_numpy_ndarrays()[0], result.evaluate_metrics_clientapp


STRATEGIES = {
    "FedAvg": lambda: FedAvg(min_available_nodes=3),
    "FedAdam": lambda: FedAdam(min_available_nodes=3, eta=0.5),
    "FedMedian": lambda: FedMedian(min_available_nodes=3),
}


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_of_flwr_learns_over_mqtt_what_it_learns_without_a_wire(three_nodes, name):
    grid = grid_with(three_nodes, encoding=Encoding.EXACT)
    result = STRATEGIES[name]().start(grid=grid, initial_arrays=first_model(), num_rounds=ROUNDS, timeout=60)
    weights, metrics = the_same_here(STRATEGIES[name]())
    np.testing.assert_allclose(result.arrays.to_numpy_ndarrays()[0], weights, rtol=1e-5)
    assert result.evaluate_metrics_clientapp[ROUNDS]["mse"] == pytest.approx(metrics[ROUNDS]["mse"], rel=1e-5)
    assert result.train_metrics_clientapp[ROUNDS]["rounds-seen"] == pytest.approx(ROUNDS)
    assert not grid.turned_away


def test_eight_bits_an_element_lose_little(three_nodes):
    grid = grid_with(three_nodes, encoding=Encoding.INT8)
    result = FedAvg(min_available_nodes=3).start(grid=grid, initial_arrays=first_model(), num_rounds=ROUNDS, timeout=60)
    weights, _ = the_same_here(FedAvg(min_available_nodes=3))
    np.testing.assert_allclose(result.arrays.to_numpy_ndarrays()[0], weights, rtol=0.03)


def test_a_server_app_of_flowers_documentation_runs_unmodified(three_nodes):
    server = ServerApp()
    results = []

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        results.append(
            FedAvg(fraction_train=1.0, min_available_nodes=3).start(
                grid=grid,
                initial_arrays=first_model(),
                train_config=ConfigRecord({"lr": 0.01}),
                num_rounds=context.run_config["num-server-rounds"],
            )
        )

    server(
        grid_with(three_nodes, encoding=Encoding.EXACT), Context(RUN_ID, 1, {}, RecordDict(), {"num-server-rounds": 2})
    )
    centre = sum(MEANS[n] * EXAMPLES[n] for n in MEANS) / sum(EXAMPLES.values())
    assert results[0].arrays.to_numpy_ndarrays()[0][0, 0] == pytest.approx((1 - RATE**2) * centre, rel=1e-5)


def test_the_polling_api_works_too(three_nodes):
    grid = grid_with(three_nodes)
    content = RecordDict({"arrays": first_model(), "config": ConfigRecord()})
    ids = grid.push_messages(grid.create_message(content, "train", node_id, "1") for node_id in MEANS)
    replies: list[Message] = []
    while len(replies) < len(MEANS):
        replies += grid.pull_messages(ids)
    assert {reply.metadata.src_node_id for reply in replies} == set(MEANS)
    assert {reply.metadata.reply_to_message_id for reply in replies} == set(ids)


def test_a_model_is_published_once_and_fetched_once_by_each_node(three_nodes):
    grid = grid_with(three_nodes)
    FedAvg(min_available_nodes=3).start(grid=grid, initial_arrays=first_model(), num_rounds=2, timeout=60)
    fetched = {tuple(node.fetched) for node in three_nodes.nodes.values()}
    assert len(fetched) == 1, "all nodes fetch the same blobs"
    # The first model, the model after round 1 (its evaluation and the training of round 2), the model after round 2.
    assert len(fetched.pop()) == 3
