"""Flower's own strategies, by name, over simulated nodes."""

import math

import pytest
from small_runs import NODES, experiment, simulated

from aggregator.strategies.registry import names

NO_MODELS = {"FedXgbBagging", "FedXgbCyclic"}
"""Their replies are trees, and no model's arrays."""
NEED_OPTIONS = {"QFedAvg"} | {name for name in names() if name.startswith("DifferentialPrivacy")}
"""Their makers take another strategy, or need of nodes what Jaga's do not send."""
AVERAGES = {"FedAvg", "FedAvgM", "FedProx", "FedAdam", "FedAdagrad", "FedYogi"}


@pytest.mark.parametrize("name", sorted(set(names()) - NO_MODELS - NEED_OPTIONS))
def test_a_strategy_of_flower_s_runs_by_its_name(name):
    done = simulated(experiment(2, strategy={"name": name}))
    first, *rounds = done.tables.rounds
    assert [row["replies"] for row in rounds] == [1 if name in AVERAGES else NODES] * 2
    assert math.isfinite(rounds[-1]["error"])
    assert rounds[-1]["error"] != first["error"]
