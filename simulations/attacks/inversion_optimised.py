"""Training examples found by optimisation: the input whose gradient points as the update does (Geiping et al. 2020).

A curious party starts from random inputs and moves them until the gradient that they would have has the direction of
what it saw: 1 - cosine, by Adam and then by L-BFGS, from several starts, of which the best match is kept. Clipping does
not change a gradient's direction. The label is known, or sought together with the input (Zhu et al. 2019). What is
measured is the absolute cosine of what was found with what was there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from edge.learning.dpsgd import DpSgdPlan, train
from edge.learning.tasks.crowding import TASK
from simulations.attacks.finding import Finding
from simulations.attacks.population import minutes
from simulations.attacks.statistics import mean_interval

DELTA = 1e-6
EPSILONS = (8.0, 4.0, 1.0)
STEPS, POLISH = 200, 20
CLASSES, SIDE, FEATURES, WIDTH = 4, 6, 12, 8
Loss = Callable[[Tensor, Tensor], Tensor]
Cosines = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Target:
    """A model under attack, and what it is trained on.

    Attributes:
        model: makes one.
        loss: prediction, y -> [n].
        sought: prediction, label that is sought -> [n]; the label is real and has the shape [n, labels].
        draw: makes one example, x [1, ...] and y [1].
        labels: how many numbers a sought label has.
        label: y -> what `sought` takes for it.
        unit_examples: examples of a privacy unit.
    """

    name: str
    model: Callable[[], nn.Module]
    loss: Loss
    sought: Loss
    draw: Callable[[], tuple[Tensor, Tensor]]
    labels: int
    label: Callable[[Tensor], Tensor]
    unit_examples: int = 1


def targets(seed: int) -> list[Target]:
    """Return the task's own model, a perceptron, and a small convolutional network."""
    pool = TASK.examples(minutes(np.random.default_rng(seed), days=30))

    def slot() -> tuple[Tensor, Tensor]:
        place = int(torch.randint(len(pool), ()))
        return pool.x[place : place + 1], pool.y[place : place + 1]

    return [
        Target(
            "crowding",
            TASK.model,
            TASK.loss,
            # Its label enters by the error's size and sign alone; a size that is 0 would leave no gradient to match.
            lambda prediction, label: (prediction - label.squeeze(-1)) ** 2,
            slot,
            1,
            lambda y: (y / 100).sqrt().unsqueeze(-1),
            TASK.unit_examples,
        ),
        Target(
            "perceptron",
            _perceptron,
            lambda prediction, y: (prediction - y).square(),
            lambda prediction, label: (prediction - label.squeeze(-1)).square(),
            lambda: (torch.randn(1, FEATURES), torch.randn(1)),
            1,
            lambda y: y.unsqueeze(-1),
        ),
        Target(
            "convolutions",
            _convolutions,
            lambda prediction, y: functional.cross_entropy(prediction, y, reduction="none"),
            lambda prediction, label: -(label.softmax(-1) * prediction.log_softmax(-1)).sum(-1),
            lambda: (torch.randn(1, 1, SIDE, SIDE), torch.randint(CLASSES, (1,))),
            CLASSES,
            lambda y: 20.0 * functional.one_hot(y, CLASSES).float(),
        ),
    ]


def optimised(seed: int, tries: int, restarts: int, epsilons: Sequence[float] = EPSILONS) -> list[Finding]:
    """Invert clear and noised updates of one example, with and without its label.

    Args:
        tries: examples of each row.
        restarts: random starts of each.
        epsilons: of one round that spends all of it.
    """
    torch.manual_seed(seed)
    rows = []
    for target in targets(seed):
        model = target.model()
        examples = [target.draw() for _ in range(tries)]
        guess = _guess(target, examples)
        clear = [_seen(target, model, one, None)[0] for one in examples]
        noised = {}
        for epsilon in epsilons:
            plan = DpSgdPlan.within(epsilon, DELTA, 1, target.unit_examples, metrics=0)
            noised[epsilon] = [_seen(target, model, one, plan) for one in examples]
        for known in (True, False):
            without = _cosines(target, model, examples, clear, restarts, known=known)
            for epsilon, seen in noised.items():
                cosines = _cosines(target, model, examples, [one for one, _ in seen], restarts, known=known)
                ratio = float(np.mean([snr for _, snr in seen]))
                rows.append(
                    Finding(
                        f"inversion by optimisation, {target.name}, label {'known' if known else 'sought'}, "
                        f"epsilon {epsilon:g}",
                        "one update of one example",
                        float(without.mean()),
                        float(cosines.mean()),
                        None,
                        f"cosine with what was there; another example has {guess:.2f}; signal over noise {ratio:.2g}",
                        mean_interval(without, seed),
                        mean_interval(cosines, seed),
                        "bootstrap",
                    )
                )
    return rows


