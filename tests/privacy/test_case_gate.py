"""The gate and a case: it passes under a consent that was recorded for this very message, and is written down."""

import sqlite3

import pytest

from privacy.accounting.ledger import Budget, PrivacyLedger
from privacy.boundary.audit import AuditLog
from privacy.boundary.envelope import Envelope
from privacy.boundary.gate import Consent, Gate, Unconsented
from privacy.boundary.messages import Case, CaseKey
from privacy.identity.authority import CertificateAuthority
from privacy.identity.certificates import Role

OURS = CertificateAuthority.create("ours")
CLINIC, HEALTH, LEADER = (
    OURS.enrol(party, role)
    for party, role in (("node-00000000000000a7", Role.NODE), ("health", Role.HEALTH), ("leader", Role.LEADER))
)
ID = b"m" * 16
CASE = Case([CaseKey(bytes([day]) * 16, 144 * day, 144, day) for day in range(3)], "1-id")


class Recorded(dict[bytes, Consent]):
    def consent_to(self, message_id: bytes) -> Consent | None:
        return self.get(message_id)


@pytest.fixture
def connection():
    return sqlite3.connect(":memory:", isolation_level=None)


@pytest.fixture
def gate(connection):
    return Gate(CLINIC, AuditLog(connection), PrivacyLedger(connection, Budget(8.0, 1e-6, 14 * 86400.0)))


def test_a_case_with_its_consent_passes_and_only_the_authority_can_open_it(gate, connection):
    released = gate.release_case(ID, CASE, Recorded({ID: Consent("1-id", 3)}), HEALTH.certificate)
    envelope = Envelope.parse(released.payload)
    envelope.verify(CLINIC.certificate)
    assert envelope.open(HEALTH.keys) == CASE
    assert all(key.key not in released.payload for key in CASE.keys)
    (row,) = AuditLog(connection).rows()
    assert (row.kind, row.recipient, row.sha256, row.size_bytes) == (
        "case",
        "health",
        released.sha256,
        len(released.payload),
    )
    assert row.note == "3 day keys of a confirmed case, with consent 1-id"


@pytest.mark.parametrize(
    "recorded",
    [{}, {b"o" * 16: Consent("1-id", 3)}, {ID: Consent("1-en", 3)}, {ID: Consent("1-id", 2)}, {ID: Consent("1-id", 4)}],
)
def test_a_case_without_that_very_consent_stays_inside_and_leaves_no_trace(gate, connection, recorded):
    with pytest.raises(Unconsented, match="record the person's consent first"):
        gate.release_case(ID, CASE, Recorded(recorded), HEALTH.certificate)
    assert AuditLog(connection).rows() == []


def test_a_case_is_for_nobody_but_the_health_authority(gate, connection):
    with pytest.raises(ValueError, match="leader is a leader"):
        gate.release_case(ID, CASE, Recorded({ID: Consent("1-id", 3)}), LEADER.certificate)
    assert AuditLog(connection).rows() == []
