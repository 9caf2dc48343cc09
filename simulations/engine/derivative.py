"""The derivative of a task's loss as a short program of tensor operations, written down once.

Autograd takes as long for it at every step as for a layer: it builds a graph and starts its engine for a few
element-wise operations.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

Loss = Callable[[Tensor, Tensor], Tensor]
Derivative = Callable[[Tensor, Tensor, Tensor], Tensor]
"""prediction [n], y [n], weights [n] -> of each example's loss, times its weight, by its prediction: [n]."""

TRACED_AT, TRIED_AT = 3, 7


@lru_cache(maxsize=8)
def derivative_of(loss: Loss) -> Derivative:
    """The derivative of a loss, prediction [n], y [n] -> [n]; one that cannot be written down goes by autograd.

    A loss is written down the first time that it is seen, so what it reads besides its arguments must stay as it is.
    """

    def by_autograd(prediction: Tensor, y: Tensor, weights: Tensor) -> Tensor:
        leaf = prediction.detach().requires_grad_()
        with torch.enable_grad():
            losses = loss(leaf, y)
        (back,) = torch.autograd.grad(losses, [leaf], [weights])
        return back

    try:
        traced = make_fx(by_autograd)(*_probe(TRACED_AT))
        traced.graph.eliminate_dead_code()
        traced.recompile()
        written: Derivative = traced.forward
        # A size that was written down as it was while tracing shows with another.
        same = torch.equal(written(*_probe(TRIED_AT)), by_autograd(*_probe(TRIED_AT)))
    except Exception:  # whatever a task's loss does that a trace does not follow
        return by_autograd
    return written if same else by_autograd


def _probe(n: int) -> tuple[Tensor, Tensor, Tensor]:
    return torch.linspace(-2, 2, n), torch.linspace(0, 1, n), torch.linspace(1, 2, n)
