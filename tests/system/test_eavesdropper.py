"""The eavesdropper hears all that crosses a real broker, and what it heard can be examined."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from privacy.boundary import topics
from privacy.boundary.broker import BrokerUrl, tls_context
from privacy.boundary.gate import presence
from privacy.boundary.wire import Connection, NotConnected
from privacy.identity.authority import CertificateAuthority, Identity
from privacy.identity.certificates import Role
from simulations.broker import Broker, BrokerCredentials, mosquitto_program, start_broker
from simulations.eavesdropper import Capture, Eavesdropper, EavesdropperFailed
from simulations.wirecheck import Leak, WireCheck

pytestmark = [pytest.mark.system]
WITH_MOSQUITTO = pytest.mark.skipif(mosquitto_program() is None, reason="Mosquitto is not installed")
KINDS = [pytest.param("mosquitto", marks=WITH_MOSQUITTO), "embedded"]

SOON_S = 15
NODE = "node-00000000000000aa"
IDENTIFIER = bytes(range(100, 116))


@pytest.fixture
def identities(tmp_path) -> dict[str, Identity]:
    authority = CertificateAuthority.create("ours")
    parties = {
        "broker": authority.enrol("broker", Role.BROKER, ["127.0.0.1"]),
        "leader": authority.enrol("leader", Role.LEADER),
        "observer": authority.enrol("observer", Role.OBSERVER),
        NODE: authority.enrol(NODE, Role.NODE),
    }
    for party, identity in parties.items():
        identity.save(tmp_path / party)
    return parties


@pytest.fixture
def start(identities, tmp_path) -> Iterator[Callable[[str], Broker]]:
    started: list[Broker] = []

    def start(kind: str) -> Broker:
        credentials = BrokerCredentials.in_folder(tmp_path / "broker")
        started.append(start_broker(kind, tmp_path / "state", credentials, observer=True))
        return started[-1]

    yield start
    for broker in started:
        broker.kill()


def connection(broker: Broker, folder: Path) -> Connection:
    url = BrokerUrl.parse(broker.url)
    made = Connection(url, f"{folder.name}-{os.urandom(8).hex()}", tls=tls_context(folder))
    made.start()
    made.wait_connected(SOON_S)
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_everything_published_is_recorded_as_it_was(kind, start, tmp_path):
    broker = start(kind)
    leader = connection(broker, tmp_path / "leader")
    leader.publish(topics.blob(bytes(32)), b"kept before", retain=True).result(SOON_S)
    payloads = [os.urandom(size) for size in (0, 1, 1000, 3_000_000)]
    with Eavesdropper(broker.url, tmp_path / "observer", tmp_path / "heard") as spy:
        for payload in payloads:
            leader.publish(topics.task(NODE), payload, expires_in_s=60).result(SOON_S)
        spy.settle()
    leader.stop()
    before, *heard = spy.recording
    assert before == Capture(topics.blob(bytes(32)), b"kept before", retained=True)
    assert [capture.payload for capture in heard] == payloads
    assert {capture.topic for capture in heard} == {topics.task(NODE)}
    assert not any(capture.retained for capture in heard)
    assert all(set(capture.properties) == {"MessageExpiryInterval"} for capture in heard)
    assert spy.gaps == 0


@WITH_MOSQUITTO
def test_a_leak_on_a_real_wire_is_caught_and_the_rest_is_vouched_for(start, identities, tmp_path):
    broker = start("mosquitto")
    node = connection(broker, tmp_path / NODE)
    with Eavesdropper(broker.url, tmp_path / "observer", tmp_path / "heard") as spy:
        here = presence(identities[NODE], bytes(16), online=True, software="jaga 0.1.0")
        node.publish(here.topic, here.payload, retain=True).result(SOON_S)
        spy.settle()
        check = WireCheck([IDENTIFIER], identities.values())
        assert check.examine(spy.recording).passed
        node.publish(topics.reply(NODE), b"heard " + IDENTIFIER.hex().encode()).result(SOON_S)
        spy.settle()
    node.stop()
    report = check.examine(spy.recording)
    assert {violation.leak for violation in report.violations} == {Leak.IDENTIFIER, Leak.UNDECLARED}
    assert report.by_kind == {"presence": 1, "undeclared": 1}


@WITH_MOSQUITTO
def test_a_restart_of_mosquitto_leaves_no_gap(start, tmp_path):
    broker = start("mosquitto")
    with Eavesdropper(broker.url, tmp_path / "observer", tmp_path / "heard") as spy:
        broker.restart()
        leader = connection(broker, tmp_path / "leader")
        leader.publish(topics.task(NODE), b"while it was away, or not").result(SOON_S)
        spy.wait_heard(1, SOON_S)
    leader.stop()
    assert spy.gaps == 0


def test_a_gap_after_a_restart_of_the_embedded_broker_is_counted(start, tmp_path):
    broker = start("embedded")
    with Eavesdropper(broker.url, tmp_path / "observer", tmp_path / "heard") as spy:
        broker.restart()
        leader = connection(broker, tmp_path / "leader")
        leader.publish(topics.presence("leader"), b"kept", retain=True).result(SOON_S)
        spy.wait_heard(1, SOON_S)
    leader.stop()
    assert spy.gaps == 1


def test_a_broker_that_is_not_there_is_named(identities, tmp_path):
    spy = Eavesdropper("mqtts://127.0.0.1:1", tmp_path / "observer", tmp_path / "heard")
    with pytest.raises(NotConnected, match=r"could not listen to mqtts://127\.0\.0\.1:1"):
        spy.start(timeout_s=0.5)


@pytest.mark.parametrize("size", [200_000, 3_000_000])  # less than the file's buffer, and more
def test_a_disk_that_is_full_is_not_passed_over(size, start, tmp_path):
    """The file of the recording has a size limit, in a process of its own because the limit is the process's."""
    broker = start("embedded")
    leader = connection(broker, tmp_path / "leader")
    spy = subprocess.Popen(
        [sys.executable, "-c", _LIMITED, broker.url, str(tmp_path / "observer"), str(tmp_path / "heard")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert spy.stdout is not None
    assert spy.stdout.readline() == b"listening\n"
    leader.publish(topics.task(NODE), bytes(size)).result(SOON_S)
    said, _ = spy.communicate(b"\n", timeout=SOON_S)
    leader.stop()
    assert EavesdropperFailed.__name__ in said.decode()


_LIMITED = """
import resource, signal, sys
from pathlib import Path
from simulations.eavesdropper import Eavesdropper, EavesdropperFailed
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
spy = Eavesdropper(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])).start()
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
print("listening", flush=True)
try:
    spy.wait_heard(1, 10)
    spy.settle()
except EavesdropperFailed as why:
    print(repr(why))
"""
