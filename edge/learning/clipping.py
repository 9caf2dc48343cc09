"""The sum of per-example gradients, each clipped to a norm: the heart of DP-SGD (Abadi et al. 2016).

For a model whose parameters are all in linear layers no example's gradient need ever be made. Example i's gradient of a
layer's weight is the outer product of what went in, a_i, and what comes back, g_i, so its norm is |a_i| |g_i|, and the
clipped sum is one matrix product: (c g)^T a, with c_i = min(1, C / norm of example i) (Goodfellow 2015, arXiv
1510.01799). That is one forward and one backward pass, about the price of a plain step. Every other model takes Opacus'
way, which makes each example's gradient and is several times as dear.

**A piece of many examples** (all of one day) is made in the same way: each of its examples is clipped to C, they are
summed, and the sum is clipped to C. A piece is worked out by itself, so it does not depend on the others in any bit.

**Numbers.** Gradients are float32; norms, factors and sums are float64. The square of a float32 number is between
1e-90 and 1e77, which float32 turns into 0 or infinity and float64 does not. A clipped piece therefore has a norm of at
most C (1 + `SLACK`) for every finite input and every C from 1e-6 to 1e6, and so moves a sum of up to 10,000 pieces, its
rounding included. Mechanisms multiply their noise with 1 + `SLACK`.

Examples of one batch share its rounding: with another *number* of rows the last bits of a gradient may differ. With
other *content* in some rows they do not, for a row's result depends on its own numbers and its place alone. Replacing
what a unit holds, which is what a ledger charges, leaves every other example's gradient as it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from opacus.grad_sample import GradSampleModule
from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor], Tensor]
SLACK = 1e-6
"""Relative; what float64 rounding may add to the norm of a piece and to how far it moves a sum. Of n pieces it is below
2 n^2 2^-53 C, for n of 10,000 a fiftieth of this."""


class ClippedSum(Protocol):
    """Gradients of `loss` over examples x [n, features], y [n]: for each parameter that is trained, in the model's
    order, the sum of its examples' gradients after each example's gradient, over all parameters together, was clipped.
    All are float64.

    An example whose gradient is not finite counts for nothing: an error would tell that it exists.

    Args:
        groups: number of each example's piece, [n]; then each piece's sum is clipped as well. None: an example is a
            piece.
    """

    def __call__(self, x: Tensor, y: Tensor, groups: NDArray[np.int64] | None = None) -> list[Tensor]: ...


def trained(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that a step changes, in order."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


@contextmanager
def clipped_sum(model: nn.Module, loss: Loss, clip_norm: float) -> Iterator[ClippedSum]:
    """The quickest way for this model; the model is as it was when the block ends.

    Args:
        loss: prediction, y -> [n].
        clip_norm: C, above 0.
    """
    way: _LinearSum | _OpacusSum = (_LinearSum if is_linear(model) else _OpacusSum)(model, loss, clip_norm)

    def of_examples(x: Tensor, y: Tensor) -> list[Tensor]:
        nonlocal way
        try:
            return way(x, y)
        except _UsedOtherwise:
            way.release()
            way = _OpacusSum(model, loss, clip_norm)
            return way(x, y)

    def gradients(x: Tensor, y: Tensor, groups: NDArray[np.int64] | None = None) -> list[Tensor]:
        if groups is None:
            return of_examples(x, y)
        totals = [torch.zeros_like(parameter, dtype=torch.float64) for parameter in trained(model)]
        for group in np.unique(groups):
            rows = torch.from_numpy(np.flatnonzero(groups == group))
            piece = of_examples(x.index_select(0, rows), y.index_select(0, rows))
            norm = math.sqrt(sum(float(torch.linalg.vecdot(part.view(-1), part.view(-1))) for part in piece))
            for total, part in zip(totals, piece, strict=True):
                total.add_(part, alpha=clip_norm / max(norm, clip_norm))
        return totals

    try:
        yield gradients
    finally:
        way.release()


def is_linear(model: nn.Module) -> bool:
    """Whether every parameter that is trained belongs to one linear layer, and to that one alone."""
    layers = _linear_layers(model)
    owned = [id(parameter) for layer in layers for parameter in layer.parameters(recurse=False)]
    return len(owned) == len(set(owned)) and {id(parameter) for parameter in trained(model)} == set(owned)


def _linear_layers(model: nn.Module) -> list[nn.Linear]:
    return [layer for layer in model.modules() if type(layer) is nn.Linear]


class _UsedOtherwise(TypeError):
    """A linear layer is not used once a pass on [examples, features], so an example's norm is no product of two."""


