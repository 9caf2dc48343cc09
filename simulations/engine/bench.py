"""Where pieces of a cohort are trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge.learning.tasks.task import Task
from simulations.engine.batched import ModelOfNodes, NotBatchable
from simulations.engine.cohort import CohortExamples
from simulations.engine.local import LocalTraining, ModelOfMany
from simulations.engine.vmapped import VmappedModel

State = Mapping[str, NDArray[np.float32]]
Nodes = NDArray[np.int64]
Reduced_co = TypeVar("Reduced_co", covariant=True)


class Reduce(Protocol[Reduced_co]):
    """What is kept of a piece; called in a worker, so it must be picklable, and so must its result."""

    def __call__(self, places: slice, parameters: dict[str, Tensor], /) -> Reduced_co:
        """What to keep.

        Args:
            places: where the piece's nodes are among those that take part.
            parameters: of the trained nodes, by name, each [nodes, *shape].
        """
        ...


@dataclass(frozen=True, slots=True)
class Round(Generic[Reduced_co]):
    """What all pieces of a round have in common.

    Attributes:
        state: what every node begins with.
        seed: numbers from 0 up.
    """

    state: State
    training: LocalTraining
    seed: tuple[int, ...]
    reduce: Reduce[Reduced_co]


@dataclass(frozen=True, slots=True)
class Piece:
    """Some nodes of a round.

    Attributes:
        places: where they are among those that take part; its start is part of the piece's seed.
        nodes: which they are; None: those at these places themselves.
    """

    places: slice
    nodes: Nodes | None


class Bench:
    """Trains pieces.

    Args:
        examples: of all nodes.
    """

    def __init__(self, task: Task, examples: CohortExamples) -> None:
        self._task = task
        self._examples = examples
        self._model = model_of_many(task)

    def lot(self, asked: Round[Reduced_co], pieces: Sequence[Piece]) -> list[Reduced_co]:
        """Train some pieces."""
        return [self.piece(asked, piece) for piece in pieces]

    def piece(self, asked: Round[Reduced_co], piece: Piece) -> Reduced_co:
        """Train a piece's nodes."""
        weights = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in asked.state.items()}
        examples = self._examples[piece.places if piece.nodes is None else torch.from_numpy(piece.nodes)]
        generator = torch.Generator()
        generator.manual_seed(_seed(*asked.seed, piece.places.start))
        with torch.no_grad():
            self._model.load(weights, len(examples))
            asked.training.run(self._model, self._task, examples, generator)
            return asked.reduce(piece.places, self._model.parameters())


def model_of_many(task: Task) -> ModelOfMany:
    """The quickest that takes the task's model."""
    try:
        return ModelOfNodes(task.model())
    except NotBatchable:
        return VmappedModel(task.model())


def _seed(*numbers: int) -> int:
    """One 64-bit seed of several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
