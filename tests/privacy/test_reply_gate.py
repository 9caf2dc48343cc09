"""The gate and a reply: what is not paid for, not declared or not masked stays inside."""

import sqlite3

import pytest

from privacy.accounting.events import SampledGaussian
from privacy.accounting.ledger import Budget, PrivacyLedger
from privacy.boundary.audit import AuditLog
from privacy.boundary.gate import Gate, Unaccounted, Undeclared, Unmasked
from privacy.boundary.messages import Header, Kind, Refusal, Reply
from privacy.catalogue.columns import Mechanism
from privacy.catalogue.use import Use
from privacy.identity.authority import CertificateAuthority
from privacy.identity.certificates import Role
from privacy.secure_sum.draw import SumName
from privacy.secure_sum.exchange import NodeTerms, Part
from privacy.secure_sum.mask import new_seed
from privacy.secure_sum.seeds import Purpose, seal_seed

OURS = CertificateAuthority.create("ours")
NODE, LEADER, HELPER = (
    OURS.enrol(party, role)
    for party, role in (("node-00000000000000a7", Role.NODE), ("leader", Role.LEADER), ("helper", Role.HELPER))
)
ID = b"m" * 16
TASK = Header(Kind.TASK, "ours", "leader", NODE.party, 7, ID, None, 0.0, 2e9, True)
GOOD = Use.of("train", {"sightings": ["window_index"]}, [Mechanism.DP_SGD]).encode()
SEED = seal_seed(
    NODE,
    HELPER.certificate,
    Purpose(SumName("ours", 7, 1, Part.TRAIN), b"a" * 32, bytes(32)),
    NodeTerms(3, 0, 0),
    new_seed(),
)


@pytest.fixture
def connection():
    return sqlite3.connect(":memory:", isolation_level=None)


@pytest.fixture
def ledger(connection):
    return PrivacyLedger(connection, Budget(8.0, 1e-6, 14 * 86400.0))


def gate(connection, ledger, **options):
    return Gate(NODE, AuditLog(connection), ledger, **options)


def paid(ledger, purpose=GOOD):
    ledger.spend(ledger.reserve(ID, purpose, [SampledGaussian(9.0, 1.0, 1)]))


def test_what_is_paid_and_declared_goes_out_and_is_written_down(connection, ledger):
    paid(ledger)
    gate(connection, ledger).release(TASK, Reply(), LEADER.certificate)
    (row,) = AuditLog(connection).rows()
    assert row.entries == (1,)


@pytest.mark.parametrize(
    ("purpose", "why"),
    [
        ("train crowding", "names no sources"),
        (Use.of("train", {"sightings": ["metadata"]}, [Mechanism.DP_SGD]).encode(), "nothing of sightings.metadata"),
        (Use.of("train", {"tags": ["secret"]}, [Mechanism.DP_SGD]).encode(), "nothing of tags.secret"),
        (Use.of("train", {"sightings": ["window_index"]}, [Mechanism.CONSENTED]).encode(), "by consented"),
        (Use.of("train", {"pupils": ["name"]}, [Mechanism.DP_SGD]).encode(), "pupils.name is not declared"),
    ],
)
def test_what_is_made_of_an_undeclared_source_stays_inside_and_leaves_no_trace(connection, ledger, purpose, why):
    paid(ledger, purpose)
    with pytest.raises(Undeclared, match=why):
        gate(connection, ledger).release(TASK, Reply(), LEADER.certificate)
    assert AuditLog(connection).rows() == []


def test_a_refusal_always_goes_out(connection, ledger):
    paid(ledger, "train crowding")
    door = gate(connection, ledger, only_masked=True)
    door.release(TASK, Reply(refusal=Refusal.BUDGET_SPENT), LEADER.certificate)
    assert [row.note for row in AuditLog(connection).rows()] == ["refused: privacy budget spent"]


def test_a_node_that_demands_a_sum_lets_no_clear_update_out(connection, ledger):
    paid(ledger)
    door = gate(connection, ledger, only_masked=True)
    with pytest.raises(Unmasked):
        door.release(TASK, Reply(), LEADER.certificate)
    door.release(TASK, Reply(seed=SEED), LEADER.certificate)
    assert AuditLog(connection).rows()[0].note == "masked share of a sum: model update and noised metrics"


def test_apps_without_a_ledger_pass_only_where_the_owner_allows_them(connection, ledger):
    with pytest.raises(Unaccounted):
        gate(connection, ledger).release(TASK, Reply(), LEADER.certificate)
    gate(connection, ledger, allow_unaccounted=True).release(TASK, Reply(), LEADER.certificate)
    assert "unaccounted" in AuditLog(connection).rows()[0].note
