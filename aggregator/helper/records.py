"""What a helper remembers: whom its organisation approved, what it has drawn and answered for. A database of its own.

Every draw and every answer adds a row to a hash-chained journal, of which `helper.anchor` notes the end outside of the
database: a copy of the database from before is known for one.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVarTuple

import msgspec
from sqlalchemy import (
    BigInteger,
    Double,
    Integer,
    LargeBinary,
    Row,
    Select,
    String,
    delete,
    func,
    insert,
    select,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute, Mapped, Session, mapped_column

from aggregator.records.database import Records, RecordsError
from aggregator.records.schema import RevocationListColumns
from privacy.secure_sum.exchange import Draw, DrawRequest, Part, SumRefusal

VERSION, ADDED_TO_SINCE = 2, 1
DAY_S = 86400.0
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
    """SHA-256 of its verify key. The authority may be the leader's own, and could certify another key under this name.
    None in a row that was made by name alone, which counts no longer."""


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


class DrawRow(HelperBase):
    """The draw of one sum's groups: what the leader asked for, and what it was given."""

    __tablename__ = "draws"

    run_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    round_number: Mapped[int] = mapped_column(Integer, primary_key=True)
    part: Mapped[Part] = mapped_column(String(16), primary_key=True)
    request: Mapped[bytes] = mapped_column(LargeBinary)
    draw: Mapped[bytes] = mapped_column(LargeBinary)
    drawn_at: Mapped[float] = mapped_column(Double)
    expires_at: Mapped[float] = mapped_column(Double)
    counted: Mapped[bool] = mapped_column(default=False)
    absent: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Hash of the list of those who are in no sum; set by the first answer."""


class JournalRow(HelperBase):
    """One draw or answer, chained to the one before. Row 0 is random, and says which database this is."""

    __tablename__ = "journal"

    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    hash: Mapped[bytes] = mapped_column(LargeBinary)


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
    """Since when a node is approved, and with which key; None: by name alone, which counts no longer."""

    at: float
    key: bytes | None


@dataclass(frozen=True, slots=True)
class Drawn:
    """A draw that this helper made.

    Attributes:
        request: what the leader asked for.
    """

    request: DrawRequest
    draw: Draw


@dataclass(frozen=True, slots=True)
class JournalHead:
    """Where the journal ends: its last row's number and hash."""

    sequence: int
    hash: bytes


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

    def __init__(self, url: str) -> None:
        _make_private(url)
        super().__init__(url)
        with self.session() as session:
            if session.get(JournalRow, 0) is None:
                session.add(JournalRow(sequence=0, hash=secrets.token_bytes(32)))

    def approve(self, party: str, now: float, key: bytes) -> bool:
        """Vouch for one key of a node; False where it was so approved before.

        Args:
            key: `seeds.key_digest` of its certificate.
        """
        with self.session() as session:
            row = session.get(ApprovedRow, party)
            if row is not None and row.key == key:
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

    def revoke(self, serials: Iterable[int], now: float) -> None:
        """Believe these certificates no longer, from the next start on."""
        with self.session() as session:
            for serial in serials:
                session.merge(RevokedRow(serial=f"{serial:x}", revoked_at=now))

    def revoked(self) -> frozenset[int]:
        """Serial numbers of the certificates that are believed no longer."""
        with self.session() as session:
            return frozenset(int(row.serial, 16) for row in session.scalars(select(RevokedRow)))

    def drawn(self, at: Sum) -> Drawn | None:
        """The draw of a sum; None if none was made, or it is not known any more."""
        with self.session() as session:
            row = session.get(DrawRow, (at.run, at.round_number, at.part))
            return None if row is None else _drawn(row)

    def draw(self, at: Sum, request: DrawRequest, draw: Draw, now: float, most_unused: int) -> Draw:
        """Write down what is answered to a request for a draw, and return it.

        A sum is drawn once: the same request gets what was given before, another one a refusal. Only when its time is
        over and nothing was counted in it is it drawn anew; seeds of the old draw then count no longer.

        Args:
            draw: a fresh one, which is given if none was before.
            most_unused: draws of the last day of which no sum was asked for.

        Raises:
            NotCounted: DRAWN, or UNUSED.
        """
        asked = msgspec.msgpack.encode(request)
        with self.session() as session:
            row = session.get(DrawRow, (at.run, at.round_number, at.part))
            if row is not None and row.request == asked and row.expires_at > now:
                return _drawn(row).draw
            if row is not None and (row.counted or row.expires_at > now):
                raise NotCounted(SumRefusal.DRAWN, [])
            unused = select(func.count()).where(DrawRow.drawn_at > now - DAY_S, DrawRow.counted.is_(False))
            if (session.scalar(unused) or 0) >= most_unused:
                raise NotCounted(SumRefusal.UNUSED, [])
            given = msgspec.msgpack.encode(draw)
            session.merge(
                DrawRow(
                    run_id=at.run,
                    round_number=at.round_number,
                    part=at.part,
                    request=asked,
                    draw=given,
                    drawn_at=now,
                    expires_at=draw.expires_at,
                    counted=False,
                    absent=None,
                )
            )
            _note(session, given)
        return draw

    def count(self, at: Sum, request: bytes, seeds: Mapping[str, bytes], absent: bytes, now: float) -> None:
        """Write down that these nodes are counted in this sum, all of them or none.

        Args:
            request: SHA-256 of the whole request; one that was written down before may be answered again.
            seeds: SHA-256 of each node's seed.
            absent: SHA-256 of the list of those that are in no sum of this round.

        Raises:
            NotCounted: COUNTED, SEED_USED, NOT_DRAWN, EXPIRED or CLOSED.
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
            _close(session, at, absent, now)
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
            _note(session, request)

    def head(self) -> JournalHead:
        """Where the journal ends."""
        with self.session() as session:
            return _head(session)

    def reaches(self, head: JournalHead) -> bool:
        """Whether the journal has this row."""
        with self.session() as session:
            row = session.get(JournalRow, head.sequence)
            return row is not None and hmac.compare_digest(row.hash, head.hash)

    def forget_draws(self) -> None:
        """Forget every draw: no seed that was sealed before counts any more. For an old copy that is to be used."""
        with self.session() as session:
            session.execute(delete(DrawRow))
            _note(session, b"draws forgotten" + secrets.token_bytes(16))


def _drawn(row: DrawRow) -> Drawn:
    return Drawn(msgspec.msgpack.decode(row.request, type=DrawRequest), msgspec.msgpack.decode(row.draw, type=Draw))


def _close(session: Session, at: Sum, absent: bytes, now: float) -> None:
    """Fix which nodes are in no sum of this round: the first answer does."""
    row = session.get(DrawRow, (at.run, at.round_number, at.part))
    if row is None:
        raise NotCounted(SumRefusal.NOT_DRAWN, [])
    if row.expires_at <= now:
        raise NotCounted(SumRefusal.EXPIRED, [])
    if row.absent not in (None, absent):
        raise NotCounted(SumRefusal.CLOSED, [])
    row.counted, row.absent = True, absent


def _head(session: Session) -> JournalHead:
    row = session.execute(
        select(JournalRow.sequence, JournalRow.hash).order_by(JournalRow.sequence.desc()).limit(1)
    ).one()
    return JournalHead(row.sequence, row.hash)


def _note(session: Session, what: bytes) -> None:
    """Add one row to the journal, in the transaction of what it stands for."""
    last = _head(session)
    session.add(JournalRow(sequence=last.sequence + 1, hash=hashlib.sha256(last.hash + what).digest()))


def _make_private(url: str) -> None:
    """Have an SQLite file for its owner alone from its first byte on; its journal files take over its mode."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        return  # which `Records` explains
    if not parsed.drivername.startswith("sqlite") or not parsed.database or parsed.database == ":memory:":
        return
    file = Path(parsed.database)
    try:
        file.touch(0o600)
        for one in (file, file.with_name(f"{file.name}-wal"), file.with_name(f"{file.name}-shm")):
            if one.exists():
                one.chmod(0o600)
    except OSError as why:
        raise RecordsError(f"records {file}: {why}; check that the folder exists and can be written") from why
