"""The node's own app in Flower's simulation engine, beside ours."""

import math
import os

import numpy as np
import pytest
from flwr.serverapp.strategy import FedAvg

from edge.learning.dpsgd import DpSgdPlan
from edge.learning.tasks.crowding import TASK
from privacy.accounting.ledger import Budget
from simulations.engine.cohort import CohortExamples
from simulations.engine.engine import Engine
from simulations.engine.flower_apps import CannotStore, Stores, simulate
from simulations.engine.local import PrivateTraining
from simulations.handover import train_table

LOGS = [[(slot, (7 * slot * node % 91) / 3) for slot in range(20, 30 + node)] for node in range(1, 5)]
SILENT = DpSgdPlan(noise_multiplier=1e-5, metrics_noise_multiplier=1e-5, steps=2)
"""No ledger grants noise of 0; this moves a weight by 1e-7."""
GENEROUS = Budget(1e15, 1e-6, 14 * 86400.0)


def test_a_store_gives_back_the_minutes_that_were_put_into_it(tmp_path):
    stores = Stores.of(tmp_path, LOGS, GENEROUS)
    for number, log in enumerate(LOGS):
        with stores.opened(number) as connection:
            assert TASK.read(connection, -math.inf, math.inf) == [
                (slot, pytest.approx(minutes)) for slot, minutes in log
            ]


@pytest.mark.parametrize("minutes", [0.5, -1.0])
def test_minutes_that_no_node_could_have_counted_are_named(minutes, tmp_path):
    with pytest.raises(CannotStore, match=rf"slot 20 has {minutes} minutes: .* windows of 20 s"):
        Stores.of(tmp_path, [[(20, minutes)]], GENEROUS)


@pytest.mark.system
@pytest.mark.timeout(600)
def test_flower_s_engine_and_ours_come_to_the_same_model(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # somebody's cluster, which has ended
    start = {name: value.numpy().copy() for name, value in TASK.model().state_dict().items()}
    strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=len(LOGS), min_available_nodes=len(LOGS))
    stores = Stores.of(tmp_path, LOGS, GENEROUS)
    theirs = simulate(stores, strategy, start, 2, {"task": "crowding", **train_table(SILENT)})
    assert os.environ["FLWR_TELEMETRY_ENABLED"] == os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    ours = start
    with Engine(TASK, CohortExamples.of([TASK.examples(log) for log in LOGS]), workers=1) as engine:
        for number in range(2):
            ours = engine.mean(ours, PrivateTraining(SILENT), (1, number))
    for name, values in ours.items():
        np.testing.assert_allclose(theirs[name], values, atol=1e-5)
        assert np.abs(values - start[name]).max() > 1e-2
    for number in range(len(LOGS)):
        with stores.opened(number) as connection:
            ledger = stores.ledger(connection)
            assert len(ledger.entries()) == 2
            assert math.isfinite(ledger.epsilon())
