"""The node's own copy of the list, and what it forgets with a leader that is trusted no longer."""

from datetime import UTC, datetime

import pytest

from edge.revocations import LEADER_CERTIFICATE, StoredRevocations
from edge.store.database import Database
from edge.store.errors import StoreFull
from edge.store.inbox import Inbox, Receipt
from edge.store.meta import Meta
from edge.store.outbox import Outbox
from edge.tracing.report import HEALTH_CERTIFICATE
from privacy.boundary import topics
from privacy.identity.authority import CertificateAuthority, Identity
from privacy.identity.certificates import Role, node_party

OURS = CertificateAuthority.create("ours")
NODE = OURS.enrol(node_party(7), Role.NODE)
LEADER, HEALTH = OURS.enrol("leader", Role.LEADER), OURS.enrol("health", Role.HEALTH)
TASK, ANSWERED, CASE = b"t" * 16, b"a" * 16, b"c" * 16
LATER = 4e9


def revoking(*identities: Identity, number: int) -> bytes:
    return OURS.revocation_list({one.certificate.serial: datetime.now(UTC) for one in identities}, number=number).der


@pytest.fixture
def connection(tmp_path):
    return Database(tmp_path / "node.db", bytes(32)).connect()


@pytest.fixture
def stored(connection):
    """The store of a node that a leader has asked twice, and that has a case on its way."""
    made = StoredRevocations(NODE, lambda: connection)
    made.leader_is(LEADER.certificate)
    inbox, outbox = Inbox(connection), Outbox(connection)
    for message_id in (TASK, ANSWERED):
        inbox.receive(message_id, 1, b"a task", LATER)
    inbox.answer(ANSWERED, b"a reply")
    outbox.put(topics.reply(NODE.party), None, expires_at=LATER, message_id=ANSWERED)
    outbox.put(topics.case(NODE.party), b"a case", expires_at=LATER, message_id=CASE)
    Meta(connection).set(HEALTH_CERTIFICATE, HEALTH.certificate.der)
    return made


def waits(connection) -> list[str]:
    return [item.topic for item in Outbox(connection).pending(0.0)]


def test_the_newest_list_outlives_a_restart(connection, stored):
    stored.load().receive(revoking(LEADER, number=5))
    again = StoredRevocations(NODE, lambda: connection).load()
    assert again.newest.number == 5
    assert again.revokes(LEADER.certificate.serial)


def test_a_list_that_revokes_the_leader_takes_its_tasks_and_its_replies_along(connection, stored):
    stored.load().receive(revoking(LEADER, number=5))
    assert Inbox(connection).next(0.0) is None
    assert waits(connection) == [topics.case(NODE.party)]
    assert Inbox(connection).receive(ANSWERED, 1, b"a task", LATER) is Receipt.ANSWERED


def test_a_list_that_revokes_others_takes_nothing_along(connection, stored):
    stored.load().receive(revoking(OURS.enrol("leader", Role.LEADER), number=5))
    assert Inbox(connection).next(0.0).message_id == TASK
    assert len(waits(connection)) == 2


def test_another_leader_does_not_inherit_the_tasks_of_the_last_one(connection, stored):
    stored.leader_is(LEADER.certificate)
    assert Inbox(connection).next(0.0).message_id == TASK
    stored.leader_is(OURS.enrol("leader", Role.LEADER).certificate)
    assert Inbox(connection).next(0.0) is None
    assert waits(connection) == [topics.case(NODE.party)]


def test_nothing_is_sealed_or_sent_to_a_health_authority_that_was_revoked(connection, stored):
    stored.load().receive(revoking(HEALTH, number=5))
    assert Meta(connection).get(HEALTH_CERTIFICATE) is None
    assert waits(connection) == [topics.reply(NODE.party)]


def test_list_and_forgetting_are_kept_together_or_not_at_all(connection, stored, monkeypatch):
    def full(*_: object) -> int:
        raise StoreFull("no room")

    monkeypatch.setattr(Outbox, "drop", full)
    known = stored.load()
    with pytest.raises(StoreFull):
        known.receive(revoking(LEADER, number=5))
    assert known.revokes(LEADER.certificate.serial)  # obeyed all the same
    assert StoredRevocations(NODE, lambda: connection).load().newest is None
    assert Inbox(connection).next(0.0).message_id == TASK
    monkeypatch.undo()
    known.receive(known.newest.der)
    assert Inbox(connection).next(0.0) is None


def test_the_leader_of_a_store_is_noted_once(connection, stored):
    assert Meta(connection).get(LEADER_CERTIFICATE) == LEADER.certificate.der
