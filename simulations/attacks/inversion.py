"""A training example read back from an update.

The update of one step on one example gives the example away exactly: in the first layer, the change of a weight over
the change of its bias is the input (Phong et al. 2017; `inversion_optimised` has what needs optimisation).
What is measured is the cosine between what was read and what was there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge.learning.dpsgd import DpSgdPlan, train
from privacy.secure_sum.fixed_point import FixedPoint
from privacy.secure_sum.sums import split
from privacy.secure_sum.vector import Plan, Vector, contribution
from simulations.attacks.finding import Finding
from simulations.attacks.inversion_optimised import EPSILONS, optimised
from simulations.attacks.statistics import mean_interval

FEATURES, WIDTH = 12, 8
GUESS = 0.235
"""Mean absolute cosine of two random directions in 12 dimensions."""
PLAN = Plan(bound=4.0, most=64)
EXACT = DpSgdPlan(0.0, clip_norm=1e6, learning_rate=0.1, lot_size=1)
Arrays = dict[str, NDArray[np.float32]]


def inversion(
    seed: int, tries: int, searches: int, restarts: int = 4, epsilons: Sequence[float] = EPSILONS
) -> list[Finding]:
    """Invert updates exactly and by optimisation.

    Args:
        tries: examples of each row that is worked out exactly.
        searches: examples of each row that is found by optimisation.
        restarts: random starts of each search.
        epsilons: under which noise is searched.
    """
    return [*analytic(seed, tries), *optimised(seed, searches, restarts, epsilons)]


def analytic(seed: int, tries: int, summed: int = 9) -> list[Finding]:
    """From a single update, a private one, a masked one, and a sum."""
    torch.manual_seed(seed)
    start = _model()
    base = _arrays(start)
    private = DpSgdPlan.within(8.0, 1e-6, 1, 1)
    seen: dict[str, list[float]] = {"clear": [], "noised, epsilon 8": [], "masked share": [], f"sum of {summed}": []}
    for _ in range(tries):
        x = torch.randn(1, FEATURES)
        clear = _update(base, _trained(start, x, EXACT))
        seen["clear"].append(_likeness(clear, x))
        noised = _update(base, _trained(start, x, private))
        seen["noised, epsilon 8"].append(_likeness(noised, x))
        after = {name: base[name] + clear[name] for name in base}
        vector = contribution(PLAN, base, after, 1.0, {})
        seen["masked share"].append(_likeness(_read(split(vector).leader, base), x))
        others = [_update(base, _trained(start, torch.randn(1, FEATURES), EXACT)) for _ in range(summed - 1)]
        total = {name: clear[name] + sum(one[name] for one in others) for name in base}
        seen[f"sum of {summed}"].append(_likeness(total, x))
    means = {name: float(np.mean(likeness)) for name, likeness in seen.items()}
    # A share must be as good as a guess; of noised updates and sums the likeness is shown for what it is.
    limits = {"noised, epsilon 8": None, "masked share": GUESS + 4 / tries**0.5 * GUESS, f"sum of {summed}": None}
    return [
        Finding(
            f"gradient inversion, {name}",
            "one update of one example" if "sum" not in name else "a group's sum, one example a node",
            means["clear"],
            means[name],
            limit,
            "cosine of what was read with what was there; a guess at random has 0.23",
            mean_interval(seen["clear"], seed),
            mean_interval(seen[name], seed),
            "bootstrap",
        )
        for name, limit in limits.items()
    ]


def _model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(FEATURES, WIDTH), nn.Sigmoid(), nn.Linear(WIDTH, 1), nn.Flatten(0))


def _trained(start: nn.Sequential, x: Tensor, plan: DpSgdPlan) -> Arrays:
    model = _model()
    model.load_state_dict(start.state_dict())
    outcome = train(model, x, torch.ones(1), lambda prediction, y: (prediction - y).square(), plan, 1)
    return {name: np.asarray(value, np.float32) for name, value in outcome.state.items()}


def _arrays(model: nn.Sequential) -> Arrays:
    return {name: value.numpy().copy() for name, value in model.state_dict().items()}


def _update(base: Arrays, after: Arrays) -> Arrays:
    return {name: after[name] - base[name] for name in base}


def _likeness(update: Arrays, x: Tensor) -> float:
    weight, bias = update["0.weight"].astype(np.float64), update["0.bias"].astype(np.float64)
    unit = int(np.abs(bias).argmax())
    read, there = weight[unit] / (bias[unit] or 1e-12), x[0].double().numpy()
    return float(abs(read @ there) / (np.linalg.norm(read) * np.linalg.norm(there) + 1e-300))


def _read(share: Vector, base: Arrays) -> Arrays:
    """What a curious leader would take the share for."""
    code: FixedPoint = PLAN.code
    values, found, at = code.decode(share.elements), {}, 0
    for name, array in base.items():
        found[name] = values[at : at + array.size].reshape(array.shape).astype(np.float32)
        at += array.size
    return found