def invert(target: Target, model: nn.Module, seen: Tensor, labels: Tensor | None, restarts: int) -> Tensor:
    """Return the inputs whose gradients point most nearly as those that were seen.

    Args:
        seen: gradients up to a factor above 0, [tries, parameters].
        labels: [tries, labels]; None: sought, too.

    Returns:
        [tries, *shape of an input].
    """
    tries, shape = len(seen), target.draw()[0].shape[1:]
    wanted = functional.normalize(seen.repeat_interleave(restarts, 0), dim=1)
    x = torch.randn(len(wanted), *shape).requires_grad_()
    label = torch.randn(len(wanted), target.labels) if labels is None else labels.repeat_interleave(restarts, 0)
    sought = [x, label.requires_grad_()] if labels is None else [x]
    parameters = {name: value.detach() for name, value in model.named_parameters()}

    def loss_of(parameters: dict[str, Tensor], x: Tensor, label: Tensor) -> Tensor:
        prediction: Tensor = functional_call(model, parameters, (x.unsqueeze(0),))
        return target.sought(prediction, label.unsqueeze(0)).squeeze(0)

    gradients = vmap(grad(loss_of), in_dims=(None, 0, 0))

    def apart() -> Tensor:
        pieces = [piece.flatten(1) for piece in gradients(parameters, x, label).values()]
        return 1 - (functional.normalize(torch.cat(pieces, 1), dim=1, eps=1e-8) * wanted).sum(1)

    adam = torch.optim.Adam(sought, lr=0.1)
    for step in range(STEPS):
        adam.param_groups[0]["lr"] = 0.1 * (1 - step / STEPS)
        adam.zero_grad()
        torch.autograd.backward(apart().sum())
        adam.step()
    polish = torch.optim.LBFGS(sought, max_iter=POLISH, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        polish.zero_grad()
        total = apart().sum()
        torch.autograd.backward(total)
        return total

    polish.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        best = apart().nan_to_num(nan=2.0).view(tries, restarts).argmin(1)
        return x.detach().view(tries, restarts, *shape)[torch.arange(tries), best]


def _cosines(
    target: Target,
    model: nn.Module,
    examples: list[tuple[Tensor, Tensor]],
    seen: list[Tensor],
    restarts: int,
    *,
    known: bool,
) -> Cosines:
    labels = torch.cat([target.label(y) for _, y in examples]) if known else None
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # three times as fast: each operation is small
    try:
        found = invert(target, model, torch.stack(seen), labels, restarts)
    finally:
        torch.set_num_threads(threads)
    return _alike(found, torch.cat([x for x, _ in examples]))


def _alike(found: Tensor, there: Tensor) -> Cosines:
    cosines: Cosines = functional.cosine_similarity(found.flatten(1), there.flatten(1)).abs().double().numpy()
    return cosines


def _guess(target: Target, examples: list[tuple[Tensor, Tensor]]) -> float:
    """How alike another example is, drawn as these were."""
    others = torch.cat([target.draw()[0] for _ in examples])
    return float(_alike(others, torch.cat([x for x, _ in examples])).mean())


def _seen(
    target: Target, start: nn.Module, example: tuple[Tensor, Tensor], plan: DpSgdPlan | None
) -> tuple[Tensor, float]:
    """What a node's training makes of one example: the direction of its gradient, and signal over noise."""
    exact = DpSgdPlan(0.0, clip_norm=1e6, learning_rate=0.1, lot_size=1)
    model = target.model()
    model.load_state_dict(start.state_dict())
    outcome = train(model, *example, target.loss, plan or exact, target.unit_examples)
    moved = [
        start.get_parameter(name).detach().flatten() - torch.from_numpy(np.asarray(outcome.state[name])).flatten()
        for name, _ in start.named_parameters()
    ]
    return torch.cat(moved), outcome.snr


def _perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(FEATURES, WIDTH), nn.Sigmoid(), nn.Linear(WIDTH, 1), nn.Flatten(0))


def _convolutions() -> nn.Module:
    inner = SIDE - 2
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Sigmoid(), nn.Flatten(1), nn.Linear(4 * inner * inner, CLASSES))
