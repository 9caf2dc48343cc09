"""Audits: what canaries prove of a mechanism's epsilon must lie under what the accountant charges.

A canary is the worst that one privacy unit can be. The mechanism runs many times with it and with its neighbour, or
once with many canaries (`one_run`); lower bounds follow from how well the two are told apart. Toy mechanisms come
first, then the task `crowding` through a node's own training code. Mechanisms that were broken on purpose must be
found out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edge.learning.dpsgd import DpSgdPlan, noised_metrics, train
from privacy.accounting.events import SampledGaussian
from privacy.mechanisms.discrete_gaussian import sample
from privacy.mechanisms.shared_noise import SharedNoise
from privacy.secure_sum.fixed_point import FixedPoint
from privacy.secure_sum.mask import add_mask, new_seed
from simulations.attacks.finding import Audit
from simulations.attacks.statistics import Charge, epsilon_of_mu, epsilon_test, mu_test, refuting_test

DELTA = 1e-6
Z = 4.0
"""Little enough is charged for it that some hundred runs can prove a broken one wrong."""
CLIP = 0.5
BOUND = 120.0
HUGE = 1e4
"""Of a canary's gradient, against a bound of `CLIP`."""
Score = Callable[[bool], float]


def audits(seed: int, runs: int) -> list[Audit]:
    """Audit all mechanisms as they are, and broken.

    Args:
        runs: of each mechanism with the canary, and as many with its neighbour.
    """
    from simulations.attacks.auditing_crowding import crowding_audits, one_run_audits  # noqa: PLC0415

    torch.manual_seed(seed)
    return [*toy_audits(runs), *crowding_audits(runs), *one_run_audits(seed, max(300, runs // 3))]


def toy_audits(runs: int) -> Iterator[Audit]:
    """Audit mechanisms on the smallest model that there is."""
    shared = SharedNoise(Z, CLIP, 6)
    code = FixedPoint(64.0, 32, 6)
    once = SampledGaussian(Z, 1.0, 1)
    sgd, nothing = Charge((once,)), Charge(())
    loud = Charge((SampledGaussian(Z / 4, 1.0, 1),))
    half = Charge((SampledGaussian(Z, 0.5, 1),))
    together = Charge((shared.event(code, 4),))
    for name, score, charge in (
        ("DP-SGD", _dp_sgd(DpSgdPlan(Z, CLIP)), sgd),
        ("DP-SGD with a quarter of that noise, charged for", _dp_sgd(DpSgdPlan(Z / 4, CLIP)), loud),
        ("DP-SGD, half of the examples drawn", _dp_sgd(DpSgdPlan(Z, CLIP, sampling_rate=0.5)), half),
        ("noised metrics", _metrics(Z), sgd),
        ("noise shared by nodes, a third of it missing", _shared(shared, code), together),
    ):
        yield audited(name, score, runs, charge)
    for name, score, charge in (
        ("DP-SGD without clipping", _dp_sgd(DpSgdPlan(Z * CLIP / HUGE, HUGE)), sgd),
        ("DP-SGD with a tenth of the noise", _dp_sgd(DpSgdPlan(Z / 10, CLIP)), sgd),
        ("metrics with a tenth of the noise", _metrics(Z / 10), sgd),
        ("shared noise with a tenth of it", _shared(SharedNoise(Z / 10, CLIP, 6), code), together),
        ("the same noise in two releases", _same_noise(code), Charge((once, once))),
        ("the same mask in two rounds", _same_mask(code), nothing),
    ):
        more = 3 if "metrics" in name else 1  # they are cheap, and shifted least
        yield audited(name, score, more * runs, charge, broken=True)


def audited(
    name: str,
    score: Score,
    runs: int,
    charge: Charge,
    *,
    neighbour: str = "removal",
    broken: bool = False,
    note: str = "",
) -> Audit:
    """Audit one mechanism by many runs.

    Args:
        score: run the mechanism on the canary (True) or on its neighbour, and say how much it looks like the canary.
    """
    ins, outs = (np.array([score(there) for _ in range(runs)]) for there in (True, False))
    mu = mu_test(ins, outs).mu()
    return Audit(
        mechanism=name,
        audited=epsilon_test(ins, outs, DELTA).epsilon(DELTA),
        accounted=charge.epsilon(DELTA),
        delta=DELTA,
        broken=broken,
        neighbour=neighbour,
        mu=mu,
        fitted=(epsilon_of_mu(mu[0], DELTA), epsilon_of_mu(mu[1], DELTA)),
        accounted_mu=charge.mu(DELTA),
        refuted=refuting_test(ins, outs, charge).refutes(charge),
        note=note,
    )


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
