"""DP-SGD of one node, and its noised metrics: the two mechanisms through which the log's content may leave.

Both are Gaussian. Examples fall into pieces (`edge.learning.tasks.units`): each example is one, or all of a day are. A
piece's gradient is clipped to norm C, and a privacy unit touches at most k pieces (the task promises it), so adding or
removing a unit moves the sum of a step by at most k C, and replacing what it holds by 2 k C. Noise has standard
deviation z k C (1 + `SLACK` for rounding), and z, the noise multiplier *per unit*, is what the ledger records.

With Poisson sampling every piece enters a step with probability q, on its own, so the number j of a unit's k pieces
that enter is binomial and the sum shifts by at most j C. That mixture of Gaussians is dominated by the one which shifts
by j C exactly (Ganesh 2024, arXiv 2401.10294: a larger shift only raises the loss), and this is what `SampledGaussian`
with `examples_per_unit = k` stands for; a coarser bound is a shift of k C with probability 1 - (1 - q)^k. At q = 1 it
is the plain Gaussian mechanism. Which pieces enter is drawn from the operating system's entropy and stays secret.

Sums are divided by a public `lot_size`, never by the number of examples, and a node without data releases noise: that
it has none does not show.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge.learning.clipping import SLACK, clipped_sum, trained
from edge.learning.noise import drawn, gaussian, gaussian_rows
from privacy.accounting.composition import noise_multiplier_for
from privacy.accounting.events import ANY, SampledGaussian

NOISE_STEP = 0.35
"""Learning rate times noise multiplier in `DpSgdPlan.within`: noise then moves a model equally far at every epsilon."""

METRICS_NOISE = 2.0
"""Metrics get this many times the noise multiplier of a step in `DpSgdPlan.within`: a fifth of the budget."""


class NotFinite(ValueError):
    """The model that arrived holds NaN or infinity, so nothing can be learnt from it."""


@dataclass(frozen=True, slots=True)
class DpSgdPlan:
    """What a node is asked to do in one round. Everything here is public.

    Attributes:
        noise_multiplier: z, noise over the sensitivity of one privacy unit; 0 is for tests of the arithmetic alone.
        clip_norm: C, bound of one piece's gradient.
        steps: gradient steps in the round.
        learning_rate: of plain SGD on `clipped sum / lot_size`.
        sampling_rate: q in (0, 1], the probability of a piece to enter a step.
        lot_size: the public divisor of a step's sum.
        metrics_noise_multiplier: z of the metrics that are released once a round.
    """

    noise_multiplier: float
    clip_norm: float = 0.5
    steps: int = 1
    learning_rate: float = 0.15
    sampling_rate: float = 1.0
    lot_size: int = 16
    metrics_noise_multiplier: float = 4.5

    def __post_init__(self) -> None:
        for name in ("noise_multiplier", "metrics_noise_multiplier"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be finite and at least 0")
        for name in ("clip_norm", "learning_rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be finite and above 0")
        if not 0 < self.sampling_rate <= 1:
            raise ValueError(f"sampling_rate is {self.sampling_rate}; it must be in (0, 1]")
        if self.steps < 1 or self.lot_size < 1:
            raise ValueError(f"steps ({self.steps}) and lot_size ({self.lot_size}) must be at least 1")

    @classmethod
    def within(
        cls,
        epsilon: float,
        delta: float,
        rounds: int,
        unit_examples: int,
        *,
        metrics: int | None = None,
        steps: int = 1,
        sampling_rate: float = 1.0,
    ) -> DpSgdPlan:
        """The recommended plan: a run of `rounds` rounds that costs each node `epsilon` at `delta`.

        The node's own ledger decides; this only finds the noise that a run of this length needs.

        Args:
            metrics: how many noised metrics a node releases in the whole run; as a rule one a round.
            steps: of a round.
            sampling_rate: of a step; 1 takes all examples.
        """
        releases = rounds if metrics is None else metrics

        def plan(z: float) -> DpSgdPlan:
            return cls(
                noise_multiplier=z,
                steps=steps,
                learning_rate=NOISE_STEP / z,
                sampling_rate=sampling_rate,
                metrics_noise_multiplier=METRICS_NOISE * z,
            )

        def whole_run(z: float) -> list[SampledGaussian]:
            return plan(z).events(unit_examples) * rounds + plan(z).metrics_events() * releases

        return plan(noise_multiplier_for(epsilon, delta, whole_run))

    def events(self, unit_pieces: int, unit: str = ANY, day_units: float = 0.0) -> list[SampledGaussian]:
        """What `train` costs one privacy unit, for the ledger; the argument is in the module's docstring.

        Args:
            unit_pieces, unit, day_units: `pieces`, `name` and `day_units` of a `PrivacyUnit`.
        """
        return [SampledGaussian(self.noise_multiplier, self.sampling_rate, self.steps, unit_pieces, unit, day_units)]

    def metrics_events(self, unit: str = ANY, day_units: float = 0.0) -> list[SampledGaussian]:
        """What one `noised_metrics` costs."""
        return [SampledGaussian(self.metrics_noise_multiplier, 1.0, 1, 1, unit, day_units)]


@dataclass(frozen=True, slots=True)
class TrainingOutcome:
    """A noised model, and what the mechanism did.

    Attributes:
        state: the model's arrays, as `state_dict` names them. These alone may leave the node.
        noise_std: standard deviation of the noise on the sum of clipped gradients, of each step.
        snr: norm of the clipped sum over the expected norm of its noise, mean of the steps. **Stays on the node**: no
            noise is on it.
        loss: mean loss of the examples before the first step, NaN without any. **Stays on the node**.
    """

    state: dict[str, NDArray[np.float32]]
    noise_std: float
    snr: float
    loss: float


def train(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    plan: DpSgdPlan,
    unit_pieces: int,
    groups: Sequence[int] | None = None,
) -> TrainingOutcome:
    """Train `model` in place on x [n, features], y [n] with `loss` -> [n]; n may be 0.

    Args:
        unit_pieces: k, the most pieces that one unit touches.
        groups: number of each example's piece (`Pieces.groups`); None: each example is a piece.

    Raises:
        NotFinite: a parameter of `model` is NaN or infinite. (Bad examples never raise: they count as zero gradients,
            for an error would tell that they exist.)
    """
    for name, parameter in model.named_parameters():
        if not bool(parameter.isfinite().all()):
            raise NotFinite(f"parameter {name} of the model is not finite; ask for a good start model")
    noise_std = plan.noise_multiplier * unit_pieces * plan.clip_norm * (1 + SLACK)
    with torch.no_grad():
        start_loss = float(loss(model(x), y).mean()) if len(x) else math.nan
    parameters = trained(model)
    weights = sum(parameter.numel() for parameter in parameters)
    signals = []
    total = torch.empty(weights, dtype=torch.float64)
    parts = torch.split(total, [parameter.numel() for parameter in parameters])
    piece_of = None if groups is None else np.unique(np.asarray(groups, np.int64), return_inverse=True)[1]
    pieces = len(x) if piece_of is None else len(set(piece_of.tolist()))
    with clipped_sum(model, loss, plan.clip_norm) as gradients:
        for noise in gaussian_rows(plan.steps, weights):
            chosen = drawn(pieces, plan.sampling_rate)
            if piece_of is None:
                lot = torch.from_numpy(chosen)
                sums = gradients(x.index_select(0, lot), y.index_select(0, lot))
            else:
                rows = np.flatnonzero(np.isin(piece_of, chosen))
                lot = torch.from_numpy(rows)
                sums = gradients(x.index_select(0, lot), y.index_select(0, lot), piece_of[rows])
            for part, one in zip(parts, sums, strict=True):
                part.copy_(one.view(-1))
            signals.append(float(torch.dot(total, total)) ** 0.5)
            if noise_std:
                total.add_(torch.from_numpy(noise), alpha=noise_std)
            _move(parameters, total.mul_(-plan.learning_rate / plan.lot_size))
    return TrainingOutcome(
        state={name: value.detach().numpy().copy() for name, value in model.state_dict().items()},
        noise_std=noise_std,
        snr=sum(signals) / len(signals) / (noise_std * math.sqrt(weights)) if noise_std else math.inf,
        loss=start_loss,
    )


@dataclass(frozen=True, slots=True)
class NoisedMetrics:
    """A sum of errors, or of mean errors of days, and how many there were, both with noise on them; they add up.

    Attributes:
        error_sum: noised sum of the clipped errors.
        count: noised number of errors; may be negative where there are few.
        bound: what each error was clipped to.
        noise_std: standard deviation of the noise on `count`; that on `error_sum - bound / 2 * count` is `bound / 2`
            times as much.
    """

    error_sum: float
    count: float
    bound: float
    noise_std: float

    def __add__(self, other: NoisedMetrics) -> NoisedMetrics:
        if self.bound != other.bound:
            raise ValueError(f"errors clipped to {self.bound} and to {other.bound} do not add up")
        noise_std = math.hypot(self.noise_std, other.noise_std)
        return NoisedMetrics(self.error_sum + other.error_sum, self.count + other.count, self.bound, noise_std)

    @property
    def mean_error(self) -> float:
        """Estimate of the mean error, within 0 and `bound`; NaN where the noise left no count."""
        return min(max(self.error_sum / self.count, 0.0), self.bound) if self.count > 0 else math.nan

    @property
    def mean_error_std(self) -> float:
        """What noise alone does to `mean_error`, one standard deviation (delta method); infinite without a count."""
        if self.count <= 0:
            return math.inf
        half = self.bound / 2
        return half * self.noise_std / self.count * math.hypot(1.0, (self.mean_error - half) / half)

    @property
    def snr(self) -> float:
        """`mean_error` over its noise; 0 where the noise left no count. Made of noised values: it may leave."""
        return self.mean_error / self.mean_error_std if self.count > 0 and self.noise_std else 0.0


def noised_metrics(
    errors: Sequence[float] | NDArray[np.floating],
    bound: float,
    noise_multiplier: float,
    unit_pieces: int,
    groups: Sequence[int] | None = None,
) -> NoisedMetrics:
    """Release a sum and a count of errors, clipped to 0..`bound`, under one Gaussian mechanism.

    Errors are centred first: each adds a vector (error / half - 1, 1) of norm at most sqrt(2), half = bound / 2, so a
    unit moves the pair by at most sqrt(2) * unit_pieces. Centring halves the noise that reaches the mean. An error
    that is not a number counts as `bound`.

    Args:
        groups: number of each error's piece, as of `train`. Then a piece counts once, with the mean of its errors, and
            `count` is of pieces; None: each error is a piece.
    """
    half = bound / 2
    clipped = np.clip(np.nan_to_num(np.asarray(errors, dtype=np.float64), nan=bound), 0.0, bound)
    if groups is not None:
        _, piece = np.unique(np.asarray(groups, np.int64), return_inverse=True)
        clipped = np.bincount(piece, clipped) / np.bincount(piece)
    noise_std = noise_multiplier * unit_pieces * math.sqrt(2) * (1 + SLACK)
    noise = noise_std * gaussian((2,))
    centred = float((clipped / half - 1).sum() + noise[0])
    count = float(len(clipped) + noise[1])
    if noise_std:  # as float32, see `noise.gaussian`
        centred, count = float(np.float32(centred)), float(np.float32(count))
    return NoisedMetrics(error_sum=half * (centred + count), count=count, bound=bound, noise_std=noise_std)


def _move(parameters: Sequence[nn.Parameter], by: Tensor) -> None:
    """Add to the parameters; `by` is float64, one after the other, and is rounded once: see `noise.gaussian`."""
    pieces = torch.split(by.float(), [parameter.numel() for parameter in parameters])
    with torch.no_grad():
        for parameter, piece in zip(parameters, pieces, strict=True):
            parameter.add_(piece.view_as(parameter))
