"""A real node over a real broker: without a good list of revoked certificates it does not train, and it obeys one at
once."""

import os
import secrets
import signal
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
from centre_double import CentreDouble
from waiting import wait_until

from edge.store.database import Database
from edge.store.health import Health
from privacy.boundary import topics
from privacy.boundary.broker import BrokerUrl, tls_context
from privacy.boundary.messages import Unready
from privacy.boundary.wire import Connection
from privacy.identity.authority import CertificateAuthority
from privacy.identity.certificates import Role
from simulations.broker import mosquitto_program

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(240),
    pytest.mark.skipif(mosquitto_program() is None, reason="Mosquitto is not installed"),
]

PAYING = '[learning]\napp = "waiting_app:paying"\nlinger_s = 30\n[learning.node_config]\nfolder = "FOLDER"\n'
SOON_S = 10.0
A_WHILE_S = 3.0
RECEIVED = "list of revoked certificates received"


def runs_of(node) -> int:
    file = node.folder / "runs"
    return len(file.read_text().splitlines()) if file.exists() else 0


def health_of(node) -> tuple[str, str]:
    store = Database(node.folder / "node.db", bytes.fromhex((node.folder / "store.key").read_text())).connect()
    part = Health(store).parts()["revocations"]
    store.close()
    return part.state, part.detail


def publish(federation, carrier: str, payload: bytes, topic: str | None = None) -> float:
    """As helper or leader, over a connection of its own; when the broker had it."""
    folder = federation.folder / ("helper/credentials" if carrier == "helper" else carrier)
    connection = Connection(
        BrokerUrl.parse(federation.broker.url), f"{carrier}-{secrets.token_hex(8)}", tls=tls_context(folder)
    )
    connection.start()
    connection.publish(topic or topics.revocations(carrier), payload, retain=True).result(20)
    connection.stop()
    return time.monotonic()


def revoking(federation, *identities, **options):
    return federation.authority.revocation_list(
        {one.certificate.serial: datetime.now(UTC) for one in identities}, **options
    )


@pytest.fixture
def listless(federation):
    """A federation that has not published a list, and its node, whose app pays and can be made to wait."""
    federation.start_broker()
    (federation.folder / "leader" / "revocations.pem").unlink()
    node = federation.node(PAYING).start()
    federation.centre.wait_online(node.party)
    return node


@pytest.fixture
def node(federation):
    federation.start_broker()
    node = federation.node(PAYING).start()
    federation.centre.wait_ready(node.party)
    return node


def test_a_node_without_a_list_starts_no_task_says_so_and_goes_on_when_one_comes(federation, listless):
    centre = federation.centre
    assert centre.unready[listless.party] is Unready.NO_REVOCATION_LIST
    header, payload = centre.task(listless.party)
    centre.send(listless.party, payload)
    time.sleep(A_WHILE_S)
    assert runs_of(listless) == 0
    assert centre.replies == []
    assert "no task is started" in listless.log()
    state, detail = health_of(listless)
    assert state == "waiting"
    assert "jaga-central revocations publish" in detail
    centre.publish_list(federation.revocations)
    assert centre.reply_to(header).refusal is None
    centre.wait_for(lambda: centre.unready[listless.party] is None, 20)
    wait_until(lambda: health_of(listless)[0] == "well")


def test_a_node_does_not_train_on_a_list_that_its_broker_lets_grow_stale(federation, listless):
    centre = federation.centre
    centre.publish_list(revoking(federation, valid=timedelta(seconds=8)))
    assert centre.ask(listless.party).refusal is None
    centre.wait_for(lambda: centre.unready[listless.party] is Unready.NO_REVOCATION_LIST, 30)
    header, payload = centre.task(listless.party)
    centre.send(listless.party, payload)
    time.sleep(A_WHILE_S)
    assert runs_of(listless) == 1
    assert "ended on" in listless.log()
    centre.publish_list(federation.authority.revocation_list())
    assert centre.reply_to(header).refusal is None


