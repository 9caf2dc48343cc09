"""The examples of many nodes, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from edge.learning.tasks.task import Examples, Task
from edge.learning.tasks.units import pieces_of


@dataclass(frozen=True, slots=True)
class CohortExamples:
    """Examples of `nodes` nodes, filled up to the most that one has.

    Attributes:
        x: float32 [nodes, most, features]; 0 where there is no example.
        y: float32 [nodes, most].
        present: bool [nodes, most], which of them are examples.
        pieces: int64 [nodes, most], number of each example's piece in its node, from 0 up without gaps; None if each
            example is a piece of its own.
    """

    x: Tensor
    y: Tensor
    present: Tensor
    pieces: Tensor | None = None

    def __post_init__(self) -> None:
        if self.pieces is not None and self.pieces.shape != self.y.shape:
            raise ValueError(f"pieces {list(self.pieces.shape)} of examples {list(self.y.shape)}")
        if self.x.ndim != 3 or self.y.shape != self.x.shape[:2] or self.present.shape != self.y.shape:
            raise ValueError(
                f"a cohort needs x [nodes, most, features], y and present [nodes, most], got {list(self.x.shape)}, "
                f"{list(self.y.shape)} and {list(self.present.shape)}"
            )

    @classmethod
    def of(cls, nodes: Sequence[Examples], groups: Sequence[Sequence[int]] | None = None) -> Self:
        """From each node's own examples.

        Args:
            groups: of each node `Pieces.groups`; None if each example is a piece.

        Raises:
            ValueError: there is no node, or their features differ in number.
        """
        if not nodes:
            raise ValueError("a cohort has at least one node")
        features = {node.x.shape[1] for node in nodes}
        if len(features) != 1:
            raise ValueError(f"nodes have examples of {sorted(features)} features; all must have as many")
        most = max(1, *(len(node) for node in nodes))
        x, y = torch.zeros(len(nodes), most, features.pop()), torch.zeros(len(nodes), most)
        present = torch.zeros(len(nodes), most, dtype=torch.bool)
        for place, node in enumerate(nodes):
            x[place, : len(node)], y[place, : len(node)], present[place, : len(node)] = node.x, node.y, True
        if groups is None:
            return cls(x, y, present)
        pieces = torch.zeros(len(nodes), most, dtype=torch.int64)
        for place, numbers in enumerate(groups):
            found = np.unique(np.asarray(numbers, np.int64), return_inverse=True)[1]
            pieces[place, : len(numbers)] = torch.from_numpy(found)
        return cls(x, y, present, pieces)

    @classmethod
    def of_unit(cls, task: Task, nodes: Sequence[Examples], unit: str) -> Self:
        """Each node's examples as that node would train on them if `unit` is protected.

        Raises:
            UnknownUnit: the task does not offer it.
        """
        kept = [pieces_of(task, node, unit) for node in nodes]
        groups = [node.groups for node in kept if node.groups is not None]
        return cls.of([node.examples for node in kept], groups or None)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, nodes: slice | Tensor) -> CohortExamples:
        """Some of the nodes; a slice copies nothing."""
        pieces = None if self.pieces is None else self.pieces[nodes]
        return CohortExamples(self.x[nodes], self.y[nodes], self.present[nodes], pieces)
