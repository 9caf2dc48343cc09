"""Models that `engine.batched` does not take, by `torch.func.vmap`: slower, and any model that vmap understands."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from simulations.engine.batched import clip_factors
from simulations.engine.derivative import Loss


class VmappedModel:
    """As `batched.ModelOfNodes`, for any model.

    Args:
        model: [n, features] -> [n]; its buffers are not trained and stay as they are.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._parameters: dict[str, Tensor] = {}
        self._buffers = {name: value.detach() for name, value in model.named_buffers()}

    def load(self, state: Mapping[str, Tensor], nodes: int) -> None:
        """Give every node the same weights."""
        self._parameters = {
            name: state[name].repeat(nodes, *[1] * state[name].ndim) for name, _ in self._model.named_parameters()
        }

    def parameters(self) -> dict[str, Tensor]:
        """Each parameter of each node, [nodes, *shape]."""
        return self._parameters

    def step(
        self,
        loss: Loss,
        x: Tensor,
        y: Tensor,
        weights: Tensor,
        rate: float,
        clip_norm: float | None,
        pieces: Tensor | None = None,
    ) -> None:
        """As `batched.ModelOfNodes.step`."""

        def loss_of(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
            prediction: Tensor = functional_call(self._model, {**parameters, **self._buffers}, (x.unsqueeze(0),))
            return loss(prediction, y.unsqueeze(0)).squeeze(0)

        def weighted(
            parameters: dict[str, Tensor], x: Tensor, y: Tensor, w: Tensor, members: Tensor
        ) -> dict[str, Tensor]:
            gradients: dict[str, Tensor] = vmap(grad(loss_of), in_dims=(None, 0, 0))(parameters, x, y)
            if clip_norm is not None:
                squares = torch.stack([g.flatten(1).square().sum(1) for g in gradients.values()]).sum(0)
                finite = squares.isfinite()
                gradients = {
                    name: torch.where(finite.view(-1, *[1] * (g.ndim - 1)), g, 0.0) for name, g in gradients.items()
                }
                w = w * clip_factors(squares, clip_norm)
            if clip_norm is None or pieces is None:
                return {name: torch.tensordot(w, g, dims=1) for name, g in gradients.items()}
            summed = {name: torch.tensordot(members * w, g, dims=1) for name, g in gradients.items()}
            squares = torch.stack([piece.flatten(1).square().sum(1) for piece in summed.values()]).sum(0)
            factors = clip_factors(squares, clip_norm)
            return {name: torch.tensordot(factors, piece, dims=1) for name, piece in summed.items()}

        if pieces is None:
            members = torch.zeros(len(y), 0, y.shape[1])
        else:
            members = torch.nn.functional.one_hot(pieces).transpose(1, 2).float()
        moved = vmap(weighted)(self._parameters, x, y, weights, members)
        for name, by in moved.items():
            self._parameters[name].sub_(by, alpha=rate)
