"""What a helper remembers: whom its organisation approved, and what it has answered for. In a database of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVarTuple

from sqlalchemy import (
    BigInteger,
    Double,
    Integer,
    LargeBinary,
    Row,
    Select,
    String,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute, Mapped, Session, mapped_column

from aggregator.records.database import Records
from aggregator.records.schema import RevocationListColumns
from privacy.secure_sum.exchange import Part, SumRefusal

VERSION, ADDED_TO_SINCE = 2, 1
AT_ONCE = 500
"""Values of one statement; SQLite takes at least 999 variables."""
Columns = TypeVarTuple("Columns")


class HelperBase(DeclarativeBase):
    """All tables of a helper."""


class HelperSchemaRow(HelperBase):
    """The version of this schema, in one row."""

    __tablename__ = "jaga_helper_schema"

    version: Mapped[int] = mapped_column(primary_key=True)


class ApprovedRow(HelperBase):
    """A node that this organisation vouches for, whatever the leader says."""

    __tablename__ = "approved_nodes"

    party: Mapped[str] = mapped_column(String(64), primary_key=True)
    approved_at: Mapped[float] = mapped_column(Double)
    key: Mapped[bytes | None] = mapped_column(LargeBinary)
    """SHA-256 of its verify key: given with the approval, or that of the first certificate which counted. The authority
    may be the leader's own, and could certify another key under this name."""


class RevokedRow(HelperBase):
    """A certificate that this organisation believes no longer, whatever the authority says."""

    __tablename__ = "revoked_certificates"

    serial: Mapped[str] = mapped_column(String(64), primary_key=True)
    revoked_at: Mapped[float] = mapped_column(Double)


class RevocationListRow(RevocationListColumns, HelperBase):
    """The authority's newest list that the helper has seen."""

    __tablename__ = "revocation_list"


class CountedRow(HelperBase):
    """That a node's seed was counted in a sum, and in which request."""

    __tablename__ = "counted"

    run_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    round_number: Mapped[int] = mapped_column(Integer, primary_key=True)
    part: Mapped[Part] = mapped_column(String(16), primary_key=True)
    party: Mapped[str] = mapped_column(String(64), primary_key=True)
    request: Mapped[bytes] = mapped_column(LargeBinary)
    """SHA-256 of the whole request: the same one may be answered again, for its answer can be lost on the way."""


class UsedSeedRow(HelperBase):
    """The hash of a seed that was counted: it never counts again, in any run."""

    __tablename__ = "used_seeds"

    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, index=True)


class NotCounted(ValueError):
    """A group is not answered for; nothing was written."""

    def __init__(self, refusal: SumRefusal, because_of: list[str]) -> None:
        super().__init__(f"{refusal.value}: {', '.join(because_of[:5])}{' …' if len(because_of) > 5 else ''}")
        self.refusal = refusal
        self.because_of = because_of


@dataclass(frozen=True, slots=True)
class Sum:
    """One sum of one round of one run; `run_id` is a uint64."""

    run_id: int
    round_number: int
    part: Part

    @property
    def run(self) -> str:
        return f"{self.run_id:016x}"


@dataclass(frozen=True, slots=True)
class Approval:
    """Since when a node is approved, and with which key; None: whichever it counts with first."""

    at: float
    key: bytes | None


def _where_in(
    session: Session, what: Select[*Columns], column: InstrumentedAttribute[Any], values: Sequence[Any]
) -> Iterator[Row[*Columns]]:
    """Rows whose column is one of the values; a statement takes so many at a time."""
    for begun in range(0, len(values), AT_ONCE):
        yield from session.execute(what.where(column.in_(values[begun : begun + AT_ONCE])))


