"""Audits of the task `crowding` through the code with which a node trains: slots, days, nodes, and many at once.

Noise is chosen so that each group of records is charged as one Gaussian of mu = 1, added or removed: rows compare.
What the accountant charges for a group of records is what it charges for one unit that moves a sum as far; several
nodes that hold the same person's records each release a sum with noise of its own, so their events compose.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edge.learning.dpsgd import DpSgdPlan, noised_metrics, train
from edge.learning.plain import PlainPlan, train_plainly
from edge.learning.shared import SHARED_NOISE, NoisedSum, Protection, RecordPlan, summed_pieces
from edge.learning.tasks.crowding import SLOTS_A_DAY, TASK
from privacy.accounting.events import Event, SampledGaussian, of_units
from privacy.mechanisms.shared_noise import SharedNoise
from privacy.secure_sum.fixed_point import FixedPoint
from simulations.attacks.auditing import BOUND, DELTA, Score, audited
from simulations.attacks.canaries import (
    SLOT_WEIGHTS,
    Canary,
    day_removed,
    days_replaced,
    of_days,
    slot_removed,
    slot_replaced,
)
from simulations.attacks.finding import Audit
from simulations.attacks.one_run import count_correct, epsilon_at_least, guesses_for, p_value
from simulations.attacks.statistics import ALARM, Charge, Test, epsilon_of_mu

COHORT = 6
CODE = FixedPoint(64.0, 32, COHORT)
CANARY_SLOTS = (3, 11, 19, 27, 35, 43)
"""Of one node: no two draw on the same marks of the clock by more than an eighth."""
VERDICT_DELTA = 1e-10
"""The bound of `one_run` pays 2 m delta, so a verdict that must be sure tests the claim at a smaller delta."""
WEIGHT = "linear.weight"
Vector = NDArray[np.float64]
REPLACED, REMOVED = "replacement", "removal"


def crowding_audits(runs: int) -> Iterator[Audit]:
    """Audit DP-SGD, metrics and shared noise with the worst records that a store can hold."""
    for canary, kind in (
        (slot_removed(), REMOVED),
        (slot_replaced(), REPLACED),
        (slot_replaced(3), REPLACED),
        (day_removed(), REMOVED),
        (days_replaced(), REPLACED),
        (days_replaced(3), REPLACED),
        (days_replaced(2, 2), REPLACED),
        (of_days(day_removed()), REMOVED),
        (of_days(days_replaced()), REPLACED),
        (of_days(days_replaced(2, 2)), REPLACED),
    ):
        plan = DpSgdPlan(canary.units * math.sqrt(canary.nodes))
        charge = charge_of_group(plan.events(canary.bound.pieces, canary.bound.name, canary.bound.day_units), canary)
        yield _row(f"crowding, DP-SGD: {canary.name}", own_noise(canary, plan), runs, charge, canary, plan, kind)
    slot = slot_replaced()
    for name, plan in (
        ("four steps", DpSgdPlan(2.0, steps=4, learning_rate=1e-4)),
        ("half of the examples drawn", DpSgdPlan(1.0, sampling_rate=0.5)),
    ):
        charge = Charge(tuple(plan.events(TASK.unit_examples, TASK.unit)))
        yield _row(f"crowding, DP-SGD, {name}: {slot.name}", own_noise(slot, plan), runs, charge, slot, plan, REPLACED)
    metrics = DpSgdPlan(1.0, metrics_noise_multiplier=1.0)
    charge = Charge(tuple(metrics.metrics_events(TASK.unit)))
    yield audited(f"crowding, metrics: {slot.name}", _metrics(1.0), runs, charge, neighbour=REPLACED)
    for canary, kind in (
        (slot_removed(), REMOVED),
        (slot, REPLACED),
        (days_replaced(), REPLACED),
        (of_days(days_replaced()), REPLACED),
    ):
        score, events = shared_by_record(canary, canary.units)
        row = f"crowding, shared noise: {canary.name}"
        yield audited(row, score, runs, charge_of_group(events, canary), neighbour=kind)
    for kind in (REMOVED, REPLACED):
        score, events = shared_by_site(replaced=kind == REPLACED)
        yield audited(f"crowding, shared noise: a whole site's {kind}", score, runs, Charge((*events,)), neighbour=kind)
    plan = DpSgdPlan(2.0)
    charge = Charge(tuple(plan.events(TASK.unit_examples, TASK.unit)))
    halved = own_noise(slot, replace(plan, noise_multiplier=1.0))
    name = "crowding, DP-SGD: noise for one example of a slot, not for both"
    # A factor of two is the smallest fault here, so it takes the most runs to be sure of.
    yield audited(name, halved, 6 * runs, charge, neighbour=REPLACED, broken=True)


def charge_of_group(events: list[Event] | list[SampledGaussian], canary: Canary) -> Charge:
    """Return what the accountant charges for the canary's group of records, at all of its nodes together."""
    return Charge(tuple(of_units(event, canary.units) for event in events) * canary.nodes)


