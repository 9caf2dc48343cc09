"""What the health authority takes of a case, and when a key may be shown.

The numbers are the defaults of the reference key server (google/exposure-notifications-server, `config.go` in
`internal/publish` and `internal/export`): 30 keys a case, three with the same start, symptom onset within 14 days of
the key, times cut to whole hours, exports of 1000 keys at least with up to 100 more by chance. Two are stricter:
keys of 14 days and not 15, and two hours beyond its end before a key is shown: a phone (or a tag) may be two hours
behind and still be sending it, and whoever has a key that somebody still sends can pretend to be them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from privacy.boundary.messages import Case, CaseKey

INTERVAL_S = 600
DAY_S = 86400.0


class KeyRefusal(StrEnum):
    """Why one key of a case was left out."""

    TOO_OLD = "key ended too long ago"
    FUTURE = "key begins in the future"
    KNOWN = "key is known already"


class CaseRefusal(StrEnum):
    """Why a whole case was turned away."""

    UNKNOWN_CLINIC = "party is not a clinic of this authority"
    TOO_MANY_CASES = "clinic reported too many cases in a day"
    TOO_MANY_KEYS = "case has too many keys"
    SAME_START = "too many keys of a case begin at the same time"
    OVERLAP = "keys of a case overlap"


class CaseRefused(ValueError):
    """A case was turned away as a whole."""

    def __init__(self, reason: CaseRefusal, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason.value)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class AdmittedKey:
    """A key that will be shown.

    Attributes:
        key: as it came.
        release_at: from when on it may be in an export, seconds since the epoch, a whole window.
    """

    key: CaseKey
    release_at: float


@dataclass(frozen=True, slots=True)
class Limits:
    """The rules of one authority.

    Attributes:
        max_keys: of one case.
        max_same_start: keys of one case that begin at the same time.
        max_age_s: since a key's end, seconds.
        skew_s: waited beyond a key's end, seconds.
        window_s: times are rounded up to multiples of this, so that they do not tell when a case was reported, seconds.
        cases_a_day: of one clinic.
    """

    max_keys: int = 30
    max_same_start: int = 3
    max_age_s: float = 14 * DAY_S
    skew_s: float = 2 * 3600.0
    window_s: float = 3600.0
    cases_a_day: int = 50

    def __post_init__(self) -> None:
        if min(self.max_keys, self.max_same_start, self.cases_a_day) < 1 or min(self.max_age_s, self.window_s) <= 0:
            raise ValueError(f"limits are positive, got {self}")
        if self.skew_s < 0:
            raise ValueError(f"a key is not shown before its end, and skew_s is {self.skew_s}")

    def admit(self, case: Case, now: float) -> tuple[list[AdmittedKey], Counter[KeyRefusal]]:
        """The keys of a case that will be shown, and why others will not.

        Raises:
            CaseRefused: TOO_MANY_KEYS, SAME_START or OVERLAP.
        """
        if len(case.keys) > self.max_keys:
            raise CaseRefused(CaseRefusal.TOO_MANY_KEYS, f"{len(case.keys)}, and {self.max_keys} are allowed")
        self._check_overlap(case.keys)
        admitted: dict[bytes, AdmittedKey] = {}
        refused: Counter[KeyRefusal] = Counter()
        for key in case.keys:
            if key.rolling_start * INTERVAL_S > now:
                refused[KeyRefusal.FUTURE] += 1
            elif end_s(key) < now - self.max_age_s:
                refused[KeyRefusal.TOO_OLD] += 1
            elif key.key in admitted:
                refused[KeyRefusal.KNOWN] += 1
            else:
                admitted[key.key] = AdmittedKey(key, self.release_at(key, now))
        return list(admitted.values()), refused

    def release_at(self, key: CaseKey, now: float) -> float:
        """When a key that came now may be shown: the next whole window, and never while somebody may be sending it."""
        return math.ceil(max(now, end_s(key) + self.skew_s) / self.window_s) * self.window_s

    def _check_overlap(self, keys: Iterable[CaseKey]) -> None:
        """Keys that begin together are one phone's that was reset; other overlaps are two persons' keys."""
        starts: Counter[int] = Counter()
        last_start, last_end = -1, -1
        for key in sorted(keys, key=lambda key: (key.rolling_start, key.rolling_period)):
            starts[key.rolling_start] += 1
            if key.rolling_start != last_start and key.rolling_start < last_end:
                raise CaseRefused(
                    CaseRefusal.OVERLAP, f"one ends at {last_end}, the next begins at {key.rolling_start}"
                )
            last_start, last_end = key.rolling_start, key.rolling_start + key.rolling_period
        most = max(starts.values(), default=0)
        if most > self.max_same_start:
            raise CaseRefused(CaseRefusal.SAME_START, f"{most}, and {self.max_same_start} are allowed")


def end_s(key: CaseKey) -> float:
    """When a key ends, seconds since the epoch."""
    return float((key.rolling_start + key.rolling_period) * INTERVAL_S)
