"""Real nodes and Flower's own strategies, with nothing between them but a broker."""

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord
from flwr.serverapp.strategy import FedAdam, FedAvg, FedMedian
from learning_double import after, first_model
from waiting import wait_until

from aggregator.grid import MqttGrid
from aggregator.strategies.streaming import Streaming
from edge.learning.dpsgd import DpSgdPlan
from edge.learning.tasks.task import load_task
from privacy.boundary.broker import BrokerUrl
from privacy.boundary.messages import Encoding, Refusal
from privacy.identity.authority import Identity
from simulations.handover import train_table
from simulations.world.generator import World, write_contacts

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

MEANS = {5: 1.0, 2**64 - 9: 4.0}
EXAMPLES = {5: 10, 2**64 - 9: 30}
ROUNDS = 3
FLOWER_NODE = """
[learning]
app = "halfway_app:app"
[learning.node_config]
mean = {mean}
examples = {examples}
[privacy]
allow_unaccounted_apps = true
"""


def grid_of(federation, encoding=Encoding.EXACT) -> MqttGrid:
    folder = federation.folder / "leader"
    url = BrokerUrl.parse(federation.broker.url)
    return MqttGrid(
        Identity.load(folder), url, 7, credentials=folder, encoding=encoding, revocation_file=folder / "revocations.pem"
    )


def test_unmodified_flower_strategies_and_apps_run_on_real_nodes(federation):
    federation.start_broker()
    for node_id, mean in MEANS.items():
        federation.node(FLOWER_NODE.format(mean=mean, examples=EXAMPLES[node_id]), node_id=node_id).start()
    with grid_of(federation) as grid:
        wait_until(lambda: set(grid.get_node_ids()) == set(MEANS))
        for strategy in (FedAvg(), FedAdam(eta=0.1), FedMedian()):
            result = strategy.start(grid=grid, initial_arrays=first_model(), num_rounds=ROUNDS, timeout=120)
            learnt = result.arrays.to_numpy_ndarrays()[0]
            assert len(result.evaluate_metrics_clientapp) == ROUNDS
            assert np.ptp(learnt) < 1e-6
            assert 0 < learnt[0, 0] < max(MEANS.values())
            if type(strategy) is FedAvg:
                assert learnt[0, 0] == pytest.approx(after(ROUNDS, MEANS, EXAMPLES), rel=1e-5)
        assert not grid.turned_away


def test_a_node_whose_budget_is_spent_says_so_and_the_round_goes_on(federation):
    federation.start_broker()
    write_contacts(World(1, 2, 2).contacts(), federation.folder / "contacts.csv")
    scanner = '[sensing.scanner]\nkind = "replay"\ncontacts = "../contacts.csv"\nzone = "class-{zone}"\n'
    nodes = [
        federation.node(f"[privacy]\nepsilon = {epsilon}\n" + scanner.format(zone=zone), node_id=zone + 10).start()
        for zone, epsilon in ((1, 8.0), (2, 0.1))
    ]
    for node in nodes:
        wait_until(lambda node=node: "sensing done" in node.log())
    task = load_task("crowding")
    plan = DpSgdPlan.within(8.0, 1e-6, 2, task.unit_examples)
    config = ConfigRecord({"task": task.name, **train_table(plan)})
    start = ArrayRecord({k: Array(v.numpy()) for k, v in task.model().state_dict().items()})
    with grid_of(federation) as grid:
        wait_until(lambda: len(grid.get_node_ids()) == 2)
        strategy = Streaming(FedAvg(fraction_evaluate=0.0))
        result = strategy.start(grid=grid, initial_arrays=start, num_rounds=2, timeout=120, train_config=config)
        parts = grid.participations()
    assert parts[11].refusal is None
    assert parts[12].refusal is Refusal.BUDGET_SPENT
    moved = [np.abs(result.arrays[k].numpy() - v.numpy()).max() for k, v in start.items()]
    assert 0 < max(moved) < 10
    assert result.train_metrics_clientapp[2]["epsilon"] == pytest.approx(nodes[0].ledger().epsilon())
    assert nodes[1].ledger(0.1).entries() == []
