"""What the runs found, as numbers: what the summaries of a report say in their languages."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from simulations.report.along import Axis
from simulations.report.fairness import SiteSpread
from simulations.report.lines import Line, Spread, lines
from simulations.report.runs import EPSILON, Run
from simulations.report.traffic import a_round
from simulations.report.utility import gap_closed


@dataclass(frozen=True, slots=True)
class Best:
    """The line of lowest mean error, over the baseline's.

    Attributes:
        label: the settings that tell it from the others; empty where there is one line alone.
        error: held-out, after the last round; in `unit`.
        saved: share of the baseline's error that it saves; negative where it is worse. NaN: the baseline is unknown.
        gap: share of the way from the baseline to central training; NaN where that is unknown.
        worse_at: at how many of the `sites` with a known baseline it is worse than that; None where it is not known.
        up, down: bytes of a mean round; NaN where unknown.
    """

    label: str
    error: Spread
    unit: str
    baseline: float
    saved: float
    gap: float
    worse_at: int | None
    sites: int
    up: float
    down: float

    @classmethod
    def of(cls, chosen: Iterable[Line]) -> Best | None:
        """None where no line has a held-out error."""
        known = [(line, spread) for line in chosen if (spread := line.spread(lambda run: run.last("error")))]
        if not known:
            return None
        line, error = min(known, key=lambda pair: (mean(pair[0], "relative"), pair[1].mean))
        sites = SiteSpread.of(line)
        gap = line.spread(gap_closed)
        return cls(
            label=line.label() if line.keys else "",
            error=error,
            unit=line.runs[0].unit,
            baseline=mean(line, "baseline_error"),
            saved=1 - mean(line, "relative"),
            gap=gap.mean if gap else math.nan,
            worse_at=int((sites.relative > 1).sum()) if len(sites.relative) else None,
            sites=len(sites.relative),
            up=mean_of(a_round(run, "up_bytes") for run in line.runs),
            down=mean_of(a_round(run, "down_bytes") for run in line.runs),
        )


@dataclass(frozen=True, slots=True)
class Findings:
    """Of all runs on one data set.

    Attributes:
        data, sites: its name, and how many sites it has; 0 where the runs do not say.
        private: whether `best` is the best of those with a budget; without any, of all.
        smallest: the smallest budget, and the best with it; None where there is one budget at most.
    """

    data: str
    sites: int
    private: bool
    best: Best | None
    smallest: tuple[float, Best] | None


def findings(runs: Sequence[Run]) -> list[Findings]:
    """A finding a data set, of the runs that are done."""
    done = [run for run in runs if run.done]
    return [
        _of_data([run for run in done if run.data_name == name]) for name in sorted({run.data_name for run in done})
    ]


def _of_data(runs: Sequence[Run]) -> Findings:
    private = [run for run in runs if run.private]
    epsilon = Axis(EPSILON).at
    budgets = Axis(EPSILON).values(private)
    every = lines(runs)
    best = Best.of(_with(every, lambda run: run.private or not private))
    tight = Best.of(_with(every, lambda run: epsilon(run) == budgets[0])) if len(budgets) > 1 else None
    sites = runs[0].data.get("sites")
    return Findings(
        runs[0].data_name,
        sites if isinstance(sites, int) else 0,
        bool(private),
        best,
        (budgets[0], tight) if tight is not None else None,
    )


def _with(every: Iterable[Line], fits: Callable[[Run], bool]) -> list[Line]:
    return [line for line in every if all(map(fits, line.runs))]


def mean(line: Line, quantity: str) -> float:
    return mean_of(run.relative if quantity == "relative" else run.last(quantity) for run in line.runs)


def mean_of(values: Iterable[float]) -> float:
    spread = Spread.of(values)
    return spread.mean if spread else math.nan
