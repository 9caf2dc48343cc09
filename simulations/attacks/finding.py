"""Rows that attacks and audits give back, each with its 95 % interval and a verdict.

A row's own interval holds with 95 %. Its verdict does not hang on that: among many rows some intervals miss. A row is
"not held" only if the counts refute what is claimed with confidence 1 - `statistics.ALARM`, so by Bonferroni a whole
table of 100 rows calls a sound protection broken at most once in ten thousand runs.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulations.attacks.statistics import (
    Interval,
    advantage,
    advantage_interval,
    chance,
    clopper_pearson,
    rate_interval,
)

__all__ = ["Audit", "Finding", "Roc", "advantage", "advantage_interval", "chance", "clopper_pearson", "rate_interval"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of the table.

    Attributes:
        attack: what was tried.
        saw: what the attacker had.
        without: advantage without our protection, 0 (a coin) to 1 (certainty).
        protected: the same with it.
        limit: what `protected` may be at most for the protection to hold, chance included; None if no protection
            claims to hold, and the figure is shown for what it is.
        note: how to read it.
        without_95: interval of `without`; None if nothing in the attack is drawn by chance.
        protected_95: interval of `protected`.
        interval: how they were made, "exact" or "bootstrap".
    """

    attack: str
    saw: str
    without: float
    protected: float
    limit: float | None
    note: str = ""
    without_95: Interval | None = None
    protected_95: Interval | None = None
    interval: str = "exact"

    @property
    def works(self) -> bool:
        """Whether the attack surely succeeds if nothing stops it: else it shows nothing."""
        return (self.without if self.without_95 is None else self.without_95[0]) > 0.5

    @property
    def held(self) -> bool:
        """Whether the attack works without the protection and stays within the limit with it."""
        return self.works and (self.limit is None or self.protected <= self.limit)


@dataclass(frozen=True, slots=True)
class Roc:
    """One row of the membership table: how often an attacker is right who is hardly ever wrong.

    Attributes:
        attack: what was to be told.
        epsilon: accounted, of the update that was seen; None without protection.
        false_positives: what the threshold was set for.
        measured_false: false positive rate that was found on other shadow models.
        true_positives: rate at that threshold.
        most: what the accounted epsilon allows at the upper end of `measured_false_95`.
        refuted: the rates prove that `most` is exceeded.
        works: without protection the attack finds at least half; True of a row without protection that need not.
    """

    attack: str
    epsilon: float | None
    false_positives: float
    measured_false: float
    measured_false_95: Interval
    true_positives: float
    true_positives_95: Interval
    most: float
    refuted: bool
    works: bool = True

    @property
    def held(self) -> bool:
        """Whether the accounted epsilon holds, or without protection the attack works."""
        return self.works and not self.refuted


@dataclass(frozen=True, slots=True)
class Audit:
    """A mechanism under audit.

    Attributes:
        mechanism: which, and how it was broken if it was.
        audited: lower bound of its epsilon at `delta`: a proof with 95 % confidence.
        accounted: what the accountant charges.
        broken: whether it was broken on purpose.
        neighbour: what the two stores differ in.
        way: "many runs" or "one run".
        mu: 95 % interval of the Gaussian-DP parameter that the attack shows; of many runs its lower end is a proof.
        fitted: epsilon at `delta` of a Gaussian mechanism with `mu`: an estimate.
        accounted_mu: of a Gaussian mechanism that is charged as much.
        refuted: the counts prove the charge wrong at some delta; None: by `audited` alone.
        note: how large the canary is, or how to read the row.
    """

    mechanism: str
    audited: float
    accounted: float
    delta: float
    broken: bool = False
    neighbour: str = "removal"
    way: str = "many runs"
    mu: Interval | None = None
    fitted: Interval | None = None
    accounted_mu: float | None = None
    refuted: bool | None = None
    note: str = ""

    @property
    def flagged(self) -> bool:
        """Whether the audit shows more than was accounted for."""
        return self.audited > self.accounted if self.refuted is None else self.refuted

    @property
    def held(self) -> bool:
        """Whether a sound mechanism passes, or a broken one is found out."""
        return self.flagged is self.broken