class HelperRecords(Records):
    """The helper's database; made on first use.

    Raises:
        RecordsError: it cannot be reached, or is damaged.
        WrongSchema: it is of another version, or another program's.
    """

    tables: ClassVar[type[DeclarativeBase]] = HelperBase
    schema: ClassVar[type[HelperSchemaRow]] = HelperSchemaRow
    version: ClassVar[int] = VERSION
    added_to_since: ClassVar[int] = ADDED_TO_SINCE
    owner: ClassVar[str] = "the helper"

    def approve(self, party: str, now: float, key: bytes | None = None) -> bool:
        """Vouch for a node, and for one key of it where it is given; False where it was so approved before."""
        with self.session() as session:
            row = session.get(ApprovedRow, party)
            if row is not None and (key is None or row.key == key):
                return False
            session.merge(ApprovedRow(party=party, approved_at=now, key=key))
        return True

    def withdraw(self, party: str) -> bool:
        """Vouch for a node no longer; False where it was not approved."""
        with self.session() as session:
            row = session.get(ApprovedRow, party)
            if row is not None:
                session.delete(row)
        return row is not None

    def approved(self, among: Sequence[str] | None = None) -> dict[str, Approval]:
        """The approved nodes: every one, or those among some parties."""
        columns = select(ApprovedRow.party, ApprovedRow.approved_at, ApprovedRow.key)
        with self.session() as session:
            rows = session.execute(columns) if among is None else _where_in(session, columns, ApprovedRow.party, among)
            return {party: Approval(at, key) for party, at, key in rows}

    def pin(self, keys: Mapping[str, bytes]) -> None:
        """From now on these approved nodes have these keys and no others."""
        with self.session() as session:
            for party, key in keys.items():
                session.execute(
                    update(ApprovedRow).where(ApprovedRow.party == party, ApprovedRow.key.is_(None)).values(key=key)
                )

    def revoke(self, serials: Iterable[int], now: float) -> None:
        """Believe these certificates no longer, from the next start on."""
        with self.session() as session:
            for serial in serials:
                session.merge(RevokedRow(serial=f"{serial:x}", revoked_at=now))

    def revoked(self) -> frozenset[int]:
        """Serial numbers of the certificates that are believed no longer."""
        with self.session() as session:
            return frozenset(int(row.serial, 16) for row in session.scalars(select(RevokedRow)))

    def count(self, at: Sum, request: bytes, seeds: Mapping[str, bytes]) -> None:
        """Write down that these nodes are counted in this sum, all of them or none.

        Args:
            request: SHA-256 of the whole request; one that was written down before may be answered again.
            seeds: SHA-256 of each node's seed.

        Raises:
            NotCounted: a node was counted in the round by another request, or a seed was used before.
        """
        with self.session() as session:
            of_sum = select(CountedRow.party, CountedRow.request).where(
                CountedRow.run_id == at.run,
                CountedRow.round_number == at.round_number,
                CountedRow.part == at.part,
            )
            known = {row.party: row.request for row in _where_in(session, of_sum, CountedRow.party, list(seeds))}
            again = [party for party in seeds if party in known]
            if again and all(known[party] == request for party in again) and len(again) == len(seeds):
                return
            if again:
                raise NotCounted(SumRefusal.COUNTED, again)
            digests = list(seeds.values())
            times = Counter(digests)
            used = {row[0] for row in _where_in(session, select(UsedSeedRow.digest), UsedSeedRow.digest, digests)}
            doubled = [party for party, digest in seeds.items() if digest in used or times[digest] > 1]
            if doubled:
                raise NotCounted(SumRefusal.SEED_USED, doubled)
            last = session.scalar(select(UsedSeedRow.sequence).order_by(UsedSeedRow.sequence.desc()).limit(1)) or 0
            counted = {"run_id": at.run, "round_number": at.round_number, "part": at.part, "request": request}
            session.execute(insert(CountedRow), [{**counted, "party": party} for party in seeds])
            session.execute(
                insert(UsedSeedRow),
                [{"digest": digest, "sequence": last + place} for place, digest in enumerate(digests, start=1)],
            )

    def forget_run(self, run_id: int) -> None:
        """Drop what was counted in a run that is over; seeds stay known for good."""
        with self.session() as session:
            session.execute(delete(CountedRow).where(CountedRow.run_id == f"{run_id:016x}"))
