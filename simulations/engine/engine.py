"""The engine: a round of a cohort in pieces that stay in a core's cache, on as many processes as there are cores.

    state -> [piece of nodes: load, train, reduce] x many -> what each piece was reduced to, in order

A piece has always the same nodes and the same seed, whatever the number of workers, and results come back in the order
of the nodes: the same seed gives the same bytes. Memory is that of the examples, of the pieces in hand and of what is
kept of each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge.learning.tasks.task import Task
from simulations.engine.bench import Nodes, Piece, Reduce, Reduced_co, Round, State
from simulations.engine.cohort import CohortExamples
from simulations.engine.local import LocalTraining
from simulations.engine.processes import Processes
from simulations.engine.workers import Backend

NODES_AT_ONCE = 50
"""Whose weights and activations a core's cache holds, for the perceptrons that nodes train."""
LOTS_OF_A_WORKER = 4
"""A worker is given a round's pieces in about so many lots: few, for each costs a message; not one, for workers
differ."""


class Engine:
    """Trains the nodes of one federation.

    Args:
        task: a node's task; with several workers it must be picklable.
        examples: of all nodes.
        workers: where pieces are trained; a number is `Processes` of this machine, 1 trains in this one.
        nodes_at_once: nodes of a piece. It decides which random numbers a node gets, so keep it to repeat a run.

    Raises:
        Exception: what the backend raises where it cannot start.
    """

    def __init__(
        self, task: Task, examples: CohortExamples, *, workers: int | Backend = 2, nodes_at_once: int = NODES_AT_ONCE
    ) -> None:
        if nodes_at_once < 1:
            raise ValueError(f"nodes_at_once ({nodes_at_once}) must be at least 1")
        self.nodes = len(examples)
        self._nodes_at_once = nodes_at_once
        backend = Processes(workers) if isinstance(workers, int) else workers
        self._workers = backend.start(task, examples)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the workers; pieces that have not begun are dropped."""
        self._workers.close()

    def train(
        self,
        state: State,
        training: LocalTraining,
        seed: tuple[int, ...],
        reduce: Reduce[Reduced_co],
        nodes: Nodes | None = None,
    ) -> Iterator[Reduced_co]:
        """One round: every node begins with `state` and trains on its own examples.

        Args:
            seed: of this round, numbers from 0 up.
            nodes: who takes part, by index; None: all.

        Returns:
            What `reduce` gave for each piece, in the order of the nodes.
        """
        count = self.nodes if nodes is None else len(nodes)
        places = [slice(at, min(at + self._nodes_at_once, count)) for at in range(0, count, self._nodes_at_once)]
        pieces = [Piece(one, None if nodes is None else nodes[one]) for one in places]
        asked = Round(state, training, seed, reduce)
        size = max(1, math.ceil(len(pieces) / (self._workers.count * LOTS_OF_A_WORKER)))
        for lot in self._workers.run(asked, [pieces[at : at + size] for at in range(0, len(pieces), size)]):
            yield from lot

    def mean(
        self,
        state: State,
        training: LocalTraining,
        seed: tuple[int, ...],
        nodes: Nodes | None = None,
        weights: NDArray[np.floating] | None = None,
    ) -> dict[str, NDArray[np.float32]]:
        """The weighted mean of the parameters after one round, as FedAvg.

        Args:
            nodes: as in `train`.
            weights: of those that take part; None: all the same.
        """
        count = self.nodes if nodes is None else len(nodes)
        share = np.ones(count, np.float32) if weights is None else np.asarray(weights, np.float32)
        totals: dict[str, NDArray[np.float64]] = {name: np.zeros(value.shape) for name, value in state.items()}
        for part in self.train(state, training, seed, WeightedSum(share), nodes):
            for name, value in part.items():
                totals[name] += value
        whole = share.sum(dtype=np.float64)
        return {name: (total / whole).astype(np.float32) for name, total in totals.items()}

    def each(
        self, state: State, training: LocalTraining, seed: tuple[int, ...], nodes: Nodes | None = None
    ) -> dict[str, NDArray[np.float32]]:
        """The parameters of every node that takes part, each [nodes, *shape]: memory grows with them."""
        parts: list[dict[str, NDArray[np.float32]]] = list(self.train(state, training, seed, everything, nodes))
        return {name: np.concatenate([part[name] for part in parts]) for name in state}


@dataclass(frozen=True, slots=True)
class WeightedSum:
    """The sum of a piece's parameters, each node's times its weight.

    Attributes:
        weights: float32 [nodes that take part].
    """

    weights: NDArray[np.float32]

    def __call__(self, places: slice, parameters: dict[str, Tensor]) -> dict[str, NDArray[np.float32]]:
        weights = torch.from_numpy(self.weights[places])
        return {name: (weights @ v.flatten(1)).view(v.shape[1:]).numpy() for name, v in parameters.items()}


def everything(_places: slice, parameters: dict[str, Tensor]) -> dict[str, NDArray[np.float32]]:
    """All parameters of a piece."""
    return {name: values.numpy().copy() for name, values in parameters.items()}
