"""Cases that this node reported: that a consent was given, who witnessed it, and how many keys went out. Not whose."""

from __future__ import annotations

from dataclasses import dataclass

from edge.store.connection import Connection
from privacy.boundary.gate import Consent


@dataclass(frozen=True, slots=True)
class ReportedCase:
    """One report.

    Attributes:
        message_id: of the message that went out, 16 bytes.
        reported_at: seconds since the epoch.
        consent: version and language of the text that was read out, as in `1-id`.
        witness: the member of staff who read it out.
        key_count: how many day keys went out.
    """

    message_id: bytes
    reported_at: float
    consent: str
    witness: str
    key_count: int

    def __post_init__(self) -> None:
        if not self.consent or not self.witness.strip():
            raise ValueError("a case is reported under a consent and before a witness: name both")


@dataclass(frozen=True, slots=True)
class Cases:
    """The cases of a node; a `privacy.boundary.gate.Consents`."""

    connection: Connection

    def add(self, case: ReportedCase) -> None:
        """Record a consent."""
        self.connection.execute(
            "INSERT INTO cases (message_id, reported_at, consent, witness, key_count) VALUES (?, ?, ?, ?, ?)",
            (case.message_id, case.reported_at, case.consent, case.witness, case.key_count),
        )

    def consent_to(self, message_id: bytes) -> Consent | None:
        row = self.connection.execute(
            "SELECT consent, key_count FROM cases WHERE message_id = ?", (message_id,)
        ).fetchone()
        return None if row is None else Consent(row[0], row[1])

    def all(self) -> list[ReportedCase]:
        """Every report, the last one first."""
        rows = self.connection.execute(
            "SELECT message_id, reported_at, consent, witness, key_count FROM cases ORDER BY reported_at DESC"
        ).fetchall()
        return [ReportedCase(bytes(row[0]), *row[1:]) for row in rows]

    def purge(self, before: float) -> int:
        """Delete the reports made before, seconds; the audit log stays. Returns how many there were."""
        return self.connection.execute("DELETE FROM cases WHERE reported_at < ?", (before,)).rowcount
