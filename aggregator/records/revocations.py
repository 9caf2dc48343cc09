"""The authority's newest list of revoked certificates, in the records: a restart does not forget its number."""

from __future__ import annotations

from aggregator.records.database import Records
from aggregator.records.schema import RevocationListColumns
from privacy.identity.certificates import TrustAnchor
from privacy.identity.revocation import RevocationList, Revocations


def stored_revocations(anchor: TrustAnchor, records: Records, row: type[RevocationListColumns]) -> Revocations:
    """The list as it was kept; newer ones are kept in the same place. Several processes may do so at once."""

    def keep(newest: RevocationList) -> None:
        with records.session() as session:
            known = session.get(row, 1)
            if known is None or int(known.number, 16) < newest.number:
                session.merge(row(place=1, number=f"{newest.number:x}", der=newest.der))  # type: ignore[call-arg]

    with records.session() as session:
        kept = session.get(row, 1)
    return Revocations(anchor, kept=None if kept is None else kept.der, keep=keep)
