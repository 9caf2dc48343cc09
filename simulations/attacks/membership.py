"""Membership and properties told from one node's update by comparing it with shadow models.

LiRA (Carlini et al. 2022) on the task `crowding`: shadow models are trained on stores with and without the target (or
with two contents of it), Gaussians are fitted to a score of either kind, and the likelihood ratio of a fresh update
decides. The score is the linear projection of the update that tells the shadow models best apart (Fisher's), which for
noise of equal size everywhere is the optimal test. What counts is how often the attacker is right when it is hardly
ever wrong: true positives at 0.1 % and at 1 % false positives. Thresholds are set on some shadow models and judged on
others.

Three attackers: one knows every other record of the node, and the target stands out; another knows the target and what
sites are like, and not the rest of this one's log; the third is the leader, who knows all other records and sends the
model at which the target shows most (`canaries`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.learning.dpsgd import DpSgdPlan
from edge.learning.plain import PlainPlan
from edge.learning.tasks.crowding import TASK
from simulations.attacks.canaries import SLOT_WEIGHTS, slot_replaced
from simulations.attacks.finding import Finding, Roc
from simulations.attacks.population import (
    copies,
    examples_of,
    many_minutes,
    minutes,
    slots,
    without_unit,
)
from simulations.attacks.statistics import (
    Charge,
    Interval,
    Scores,
    Test,
    advantage_test,
    chance,
    rate_interval,
)
from simulations.engine.cohort import CohortExamples
from simulations.engine.engine import Engine
from simulations.engine.local import LocalTraining, PlainTraining, PrivateTraining

DELTA = 1e-6
EPSILONS = (8.0, 4.0, 1.0)
FALSE_POSITIVES = (0.001, 0.01)
BUSY, QUIET = 400.0, 0.0
"""Person-minutes of the target: it stands out; what it is replaced with."""
PLACE = 33
"""Of the target among the slots of a log: in the middle of the second day."""
KNOWN = "all other records"
State = Mapping[str, NDArray[np.float32]]
Updates = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Way:
    """How a node trains, and what the accountant charges for it; None for no protection."""

    name: str
    epsilon: float | None
    training: LocalTraining
    charge: Charge | None


def ways() -> list[Way]:
    """Return training without protection, and one round that spends the whole of a budget."""
    found = [Way("no protection", None, PlainTraining(PlainPlan(1, 16, 0.15)), None)]
    for epsilon in EPSILONS:
        plan = DpSgdPlan.within(epsilon, DELTA, 1, TASK.unit_examples, metrics=0)
        charge = Charge(tuple(plan.events(TASK.unit_examples, TASK.unit)))
        found.append(Way(f"epsilon {epsilon:g}", epsilon, PrivateTraining(plan), charge))
    return found


def updates(nodes: CohortExamples, training: LocalTraining, start: State, seed: int) -> Updates:
    """Train each node and return its update, [nodes, parameters]."""
    with Engine(TASK, nodes, workers=1) as engine:
        states = engine.each(start, training, (seed,))
    return np.concatenate(
        [(states[name] - start[name]).reshape(len(nodes), -1).astype(np.float64) for name in start], axis=1
    )


def fresh() -> State:
    """Return the model that a run starts with."""
    return {name: value.numpy().copy() for name, value in TASK.model().state_dict().items()}


@dataclass(frozen=True, slots=True)
class Shadows:
    """Sizes of the groups of shadow models, of either kind.

    Attributes:
        fitted: for the projection and its Gaussians.
        set: outside, for the threshold.
        judged: outside; inside a fifth of it.
    """

    fitted: int
    set: int
    judged: int

    @property
    def inside(self) -> int:
        """How many are trained with the target."""
        return self.fitted + self.judged // 5

    @property
    def outside(self) -> int:
        """How many are trained without it."""
        return self.fitted + self.set + self.judged


def membership(seed: int, shadows: Shadows) -> list[Finding | Roc]:
    """Tell whether one half hour is in the log, and which of two contents it has."""
    random, usual = np.random.default_rng(seed), fresh()
    chosen = {name: np.array([SLOT_WEIGHTS], np.float32) for name in usual}
    rows: list[Finding | Roc] = []
    for attack, saw, stores, start in (
        ("a slot's removal", KNOWN, _known(random, replaced=False), usual),
        ("a slot's content", KNOWN, _known(random, replaced=True), usual),
        ("a slot's removal", "what sites are like", _unknown(random, replaced=False), usual),
        ("a slot's content", "what sites are like", _unknown(random, replaced=True), usual),
        ("a slot's content", f"{KNOWN}, chose the model", _canary, chosen),
    ):
        plain: Test | None = None
        for place, way in enumerate(ways()):
            ins = updates(stores(shadows.inside, True), way.training, start, seed + 10 * place)
            outs = updates(stores(shadows.outside, False), way.training, start, seed + 10 * place + 1)
            ratios_in, ratios_out = _likelihood_ratios(ins, outs, shadows.fitted)
            rows += _rocs(f"{attack}; known: {saw}", way, ratios_in, ratios_out, shadows)
            test = advantage_test(ratios_in, ratios_out[: len(ratios_in)])
            plain = plain or test
            if way.charge is not None:
                rows.append(_finding(f"membership, {attack}, {way.name}", saw, plain, test, way.charge))
    return rows


def _finding(attack: str, saw: str, plain: Test, test: Test, charge: Charge) -> Finding:
    most = max(charge.most_true_positives(rate / 100) - rate / 100 for rate in range(101))
    limit = most + chance(min(test.ins, test.outs))
    return Finding(
        attack,
        f"one node's update, the slot, {saw}",
        plain.advantage,
        test.advantage,
        limit if limit < 1 else None,
        "epsilon of one round that spends all of it at once",
        plain.advantage_interval(),
        test.advantage_interval(),
    )


Stores = Callable[[int, bool], CohortExamples]


def _known(random: np.random.Generator, *, replaced: bool) -> Stores:
    """One log of which the attacker knows all but the target."""
    log, slot = minutes(random), slots()[PLACE]
    inside = [(at, BUSY if at == slot else value) for at, value in log]
    quiet = [(at, QUIET if at == slot else value) for at, value in log]
    outside = quiet if replaced else without_unit(log, slot)
    return lambda sites, there: copies(inside if there else outside, sites)


def _unknown(random: np.random.Generator, *, replaced: bool) -> Stores:
    """A log of its own for each shadow model, but for the target."""

    def stores(sites: int, there: bool) -> CohortExamples:
        values = many_minutes(random, sites)
        values[:, PLACE] = BUSY if there else QUIET
        return examples_of(values, missing=None if there or replaced else PLACE)

    return stores


def _canary(sites: int, there: bool) -> CohortExamples:
    """The pair of stores that an audit takes."""
    canary = slot_replaced()
    return copies(canary.inside if there else canary.outside, sites)


def _likelihood_ratios(ins: Updates, outs: Updates, fitted: int) -> tuple[Scores, Scores]:
    """Fit projection and Gaussians on the first `fitted` of either kind; ratios of the others."""
    shadow_in, shadow_out = ins[:fitted], outs[:fitted]
    spread = np.cov(shadow_in.T) + np.cov(shadow_out.T)
    ridge = 1e-9 * np.trace(spread) / len(spread) + 1e-18
    direction = np.linalg.solve(spread + ridge * np.eye(len(spread)), shadow_in.mean(0) - shadow_out.mean(0))
    (a, s), (b, t) = (((one @ direction).mean(), (one @ direction).std() + 1e-12) for one in (shadow_in, shadow_out))

    def ratio(seen: Updates) -> Scores:
        score = seen @ direction
        ratios: Scores = -(((score - a) / s) ** 2) / 2 - np.log(s) + ((score - b) / t) ** 2 / 2 + np.log(t)
        return ratios

    return ratio(ins[fitted:]), ratio(outs[fitted:])


def _rocs(attack: str, way: Way, ins: Scores, outs: Scores, shadows: Shadows) -> list[Roc]:
    found, judged = list[Roc](), outs[shadows.set :]
    for rate in FALSE_POSITIVES:
        threshold = np.quantile(outs[: shadows.set], 1 - rate, method="higher")
        test = Test.at(float(threshold), ins, judged)
        false = rate_interval(test.false, test.outs)
        true = rate_interval(test.hits, test.ins)
        found.append(
            Roc(
                attack,
                way.epsilon,
                rate,
                test.false / test.outs,
                false,
                test.hits / test.ins,
                true,
                1.0 if way.charge is None else way.charge.most_true_positives(false[1]),
                way.charge is not None and test.refutes(way.charge),
                way.charge is not None or KNOWN not in attack or true[0] > 0.5,
            )
        )
    return found


def properties(seed: int, shadows: int, summed: int = 9) -> list[Finding]:
    """Tell whether a site is twice as lively as others: a property of a site, which a unit's privacy does not hide."""
    random, start = np.random.default_rng(seed + 1), fresh()
    plain, private = ways()[0], ways()[1]
    lively, usual = (many_minutes(random, shadows, lively=factor) for factor in (2.0, 1.0))
    sites = examples_of(np.concatenate((lively, usual)))
    scale = random.uniform(0.7, 2.3, (2 * shadows, 1))
    others = examples_of(scale * many_minutes(random, 2 * shadows))
    clear = updates(sites, plain.training, start, seed)
    noised = updates(sites, private.training, start, seed + 1)
    rest = updates(others, private.training, start, seed + 2)
    # A group's sum: the site's update among those of others, drawn anew for each.
    groups = noised + np.stack([rest[random.choice(len(rest), summed - 1, False)].sum(0) for _ in noised])
    without: Test = _linear_test(clear, shadows)
    found = []
    for name, saw, seen in (
        ("epsilon 8", "one node's update", noised),
        (f"in a sum of {summed}", "a group's sum", groups),
    ):
        test = _linear_test(seen, shadows)
        intervals: tuple[Interval, Interval] = without.advantage_interval(), test.advantage_interval()
        found.append(
            Finding(
                f"property: a lively site, {name}",
                saw,
                without.advantage,
                test.advantage,
                None,
                "the privacy of a half hour does not hide what a whole site is like; a sum over many sites does",
                *intervals,
            )
        )
    return found


def _linear_test(seen: Updates, shadows: int) -> Test:
    """Fit a linear discriminant to half of either kind and judge it on the others."""
    half = shadows // 2
    train_in, train_out = seen[:half], seen[shadows : shadows + half]
    spread = np.cov(np.concatenate((train_in - train_in.mean(0), train_out - train_out.mean(0))).T)
    direction = np.linalg.solve(spread + 1e-9 * np.eye(len(spread)), train_in.mean(0) - train_out.mean(0))
    return advantage_test(seen[half:shadows] @ direction, seen[shadows + half :] @ direction)
