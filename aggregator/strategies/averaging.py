"""FedAvg whose last model is the mean of the models of its last rounds.

Under noise the last model is one draw from a cloud around the best one, and the mean over the cloud is nearer to it
(Polyak and Juditsky 1992). A mean of models that were released already costs no privacy, so a run can take larger steps
for the same noise in the end. Nodes are asked what FedAvg asks them.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord
from flwr.serverapp.strategy import FedAvg
from numpy.typing import NDArray

from privacy.boundary.arrays import array_view


class TailAverage(FedAvg):
    """See the module.

    Args:
        rounds: of the run: after this one the mean is the model.
        tail: how many rounds the mean is over; None: the last half.
        fraction_train, fraction_evaluate, min_train_nodes, min_evaluate_nodes, min_available_nodes, weighted_by_key: as
            FedAvg's.

    Raises:
        ValueError: `tail` is not in 1..`rounds`.
    """

    def __init__(
        self,
        rounds: int,
        tail: int | None = None,
        fraction_train: float = 1.0,
        fraction_evaluate: float = 1.0,
        min_train_nodes: int = 2,
        min_evaluate_nodes: int = 2,
        min_available_nodes: int = 2,
        weighted_by_key: str = "num-examples",
    ) -> None:
        super().__init__(
            fraction_train=fraction_train,
            fraction_evaluate=fraction_evaluate,
            min_train_nodes=min_train_nodes,
            min_evaluate_nodes=min_evaluate_nodes,
            min_available_nodes=min_available_nodes,
            weighted_by_key=weighted_by_key,
        )
        self.rounds = rounds
        self.tail = tail_of(rounds) if tail is None else tail
        if not 1 <= self.tail <= rounds:
            raise ValueError(f"tail {self.tail} is not in 1..{rounds}, the rounds of the run")
        self.totals: dict[str, NDArray[np.float64]] = {}
        self.summed = 0

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """FedAvg's; after the last round the mean over those of the tail that gave a model.

        If the last round gives none, there is no mean, and the model stays that of the round before.
        """
        arrays, metrics = super().aggregate_train(server_round, replies)
        if arrays is None or not self.rounds - self.tail < server_round <= self.rounds:
            return arrays, metrics
        for name, array in arrays.items():
            values = array_view(array)
            self.totals[name] = self.totals[name] + values if name in self.totals else values.astype(np.float64)
        self.summed += 1
        if server_round < self.rounds:
            return arrays, metrics
        means = {name: total / self.summed for name, total in self.totals.items()}
        return ArrayRecord({name: Array(means[name].astype(array.dtype)) for name, array in arrays.items()}), metrics


def tail_of(rounds: int) -> int:
    """The last half of a run's rounds, rounded up."""
    return (rounds + 1) // 2
