"""What a demo shows at its end, as numbers: a row a round, and the verdict with everything it rests on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from aggregator.records.history import RoundSummary
from aggregator.records.schema import PartState
from edge.learning.dpsgd import NoisedMetrics
from edge.learning.tasks.task import Task
from simulations.baselines import HeldOutError, evaluate, held_out_examples
from simulations.datasets.sociopatterns import Federation
from simulations.handover import RecommendedPlan
from simulations.world.pretraining import State


@dataclass(frozen=True, slots=True)
class RoundFigures:
    """One round.

    Attributes:
        participants: nodes whose update is in the model, of `asked`.
        loss: of the round's model on the held-out days, the task's own unit; `error_minutes` its mean absolute error.
        reported_error_minutes: what the nodes reported of the model before the round, noised on each node;
            `reported_error_std` is what that noise does to it, one standard deviation.
        epsilon: largest that any node reported; under a secure sum, which hides that, their mean.
        bytes_down, bytes_up: payloads to and from all nodes; the shared model counts once a node.
        seconds: from the round's start to its end.
    """

    round: int
    participants: int
    asked: int
    loss: float
    error_minutes: float
    reported_error_minutes: float
    reported_error_std: float
    epsilon: float
    bytes_down: int
    bytes_up: int
    seconds: float


def figures(
    task: Task, plan: RecommendedPlan, federation: Federation, entry: RoundSummary, state: State
) -> RoundFigures:
    """One round's row, from the centre's records and the model that came out of it."""
    answered = [part for part in entry.parts if part.state is PartState.ANSWERED]
    held_out = held_out_examples(task, federation)
    model = task.model()
    model.load_state_dict({name: torch.from_numpy(values.copy()) for name, values in state.items()})
    with torch.no_grad():
        loss = float(task.loss(model(held_out.x), held_out.y).mean())
    reported = reported_metrics(task, plan, len(answered), entry.train_metrics or {})
    return RoundFigures(
        round=entry.number,
        participants=len(answered),
        asked=len(entry.parts),
        loss=loss,
        error_minutes=evaluate(task, state, federation).mean,
        reported_error_minutes=reported.mean_error,
        reported_error_std=reported.mean_error_std,
        epsilon=max((part.epsilon or 0.0 for part in entry.parts), default=0.0)
        or float((entry.train_metrics or {}).get("epsilon", 0.0)),
        bytes_down=sum(part.bytes_down for part in entry.parts),
        bytes_up=sum(part.bytes_up for part in entry.parts),
        seconds=(entry.finished_at or math.nan) - entry.started_at,
    )


def reported_metrics(task: Task, plan: RecommendedPlan, nodes: int, metrics: Mapping[str, Any]) -> NoisedMetrics:
    """All nodes' noised metrics together, from the means over nodes that a strategy makes of them."""
    noise_std = plan.plan.metrics_noise_multiplier * plan.unit.pieces * math.sqrt(2 * nodes)
    error_sum, count = (nodes * float(metrics.get(key, 0.0)) for key in ("error-sum", "error-count"))
    return NoisedMetrics(error_sum, count, task.error_bound, noise_std)


@dataclass(frozen=True, slots=True)
class Check:
    """One claim of the verdict, and whether it held."""

    claim: str
    held: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Everything that was measured, and the claims that rest on it.

    Errors are mean absolute errors in person-minutes a half hour and node, on held-out later days.
    """

    start: float
    persistence: float
    federated: float
    central: float
    slots: int
    epsilon: float
    epsilon_allowed: float
    delta: float
    checks: tuple[Check, ...]

    @property
    def held(self) -> bool:
        return all(check.held for check in self.checks)

    @property
    def gap_closed(self) -> float:
        """Share of the way from persistence to central training without privacy; NaN where there is no way to go."""
        way = self.persistence - self.central
        return (self.persistence - self.federated) / way if way > 0 else math.nan


def learning_check(federated: HeldOutError, persistence: HeldOutError) -> Check:
    return Check(
        "the private federated model beats persistence",
        federated.mean < persistence.mean,
        f"{federated.mean:.2f} against {persistence.mean:.2f} minutes, on {federated.slots} held-out half hours",
    )


def budget_check(epsilon: float, allowed: float, delta: float) -> Check:
    return Check(
        "no node spent more than its budget",
        epsilon <= allowed,
        f"epsilon {epsilon:.2f} of {allowed:g} at delta {delta:g} in the worst node's ledger, hash chain verified",
    )
