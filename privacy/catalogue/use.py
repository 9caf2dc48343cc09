"""What an entry of the ledger is for: from which columns, by which mechanisms. Kept as its purpose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from privacy.catalogue.books import BOOKS
from privacy.catalogue.columns import Catalogue, Mechanism
from privacy.catalogue.radio import RADIO
from privacy.catalogue.tracing import TRACING

CATALOGUE = Catalogue((*RADIO, *TRACING, *BOOKS))


class _Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    what: str
    sources: dict[str, list[str]]
    mechanisms: list[Mechanism]


@dataclass(frozen=True, slots=True)
class Use:
    """One use of records.

    Attributes:
        what: in words, as in `train crowding`.
        sources: columns by table; in order.
        mechanisms: through which something derived leaves; in order.
    """

    what: str
    sources: Mapping[str, tuple[str, ...]]
    mechanisms: tuple[Mechanism, ...]

    @classmethod
    def of(cls, what: str, sources: Mapping[str, Iterable[str]], mechanisms: Iterable[Mechanism]) -> Use:
        """In canonical order."""
        columns = {table: tuple(sorted(set(sources[table]))) for table in sorted(sources)}
        return cls(what, columns, tuple(sorted(set(mechanisms))))

    def encode(self) -> str:
        """Canonical JSON: the ledger's hash chain covers it."""
        stored = _Stored(self.what, {t: list(c) for t, c in self.sources.items()}, list(self.mechanisms))
        return msgspec.json.encode(stored).decode()

    @classmethod
    def decode(cls, purpose: str) -> Use | None:
        """What an entry's purpose says; None where it was written before purposes named their sources."""
        try:
            stored = msgspec.json.decode(purpose, type=_Stored)
        except msgspec.MsgspecError:
            return None
        return cls.of(stored.what, stored.sources, stored.mechanisms)

    def objections(self, catalogue: Catalogue = CATALOGUE) -> list[str]:
        """Why what comes of this use may not leave; none where it may."""
        found = [] if self.sources and self.mechanisms else ["it names no sources or no mechanism"]
        return found + catalogue.objections(self.sources, self.mechanisms)
