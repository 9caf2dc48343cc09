"""Leader, helper, nodes and broker, each a real process: how soon a revocation is obeyed everywhere."""

import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from learning_double import first_model
from waiting import wait_until

from aggregator.events import EventKind, RoundEvent
from aggregator.records.database import Records
from aggregator.records.models import Models
from aggregator.records.nodes import Nodes
from aggregator.records.tensors import to_safetensors
from privacy.identity.authority import Identity
from simulations.broker import mosquitto_program

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(280),
    pytest.mark.skipif(mosquitto_program() is None, reason="Mosquitto is not installed"),
]

OBEYED_S = 10.0
RECEIVED = "list of revoked certificates received"
NODE = """
[learning]
app = "halfway_app:app"
[learning.node_config]
mean = 2.0
examples = 1
[privacy]
allow_unaccounted_apps = true
secure_sum = "required"
"""
RUN = """
[run]
name = "first"
task = "halfway"
model = "zeros"
rounds = 500

[cohort]
min_nodes = 3
deadline_s = {deadline_s}

[secure_sum]
bound = 8.0
weight_bound = 100
deadline_s = 30
"""


class Parties:
    """Nodes in a run that does not end by itself; the list lies in the leader's and the helper's folder."""

    def __init__(self, federation, nodes: int = 3, deadline_s: float = 60) -> None:
        self.federation, self.folder = federation, federation.folder
        federation.start_broker()
        (self.folder / "central.toml").write_text(f'broker = "{federation.broker.url}"\n')
        (self.folder / "run.toml").write_text(RUN.format(deadline_s=deadline_s))
        self.issue(self.folder)
        records = Records(f"sqlite:///{self.folder / 'central.db'}")
        Models(records).add("zeros", to_safetensors(first_model()), {})
        for node_id in range(5, 5 + nodes):
            node = federation.node(NODE, node_id=node_id)
            Nodes(records).enrol(f"site {node_id}", Identity.load(node.folder / "credentials").certificate)
        records.close()
        self.nodes = federation.nodes
        certificates = [str(node.folder / "credentials" / "party.pem") for node in self.nodes]
        federation.helper.prepare(federation.broker.url, certificates)
        federation.helper.start()
        for node in self.nodes:
            node.start()
        command = [sys.executable, "-m", "aggregator.cli", "--log", "json", "leader", "run.toml", "--events", "json"]
        with (self.folder / "leader.log").open("wb") as log:
            self.leader = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.PIPE, stderr=log, text=True)
        self.until(lambda event: event.kind is EventKind.ROUND_FINISHED and len(trained(event)) == nodes)

    def issue(self, folder: Path, *credentials: Path) -> float:
        """As the central team copies what the offline authority signed; when it did."""
        serials = {Identity.load(one).certificate.serial: datetime.now(UTC) for one in credentials}
        self.number = getattr(self, "number", int(time.time())) + 1
        newest = self.federation.authority.revocation_list(serials, number=self.number)
        (folder / "new.pem").write_bytes(newest.pem)
        shutil.move(folder / "new.pem", folder / "revocations.pem")
        return time.monotonic()

    def until(self, condition) -> RoundEvent:
        for line in self.leader.stdout:
            event = RoundEvent.from_json(line)
            if condition(event):
                return event
        raise AssertionError(f"the run ended: {self.leader_log()[-2000:]}")

    def obeyed(self, began: float, **logs) -> None:
        """Until every log has the newest list; prints how long each took, in seconds."""
        took: dict[str, float] = {}

        def all_have_it() -> bool:
            for name, log in logs.items():
                if name not in took and f'"number": {self.number}' in log():
                    took[name] = time.monotonic() - began
            return len(took) == len(logs)

        wait_until(all_have_it, OBEYED_S)
        sys.stdout.write(f"received after {', '.join(f'{name} {s:.2f} s' for name, s in took.items())}\n")

    def leader_log(self) -> str:
        return (self.folder / "leader.log").read_text()

    def logs(self) -> dict:
        return {"leader": self.leader_log, "helper": self.federation.helper.log, "node": self.nodes[0].log}

    def close(self) -> None:
        self.leader.terminate()
        self.leader.communicate(timeout=60)


def trained(event: RoundEvent) -> set[str]:
    """The nodes that a finished round counted."""
    return {part["node"] for part in event.details["nodes"]["train"] if part["state"] == "answered"}


@pytest.fixture
def parties(federation):
    made = Parties(federation)
    yield made
    made.close()


@pytest.fixture
def one_more(federation):
    """A node more than a round needs, and a round that does not wait long for it."""
    made = Parties(federation, 4, 45)
    yield made
    made.close()


def test_a_node_that_is_revoked_is_left_out_by_the_leader_and_not_believed_by_the_helper(one_more):
    stolen = one_more.nodes[3]
    began = one_more.issue(one_more.folder, stolen.folder / "credentials")
    one_more.obeyed(began, **one_more.logs())
    others = {"site 5", "site 6", "site 7"}
    one_more.until(lambda event: event.kind is EventKind.ROUND_FINISHED and trained(event) == others)
    planned = one_more.until(lambda event: event.kind is EventKind.TRAINING_PLANNED)
    assert set(planned.details["nodes"]) == others
    stolen.kill()
    stolen.start()
    wait_until(lambda: f"{stolen.party}, certificate" in one_more.federation.helper.log())


def test_a_leader_that_is_revoked_is_obeyed_by_no_node_and_no_helper(parties):
    began = parties.issue(parties.federation.helper.folder, parties.folder / "leader")
    parties.obeyed(began, helper=parties.federation.helper.log, **{node.party: node.log for node in parties.nodes})
    time.sleep(1)
    answered = [node.log().count("task answered") for node in parties.nodes]
    time.sleep(3)
    parties.leader.terminate()  # its goodbye is a message, too
    logs = [parties.federation.helper.log, *(node.log for node in parties.nodes)]
    wait_until(lambda: all("certificate was revoked: leader" in log() for log in logs), 30)
    assert [node.log().count("task answered") for node in parties.nodes] == answered


def test_a_helper_that_is_revoked_is_believed_no_more(parties):
    helper = parties.federation.helper
    began = parties.issue(parties.folder, helper.folder / "credentials")
    parties.obeyed(began, leader=parties.leader_log, **{node.party: node.log for node in parties.nodes})
    parties.leader.wait(120)  # it gives up: it believes no answer of this helper, or no node seals to it
    logs = [parties.leader_log(), *(node.log() for node in parties.nodes)]
    assert any("certificate was revoked: helper" in log or "no helper that this node trusts" in log for log in logs)
