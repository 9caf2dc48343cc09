"""Canaries against every mechanism: what an audit proves of its epsilon must lie under what the ledger is charged.

A canary is the worst that one unit can be. The mechanism runs many times with and without it, and a lower bound of
epsilon follows from how well the two are told apart. Mechanisms that were broken on purpose must be found out.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edge.learning.dpsgd import DpSgdPlan, noised_metrics, train
from privacy.accounting.composition import epsilon
from privacy.accounting.events import SampledGaussian
from privacy.mechanisms.discrete_gaussian import sample
from privacy.mechanisms.shared_noise import SharedNoise
from privacy.secure_sum.fixed_point import FixedPoint
from privacy.secure_sum.mask import add_mask, new_seed
from simulations.attacks.finding import Audit, audited_epsilon

DELTA = 1e-6
Z = 4.0
"""Little enough is charged for it that some hundred runs can prove a broken one wrong."""
CLIP = 0.5
BOUND = 120.0
HUGE = 1e4
"""Of a canary's gradient, against a bound of `CLIP`."""
Score = Callable[[bool], float]


def audits(seed: int, runs: int) -> list[Audit]:
    """All mechanisms as they are, and broken."""
    torch.manual_seed(seed)
    sgd = [SampledGaussian(Z, 1.0, 1)]
    half = [SampledGaussian(Z, 0.5, 1)]
    shared = SharedNoise(Z, CLIP, 6)
    code = FixedPoint(64.0, 32, 6)
    accounted = {
        "sgd": epsilon(sgd, DELTA),
        "loud": epsilon([SampledGaussian(Z / 4, 1.0, 1)], DELTA),
        "sampled": epsilon(half, DELTA),
        "shared": epsilon([shared.event(code, 4)], DELTA),
        "twice": epsilon(sgd * 2, DELTA),
        "nothing": 0.0,
    }
    whole = (
        ("DP-SGD", _dp_sgd(DpSgdPlan(Z, CLIP)), "sgd"),
        ("DP-SGD with a quarter of that noise, charged for", _dp_sgd(DpSgdPlan(Z / 4, CLIP)), "loud"),
        ("DP-SGD, half of the examples drawn", _dp_sgd(DpSgdPlan(Z, CLIP, sampling_rate=0.5)), "sampled"),
        ("noised metrics", _metrics(Z), "sgd"),
        ("noise shared by nodes, a third of it missing", _shared(shared, code), "shared"),
    )
    broken = (
        ("DP-SGD without clipping", _dp_sgd(DpSgdPlan(Z * CLIP / HUGE, HUGE)), "sgd"),
        ("DP-SGD with a tenth of the noise", _dp_sgd(DpSgdPlan(Z / 10, CLIP)), "sgd"),
        ("metrics with a tenth of the noise", _metrics(Z / 10), "sgd"),
        ("shared noise with a tenth of it", _shared(SharedNoise(Z / 10, CLIP, 6), code), "shared"),
        ("the same noise in two releases", _same_noise(code), "twice"),
        ("the same mask in two rounds", _same_mask(code), "nothing"),
    )
    return [
        _audit(name, score, runs, accounted[charge], broken=wrong)
        for mechanisms, wrong in ((whole, False), (broken, True))
        for name, score, charge in mechanisms
    ]


def _audit(name: str, score: Score, runs: int, accounted: float, *, broken: bool = False) -> Audit:
    ins, outs = (np.array([score(there) for _ in range(runs)]) for there in (True, False))
    return Audit(name, audited_epsilon(ins, outs, DELTA), accounted, DELTA, broken)


def _dp_sgd(plan: DpSgdPlan) -> Score:
    """How far one step goes in the canary's direction; the canary's gradient is far above the bound."""
    x, y = torch.zeros(4, 3), torch.zeros(4)
    canary = torch.tensor([[HUGE, 0.0, 0.0]])

    def score(there: bool) -> float:
        model = nn.Linear(3, 1, bias=False)
        nn.init.zeros_(model.weight)
        inputs, targets = (torch.cat((x, canary)), torch.cat((y, -torch.ones(1)))) if there else (x, y)
        outcome = train(model, inputs, targets, lambda p, t: (p.squeeze(1) - t) * torch.sign(t), plan, 1)
        return float(outcome.state["weight"][0, 0])

    return score


def _metrics(z: float) -> Score:
    def score(there: bool) -> float:
        noised = noised_metrics([BOUND] * there, BOUND, z, 1)
        return noised.error_sum / (BOUND / 2)

    return score


def _shared(noise: SharedNoise, code: FixedPoint) -> Score:
    """The sum of those whose noise counts: the canary's site is there with all that its bound allows, or not."""

    def score(there: bool) -> float:
        total = np.zeros(4, np.uint32)
        for node in range(noise.honest):
            values = np.array([2 * CLIP if there and node == 0 else 0.0, 0.0, 0.0, 0.0])
            elements = code.encode(values).elements
            noise.add(elements, code)
            total += elements
        return float(code.decode(total)[0])

    return score


def _same_noise(code: FixedPoint) -> Score:
    """Two releases of which the canary is in the second alone; their difference has no noise."""
    steps = int(CLIP / code.step)

    def score(there: bool) -> float:
        (noise,) = sample(int(Z * steps), 1)
        first, second = int(noise), int(noise) + (steps if there else 0)
        return float(second - first) + float(np.random.default_rng().normal())  # so that scores are no ties

    return score


def _same_mask(code: FixedPoint) -> Score:
    """Two rounds under one seed: the shares' difference is the updates' difference."""

    def score(there: bool) -> float:
        seed = new_seed()
        shares = []
        for value in (0.0, CLIP if there else 0.0):
            elements = code.encode(np.array([value])).elements
            add_mask(seed, elements)
            shares.append(elements)
        difference: NDArray[np.float64] = code.decode(shares[1] - shares[0])
        return float(difference[0]) + float(np.random.default_rng().normal(0, 1e-6))

    return score
