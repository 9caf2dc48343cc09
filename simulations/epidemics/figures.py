"""What many outbreaks have in common: how large, how likely, how fast, each with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulations.epidemics.outbreak import Course

OUTBREAK_SHARE = 0.1
"""From this share of all people on, infected in the end, a run counts as an outbreak."""

BOOTSTRAPS = 2000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def mean(cls, values: ArrayLike) -> Estimate:
        """Percentile bootstrap over runs, always with the same draws; not a number where there are none."""
        return cls.ratio(values, np.ones_like(np.asarray(values, np.float64)))

    @classmethod
    def ratio(cls, over: ArrayLike, under: ArrayLike) -> Estimate:
        """Of two sums over the same runs; infinite or not a number where the second sum is 0."""
        top, bottom = np.asarray(over, np.float64), np.asarray(under, np.float64)
        if not len(top):
            return cls(float("nan"), float("nan"), float("nan"))
        drawn = np.random.default_rng(0).integers(0, len(top), (BOOTSTRAPS, len(top)))
        with np.errstate(divide="ignore", invalid="ignore"):
            value = float(top.sum() / bottom.sum())
            low, high = np.nanpercentile(top[drawn].sum(1) / bottom[drawn].sum(1), [2.5, 97.5])
        return cls(value, float(low), float(high))

    @classmethod
    def share(cls, true: int, of: int) -> Estimate:
        """Wilson's interval of a proportion (1927)."""
        if not 0 <= true <= of or of < 1:
            raise ValueError(f"{true} of {of} is not a share")
        z = 1.959964
        middle = (true + z * z / 2) / (of + z * z)
        half = z * np.sqrt(true * (of - true) / of + z * z / 4) / (of + z * z)
        return cls(true / of, float(middle - half), float(middle + half))

    def apart(self, other: Estimate) -> bool:
        """Whether the intervals do not meet."""
        return self.low > other.high or other.low > self.high

    def __str__(self) -> str:
        digits = 3 if abs(self.value) < 10 else 1
        return f"{self.value:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


@dataclass(frozen=True, slots=True)
class EpidemicFigures:
    """Of all runs of one setting.

    Attributes:
        outbreak: probability that `OUTBREAK_SHARE` of all people or more are infected in the end.
        attack_rate: share of people infected in the end, where there was an outbreak.
        attack_rate_all: the same of all runs.
        peak_day: when most are infectious, where there was an outbreak.
        peak_share: share of people then infectious.
        r0: people whom a seed infected itself, a mean over runs and seeds.
    """

    runs: int
    outbreak: Estimate
    attack_rate: Estimate
    attack_rate_all: Estimate
    peak_day: Estimate
    peak_share: Estimate
    r0: Estimate

    @classmethod
    def of(cls, courses: Sequence[Course]) -> EpidemicFigures:
        """Raises ValueError where there are none."""
        if not courses:
            raise ValueError("no runs: figures need some")
        rates = np.array([course.infected.mean() for course in courses])
        large = [course for course, rate in zip(courses, rates, strict=True) if rate >= OUTBREAK_SHARE]
        peaks = [_peak(course) for course in large]
        return cls(
            runs=len(courses),
            outbreak=Estimate.share(len(large), len(courses)),
            attack_rate=Estimate.mean(rates[rates >= OUTBREAK_SHARE]),
            attack_rate_all=Estimate.mean(rates),
            peak_day=Estimate.mean([day for day, _ in peaks]),
            peak_share=Estimate.mean([share for _, share in peaks]),
            r0=Estimate.ratio(
                [course.seeds[course.infector[course.infector >= 0]].sum() for course in courses],
                [course.seeds.sum() for course in courses],
            ),
        )


def infected_by_day(courses: Sequence[Course], days: int) -> NDArray[np.int64]:
    """People who carry it, latent or infectious, at each midnight from 0 to `days` [runs, days + 1]."""
    moments = np.arange(days + 1, dtype=np.float64)
    return np.stack([course.compartments(moments)[1:3].sum(axis=0) for course in courses])


def curves_table(curves: Mapping[str, Sequence[Course]], days: int | None = None) -> Any:
    """Epidemic curves as a pyarrow table: curve, day, and infected people as mean, low and high (5 and 95 % of runs).

    Args:
        curves: name of a curve, and its runs.
        days: until when; none: until the last run of all is over.

    Raises:
        ValueError: a curve without runs.
    """
    import pyarrow as pa  # noqa: PLC0415  heavy, and for files alone

    if empty := [name for name, courses in curves.items() if not courses]:
        raise ValueError(f"curves without runs: {', '.join(empty)}")
    last = days or max((_end(course) for courses in curves.values() for course in courses), default=0)
    columns: dict[str, list[Any]] = {name: [] for name in ("curve", "day", "mean", "low", "high")}
    for name, courses in curves.items():
        infected = infected_by_day(courses, last)
        low, high = np.percentile(infected, [5, 95], axis=0)
        columns["curve"] += [name] * (last + 1)
        columns["day"] += np.arange(last + 1, dtype=np.float64).tolist()
        columns["mean"] += infected.mean(axis=0).tolist()
        columns["low"] += low.tolist()
        columns["high"] += high.tolist()
    kinds = {"curve": pa.string(), **dict.fromkeys(("day", "mean", "low", "high"), pa.float64())}
    return pa.table(columns, schema=pa.schema(list(kinds.items())))


def _end(course: Course) -> int:
    return int(np.ceil(course.recovered[course.infected].max(initial=0.0)))


def _peak(course: Course) -> tuple[float, float]:
    """Day and share of people, at midnights."""
    infectious = course.compartments(np.arange(_end(course) + 1, dtype=np.float64))[2]
    return float(np.argmax(infectious)), float(infectious.max() / len(course.exposed))
