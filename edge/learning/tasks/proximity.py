"""Task `proximity`: was a transmitter within two metres? Learnt from calibration sessions, with known distances.

**One example** is one step of a session: the three features of `edge.proximity.features` over the time of standing
still, and whether the distance was at most `NEAR_M`. Loudness is corrected by what *the session itself* says of its
adapter and tag against the public reference curve; a correction made of several sessions would tie their examples
together.

**The privacy unit** is one session: one walk of one tag before one adapter, added or removed as a whole. `read` makes a
session's observations of that session alone, and `examples` takes the first `UNIT_EXAMPLES` of each unit and nothing of
any other. A unit that is removed therefore takes at most `UNIT_EXAMPLES` examples along and leaves every other as it
was; a sum over examples, each clipped to C, moves by at most `UNIT_EXAMPLES * C`. A walk has ten steps, five distances
in two postures, so nothing is lost of it.

**Assumed**: nothing of how long sessions are kept: `read` takes those of the time that the ledger's entry covers.

**The model** is the packaged one's: a logistic regression, 4 parameters. A fresh one knows nothing and says 1/2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from edge.learning.tasks.task import Examples
from edge.learning.tasks.units import RECORD, PrivacyUnit
from edge.proximity.calibration import Reading, ReferenceCurve, estimate
from edge.proximity.closeness import NEAR_M, Closeness
from edge.proximity.features import FEATURES, LOUDNESS_CENTRE_DBM, LOUDNESS_SCALE_DB, features
from edge.proximity.session import Session
from edge.store.calibration import Calibrations
from edge.store.connection import Connection

UNIT_EXAMPLES = 10
MOST_SESSIONS = 100
"""A node trains on the newest sessions. A technician walks a few."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What was heard of one transmitter, and whether it was near.

    Attributes:
        features: in the order of `FEATURES`.
        near: whether it was within `NEAR_M`.
    """

    features: tuple[float, ...]
    near: bool

    def __post_init__(self) -> None:
        if len(self.features) != len(FEATURES):
            raise ValueError(f"{len(self.features)} features, expected {', '.join(FEATURES)}")


Unit = Sequence[Observation]
"""All observations of one session."""


SOURCES: Mapping[str, tuple[str, ...]] = {
    "calibration_sessions": ("id", "adapter", "transmitter", "started_at", "logged_at"),
    "calibration_steps": (
        "session",
        "position",
        "distance_m",
        "blocked",
        "frames",
        "rssi_sum",
        "rssi_square_sum",
        "rssi_min",
        "rssi_max",
        "windows_heard",
        "windows_listened",
    ),
}


class Logit(nn.Module):
    """Logistic regression; [n, features] -> logits [n]."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, 1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(x).squeeze(-1)
        return logits


@dataclass(frozen=True, slots=True)
class Proximity:
    """The task, see the module's docstring. `y` is 1 within `NEAR_M`, else 0; `forecast` its probability."""

    name: str = "proximity"
    unit: str = "session"
    unit_examples: int = UNIT_EXAMPLES
    error_bound: float = 1.0
    most_examples: int = MOST_SESSIONS * UNIT_EXAMPLES

    @property
    def units(self) -> Mapping[str, PrivacyUnit]:
        return {RECORD: PrivacyUnit(self.unit, UNIT_EXAMPLES, 0.0, self.most_examples)}

    @property
    def sources(self) -> Mapping[str, tuple[str, ...]]:
        return SOURCES

    def model(self) -> nn.Module:
        """Says 1/2 of everything."""
        model = Logit(len(FEATURES))
        with torch.no_grad():
            model.linear.weight.zero_()
            model.linear.bias.zero_()
        return model

    def read(self, connection: Connection, after: float, until: float) -> list[Unit]:
        """One unit a stored session."""
        curve = Closeness.default().curve
        return [observations(session, curve) for session in Calibrations(connection).sessions(after, until)]

    def examples(self, records: Sequence[Unit]) -> Examples:
        """The first `UNIT_EXAMPLES` observations of each unit; `units` are positions in `records`."""
        kept = [(number, seen) for number, unit in enumerate(records) for seen in unit[:UNIT_EXAMPLES]]
        x = torch.tensor([seen.features for _, seen in kept], dtype=torch.float32).reshape(len(kept), len(FEATURES))
        y = torch.tensor([float(seen.near) for _, seen in kept], dtype=torch.float32)
        return Examples(x, y, tuple(number for number, _ in kept))

    def loss(self, prediction: Tensor, y: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(prediction, y, reduction="none")

    def forecast(self, prediction: Tensor) -> Tensor:
        return prediction.sigmoid()

    def error(self, forecast: Tensor, y: Tensor) -> Tensor:
        return (forecast - y).square()

    def baseline(self, x: Tensor) -> Tensor:
        """Near where it is at least as loud as the reference curve is at `NEAR_M`: 1 or 0."""
        level = (Closeness.default().curve.at(NEAR_M) - LOUDNESS_CENTRE_DBM) / LOUDNESS_SCALE_DB
        return (x[:, 0] >= level).float()


def observations(session: Session, curve: ReferenceCurve) -> Unit:
    """What one session says, from that session alone."""
    readings = [Reading(session.adapter, session.transmitter, s.distance_m, s.stats.rssi_mean) for s in session.steps]
    correction = estimate(readings, curve=curve).of(session.adapter, session.transmitter)
    return [
        Observation(
            tuple(
                features(
                    step.stats, correction_db=correction, frames_per_window=max(session.frames_per_window, 1.0)
                ).tolist()
            ),
            step.distance_m <= NEAR_M,
        )
        for step in session.steps
    ]


TASK = Proximity()
