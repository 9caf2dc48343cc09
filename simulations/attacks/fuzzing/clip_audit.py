"""Audit of clipping: how long a clipped gradient is, over the clip norm, for every number that a node accepts."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import torch

from edge.learning.clipping import clipped_sum
from edge.learning.tasks.task import Examples, Task
from simulations.attacks.fuzzing.mutation import Mutation, any_float, literal
from simulations.attacks.fuzzing.tasks import FuzzTask

SLACK = 1e-6
"""Relative; of a norm that was worked out in float32."""
SMALLEST = 7.1e-46
"""Just above half of float32's smallest number, to which it is rounded up."""
DENORMAL = (SMALLEST, 1e-45, 2.2e-45, 5e-45, 1e-44, 1e-42, 1e-40, 1e-38)
WEIGHTS = (0.0, 1.0, -1.0, 30.0)


@dataclass(frozen=True, slots=True)
class Worst:
    """The longest clipped gradient.

    Attributes:
        ratio: its norm over the clip norm.
        accepted: how many pairs of numbers the node accepted.
    """

    ratio: float
    clip_norm: float
    weight: float
    accepted: int
    tried: int


def audit_clipping(accepts: Callable[[FuzzTask], bool], task: Task, examples: Examples, tries: int, seed: int) -> Worst:
    """Return the worst of random clip norms and weights that a node accepts.

    Args:
        accepts: whether a node answers a task.
    """
    rng = random.Random(seed)
    worst, accepted = Worst(0.0, 0.0, 0.0, 0, tries), 0
    for number in range(tries):
        clip_norm = DENORMAL[number] if number < len(DENORMAL) else abs(any_float(rng))
        weight = rng.choice(WEIGHTS) if number < len(DENORMAL) or rng.random() < 0.7 else any_float(rng)
        changes = (Mutation("config", "clip-norm", literal(clip_norm)), Mutation("model", "fill", literal(weight)))
        if not accepts(FuzzTask("dp-sgd", changes)):
            continue
        accepted += 1
        ratio = _ratio(task, examples, clip_norm, weight)
        if ratio > worst.ratio:
            worst = Worst(ratio, clip_norm, weight, accepted, tries)
    return Worst(worst.ratio, worst.clip_norm, worst.weight, accepted, tries)


def careless_ratio(task: Task, examples: Examples, clip_norm: float = SMALLEST) -> float:
    """The same for clipping in float32 without a second thought."""
    model = task.model()
    worst = 0.0
    for number in range(len(examples)):
        loss = task.loss(model(examples.x[number : number + 1]), examples.y[number : number + 1])
        gradient = torch.cat([one.reshape(-1) for one in torch.autograd.grad(loss.sum(), list(model.parameters()))])
        clipped = gradient * (clip_norm / gradient.norm().clamp(min=clip_norm))
        worst = max(worst, float(clipped.double().norm()) / clip_norm)
    return worst


def _ratio(task: Task, examples: Examples, clip_norm: float, weight: float) -> float:
    """The longest of each example's clipped gradient and of the sum over as many, over the clip norm."""
    model = task.model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(weight)
    worst = 0.0
    with clipped_sum(model, task.loss, clip_norm) as gradients:
        for first, count in [*((n, 1) for n in range(len(examples))), (0, len(examples))]:
            some = slice(first, first + count)
            sums = gradients(examples.x[some].clone(), examples.y[some].clone())
            norm = float(torch.cat([one.reshape(-1) for one in sums]).double().norm())
            worst = max(worst, norm / clip_norm / max(count, 1))
    return worst
