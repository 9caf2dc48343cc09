"""Who was there, and what kind of site it is, told from one node's update by comparing it with shadow models.

Membership is of one privacy unit of the task `crowding`: half an hour of one node's log. Shadow models are trained with
and without it, Gaussians are fitted to a score of either kind, and the likelihood ratio of a fresh update decides
(LiRA, Carlini et al. 2022). The score is white-box and strong: how far the update went in the direction of the unit's
own gradient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from edge.learning.dpsgd import DpSgdPlan
from edge.learning.plain import PlainPlan
from edge.learning.tasks.crowding import TASK
from edge.learning.tasks.task import Examples
from simulations.attacks.finding import Finding, best_advantage, chance
from simulations.engine.cohort import CohortExamples
from simulations.engine.engine import Engine
from simulations.engine.local import LocalTraining, PlainTraining, PrivateTraining

DELTA = 1e-6
DAY_SLOTS = range(14, 36)
State = Mapping[str, NDArray[np.float32]]


def minutes(random: np.random.Generator, *, lively: float = 1.0, days: int = 3) -> list[tuple[int, float]]:
    """A site's half hours, with a daily rhythm that wanders."""
    rows = []
    for day in range(days):
        mood = random.normal()
        for slot in DAY_SLOTS:
            mood = 0.6 * mood + 0.5 * random.normal()
            rhythm = 40 + 30 * np.sin((slot - 14) / 22 * 2 * np.pi)
            rows.append((48 * day + slot, float(max(0.0, lively * rhythm * np.exp(0.4 * mood)))))
    return rows


def without_unit(log: Sequence[tuple[int, float]], slot: int) -> list[tuple[int, float]]:
    return [row for row in log if row[0] != slot]


def trainings(rounds: int = 1) -> dict[str, LocalTraining]:
    """Without protection, and with the plans that the project recommends."""
    found: dict[str, LocalTraining] = {"plain": PlainTraining(PlainPlan(1, 16, 0.15))}
    for epsilon in (8.0, 1.0):
        found[f"epsilon {epsilon:g}"] = PrivateTraining(DpSgdPlan.within(epsilon, DELTA, rounds, TASK.unit_examples))
    return found


def updates(nodes: Sequence[Examples], training: LocalTraining, start: State, seed: int) -> NDArray[np.float64]:
    """Each node's update, [nodes, parameters]."""
    with Engine(TASK, CohortExamples.of(nodes), workers=1) as engine:
        states = engine.each(start, training, (seed,))
    return np.concatenate(
        [(states[name] - start[name]).reshape(len(nodes), -1).astype(np.float64) for name in start], axis=1
    )


def fresh() -> State:
    return {name: value.numpy().copy() for name, value in TASK.model().state_dict().items()}


def membership(seed: int, shadows: int) -> list[Finding]:
    """Whether one half hour was in the log."""
    random = np.random.default_rng(seed)
    log, start = minutes(random), fresh()
    slot = max(log[1:], key=lambda row: row[1])[0]  # the liveliest one stands out most
    log = [(at, 400.0 if at == slot else value) for at, value in log]
    inside, outside = TASK.examples(log), TASK.examples(without_unit(log, slot))
    direction = _gradient_of_unit(inside, slot, start)
    gains: dict[str, float] = {}
    for name, training in trainings().items():
        scores = updates([inside] * shadows + [outside] * shadows, training, start, seed) @ direction
        gains[name] = _likelihood_ratio(scores[:shadows], scores[shadows:])
    return [
        Finding(
            f"membership of a half hour, {name}",
            "one node's update, shadow models, the unit itself",
            gains["plain"],
            gains[name],
            _limit(float(name.split()[1]), shadows),
            "epsilon of one round that spends all of it at once",
        )
        for name in gains
        if name != "plain"
    ]


def properties(seed: int, shadows: int, summed: int = 9) -> list[Finding]:
    """Whether a site is twice as lively as others: a property of the site, which a unit's privacy does not hide."""
    random, start = np.random.default_rng(seed + 1), fresh()
    sites = [TASK.examples(minutes(random, lively=2.0 if n < shadows else 1.0)) for n in range(2 * shadows)]
    others = [TASK.examples(minutes(random, lively=float(random.uniform(0.7, 2.3)))) for _ in range(2 * shadows)]
    found = []
    ways = trainings()
    clear = updates(sites, ways["plain"], start, seed)
    noised = updates(sites, ways["epsilon 8"], start, seed + 1)
    rest = updates(others, ways["epsilon 8"], start, seed + 2)
    # A group's sum: the site's update among those of others, drawn anew for each.
    groups = noised + np.stack([rest[random.choice(len(rest), summed - 1, False)].sum(0) for _ in noised])
    gain = _linear_advantage(clear, shadows)
    for name, seen, limit in (("epsilon 8", noised, None), (f"in a sum of {summed}", groups, None)):
        found.append(
            Finding(
                f"property: a lively site, {name}",
                "one node's update" if seen is noised else "a group's sum",
                gain,
                _linear_advantage(seen, shadows),
                limit,
                "the privacy of a half hour does not hide what a whole site is like; a sum over many sites does",
            )
        )
    return found


def _gradient_of_unit(examples: Examples, slot: int, start: State) -> NDArray[np.float64]:
    mine = [place for place, unit in enumerate(examples.units) if unit in (slot, slot + 1)]
    model = TASK.model()
    model.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in start.items()})
    loss = TASK.loss(model(examples.x[mine]), examples.y[mine]).sum()
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))]).double().numpy()
    return -gradient / max(float(np.linalg.norm(gradient)), 1e-12)


def _likelihood_ratio(ins: NDArray[np.float64], outs: NDArray[np.float64]) -> float:
    """Gaussians fitted to one third of the scores, the ratio's best threshold on the others."""
    third = len(ins) // 3
    fits = [(part[:third].mean(), part[:third].std() + 1e-9) for part in (ins, outs)]

    def ratio(scores: NDArray[np.float64]) -> NDArray[np.float64]:
        (a, s), (b, t) = fits
        ratios: NDArray[np.float64] = (
            -(((scores - a) / s) ** 2) / 2 - np.log(s) + ((scores - b) / t) ** 2 / 2 + np.log(t)
        )
        return ratios

    return best_advantage(ratio(ins[third:]), ratio(outs[third:]))


def _linear_advantage(seen: NDArray[np.float64], shadows: int) -> float:
    """A linear discriminant fitted to half of either kind."""
    half = shadows // 2
    train_in, train_out = seen[:half], seen[shadows : shadows + half]
    spread = np.cov(np.concatenate((train_in - train_in.mean(0), train_out - train_out.mean(0))).T)
    direction = np.linalg.solve(spread + 1e-9 * np.eye(len(spread)), train_in.mean(0) - train_out.mean(0))
    return best_advantage(seen[half:shadows] @ direction, seen[shadows + half :] @ direction)


def _limit(epsilon: float, shadows: int) -> float | None:
    """No attack on an (epsilon, 0)-private mechanism has a larger advantage (Kairouz et al. 2015); None where that says
    nothing."""
    most = float((np.exp(epsilon) - 1) / (np.exp(epsilon) + 1)) + chance(shadows // 2)
    return most if most < 1 else None
