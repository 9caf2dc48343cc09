"""The probability that a transmitter was within two metres. Never a distance: RSSI does not know metres.

A logistic model of three features (`edge.proximity.features`). Its file is JSON, with a card that says what it was
fitted to, how good it is on data it has not seen, and what it cannot do.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.proximity.calibration import ReferenceCurve
from edge.proximity.features import ALONE, FEATURES, PHONE_FRAMES, features
from edge.proximity.stats import Stats

NEAR_M = 2.0
WINDOW_S = 150.0
"""What a probability is about: the median distance over about this long, seconds."""

SCHEMA = 1
DEFAULT_FILE = Path(__file__).with_name("closeness.json")


class BadCloseness(ValueError):
    """A file holds no closeness model; the message names the file and what is wrong."""


@dataclass(frozen=True, slots=True)
class Closeness:
    """A fitted model.

    Attributes:
        weights: one a feature, in the order of `FEATURES`.
        intercept: of the logit.
        threshold: probability from which on "close" costs least, where a miss and a false alarm cost the same for
            their classes (least Pmiss + Pfa).
        curve: what a corrected receiver hears at which distance; corrections are measured against it.
        frames_per_window: frames heard at best in a window listened in, see `features`.
        card: what it was made of and how good it is, for people.
    """

    weights: tuple[float, ...]
    intercept: float
    threshold: float
    curve: ReferenceCurve
    frames_per_window: float = PHONE_FRAMES
    card: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.weights) != len(FEATURES):
            raise ValueError(f"{len(self.weights)} weights for the {len(FEATURES)} features {', '.join(FEATURES)}")
        if not all(map(math.isfinite, (*self.weights, self.intercept))):
            raise ValueError("weights and intercept are finite numbers")
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold {self.threshold} is not a probability between 0 and 1")
        if not 0 < self.frames_per_window < math.inf:
            raise ValueError(f"frames_per_window is {self.frames_per_window}; it is above 0")
        if self.weights[0] <= 0:
            raise ValueError(f"weight {self.weights[0]} of loudness says that what is louder is further")

    def probability(
        self,
        stats: Stats,
        *,
        correction_db: float = 0.0,
        standing: float = ALONE,
        frames_per_window: float | None = None,
    ) -> float:
        """Probability that the transmitter was within `NEAR_M` over these statistics' time, `WINDOW_S` or so.

        Args:
            correction_db: added to RSSI, dB, of receiver and transmitter together. Without one the figure stands for
                receivers and transmitters like those on the card only.
            standing: among what the receiver heard meanwhile, see `standings`.
            frames_per_window: heard at best in a window listened in; None: as the model was fitted.
        """
        per_window = self.frames_per_window if frames_per_window is None else frames_per_window
        one = features(stats, correction_db=correction_db, standing=standing, frames_per_window=per_window)
        return float(self.probabilities(one[None])[0])

    def probabilities(self, x: NDArray[np.floating]) -> NDArray[np.float64]:
        """Probabilities [n] of features [n, 3], made by `features`."""
        logits = np.asarray(x, np.float64) @ np.asarray(self.weights) + self.intercept
        found: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(logits, -40, 40)))
        return found

    @classmethod
    def default(cls) -> Closeness:
        """The packaged model."""
        return _packaged()

    @classmethod
    def load(cls, path: Path) -> Closeness:
        """Read a file that `write` made.

        Raises:
            BadCloseness: there is none, or it is not a closeness model of this version.
        """
        try:
            raw = json.loads(path.read_text("utf-8"))
            if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
                raise ValueError(f"it is not of schema {SCHEMA}; write it anew with this version's `jaga-sim`")
            if tuple(raw["features"]) != FEATURES:
                raise ValueError(f"its features are {raw['features']}, this program's {list(FEATURES)}")
            return cls(
                weights=tuple(float(weight) for weight in raw["weights"]),
                intercept=float(raw["intercept"]),
                threshold=float(raw["threshold"]),
                curve=ReferenceCurve(float(raw["curve"]["level_dbm"]), float(raw["curve"]["fall_db"])),
                frames_per_window=float(raw["frames_per_window"]),
                card=dict(raw["card"]),
            )
        except KeyError as why:
            raise BadCloseness(f"{path}: no closeness model: {why} is missing") from why
        except (OSError, ValueError, TypeError, UnicodeDecodeError) as why:
            raise BadCloseness(f"{path}: no closeness model: {why}") from why

    def write(self, path: Path) -> None:
        """Write a file for `load`."""
        content = {
            "schema": SCHEMA,
            "features": list(FEATURES),
            "weights": list(self.weights),
            "intercept": self.intercept,
            "threshold": self.threshold,
            "frames_per_window": self.frames_per_window,
            "curve": {"level_dbm": self.curve.level_dbm, "fall_db": self.curve.fall_db},
            "card": dict(self.card),
        }
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")


@cache
def _packaged() -> Closeness:
    return Closeness.load(DEFAULT_FILE)