def test_what_is_forged_foreign_huge_cut_off_or_older_changes_nothing_also_after_a_restart(federation, node):
    centre, ours = federation.centre, federation.revocations
    older = federation.authority.revocation_list(number=ours.number - 1).der
    foreign = CertificateAuthority.create("test federation").revocation_list(number=ours.number + 9).der
    damaged = bytearray(ours.der)
    damaged[-1] ^= 1
    for bad in (older, foreign, bytes(damaged), ours.der[:-9], os.urandom(400_000), b"", older):
        publish(federation, "leader", bad)
    wait_until(lambda: node.log().count("list of revoked certificates turned away") >= 5)
    assert centre.ask(node.party).refusal is None
    node.kill()
    node.start()
    wait_until(lambda: node.log().count("list of revoked certificates turned away") >= 6)
    assert centre.ask(node.party).refusal is None
    assert runs_of(node) == 2


def test_a_leader_that_is_revoked_is_obeyed_no_more_and_its_successor_is(federation, node, record_property):
    thief = federation.centre
    (node.folder / "wait").touch()
    in_work, payload = thief.task(node.party)
    thief.send(node.party, payload)
    wait_until(lambda: runs_of(node) == 1)
    waiting, payload = thief.task(node.party)
    thief.send(node.party, payload)
    time.sleep(0.5)
    newest = revoking(federation, thief.identity, number=federation.revocations.number + 1)
    began = publish(federation, "helper", newest.der)
    wait_until(lambda: node.log().count(RECEIVED) == 2, SOON_S)
    took_s = time.monotonic() - began
    record_property("seconds", took_s)
    sys.stdout.write(f"leader revoked; obeyed by the node after {took_s:.2f} s\n")
    (node.folder / "wait").unlink()
    wait_until(lambda: "its leader is trusted no longer" in node.log())
    thief.send(node.party, thief.task(node.party)[1])
    wait_until(lambda: "certificate was revoked" in node.log())
    publish(federation, "leader", federation.revocations.der)  # the thief puts the list from before in its place
    node.kill()
    node.start()
    thief.send(node.party, thief.task(node.party)[1])
    wait_until(lambda: node.log().count("certificate was revoked") >= 2)
    assert thief.replies == []
    assert runs_of(node) == 1
    assert in_work.message_id != waiting.message_id
    thief.connection.stop()
    federation.authority.enrol("leader", Role.LEADER).save(federation.folder / "successor")
    successor = CentreDouble(federation.folder / "successor", federation.broker.url)
    successor.start()
    try:
        successor.wait_online(node.party)
        wait_until(lambda: successor.ask(node.party).refusal is None)
    finally:
        successor.connection.stop()
    assert runs_of(node) == 2


def test_a_node_that_is_killed_right_after_the_list_came_still_obeys_it(federation, node):
    thief = federation.centre
    newest = revoking(federation, thief.identity, number=federation.revocations.number + 1)
    publish(federation, "helper", newest.der)
    wait_until(lambda: node.log().count(RECEIVED) == 2, SOON_S)
    node.process.send_signal(signal.SIGKILL)
    node.process.wait()
    publish(federation, "helper", b"")  # and the broker has nothing but the list from before
    node.start()
    wait_until(lambda: "is older than" in node.log())
    thief.send(node.party, thief.task(node.party)[1])
    wait_until(lambda: "certificate was revoked" in node.log())
    time.sleep(1.0)
    assert runs_of(node) == 0


def test_a_node_cannot_carry_a_list(federation, node):
    """The broker's rules leave that to leader and helper, which bounds who can put what in front of every node."""
    received = node.log().count(RECEIVED)
    folder = node.folder / "credentials"
    connection = Connection(
        BrokerUrl.parse(federation.broker.url), f"{node.party}-{secrets.token_hex(8)}", tls=tls_context(folder)
    )
    connection.start()
    newest = federation.authority.revocation_list(number=federation.revocations.number + 1)
    with pytest.raises(Exception, match="Not authorized"):
        connection.publish(topics.revocations(node.party), newest.der, retain=True).result(20)
    connection.stop()
    assert node.log().count(RECEIVED) == received
