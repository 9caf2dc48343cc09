"""One run as a report sees it: what it was set to, and what came out of it, as columns of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Setting = str | int | float | bool | None
Column = NDArray[np.float64]

EPSILON = "privacy.epsilon"
MECHANISM = "privacy.mechanism"
DELTA = "privacy.delta"
UNIT = "privacy.unit"
ERROR_UNITS = {"crowding": "person-minutes", "proximity": "Brier"}
"""What a task's errors are in; `crowding`: of a half hour and site, `proximity`: the Brier score, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class SiteErrors:
    """Held-out errors of every site at one round; arrays of one length, in the order of `names`.

    Attributes:
        examples: how many held-out examples the site has.
        error, baseline: mean error of the model and of the rule that learns nothing; as the task counts errors.
        personal: of the model with the layers that the site keeps to itself; NaN where there are none.
    """

    names: tuple[str, ...]
    examples: Column
    error: Column
    baseline: Column
    personal: Column


@dataclass(frozen=True, slots=True)
class Curve:
    """One epidemic curve: infected people by day, with 5 and 95 % of its simulations."""

    day: Column
    mean: Column
    low: Column
    high: Column


@dataclass(frozen=True, slots=True)
class Run:
    """One point of a sweep and one seed.

    Attributes:
        folder: name of its folder, without where that lies.
        settings: flat, by dotted key.
        swept: the keys that its experiment varies.
        data: name, sites, examples; perhaps a card.
        status: done, stopped, running or failed; `note` says why it is not done.
        rounds: a column a measured quantity, a row an evaluated round, sorted; row 0 is the start model. NaN: unknown.
        sites: of the last round that has them.
        curves: by name; none where it was no experiment of an epidemic.
        seconds: how long each round took, by round; the only thing that differs between two runs of one seed.
    """

    folder: str
    name: str
    seed: int
    settings: Mapping[str, Setting]
    swept: tuple[str, ...]
    versions: Mapping[str, str]
    data: Mapping[str, Setting]
    status: str
    rounds_done: int
    rounds: Mapping[str, Column]
    sites: SiteErrors | None = None
    curves: Mapping[str, Curve] = field(default_factory=dict)
    seconds: Column | None = None
    note: str = ""

    def last(self, quantity: str) -> float:
        """The quantity's last known value; NaN where there is none."""
        values = self.rounds.get(quantity)
        known = values[np.isfinite(values)] if values is not None else np.array([])
        return float(known[-1]) if len(known) else float("nan")

    def total(self, quantity: str) -> float:
        """Sum over all rounds; NaN where nothing is known."""
        values = self.rounds.get(quantity)
        return float(np.nansum(values)) if values is not None and np.isfinite(values).any() else float("nan")

    @property
    def done(self) -> bool:
        return self.status == "done"

    @property
    def private(self) -> bool:
        return self.settings.get(MECHANISM) != "none" and self.settings.get(EPSILON) is not None

    @property
    def task(self) -> str:
        return str(self.data.get("task") or self.settings.get("task.name") or "")

    @property
    def unit(self) -> str:
        """Unit of its errors, in words; empty for a task that the report does not know."""
        return ERROR_UNITS.get(self.task, "")

    @property
    def relative(self) -> float:
        """Last error over the baseline's; NaN where one is unknown."""
        baseline = self.last("baseline_error")
        return self.last("error") / baseline if baseline > 0 else float("nan")

    @property
    def bytes_in_total(self) -> float:
        """Up and down, all sites and rounds; NaN where unknown."""
        return self.total("up_bytes") + self.total("down_bytes")

    def bytes_until(self, at: int) -> float:
        """Up and down, all sites, to the end of round `at`."""
        so_far = self.rounds["round"] <= at
        return float(sum(np.nansum(self.rounds[way][so_far]) for way in ("up_bytes", "down_bytes")))

    @property
    def data_name(self) -> str:
        return str(self.data.get("name") or self.settings.get("data.source") or "unnamed data")
