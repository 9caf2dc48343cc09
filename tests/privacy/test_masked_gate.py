"""Where a node insists on a secure sum, nothing but refusals and masked shares passes its gate."""

import sqlite3

import pytest

from privacy.accounting.events import SampledGaussian
from privacy.accounting.ledger import Budget, PrivacyLedger
from privacy.boundary.audit import AuditLog
from privacy.boundary.envelope import Envelope
from privacy.boundary.gate import Gate, Unmasked
from privacy.boundary.messages import Header, Kind, Refusal, Reply
from privacy.catalogue.columns import Mechanism
from privacy.catalogue.use import Use
from privacy.identity.authority import CertificateAuthority
from privacy.identity.certificates import Role, node_party
from privacy.secure_sum.exchange import Part
from privacy.secure_sum.seeds import Purpose, open_seed, seal_seed

OURS = CertificateAuthority.create("ours")
NODE, LEADER, HELPER = (
    OURS.enrol(party, role)
    for party, role in ((node_party(2), Role.NODE), ("leader", Role.LEADER), ("helper", Role.HELPER))
)
TASK = Header(Kind.TASK, "ours", "leader", NODE.party, 7, b"t" * 16, None, 0.0, 2e9, True)
PURPOSE = Purpose("ours", 7, 1, Part.TRAIN, b"a" * 32)
SEED = seal_seed(NODE, HELPER.certificate, PURPOSE, b"s" * 32)
USE = Use.of("test", {"sightings": ["frames"]}, [Mechanism.DP_SGD]).encode()
CONTENT = {"flower": memoryview(b"flower"), "arrays": memoryview(b"abc"), "sizes": [3]}


@pytest.fixture
def connection():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    yield connection
    connection.close()


def gate(connection, *, paid=True, **rules):
    ledger = PrivacyLedger(connection, Budget(8.0, 1e-6, 14 * 86400.0))
    if paid:
        ledger.spend(ledger.reserve(TASK.message_id, USE, [SampledGaussian(4.0, 1.0, 1)]))
    return Gate(NODE, AuditLog(connection), ledger, **rules)


def note(connection):
    return AuditLog(connection).rows()[-1].note


def test_content_in_the_clear_stays_inside(connection):
    with pytest.raises(Unmasked, match=TASK.message_id.hex()):
        gate(connection, only_masked=True).release(TASK, Reply(**CONTENT), LEADER.certificate)
    assert AuditLog(connection).rows() == []


def test_a_refusal_passes(connection):
    gate(connection, only_masked=True).release(TASK, Reply(refusal=Refusal.UNMASKED), LEADER.certificate)
    assert note(connection) == f"refused: {Refusal.UNMASKED.value}"


@pytest.mark.parametrize("only_masked", [True, False])
def test_a_masked_share_passes_and_the_audit_log_says_what_it_is(only_masked, connection):
    released = gate(connection, only_masked=only_masked).release(TASK, Reply(**CONTENT, seed=SEED), LEADER.certificate)
    assert note(connection) == "masked share of a sum: model update and noised metrics"
    body = Envelope.parse(released.payload).open(LEADER.keys)
    assert open_seed(HELPER.keys, NODE.certificate, PURPOSE, body.seed) == b"s" * 32


def test_a_masked_share_of_an_app_without_a_ledger_says_both(connection):
    free = gate(connection, paid=False, allow_unaccounted=True, only_masked=True)
    free.release(TASK, Reply(**CONTENT, seed=SEED), LEADER.certificate)
    assert note(connection) == "masked share of a sum: unaccounted: this app keeps no privacy ledger"