def _row(name: str, score: Score, runs: int, charge: Charge, canary: Canary, plan: DpSgdPlan, neighbour: str) -> Audit:
    note = f"the canary moves the sum by {canary.reach(plan):.2f} times the most that one unit's removal does"
    return audited(name, score, runs, charge, neighbour=neighbour, note=note)


def own_noise(canary: Canary, plan: DpSgdPlan) -> Score:
    """Score updates of nodes that add all the noise themselves, along the canary's direction."""
    direction = canary.direction(plan)

    def score(there: bool) -> float:
        return sum(float(canary.update(plan, inside=there) @ direction) for _ in range(canary.nodes))

    return score


def _metrics(z: float) -> Score:
    """Score the two errors that a slot's content decides: none, or the largest that there is."""

    def score(there: bool) -> float:
        noised = noised_metrics([BOUND * there] * TASK.unit_examples, BOUND, z, TASK.unit_examples)
        return noised.error_sum / (BOUND / 2) - noised.count

    return score


def shared_by_record(canary: Canary, z: float) -> tuple[Score, list[Event]]:
    """Score the sum of the nodes whose noise counts; gradients are worked out once, for they depend on no chance."""
    plan, protection, bound = RecordPlan(SLOTS_A_DAY), Protection(SHARED_NOISE, canary.unit, z, COHORT), canary.bound
    noise = plan.noise(protection, bound.name, bound.pieces, day_units=bound.day_units)
    parts = [
        summed_pieces(
            canary.model(), one.examples.x, one.examples.y, TASK.loss, plan, noise, CODE, [WEIGHT], one.groups
        )
        for one in canary.pieces
    ]
    score = _sum_score(
        [part.total for part in parts], lambda total, into: NoisedSum(noise, total).add(into, CODE), noise
    )
    return score, [noise.event(CODE, TASK.features)]


def shared_by_site(*, replaced: bool) -> tuple[Score, list[Event]]:
    """Score the sum if a whole site is the unit: its update against the opposite one, or against none."""
    canary, noise = days_replaced(), SharedNoise(1.0, 0.5, COHORT)
    plan = PlainPlan(batch_size=SLOTS_A_DAY, learning_rate=1.0)
    updates = []
    for one in canary.examples:
        after = train_plainly(canary.model(), one.x, one.y, TASK.loss, plan)[WEIGHT]
        updates.append(after[0].astype(np.float64) - np.array(canary.weights))
    coded = [CODE.encode(update).elements for update in (updates if replaced else (updates[0], 0 * updates[0]))]

    def put(update: NDArray[np.uint32], into: NDArray[np.uint32]) -> object:
        into[:] = update
        return noise.add(into, CODE)

    return _sum_score(coded, put, noise), [noise.event(CODE, TASK.features)]


def _sum_score(
    parts: list[NDArray[np.int64]] | list[NDArray[np.uint32]], put: Callable[..., object], noise: SharedNoise
) -> Score:
    """Score a sum to which the canary's node gives one of two parts, and others the second.

    Args:
        put: write a part with its share of the noise into an element array.
    """
    ins, outs = ((part.view(np.int32) if part.dtype == np.uint32 else part).astype(np.float64) for part in parts)
    away = ins - outs
    direction = away / np.linalg.norm(away)

    def score(there: bool) -> float:
        total = np.zeros(TASK.features, np.uint32)
        for node in range(noise.honest):
            mine = np.zeros(TASK.features, np.uint32)
            put(parts[0 if there and node == 0 else 1], mine)
            total += mine
        return float(CODE.decode(total) @ direction)

    return score