class _LinearSum:
    """One forward and one backward pass, see the module's docstring."""

    def __init__(self, model: nn.Module, loss: Loss, clip_norm: float) -> None:
        self._model = model
        self._loss = loss
        self._clip_norm = clip_norm
        self._layers = _linear_layers(model)
        self._trained = trained(model)
        self._seen: dict[nn.Module, tuple[Tensor, Tensor]] = {}
        self._hooks = [layer.register_forward_hook(self._see) for layer in self._layers]

    def release(self) -> None:
        for hook in self._hooks:
            hook.remove()

    def __call__(self, x: Tensor, y: Tensor) -> list[Tensor]:
        self._seen.clear()
        loss = self._loss(self._model(x), y)
        used = [layer for layer in self._layers if layer in self._seen]
        inputs = [self._seen[layer][0] for layer in used]
        back = torch.autograd.grad(loss.sum(), [self._seen[layer][1] for layer in used], allow_unused=True)
        self._seen.clear()
        with torch.no_grad():
            inputs = [a.double() for a in inputs]
            backs = [
                torch.zeros(len(a), layer.out_features, dtype=torch.float64) if g is None else g.double()
                for layer, a, g in zip(used, inputs, back, strict=True)
            ]
            squares = torch.zeros(len(x), dtype=torch.float64)
            for layer, a, g in zip(used, inputs, backs, strict=True):
                size = torch.linalg.vecdot(a, a)
                squares.addcmul_(size if layer.bias is None else size.add_(1), torch.linalg.vecdot(g, g))
            if not math.isfinite(float(squares.sum())):
                finite = squares.isfinite().unsqueeze(1)
                inputs, backs = ([torch.where(finite, one, 0.0) for one in many] for many in (inputs, backs))
            factors = _factors(squares, self._clip_norm).unsqueeze(1)
            sums: dict[Tensor, Tensor] = {}
            for layer, a, g in zip(used, inputs, backs, strict=True):
                clipped = g.mul_(factors)
                sums[layer.weight] = clipped.T @ a
                if layer.bias is not None:
                    sums[layer.bias] = clipped.sum(dim=0)
            # A layer that the model has and does not use has no gradient.
            return [sums[p] if p in sums else torch.zeros_like(p, dtype=torch.float64) for p in self._trained]

    def _see(self, layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        if layer in self._seen or output.ndim != 2:
            raise _UsedOtherwise(f"{layer} is used twice in one pass, or on {list(output.shape)}")
        self._seen[layer] = (inputs[0].detach(), output)


class _OpacusSum:
    """Every example's gradient in full, by Opacus' hooks."""

    def __init__(self, model: nn.Module, loss: Loss, clip_norm: float) -> None:
        self._private = GradSampleModule(model, loss_reduction="sum")
        self._model = model
        self._loss = loss
        self._clip_norm = clip_norm

    def release(self) -> None:
        self._private.to_standard_module()

    def __call__(self, x: Tensor, y: Tensor) -> list[Tensor]:
        parameters = trained(self._model)
        self._private.zero_grad(set_to_none=True)
        if len(x):
            inputs = x.detach().requires_grad_()  # or torch warns that Opacus' hooks see no gradient of the inputs
            torch.autograd.backward(self._loss(self._private(inputs), y).sum())
        with torch.no_grad():
            found = [
                torch.zeros((len(x), *parameter.shape), dtype=torch.float64) if samples is None else samples.double()
                for parameter in parameters
                for samples in (getattr(parameter, "grad_sample", None),)
            ]
            squares = torch.zeros(len(x), dtype=torch.float64)
            for samples in found:
                squares = squares + samples.flatten(start_dim=1).square().sum(dim=1)
            finite = squares.isfinite()
            factors = _factors(squares, self._clip_norm)
            return [
                torch.tensordot(factors, torch.where(finite.view(-1, *[1] * (s.ndim - 1)), s, 0.0), dims=1)
                for s in found
            ]


def _factors(squares: Tensor, clip_norm: float) -> Tensor:
    """What each example's gradient is multiplied with, float64 [n], from the squares of their norms, float64: 0 if not
    finite."""
    return (clip_norm / squares.sqrt().clamp(min=clip_norm)).nan_to_num_(nan=0.0)
