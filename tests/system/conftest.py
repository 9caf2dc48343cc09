"""A broker, an authority, a centre and nodes, all real, in a temporary folder."""

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from centre_double import CentreDouble

from edge.store.database import Database
from privacy.accounting.ledger import Budget, PrivacyLedger
from privacy.boundary.audit import AuditLog
from privacy.identity.authority import CertificateAuthority, Identity
from privacy.identity.certificates import Role, node_party
from simulations.broker import Broker, BrokerCredentials, start_broker

CENTRAL = [sys.executable, "-c", "from aggregator.cli import main; main()", "--log", "json"]
ROOT = Path(__file__).parents[2]
"""The code beside these tests, wherever the environment is installed from."""
APPS = ROOT / "tests" / "doubles"
NODE_ID = 2**64 - 2


def with_owner_s_word(toml: str) -> str:
    """A configuration whose [privacy] says what its owner wants of secure sums."""
    head, table, rest = toml.partition("[privacy]\n")
    said = [line for line in ('secure_sum = "allowed"', 'helper_key = "any"') if line.split()[0] not in rest]
    return (
        head + "[privacy]\n" + "".join(f"{line}\n" for line in said) + rest
        if table
        else (head + "\n[privacy]\n" + "".join(f"{line}\n" for line in said))
    )


class NodeProcess:
    """A real `jaga-node run`, with its folder."""

    def __init__(self, folder: Path, party: str) -> None:
        self.folder, self.party = folder, party
        self.process: subprocess.Popen | None = None

    def start(self, *packages: Path) -> "NodeProcess":
        """Start it, with these folders of packages installed besides."""
        command = [sys.executable, "-c", "from edge.cli import main; main()", "--log", "json", "run", "node.toml"]
        path = os.pathsep.join(map(str, (ROOT, APPS, *packages)))
        environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": path, "HOME": str(self.folder)}
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, env=environment, stderr=log)
        return self

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)

    def children(self) -> dict[str, int]:
        """Pids of the children by the module that they run."""
        found = {}
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/children")  # a child is of the thread that made it
        for pid in " ".join(thread.read_text() for thread in threads).split():
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if len(arguments) > 2:
                found[arguments[2].decode()] = int(pid)
        return found

    def resident_mb(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * 4096 / 1e6

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def ledger(self, epsilon: float = 8.0) -> PrivacyLedger:
        return PrivacyLedger(self._connect(), Budget(epsilon, 1e-6, 15 * 86400.0))

    def audit(self) -> AuditLog:
        return AuditLog(self._connect())

    def _connect(self):
        key = bytes.fromhex((self.folder / "store.key").read_text())
        return Database(self.folder / "node.db", key).connect()


class HelperProcess:
    """A real `jaga-central helper run`, with its folder; its keys are in `credentials`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen | None = None

    def prepare(self, url: str, approved: Iterable[str], min_cohort: int = 3) -> "HelperProcess":
        (self.folder / "helper.toml").write_text(f'broker = "{url}"\nmin_cohort = {min_cohort}\n')
        self.command("approve", *approved)
        return self

    def command(self, *words: str) -> None:
        """Any other `jaga-central helper` command."""
        subprocess.run([*CENTRAL, "helper", *words], cwd=self.folder, check=True, capture_output=True, timeout=60)

    def start(self) -> "HelperProcess":
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([*CENTRAL, "helper", "run"], cwd=self.folder, stderr=log)
        return self

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)

    def log(self) -> str:
        return (self.folder / "log").read_text()


class Federation:
    """Everything around the nodes of one test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = CertificateAuthority.create("test federation")
        self.authority.enrol("broker", Role.BROKER, ["127.0.0.1"]).save(folder / "broker")
        self.authority.enrol("leader", Role.LEADER).save(folder / "leader")
        self.revoke()
        self.authority.enrol("helper", Role.HELPER).save(folder / "helper" / "credentials")
        self.helper = HelperProcess(folder / "helper")
        self.nodes: list[NodeProcess] = []
        self.broker: Broker | None = None
        self._centre: CentreDouble | None = None

    def revoke(self, *identities: Identity) -> None:
        """Put a new list where the centre, be it a double or a real leader, finds it when it connects."""
        revoked = {identity.certificate.serial: datetime.now(UTC) for identity in identities}
        self.revocations = self.authority.revocation_list(revoked)
        for folder in (self.folder / "leader", self.folder):
            (folder / "revocations.pem").write_bytes(self.revocations.pem)

    def start_broker(self, port: int | None = None) -> Broker:
        credentials = BrokerCredentials.in_folder(self.folder / "broker")
        self.broker = start_broker("mosquitto", self.folder / "mosquitto", credentials, port)
        return self.broker

    @property
    def centre(self) -> CentreDouble:
        if self._centre is None:
            self._centre = CentreDouble(self.folder / "leader", self.broker.url)
            self._centre.start()
        return self._centre

    def node(self, toml: str = "", *, url: str | None = None, node_id: int = NODE_ID) -> NodeProcess:
        """A node's folder; `toml` is added to its configuration.

        Its owner asks for no secure sum and names no helper, where `toml` does not say otherwise.
        """
        party = node_party(node_id)
        folder = self.folder / party
        self.authority.enrol(party, Role.NODE).save(folder / "credentials")
        (folder / "store.key").write_text(secrets.token_hex(32))
        link = f'name = "a site"\n[link]\nbroker = "{url or self.broker.url}"\n'
        (folder / "node.toml").write_text(link + with_owner_s_word(toml).replace("FOLDER", str(folder)))
        self.nodes.append(NodeProcess(folder, party))
        return self.nodes[-1]

    def close(self) -> None:
        for node in self.nodes:
            node.stop()
        self.helper.stop()
        if self._centre is not None:
            self._centre.connection.stop()
        if self.broker is not None:
            self.broker.stop()


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    made = Federation(tmp_path)
    try:
        yield made
    finally:
        made.close()