def one_run_audits(seed: int, nodes: int) -> Iterator[Audit]:
    """Audit one round of a federation in which the store of every node holds canaries, each by its own coin."""
    plan = DpSgdPlan(1.0)
    for replaced in (False, True):
        yield _one_run(seed, nodes, plan, plan, replaced=replaced)
    # No more than about ln(canaries) can be proven with one run, so what is charged for the broken one is less.
    charged = DpSgdPlan(8.0)
    yield _one_run(seed, nodes, replace(charged, noise_multiplier=0.8), charged, replaced=True, broken=True)


def _one_run(
    seed: int, nodes: int, plan: DpSgdPlan, charged: DpSgdPlan, *, replaced: bool, broken: bool = False
) -> Audit:
    charge = Charge(tuple(charged.events(TASK.unit_examples, TASK.unit)))
    scores, coins, mu = one_run_scores(seed, nodes, plan, replaced=replaced)
    canaries = len(coins)
    guesses = guesses_for(canaries, mu, DELTA)
    correct = count_correct(scores, coins, guesses)
    fit = Test.at(0.0, scores[coins], scores[~coins]).mu()
    return Audit(
        mechanism="crowding, DP-SGD with a tenth of the noise" if broken else "crowding, DP-SGD",
        audited=epsilon_at_least(canaries, guesses, correct, DELTA),
        accounted=charge.epsilon(DELTA),
        delta=DELTA,
        broken=broken,
        neighbour=REPLACED if replaced else REMOVED,
        way="one run",
        mu=fit,
        fitted=(epsilon_of_mu(fit[0], DELTA), epsilon_of_mu(fit[1], DELTA)),
        accounted_mu=charge.mu(DELTA),
        refuted=p_value(canaries, guesses, correct, charge.epsilon(VERDICT_DELTA), VERDICT_DELTA) <= ALARM,
        note=f"{correct} of {guesses} guesses right about {canaries} slots of {nodes} nodes; "
        "mu takes the canaries for independent",
    )


def one_run_scores(
    seed: int, nodes: int, plan: DpSgdPlan, *, replaced: bool
) -> tuple[Vector, NDArray[np.bool_], float]:
    """Train every node once and estimate each canary's coin by least squares.

    Returns:
        Scores [canaries], about 1/2 of those that are in and -1/2 of those that are out; the coins; and by how many
        standard deviations a canary moves its score.
    """
    coins = np.random.default_rng(seed).random((nodes, len(CANARY_SLOTS))) < 0.5
    clear = replace(plan, noise_multiplier=0.0)
    none = np.zeros(len(CANARY_SLOTS), bool)
    base = _node_update(none, clear, replaced=replaced)
    effects = [_node_update(one, clear, replaced=replaced) - base for one in np.eye(len(CANARY_SLOTS), dtype=bool)]
    estimate = np.linalg.pinv(np.stack(effects).T)
    scores = np.stack([estimate @ (_node_update(one, plan, replaced=replaced) - base) for one in coins])
    std = plan.learning_rate / plan.lot_size * plan.noise_multiplier * TASK.unit_examples * plan.clip_norm
    return scores.ravel() - 0.5, coins.ravel(), float(1 / (std * np.linalg.norm(estimate, axis=1).max()))


def _node_update(coins: NDArray[np.bool_], plan: DpSgdPlan, *, replaced: bool) -> Vector:
    inside = {slot for slot, coin in zip(CANARY_SLOTS, coins, strict=True) if coin}
    minutes = {slot: 16.0 if replaced and slot in inside else 0.0 for slot in range(SLOTS_A_DAY)}
    log = [(slot, value) for slot, value in minutes.items() if replaced or slot in inside or slot not in CANARY_SLOTS]
    examples = TASK.examples(log)
    model = Canary("", log, log, SLOT_WEIGHTS).model()
    outcome = train(model, examples.x, examples.y, TASK.loss, plan, TASK.unit_examples)
    update: Vector = outcome.state[WEIGHT][0].astype(np.float64) - np.array(SLOT_WEIGHTS)
    return update
