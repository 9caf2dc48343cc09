"""Why a file of diagnosis keys was turned away."""

from __future__ import annotations

from enum import StrEnum


class ExportReason(StrEnum):
    """Counted and logged under these words."""

    NO_ARCHIVE = "no export archive"
    TOO_LARGE = "larger than an export may be"
    NOT_EXACT = "archive holds more than the export"
    MALFORMED = "malformed"
    UNSIGNED = "not signed"
    WRONG_KEY = "signed with another key"
    BAD_SIGNATURE = "wrong signature"
    WRONG_REGION = "for another region"
    SEVERAL_BATCHES = "part of several files"
    NOT_YET = "from the future"
    EXPIRED = "too old"
    TOO_MANY_KEYS = "too many keys"
    KEY_LENGTH = "key of a wrong length"
    ROLLING_PERIOD = "key with an impossible rolling period"
    KEY_START = "key that starts at an implausible time"
    KEY_VALUES = "key with values out of range"


class ExportRefused(ValueError):
    """A file of diagnosis keys was turned away, as a whole. The text has no key in it."""

    def __init__(self, reason: ExportReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
