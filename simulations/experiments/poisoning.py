"""What poisoned nodes cost, with and without groups that outvote them inside the mask.

    python -m simulations.experiments.poisoning

Nodes learn to classify two clouds of points by logistic regression; a fifth of them lie. What is sent is summed under
masks by the real strategy, real helper and real seals, so nobody sees a single update; the strategy is Flower's own,
over the means of groups. Accuracy is on points that no node has.
"""

from __future__ import annotations

import logging
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import structlog
import typer
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg, FedMedian, FedTrimmedAvg, Krum, Strategy
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from aggregator.strategies.secure_sum import SecureSum, SumSettings
from aggregator.strategies.streaming import Streaming
from privacy.boundary.flower import CENTRE, enter_run, set_message_id
from privacy.logs import configure_process
from simulations.summed import FIRST_NODE, SummedFederation

FEATURES, EXAMPLES, STEPS, RATE = 10, 60, 5, 0.5
BOUND = 2.0
Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Setting:
    """One federation.

    Attributes:
        attackers: share of the nodes that lie.
        group: nodes of a group; the helper's least cohort.
    """

    nodes: int = 40
    attackers: float = 0.2
    rounds: int = 10
    group: int = 2


ATTACKS: dict[str, Callable[[Vector], Vector]] = {
    "none": lambda update: update,
    "sign flip": lambda update: -update,
    "scaling, x -10": lambda update: -10 * update,
    "scaling, x 100": lambda update: 100 * update,
    "label flip": lambda update: update,
}
"""What a liar makes of its update; one who flips labels trains on the wrong ones and sends what comes of it."""


class Nodes:
    """What strategies ask of a grid."""

    def __init__(self, count: int) -> None:
        self._count = count

    def get_node_ids(self) -> list[int]:
        return list(range(FIRST_NODE, FIRST_NODE + self._count))


def strategies(setting: Setting) -> dict[str, Callable[[], Strategy]]:
    """Ways to combine groups' means; the first one is what is attacked."""
    few = {"min_available_nodes": 2, "min_train_nodes": 2, "fraction_evaluate": 0.0}
    groups = setting.nodes // setting.group
    bad = min(round(setting.attackers * setting.nodes), (groups - 3) // 2)
    return {
        "mean": lambda: Streaming(FedAvg(**few)),  # type: ignore[arg-type]
        "median": lambda: FedMedian(**few),  # type: ignore[arg-type]
        "trimmed mean": lambda: FedTrimmedAvg(beta=0.4, **few),  # type: ignore[arg-type]
        "Krum": lambda: Krum(num_malicious_nodes=bad, **few),  # type: ignore[arg-type]
    }


def accuracy(setting: Setting, attack: str, make: Callable[[], Strategy], seed: int, folder: Path) -> float:
    """Of the model after all rounds."""
    enter_run(1, CENTRE)
    random = np.random.default_rng(seed)
    truth = random.normal(0, 1, FEATURES)
    data = [_points(random, truth) for _ in range(setting.nodes)]
    liars = set(random.choice(setting.nodes, round(setting.attackers * setting.nodes), replace=False).tolist())
    test_x, test_y = _points(random, truth, 2000)
    federation = SummedFederation(folder, setting.nodes, setting.group)
    strategy = SecureSum(
        make(), SumSettings("helper", BOUND, min_cohort=setting.group, group_size=setting.group), federation
    )

    def app(message: Message, _context: Context) -> Message:
        node = message.metadata.dst_node_id - FIRST_NODE
        x, y = data[node]
        start = message.content["arrays"]["w"].numpy().astype(np.float64)  # type: ignore[union-attr]
        lies = node in liars
        update = _learn(start, x, 1 - y if lies and attack == "label flip" else y) - start
        sent = start + (ATTACKS[attack](update) if lies else update)
        arrays = ArrayRecord({"w": Array(sent.astype(np.float32))})
        return Message(RecordDict({"a": arrays, "m": MetricRecord({"num-examples": 1.0})}), reply_to=message)

    weights = ArrayRecord({"w": Array(np.zeros(FEATURES, np.float32))})
    for number in range(1, setting.rounds + 1):
        tasks = list(strategy.configure_train(number, weights, ConfigRecord(), Nodes(setting.nodes)))  # type: ignore[arg-type]
        for place, task in enumerate(tasks):
            set_message_id(task, f"{number:016x}{place:016x}")
        learnt, _ = strategy.aggregate_train(number, [federation.answer(task, app) for task in tasks])
        weights = learnt if learnt is not None else weights
    federation.close()
    return float((((test_x @ weights["w"].numpy()) > 0) == test_y).mean())


def _points(random: np.random.Generator, truth: Vector, n: int = EXAMPLES) -> tuple[Vector, Vector]:
    x = random.normal(0, 1, (n, FEATURES)) + random.normal(0, 0.3, FEATURES)
    return x, (x @ truth + random.normal(0, 0.8, n) > 0).astype(np.float64)


def _learn(weights: Vector, x: Vector, y: Vector) -> Vector:
    for _ in range(STEPS):
        weights = weights - RATE * x.T @ (1 / (1 + np.exp(-x @ weights)) - y) / len(x)
    return weights


def main(
    groups: Annotated[list[int] | None, typer.Option(help="Nodes of a group; several times.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Federations of each kind; medians are shown.")] = 5,
    nodes: int = 40,
    rounds: int = 10,
    attackers: float = 0.2,
) -> None:
    """Accuracy by attack, strategy and size of groups."""
    logging.disable(logging.WARNING)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    table = Table(title=f"Accuracy, {attackers:.0%} of {nodes} nodes lie, median of {seeds}", box=None)
    for title in ("group", "attack", *strategies(Setting())):
        table.add_column(title, justify="left" if title == "attack" else "right")
    for size in groups or [2, 3, 5]:
        setting = Setting(nodes, attackers, rounds, size)
        for attack in ATTACKS:
            cells = []
            for make in strategies(setting).values():
                found = []
                for seed in range(seeds):
                    with tempfile.TemporaryDirectory() as folder:
                        found.append(accuracy(setting, attack, make, seed, Path(folder)))
                cells.append(f"{statistics.median(found):.3f}")
            table.add_row(str(size), attack, *cells)
    Console().print(table)


if __name__ == "__main__":
    configure_process(messages=True)
    typer.run(main)
