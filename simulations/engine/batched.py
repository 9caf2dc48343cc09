"""One model with the weights of many nodes, each node's own: what makes a cohort one tensor program.

For chains of linear layers with element-wise functions between them, which is what small nodes train. A layer's weight
is [nodes, out, in], its input [nodes, examples, in]; forward and backward passes are batched matrix products, written
out here because autograd would take half as much time again. A layer's gradient needs what went in and what comes back,
so the norms of examples' gradients cost two dot products a layer (`edge.learning.clipping` does so for one node).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from edge.learning.clipping import is_linear
from simulations.engine.derivative import Loss, derivative_of

EMPTY = torch.empty(0)
PROBE_NODES, PROBE_EXAMPLES = 2, 3

Forward = Callable[[Tensor], Tensor]
Backward = Callable[[Tensor, Tensor], Tensor]
"""From the derivative by the output, and the output itself."""


@dataclass(frozen=True, slots=True)
class Activation:
    """An element-wise function, in place, and its derivative."""

    forward: Forward
    backward: Backward


RELU = Activation(torch.relu_, lambda back, out: torch.ops.aten.threshold_backward(back, out, 0))
TANH = Activation(torch.tanh_, torch.ops.aten.tanh_backward)
SIGMOID = Activation(torch.sigmoid_, torch.ops.aten.sigmoid_backward)
BY_MODULE: dict[type[nn.Module], Activation] = {nn.ReLU: RELU, nn.Tanh: TANH, nn.Sigmoid: SIGMOID}
BY_NAME = {"relu": RELU, "tanh": TANH, "sigmoid": SIGMOID}
SHAPING = frozenset({"squeeze", "flatten", "reshape", "view", "getitem"})
"""What may follow the last layer: it makes [n] of [n, 1], and a probe shows whether it does no more."""


class NotBatchable(TypeError):
    """A model that is more than a chain of linear layers with element-wise functions between them."""


@dataclass(slots=True)
class Layer:
    """One linear layer and the function after it.

    Attributes:
        name: of the layer in the model's `state_dict`, with a dot at the end.
        weight: [nodes, out, in].
        bias: [nodes, 1, out], or None.
        into: input of the last pass, [nodes, examples, in].
        back: derivative of each example's loss by what came out, before the function: [nodes, examples, out].
    """

    name: str
    has_bias: bool
    activation: Activation | None
    weight: Tensor = EMPTY
    bias: Tensor | None = None
    into: Tensor = EMPTY
    back: Tensor = EMPTY

    def forward(self, x: Tensor) -> Tensor:
        self.into, turned = x, self.weight.transpose(1, 2)
        y = torch.bmm(x, turned) if self.bias is None else torch.baddbmm(self.bias, x, turned)
        return y if self.activation is None else self.activation.forward(y)

    def squares(self) -> Tensor:
        """Square of the norm of each example's gradient of this layer, [nodes, examples]."""
        size = torch.linalg.vecdot(self.into, self.into)
        if self.bias is not None:
            size.add_(1)
        squares: Tensor = size.mul_(torch.linalg.vecdot(self.back, self.back))
        return squares

    def move(self, rate: float) -> None:
        """Against the sum of the examples' gradients."""
        self.weight.baddbmm_(self.back.transpose(1, 2), self.into, alpha=-rate)
        if self.bias is not None:
            self.bias.sub_(self.back.sum(1, keepdim=True), alpha=rate)

    def piece_squares(self, members: Tensor) -> Tensor:
        """Square of the norm of the sum of some examples' gradients of this layer, [nodes].

        Args:
            members: float32 [nodes, examples, 1], 1 of those that are summed.
        """
        back = self.back * members
        squares = torch.bmm(back.transpose(1, 2), self.into).square_().sum((1, 2))
        if self.bias is not None:
            squares.add_(back.sum(1).square_().sum(1))
        return squares

    def keep(self, examples: Tensor) -> None:
        """Nothing of the others is left: zero times infinity is no zero."""
        kept = examples.unsqueeze(2)
        self.into, self.back = torch.where(kept, self.into, 0.0), torch.where(kept, self.back, 0.0)


