"""Ways to train a federation under one budget: what nodes do, and what the server makes of their mean."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import cast

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAdam, FedAvg, FedAvgM, Strategy

from aggregator.strategies.averaging import TailAverage
from edge.learning.dpsgd import NOISE_STEP, DpSgdPlan
from edge.learning.shared import Protection, RecordPlan
from privacy.boundary.flower import CENTRE, enter_run
from simulations.engine.engine import Engine
from simulations.engine.local import PrivateTraining
from simulations.world.pretraining import State

NODE = 2
"""The one that the mean of all comes from, for Flower."""
MOMENTUM = 0.5
ADAM_STEP = 0.05


class Server(StrEnum):
    """What the server does with a round's mean; none of it costs privacy."""

    TAIL = "mean of the last half"
    LAST = "FedAvg"
    MOMENTUM = "FedAvgM"
    ADAM = "FedAdam"

    def strategy(self, rounds: int) -> Strategy:
        """Flower's, or ours."""
        few = {"min_train_nodes": 1, "min_available_nodes": 1}
        match self:
            case Server.TAIL:
                return TailAverage(rounds, min_train_nodes=1, min_available_nodes=1)
            case Server.LAST:
                return FedAvg(**few)  # type: ignore[arg-type]
            case Server.MOMENTUM:
                return FedAvgM(server_learning_rate=1 - MOMENTUM, server_momentum=MOMENTUM, **few)  # type: ignore[arg-type]
            case Server.ADAM:
                return FedAdam(eta=ADAM_STEP, beta_1=0.9, beta_2=0.99, tau=1e-3, **few)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Approach:
    """One way.

    Attributes:
        mechanism, unit: as in `Protection`; no mechanism: no noise.
        cohort_share: of the nodes of a federation, how many are promised to a node as its cohort.
        metrics: whether nodes report a noised error every round, out of the same budget.
        demo_plan: lots of 16 and the learning rate of `DpSgdPlan.within`; otherwise `RecordPlan.under`.
    """

    name: str
    mechanism: str | None
    unit: str
    rounds: int
    server: Server = Server.TAIL
    cohort_share: float = 1.0
    metrics: bool = False
    demo_plan: bool = False

    def plan(self, epsilon: float, delta: float, nodes: int, lot_size: int) -> DpSgdPlan:
        """What each node does in a round so that the run costs it `epsilon` at `delta`."""
        if self.mechanism is None:
            return DpSgdPlan(0.0, 0.3, learning_rate=RATE_WITHOUT_NOISE, lot_size=lot_size)
        cohort = max(2, round(self.cohort_share * nodes))
        metrics = self.rounds if self.metrics else 0
        protection = Protection.within(self.mechanism, self.unit, epsilon, delta, self.rounds, cohort, metrics=metrics)
        if self.demo_plan:
            return DpSgdPlan(protection.node_multiplier, learning_rate=NOISE_STEP / protection.noise_multiplier)
        return RecordPlan.under(protection, nodes, lot_size).with_floats(protection)


RATE_WITHOUT_NOISE = 3.0


def trained(engine: Engine, start: State, plan: DpSgdPlan, server: Server, rounds: int, seed: tuple[int, ...]) -> State:
    """The model after a run in which every node takes part in every round."""
    enter_run(1, CENTRE)
    strategy, arrays = server.strategy(rounds), _record(start)
    training = PrivateTraining(plan)
    for number in range(1, rounds + 1):
        (task,) = strategy.configure_train(number, arrays, ConfigRecord(), cast("Grid", _OneNode()))
        mean = engine.mean(_state(arrays), training, (*seed, number))
        content = RecordDict({"arrays": _record(mean), "metrics": MetricRecord({"num-examples": 1})})
        after, _ = strategy.aggregate_train(number, [Message(content, reply_to=task)])
        if after is None:
            raise RuntimeError(f"{type(strategy).__name__} made no model of round {number}")
        arrays = after
    return _state(arrays)


class _OneNode:
    """All that a strategy asks of a grid."""

    def get_node_ids(self) -> list[int]:
        return [NODE]


def _record(state: State) -> ArrayRecord:
    return ArrayRecord({name: Array(np.asarray(values, np.float32)) for name, values in state.items()})


def _state(arrays: ArrayRecord) -> State:
    return {name: np.asarray(array.numpy(), np.float32) for name, array in arrays.items()}
