"""What is assumed about an illness, and about people and services that look for it: all of it in one place."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from edge.tracing.scoring import Scoring
from simulations.epidemics.disease import Disease

COVID_LIKE = Disease(beta=1.15e-4, latent_days=2.8, infectious_days=5.2, stages=4)
"""Infectious 2.3 days before symptoms and for 5.2 days in all, so that 44 % is passed on before (He et al. 2020);
symptoms 5.1 days after infection (Lauer et al. 2020: the median), in four stages, which spread about as theirs did.
Beta makes beta times infectious time that of `FAST`."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Of one experiment. Where no source is given the value is an assumption: vary it before you believe the outcome.

    Attributes:
        disease: see `COVID_LIKE`.
        presymptomatic_days: from infectious to symptoms (He et al. 2020: 2.3).
        symptomatic_share: of those infected; the others are as infectious and get no test of their own.
        result_days: from symptoms to a positive result, at the next midnight. The case then stays at home.
        sensitivity: share of tests of infectious people that are positive; others' tests never are.
        isolation_days: that a case stays at home.
        quarantine_days: that somebody who was found stays at home.
        compliance: share of people who do as they are told when they are found, however they were found.
        adoption: share of people who carry a tag, or wear a node.
        consent: share of cases that let their keys be published.
        publish_days: from result to alert: the day's key is out at the end of it (docs/exposure.md).
        scoring: of exposures, with the minutes of an alert; a node's own default.
        cooperation: share of cases that name contacts when asked.
        interview_days: from result to those named.
        interviews_a_day: cases that can be asked in a day, those that wait longest first.
        asked_days: before symptoms (without symptoms: before the result) that a case is asked about.
        half_recalled_minutes: of contact with one person on one day that every second case forgets. Smieszek et al.
            (2012) found that contacts of 5 minutes or less are forgotten by more than half.
        stranger_recall: share of contacts that could be recalled and named of another zone (class, role).
        seeds: people infected at the start.
        longest_days: until when an outbreak is followed.

    Raises:
        ValueError: a share outside 0 to 1, a negative time, no seeds.
    """

    disease: Disease = COVID_LIKE
    presymptomatic_days: float = 2.3
    symptomatic_share: float = 2 / 3
    result_days: float = 1.0
    sensitivity: float = 0.8
    isolation_days: int = 10
    quarantine_days: int = 10
    compliance: float = 0.8
    adoption: float = 0.6
    consent: float = 0.8
    publish_days: int = 1
    scoring: Scoring = field(default_factory=Scoring)
    cooperation: float = 0.8
    interview_days: int = 1
    interviews_a_day: int = 2
    asked_days: int = 2
    half_recalled_minutes: float = 5.0
    stranger_recall: float = 0.5
    seeds: int = 1
    longest_days: int = 200

    def __post_init__(self) -> None:
        shares = (
            "symptomatic_share", "sensitivity", "compliance", "adoption", "consent", "cooperation", "stranger_recall"
        )  # fmt: skip
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name in shares and not 0 <= value <= 1:
                raise ValueError(f"{one.name} is {value}: a share is 0 to 1")
            if isinstance(value, int | float) and not value >= 0:
                raise ValueError(f"{one.name} is {value}: it is not below 0")
        if self.seeds < 1 or self.longest_days < 1 or not self.half_recalled_minutes > 0:
            raise ValueError(
                f"seeds {self.seeds}, longest_days {self.longest_days} and half_recalled_minutes "
                f"{self.half_recalled_minutes} are above 0"
            )