class ModelOfNodes:
    """A chain whose weights differ between nodes.

    Args:
        model: [n, features] -> [n].

    Raises:
        NotBatchable: it is no such chain.
    """

    def __init__(self, model: nn.Module) -> None:
        self._names = [name for name, _ in model.named_parameters()]
        self._layers = _chain(model)
        self._probe(model)

    def load(self, state: Mapping[str, Tensor], nodes: int) -> None:
        """Give every node the same weights."""
        for layer in self._layers:
            layer.weight = _for_each(nodes, state[f"{layer.name}weight"])
            layer.bias = _for_each(nodes, state[f"{layer.name}bias"].unsqueeze(0)) if layer.has_bias else None

    def parameters(self) -> dict[str, Tensor]:
        """Each parameter of each node, [nodes, *shape], under the names of the model's `state_dict`, in its order."""
        found: dict[str, Tensor] = {}
        for layer in self._layers:
            found[f"{layer.name}weight"] = layer.weight
            if layer.bias is not None:
                found[f"{layer.name}bias"] = layer.bias.squeeze(1)
        return {name: found[name] for name in self._names}

    def predict(self, x: Tensor) -> Tensor:
        """[nodes, examples, features] -> [nodes, examples]."""
        for layer in self._layers:
            x = layer.forward(x)
        return x.squeeze(2)

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
        """Move every node against the weighted sum of its examples' gradients.

        Args:
            loss: prediction [n], y [n] -> [n].
            x: [nodes, examples, features].
            y: [nodes, examples].
            weights: [nodes, examples], 0 for an example that takes no part.
            rate: what the sum is multiplied with.
            clip_norm: bound of one example's gradient over all layers; None: as it is. An example whose gradient is
                not finite counts for nothing where there is a bound.
            pieces: number of each example's piece, [nodes, examples], whose sum is bounded as well; None: an example is
                a piece.
        """
        prediction, shares = self.predict(x), weights if clip_norm is None else torch.ones_like(weights)
        back = derivative_of(loss)(prediction.reshape(-1), y.reshape(-1), shares.reshape(-1))
        self._backwards(back.view(*prediction.shape, 1))
        if clip_norm is not None:
            squares = self._squares()
            if not torch.isfinite(squares.sum()):
                for layer in self._layers:
                    layer.keep(squares.isfinite())
            factors = (weights * clip_factors(squares, clip_norm)).unsqueeze(2)
            for layer in self._layers:
                layer.back.mul_(factors)
            if pieces is not None:
                self._clip_pieces(pieces, clip_norm)
        for layer in self._layers:
            layer.move(rate)

    def _backwards(self, back: Tensor) -> None:
        for layer, before in zip(reversed(self._layers), [*reversed(self._layers[:-1]), None], strict=True):
            layer.back = back
            if before is not None:
                back = back * layer.weight if layer.weight.shape[1] == 1 else torch.bmm(back, layer.weight)
                if before.activation is not None:
                    back = before.activation.backward(back, layer.into)

    def _clip_pieces(self, pieces: Tensor, clip_norm: float) -> None:
        factors = torch.ones(pieces.shape)
        for number in range(int(pieces.max()) + 1):
            members = pieces == number
            counted = members.unsqueeze(2).float()
            squares = torch.stack([layer.piece_squares(counted) for layer in self._layers]).sum(0)
            factors = torch.where(members, clip_factors(squares, clip_norm).unsqueeze(1), factors)
        for layer in self._layers:
            layer.back.mul_(factors.unsqueeze(2))

    def _squares(self) -> Tensor:
        first, *others = (layer.squares() for layer in self._layers)
        for other in others:
            first.add_(other)
        return first

    def _probe(self, model: nn.Module) -> None:
        """Whether the chain means what the model means."""
        features = next(layer.in_features for layer in model.modules() if type(layer) is nn.Linear)
        state = {name: value.detach() for name, value in model.state_dict().items()}
        x = torch.linspace(-1, 1, PROBE_NODES * PROBE_EXAMPLES * features).view(PROBE_NODES, PROBE_EXAMPLES, features)
        with torch.no_grad():
            self.load(state, PROBE_NODES)
            many, one = self.predict(x), torch.stack([model(x[node]) for node in range(PROBE_NODES)])
        if many.shape != one.shape or not torch.allclose(many, one, atol=1e-5):
            raise NotBatchable(f"{type(model).__name__} does more than its layers, one after the other")


def _for_each(nodes: int, one: Tensor) -> Tensor:
    """As `repeat`, in a third of its time."""
    return one.expand(nodes, *one.shape).clone(memory_format=torch.contiguous_format)


def clip_factors(squares: Tensor, clip_norm: float) -> Tensor:
    """What each example's gradient is multiplied with, from the squares of their norms; 0 where not finite."""
    return (clip_norm / squares.sqrt().clamp(min=clip_norm)).nan_to_num(nan=0.0)


def _chain(model: nn.Module) -> list[Layer]:
    """The layers in the order in which they are used."""
    name = type(model).__name__
    if not is_linear(model):
        raise NotBatchable(f"{name} has parameters outside of linear layers, or none")
    if type(model) is nn.Linear:
        return [Layer("", model.bias is not None, None)]
    try:
        nodes = list(fx.symbolic_trace(model).graph.nodes)
    except Exception as why:
        raise NotBatchable(f"{name} cannot be traced: {why}") from why
    layers: list[Layer] = []
    begun, *steps, _ = nodes
    shaped = False
    for before, node in zip([begun, *steps], steps, strict=False):
        module = model.get_submodule(node.target) if node.op == "call_module" else None
        if list(node.all_input_nodes) != [before]:
            raise NotBatchable(f"{name} is no chain at {node.name}")
        called = _called(node)
        activation = BY_MODULE.get(type(module)) if module is not None else BY_NAME.get(called)
        if type(module) is nn.Linear and not shaped:
            layers.append(Layer(f"{node.target}.", module.bias is not None, None))
        elif activation is not None and layers and layers[-1].activation is None and not shaped:
            layers[-1].activation = activation
        elif isinstance(module, nn.Flatten) or (module is None and called in SHAPING):
            shaped = True
        else:
            raise NotBatchable(f"{name} does something else than linear layers at {node.name}")
    if len({layer.name for layer in layers}) != len(layers) or not layers or layers[-1].activation is not None:
        raise NotBatchable(f"{name} uses a layer twice, or ends with a function")
    return layers


def _called(node: fx.Node) -> str:
    target = node.target
    return "getitem" if target is operator.getitem else str(getattr(target, "__name__", target))
