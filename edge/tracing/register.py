"""The identifiers of the site's tags: which one is whose, and when it can be on the air."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from edge.store.slots import DAY_S
from edge.store.tags import Tag
from privacy.tokens.gaen import INTERVAL_S, BadMetadata, TemporaryExposureKey, decrypt_metadata
from privacy.tokens.tags import exposure_key, identifiers

CLOCK_OFF_S = 2 * 3600
"""A tag's clock may be off by so much, as in GAEN. An identifier that is heard later than that was recorded and played
again: it counts as a stranger's."""


@dataclass(frozen=True, slots=True)
class Known:
    """Whose identifiers are known at some time.

    Attributes:
        labels: tags of this site.
        owner_of: index into `labels`, and the key of the day, by identifier.
    """

    labels: tuple[str, ...]
    owner_of: Mapping[bytes, tuple[int, TemporaryExposureKey]]

    def tx_power_dbm(self, identifier: bytes, metadata: bytes) -> float | None:
        """What a tag of this site says of its power, dBm; None where it says nothing that makes sense."""
        if not metadata or identifier not in self.owner_of:
            return None
        try:
            return float(decrypt_metadata(self.owner_of[identifier][1], identifier, metadata).tx_power_dbm)
        except BadMetadata:
            return None


@dataclass(frozen=True, slots=True)
class Register:
    """The tags of a site, with the identifiers of the days that were asked for."""

    tags: tuple[Tag, ...] = field(repr=False)
    _derived: dict[tuple[int, int], tuple[TemporaryExposureKey, list[bytes]]] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    @classmethod
    def of(cls, tags: Iterable[Tag]) -> Register:
        return cls(tuple(tags))

    @property
    def labels(self) -> tuple[str, ...]:
        """Of the tags, in order."""
        return tuple(tag.label for tag in self.tags)

    def known(self, from_s: float, until_s: float) -> Known:
        """All identifiers that tags can show between two times, give or take `CLOCK_OFF_S`."""
        owner_of: dict[bytes, tuple[int, TemporaryExposureKey]] = {}
        begin, end = max(int(from_s - CLOCK_OFF_S), 0), int(until_s + CLOCK_OFF_S)
        for number in range(len(self.tags)):
            for day in range(begin // DAY_S, (end - 1) // DAY_S + 1):
                key, shown = self._of(number, day)
                first = max(begin - day * DAY_S, 0) // INTERVAL_S
                last = min(-(-(end - day * DAY_S) // INTERVAL_S), DAY_S // INTERVAL_S)
                for identifier in shown[first:last]:
                    owner_of[identifier] = (number, key)
        return Known(self.labels, owner_of)

    def _of(self, number: int, day: int) -> tuple[TemporaryExposureKey, list[bytes]]:
        found = self._derived.get((number, day))
        if found is None:
            secret = self.tags[number].secret
            found = self._derived[number, day] = (exposure_key(secret, day), identifiers(secret, day))
        return found
