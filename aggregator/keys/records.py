"""What the health authority remembers, for 14 days: keys, exports, who reported how often. In a database of its own.

No row says which keys came together or from which clinic, and times of keys are whole windows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import BigInteger, Double, Integer, LargeBinary, String, delete, func, inspect, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from aggregator.keys.limits import DAY_S, AdmittedKey, CaseRefusal, CaseRefused, KeyRefusal, Limits, end_s
from aggregator.records.database import Records, WrongSchema
from privacy.boundary.messages import Case, CaseKey

VERSION = 1
MAX_WAITING = 64
"""Cases of one clinic that may wait for its certificate."""
KEPT_S = 14 * DAY_S
"""For how long anything is kept: a key since its end, an export since its own, a report since it came."""


class KeyBase(DeclarativeBase):
    """All tables of a health authority."""


class KeySchemaRow(KeyBase):
    """The version of this schema, in one row."""

    __tablename__ = "jaga_keys_schema"

    version: Mapped[int] = mapped_column(primary_key=True)


class ReportRow(KeyBase):
    """That a clinic reported a case: its message is recognised, and counted against the clinic's limit."""

    __tablename__ = "reports"

    message_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    party: Mapped[str] = mapped_column(String(64), index=True)
    at: Mapped[float] = mapped_column(Double)


class WaitingRow(KeyBase):
    """A sealed case as it came, of a clinic whose certificate has not come yet."""

    __tablename__ = "waiting_cases"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    party: Mapped[str] = mapped_column(String(64), index=True)
    payload: Mapped[bytes] = mapped_column(LargeBinary)
    at: Mapped[float] = mapped_column(Double)


class RefusalRow(KeyBase):
    """How often something was turned away on one day, and why."""

    __tablename__ = "refusals"

    day: Mapped[int] = mapped_column(Integer, primary_key=True)
    party: Mapped[str] = mapped_column(String(64), primary_key=True)
    reason: Mapped[str] = mapped_column(String(64), primary_key=True)
    times: Mapped[int] = mapped_column(Integer)


class KeyRow(KeyBase):
    """A diagnosis key, before and after it went out."""

    __tablename__ = "diagnosis_keys"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012  (row numbers would say which keys came together)

    key: Mapped[str] = mapped_column(String(32), primary_key=True)
    region: Mapped[str] = mapped_column(String(32))
    rolling_start: Mapped[int] = mapped_column(BigInteger)
    rolling_period: Mapped[int] = mapped_column(Integer)
    days_since_onset: Mapped[int] = mapped_column(Integer)
    release_at: Mapped[float] = mapped_column(Double, index=True)
    exported_at: Mapped[float | None] = mapped_column(Double, index=True)
    """End of the export that it was in; None while it waits."""


class ExportRow(KeyBase):
    """An export, as the message that was published; the same again after the broker lost it."""

    __tablename__ = "exports"

    region: Mapped[str] = mapped_column(String(32), primary_key=True)
    batch: Mapped[str] = mapped_column(String(32), primary_key=True)
    starts_at: Mapped[float] = mapped_column(Double)
    ends_at: Mapped[float] = mapped_column(Double)
    made_at: Mapped[float] = mapped_column(Double)
    keys: Mapped[int] = mapped_column(Integer)
    """Made-up ones included."""
    payload: Mapped[bytes] = mapped_column(LargeBinary)
    published_at: Mapped[float | None] = mapped_column(Double)


@dataclass(frozen=True, slots=True)
class PendingKey:
    """A key that has not gone out."""

    key: CaseKey
    region: str
    release_at: float


@dataclass(frozen=True, slots=True)
class StoredExport:
    """An export that was made, as a message."""

    region: str
    batch: str
    starts_at: float
    ends_at: float
    keys: int
    payload: bytes
    published_at: float | None


