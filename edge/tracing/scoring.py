"""How much a contact counts: minutes by attenuation, times how infectious the case was on that day.

The structure is that of Google's and Apple's exposure notifications (*Meaningful Exposures*, `DailySummariesConfig`): a
day's score is the sum over its contacts of attenuation-weighted minutes times a weight of infectiousness, which follows
from the days since onset that come with a key. The numbers are the guidance of the Risk Score Symposium, version 2
(Linux Foundation Public Health, lfph/gaen-risk-scoring, August 2021): high from 2 days before to 3 days after the
onset, standard on days -4, -3, 4 and 5, none on others; weights 100 %, 30 % and 0. They are about COVID-19 (Delta): for
another illness a health authority sets other weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from privacy.tokens.gaen import ReportType, TemporaryExposureKey


class Infectiousness(Enum):
    """How infectious a case is on one day."""

    NONE = "none"
    STANDARD = "standard"
    HIGH = "high"


HIGH_DAYS = range(-2, 4)
STANDARD_DAYS = frozenset({-4, -3, 4, 5})
WHERE_ONSET_IS_UNKNOWN = Infectiousness.STANDARD
"""GAEN's `infectiousnessWhenDaysSinceOnsetMissing`: a key without onset counts, and not in full."""

NOT_A_CASE = frozenset({ReportType.REVOKED, ReportType.RECURSIVE})
"""Reports of which nobody is to be told: taken back, or reserved."""


def infectiousness_on(days_since_onset: int | None) -> Infectiousness:
    """How infectious, so many days after the first symptoms (before: negative)."""
    if days_since_onset is None:
        return WHERE_ONSET_IS_UNKNOWN
    if days_since_onset in HIGH_DAYS:
        return Infectiousness.HIGH
    return Infectiousness.STANDARD if days_since_onset in STANDARD_DAYS else Infectiousness.NONE


@dataclass(frozen=True, slots=True)
class Scoring:
    """Weights of infectiousness, and what an alert needs.

    Attributes:
        standard: weight of a day of standard infectiousness, 0 to 2.5 as in GAEN.
        high: the same of high.
        alert_minutes: score of one day from which on there is an alert, minutes.
    """

    standard: float = 0.3
    high: float = 1.0
    alert_minutes: float = 15.0

    def __post_init__(self) -> None:
        if not (0 <= self.standard <= 2.5 and 0 <= self.high <= 2.5):
            raise ValueError(f"weights of infectiousness {self.standard} and {self.high} are not within 0..2.5")
        if not self.alert_minutes > 0:
            raise ValueError(f"alert_minutes is {self.alert_minutes}: it is above 0")

    def weight(self, key: TemporaryExposureKey) -> float:
        """Weight of the day of one key; 0 where a contact then counts for nothing."""
        if key.report_type in NOT_A_CASE:
            return 0.0
        weights = {Infectiousness.NONE: 0.0, Infectiousness.STANDARD: self.standard, Infectiousness.HIGH: self.high}
        return weights[infectiousness_on(key.days_since_onset)]
