"""The examples of many nodes, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from edge.learning.tasks.task import Examples


@dataclass(frozen=True, slots=True)
class CohortExamples:
    """Examples of `nodes` nodes, filled up to the most that one has.

    Attributes:
        x: float32 [nodes, most, features]; 0 where there is no example.
        y: float32 [nodes, most].
        present: bool [nodes, most], which of them are examples.
    """

    x: Tensor
    y: Tensor
    present: Tensor

    def __post_init__(self) -> None:
        if self.x.ndim != 3 or self.y.shape != self.x.shape[:2] or self.present.shape != self.y.shape:
            raise ValueError(
                f"a cohort needs x [nodes, most, features], y and present [nodes, most], got {list(self.x.shape)}, "
                f"{list(self.y.shape)} and {list(self.present.shape)}"
            )

    @classmethod
    def of(cls, nodes: Sequence[Examples]) -> Self:
        """From each node's own examples.

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
        return cls(x, y, present)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, nodes: slice | Tensor) -> CohortExamples:
        """Some of the nodes; a slice copies nothing."""
        return CohortExamples(self.x[nodes], self.y[nodes], self.present[nodes])