class KeyRecords(Records):
    """The health authority's database; made on first use.

    Raises:
        RecordsError: it cannot be reached, or is damaged.
        WrongSchema: it is of another version, or another program's.
    """

    def take(self, message_id: bytes, party: str, region: str, case: Case, limits: Limits, now: float) -> Taken | None:
        """Keep the keys of a case; None where this very message was taken before.

        Raises:
            CaseRefused: with the reason, which is counted.
        """
        try:
            with self.session() as session:
                if session.get(ReportRow, message_id.hex()) is not None:
                    return None
                recent = session.scalar(
                    select(func.count())
                    .select_from(ReportRow)
                    .where(ReportRow.party == party, ReportRow.at > now - DAY_S)
                )
                if (recent or 0) >= limits.cases_a_day:
                    raise CaseRefused(CaseRefusal.TOO_MANY_CASES, f"{limits.cases_a_day} are allowed")
                admitted, refused = limits.admit(case, now)
                known = set(session.scalars(select(KeyRow.key).where(KeyRow.key.in_([_hex(a) for a in admitted]))))
                new = [one for one in admitted if _hex(one) not in known]
                session.add(ReportRow(message_id=message_id.hex(), party=party, at=now))
                session.add_all(_row(one, region) for one in new)
                refused[KeyRefusal.KNOWN] += len(known)
                for reason, times in refused.items():
                    if times:
                        _count(session, party, reason.value, now, times)
        except CaseRefused as why:
            self.count_refusal(party, why.reason.value, now)
            raise
        return Taken(len(new), {reason.value: times for reason, times in refused.items() if times})

    def wait(self, party: str, payload: bytes, now: float) -> bool:
        """Keep a sealed case until its clinic has presented itself; False where too many wait."""
        digest = hashlib.sha256(payload).hexdigest()
        with self.session() as session:
            if session.get(WaitingRow, digest) is not None:
                return True
            waiting = session.scalar(select(func.count()).select_from(WaitingRow).where(WaitingRow.party == party))
            if (waiting or 0) >= MAX_WAITING:
                return False
            session.add(WaitingRow(digest=digest, party=party, payload=payload, at=now))
        return True

    def waiting(self, party: str) -> list[bytes]:
        """What waits for a clinic, oldest first."""
        with self.session() as session:
            return list(
                session.scalars(select(WaitingRow.payload).where(WaitingRow.party == party).order_by(WaitingRow.at))
            )

    def waited(self, payload: bytes) -> None:
        """It has been dealt with."""
        with self.session() as session:
            session.execute(delete(WaitingRow).where(WaitingRow.digest == hashlib.sha256(payload).hexdigest()))

    def count_refusal(self, party: str, reason: str, now: float) -> None:
        """Something of a party was turned away."""
        with self.session() as session:
            _count(session, party, reason, now, 1)

    def refusals(self) -> list[tuple[int, str, str, int]]:
        """Day, party, reason and how often, the last day first."""
        with self.session() as session:
            rows = session.scalars(select(RefusalRow).order_by(RefusalRow.day.desc(), RefusalRow.party))
            return [(row.day, row.party, row.reason, row.times) for row in rows]

    def due(self, until: float) -> dict[str, list[CaseKey]]:
        """The keys that may be shown at `until` and were not, by region."""
        found: dict[str, list[CaseKey]] = {}
        for pending in self.pending():
            if pending.release_at <= until:
                found.setdefault(pending.region, []).append(pending.key)
        return found

    def pending(self) -> list[PendingKey]:
        """All keys that have not gone out, the soonest first."""
        with self.session() as session:
            rows = session.scalars(select(KeyRow).where(KeyRow.exported_at.is_(None)).order_by(KeyRow.release_at))
            return [PendingKey(_key(row), row.region, row.release_at) for row in rows]

    def last_end(self, region: str) -> float | None:
        """Where the last export of a region ended, seconds since the epoch."""
        with self.session() as session:
            return session.scalar(select(func.max(ExportRow.ends_at)).where(ExportRow.region == region))

    def keep(self, exports: Sequence[StoredExport], keys: Iterable[CaseKey], now: float) -> None:
        """Keep exports as they will be published, and mark their keys, at once: a key goes out once."""
        with self.session() as session:
            for export in exports:
                session.add(
                    ExportRow(
                        region=export.region,
                        batch=export.batch,
                        starts_at=export.starts_at,
                        ends_at=export.ends_at,
                        made_at=now,
                        keys=export.keys,
                        payload=export.payload,
                        published_at=None,
                    )
                )
            for key in keys:
                session.execute(
                    update(KeyRow).where(KeyRow.key == key.key.hex()).values(exported_at=exports[0].ends_at)
                )

    def exports(self) -> list[StoredExport]:
        """All that are kept, oldest first."""
        with self.session() as session:
            rows = session.scalars(select(ExportRow).order_by(ExportRow.ends_at, ExportRow.batch))
            return [
                StoredExport(r.region, r.batch, r.starts_at, r.ends_at, r.keys, r.payload, r.published_at) for r in rows
            ]

    def published(self, export: StoredExport, now: float) -> None:
        """The broker has it."""
        with self.session() as session:
            session.execute(
                update(ExportRow)
                .where(ExportRow.region == export.region, ExportRow.batch == export.batch)
                .values(published_at=now)
            )

    def forget(self, now: float) -> list[StoredExport]:
        """Drop what is of no use any more; returns the exports that were dropped, so that they can be taken back."""
        old = [export for export in self.exports() if export.ends_at < now - KEPT_S]
        before = now - KEPT_S
        with self.session() as session:
            session.execute(delete(ExportRow).where(ExportRow.ends_at < before))
            session.execute(delete(ReportRow).where(ReportRow.at < before))
            session.execute(delete(WaitingRow).where(WaitingRow.at < before))
            session.execute(delete(RefusalRow).where(RefusalRow.day < before // DAY_S))
            for row in session.scalars(select(KeyRow)):
                if end_s(_key(row)) < before:
                    session.delete(row)
        return old

    def _prepare(self) -> None:
        tables = inspect(self.engine).get_table_names()
        if not tables:
            KeyBase.metadata.create_all(self.engine)
            with Session(self.engine) as session, session.begin():
                session.add(KeySchemaRow(version=VERSION))
            return
        if KeySchemaRow.__tablename__ not in tables:
            raise WrongSchema(f"records {self.address}: another program's database; give the health authority its own")
        with Session(self.engine) as session:
            version = session.scalar(select(KeySchemaRow.version))
        if version != VERSION:
            raise WrongSchema(
                f"records {self.address} have schema version {version}, this Jaga needs {VERSION}: use the Jaga that "
                "made them, or other records"
            )


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of a case: how many keys are kept, and why others are not."""

    keys: int
    left_out: dict[str, int]


def _hex(one: AdmittedKey) -> str:
    return one.key.key.hex()


def _row(one: AdmittedKey, region: str) -> KeyRow:
    key = one.key
    return KeyRow(
        key=key.key.hex(),
        region=region,
        rolling_start=key.rolling_start,
        rolling_period=key.rolling_period,
        days_since_onset=key.days_since_onset,
        release_at=one.release_at,
        exported_at=None,
    )


def _key(row: KeyRow) -> CaseKey:
    return CaseKey(bytes.fromhex(row.key), int(row.rolling_start), row.rolling_period, row.days_since_onset)


def _count(session: Session, party: str, reason: str, now: float, times: int) -> None:
    day = int(now // DAY_S)
    row = session.get(RefusalRow, (day, party, reason))
    if row is None:
        session.add(RefusalRow(day=day, party=party, reason=reason, times=times))
    else:
        row.times += times
