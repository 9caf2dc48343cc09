"""What a node needs to start: sensing first, then the certificate, then the line to the centre."""

import secrets
import threading
from contextlib import contextmanager
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from typer.testing import CliRunner
from waiting import wait_until

from edge import node as nodes
from edge.cli import app
from edge.commands.terminal import TAMPERED
from edge.config import BadConfig, NodeConfig
from edge.credentials import WaitsForClock, load_identity
from edge.node import Node
from edge.store import machine_clock
from edge.store.database import Database
from edge.store.health import Health
from edge.store.sightings import Sightings
from privacy.accounting.events import SampledGaussian
from privacy.identity.authority import CertificateAuthority, Identity, request
from privacy.identity.certificates import Role, UntrustedCertificate, node_party
from privacy.identity.keys import BadKey, PrivateKeys

OURS = CertificateAuthority.create("ours")
PARTY = node_party(77)
SENSES = """name = "SDN 1"
[link]
broker = "mqtts://127.0.0.1:1"
[sensing.scanner]
kind = "generator"
devices = 3
frames_per_s = 50.0
seconds = 120.0
speed = 1000.0
"""


def enrol(folder, keys, lifetime):
    pem = OURS.sign(request(keys), party=PARTY, role=Role.NODE, lifetime=lifetime)
    (folder / "party.pem").write_bytes(pem)


@pytest.fixture
def home(tmp_path):
    """A node whose certificate is over, as it seems."""
    keys = PrivateKeys.generate()
    credentials = tmp_path / "credentials"
    pem = OURS.sign(request(keys), party=PARTY, role=Role.NODE)
    der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    Identity(keys, OURS.anchor.verify(der), OURS.anchor).save(credentials)
    enrol(credentials, keys, timedelta(minutes=-30))
    (tmp_path / "store.key").write_text(secrets.token_hex(32))
    (tmp_path / "node.toml").write_text(SENSES)
    return tmp_path


@pytest.fixture
def clock_is(monkeypatch, tmp_path):
    """Whether something synchronizes this machine's clock."""

    def say(synchronized):
        monkeypatch.setattr(machine_clock, "TIMESYNCD_MARK", tmp_path / "mark")
        monkeypatch.setattr(machine_clock, "kernel_synchronized", lambda: synchronized)

    return say


@contextmanager
def running(home):
    """A node on a thread of its own, where its store was opened."""
    made = []

    def work():
        made.append(Node(NodeConfig.load(home / "node.toml")))
        made[0].run()

    thread = threading.Thread(target=work)
    thread.start()
    wait_until(lambda: bool(made), 30)
    try:
        yield made[0]
    finally:
        made[0].stop()
        thread.join(30)


def test_a_certificate_that_only_the_clock_makes_invalid_is_waited_for(home):
    with pytest.raises(WaitsForClock, match="clock is not trusted"):
        load_identity(home / "credentials", clock_trusted=False)
    with pytest.raises(UntrustedCertificate, match="set this machine's clock"):
        load_identity(home / "credentials", clock_trusted=True)


def test_what_waiting_does_not_mend_ends_the_node(home):
    other = CertificateAuthority.create("ours")
    (home / "credentials" / "authority.pem").write_bytes(other.certificate.public_bytes(Encoding.PEM))
    with pytest.raises(UntrustedCertificate, match="not issued"):
        load_identity(home / "credentials", clock_trusted=False)
    (home / "credentials" / "party.pem").unlink()
    with pytest.raises(BadKey):
        load_identity(home / "credentials", clock_trusted=False)


@pytest.mark.system
@pytest.mark.timeout(120)
def test_a_node_senses_before_its_certificate_is_valid_and_joins_once_it_is(home, clock_is, monkeypatch):
    clock_is(False)
    monkeypatch.setattr(nodes, "JOIN_EVERY_S", 0.2)
    key = bytes.fromhex((home / "store.key").read_text())
    with running(home) as node:
        connection = Database(home / "node.db", key).connect()
        wait_until(lambda: Sightings(connection).count() > 0, 60)
        wait_until(lambda: {"node", "clock"} <= Health(connection).parts().keys(), 30)
        parts = Health(connection).parts()
        assert parts["node"].state == "waiting"
        assert "not trusted" in parts["node"].detail
        assert parts["clock"].state == "waiting"
        assert not hasattr(node, "link")
        keys = PrivateKeys.load(home / "credentials")
        enrol(home / "credentials", keys, timedelta(days=1))
        wait_until(lambda: Health(connection).parts()["node"].state == "well", 30)
        assert node.link.directory is not None
        connection.close()


def test_under_a_trusted_clock_a_certificate_that_is_over_ends_the_node(home, clock_is):
    clock_is(True)
    with pytest.raises(UntrustedCertificate):
        Node(NodeConfig.load(home / "node.toml"))


def test_a_ledger_that_was_tampered_with_ends_the_node_at_its_start(home, clock_is):
    clock_is(False)
    node = Node(NodeConfig.load(home / "node.toml"))
    node.ledger.reserve(b"m" * 16, "x", [SampledGaussian(900.0, 1.0, 1)])
    key = bytes.fromhex((home / "store.key").read_text())
    connection = Database(home / "node.db", key).connect()
    connection.execute("DROP TRIGGER privacy_ledger_keeps_rows")
    connection.execute("UPDATE privacy_ledger SET at = at - 1e9")
    connection.close()
    result = CliRunner().invoke(app, ["run", str(home / "node.toml")])
    assert result.exit_code == TAMPERED


@pytest.mark.parametrize(
    ("lines", "fits"),
    [
        ("", True),
        ("[store]\nretention_days = 14.98\n", False),
        ("[privacy]\nrecord_lifetime_days = 14\n", False),
        ("[store]\nretention_days = 13.9\n[privacy]\nrecord_lifetime_days = 14\n", True),
    ],
)
def test_a_budget_s_window_is_longer_than_a_record_can_be_old(tmp_path, lines, fits):
    (tmp_path / "node.toml").write_text('name = "SDN 1"\n' + lines)
    if fits:
        NodeConfig.load(tmp_path / "node.toml")
    else:
        with pytest.raises(BadConfig, match="hour until it is deleted"):
            NodeConfig.load(tmp_path / "node.toml")
