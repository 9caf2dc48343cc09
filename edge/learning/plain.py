"""Plain local SGD: what a node trains where not its examples but its whole update is protected."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge.learning.noise import uniform


@dataclass(frozen=True, slots=True)
class PlainPlan:
    """Mini-batch SGD without noise.

    Attributes:
        epochs: passes over the examples.
        batch_size: of a step; the last batch of a pass may be smaller.
        learning_rate: of the mean gradient of a batch.
        shuffled: each pass in an order of its own; otherwise as the examples are.
    """

    epochs: int = 1
    batch_size: int = 16
    learning_rate: float = 0.1
    shuffled: bool = True

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(f"epochs ({self.epochs}) and batch_size ({self.batch_size}) must be at least 1")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate is {self.learning_rate}; it must be finite and above 0")


def train_plainly(
    model: nn.Module, x: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor], plan: PlainPlan
) -> dict[str, NDArray[np.floating]]:
    """Train `model`, in place.

    Args:
        x: [n, features].
        y: [n].
        loss: prediction, y -> [n].

    Returns:
        The model's arrays, as `state_dict` names them. **No noise is on them**: they must not leave the node so.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for _ in range(plan.epochs):
        order = torch.from_numpy(np.argsort(uniform(len(x)))) if plan.shuffled else torch.arange(len(x))
        for begun in range(0, len(x), plan.batch_size):
            batch = order[begun : begun + plan.batch_size]
            total = loss(model(x.index_select(0, batch)), y.index_select(0, batch)).mean()
            gradients = torch.autograd.grad(total, parameters, allow_unused=True)
            with torch.no_grad():
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    if gradient is not None:
                        parameter.sub_(gradient, alpha=plan.learning_rate)
    return {name: value.detach().numpy().copy() for name, value in model.state_dict().items()}
