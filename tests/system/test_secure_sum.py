"""Two organisations, three nodes and a broker, each a real process: what is summed, and what survives a kill."""

import signal
import subprocess
import sys

import numpy as np
import pytest
from learning_double import after, first_model
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
    pytest.mark.timeout(240),
    pytest.mark.skipif(mosquitto_program() is None, reason="Mosquitto is not installed"),
]

MEANS = {5: 1.0, 6: 2.0, 2**64 - 9: 6.0}
EXAMPLES = {5: 10, 6: 20, 2**64 - 9: 30}
FROZEN = 7
"""A fourth node, which takes part where a test starts it, and stops it in its tracks."""
NODE = """
[learning]
app = "halfway_app:app"
[learning.node_config]
mean = {mean}
examples = {examples}
[privacy]
allow_unaccounted_apps = true
secure_sum = "required"
helper_key = "{key}"
"""
RUN = """
[run]
name = "first"
task = "halfway"
model = "zeros"
rounds = {rounds}

[cohort]
min_nodes = {nodes}
deadline_s = {deadline_s}

[evaluate]

[secure_sum]
bound = 8.0
weight_bound = 100
deadline_s = {helper_s}
"""


class Ministries:
    """The leader's folder is the federation's own, with its records."""

    def __init__(self, federation) -> None:
        self.federation, self.folder = federation, federation.folder
        federation.start_broker()
        (self.folder / "central.toml").write_text(f'broker = "{federation.broker.url}"\n')
        records = Records(f"sqlite:///{self.folder / 'central.db'}")
        Models(records).add("zeros", to_safetensors(first_model()), {})
        key = Identity.load(self.folder / "helper" / "credentials").keys.sealing_public.fingerprint
        for node_id, mean in {**MEANS, FROZEN: 99.0}.items():
            toml = NODE.format(mean=mean, examples=EXAMPLES.get(node_id, 1), key=key)
            node = federation.node(toml, node_id=node_id)
            Nodes(records).enrol(f"site {node_id}", Identity.load(node.folder / "credentials").certificate)
        self.frozen = federation.nodes.pop()
        records.close()
        nodes = (*federation.nodes, self.frozen)
        certificates = [str(node.folder / "credentials" / "party.pem") for node in nodes]
        federation.helper.prepare(federation.broker.url, certificates)
        self.leader: subprocess.Popen | None = None

    def start_nodes(self) -> None:
        for node in self.federation.nodes:
            node.start()

    def start_leader(self, rounds: int = 2, helper_s: float = 120, nodes: int = 3, deadline_s: float = 90) -> None:
        text = RUN.format(rounds=rounds, helper_s=helper_s, nodes=nodes, deadline_s=deadline_s)
        (self.folder / "run.toml").write_text(text)
        command = [sys.executable, "-m", "aggregator.cli", "leader", "run.toml", "--events", "json"]
        self.leader = subprocess.Popen(
            command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def until(self, kind: EventKind, round_number: int = 1) -> RoundEvent:
        """Read the leader's events as far as this one."""
        for line in self.leader.stdout:
            event = RoundEvent.from_json(line)
            if event.kind is kind and event.round == round_number:
                return event
        raise AssertionError(f"no {kind} of round {round_number}: {self.leader.stderr.read()}")

    def finish(self, status: int = 0) -> list[RoundEvent]:
        output, errors = self.leader.communicate(timeout=180)
        assert self.leader.returncode == status, errors
        assert "Traceback" not in errors
        self.errors = errors
        return [RoundEvent.from_json(line) for line in output.splitlines()]

    def model(self, digest: str) -> dict[str, np.ndarray]:
        records = Records(f"sqlite:///{self.folder / 'central.db'}")
        arrays = {name: array.numpy() for name, array in Models(records).arrays(digest).items()}
        records.close()
        return arrays

    def close(self) -> None:
        if self.leader is not None and self.leader.poll() is None:
            self.leader.terminate()
            self.leader.wait(30)
        if self.frozen.process is not None:
            self.frozen.kill()


@pytest.fixture
def ministries(federation):
    made = Ministries(federation)
    try:
        yield made
    finally:
        made.close()


def assert_averaged(ministries, events, rounds):
    """The model is what plain averaging gives, to the code's accuracy, and nothing but masked shares left a node."""
    digest = next(event.details["model"] for event in events if event.kind is EventKind.RUN_FINISHED)
    for values in ministries.model(digest).values():
        # One step of the code is 8 / (2**31 / 3), and a weight of 10 in 100 makes ten of it.
        assert np.allclose(values, after(rounds, MEANS, EXAMPLES), atol=1e-6)
    for node in ministries.federation.nodes:
        notes = [row.note for row in node.audit().rows()]
        assert notes == ["masked share of a sum: unaccounted: this app keeps no privacy ledger"] * 2 * rounds


def test_the_sum_is_what_plain_averaging_gives_and_only_masked_shares_leave(ministries):
    ministries.federation.helper.start()
    ministries.start_nodes()
    ministries.start_leader()
    events = ministries.finish()
    assert_averaged(ministries, events, 2)
    finished = [event for event in events if event.kind is EventKind.ROUND_FINISHED]
    assert finished[1].details["train"]["rounds-seen"] == pytest.approx(2)
    mse = sum(EXAMPLES[n] * (after(2, MEANS, EXAMPLES) - MEANS[n]) ** 2 for n in MEANS) / sum(EXAMPLES.values())
    assert finished[1].details["evaluate"]["mse"] == pytest.approx(mse, rel=1e-4)
    summed = [event.details["nodes"] for event in events if event.kind is EventKind.GROUP_SUMMED]
    assert [sorted(nodes) for nodes in summed] == [sorted(f"site {node_id}" for node_id in MEANS)] * 4


def test_a_helper_killed_in_the_middle_of_a_round_loses_nothing(ministries):
    """It is not there when the leader asks, and comes back after that."""
    helper = ministries.federation.helper.start()
    wait_until(lambda: "connected" in helper.log())
    ministries.start_nodes()
    ministries.start_leader()
    ministries.until(EventKind.TRAINING_SENT)
    ministries.until(EventKind.TRAINING_REPLY)
    helper.kill()
    for _ in range(2):
        ministries.until(EventKind.TRAINING_REPLY)
    helper.start()
    assert_averaged(ministries, ministries.finish(), 2)


def test_without_a_helper_the_run_stops_says_why_and_goes_on_later_without_training_again(ministries):
    helper = ministries.federation.helper.start()
    wait_until(lambda: "connected" in helper.log())
    ministries.start_nodes()
    ministries.start_leader(helper_s=15)
    ministries.until(EventKind.TRAINING_SENT)
    helper.kill()
    ministries.finish(5)
    assert "jaga-central helper run" in ministries.errors
    helper.start()
    ministries.start_leader(helper_s=15)
    events = ministries.finish()
    assert_averaged(ministries, events, 2)
    finished = [event for event in events if event.kind is EventKind.ROUND_FINISHED]
    assert finished[-1].details["train"]["rounds-seen"] == pytest.approx(2)


def test_a_leader_killed_after_the_helper_answered_gets_the_same_sum_again(ministries):
    ministries.federation.helper.start()
    ministries.start_nodes()
    ministries.start_leader()
    ministries.until(EventKind.GROUP_SUMMED)
    ministries.leader.kill()
    ministries.leader.communicate()
    ministries.start_leader()
    assert_averaged(ministries, ministries.finish(), 2)


def test_a_node_killed_once_its_task_is_out_is_waited_for_and_counted_once(ministries):
    ministries.federation.helper.start()
    ministries.start_nodes()
    ministries.start_leader()
    ministries.until(EventKind.TRAINING_SENT)
    victim = ministries.federation.nodes[0]
    victim.kill()
    victim.start()
    assert_averaged(ministries, ministries.finish(), 2)


def test_a_node_that_never_answers_costs_its_deadline_and_no_round(ministries):
    ministries.federation.helper.start()
    ministries.start_nodes()
    centre, frozen = ministries.federation.centre, ministries.frozen.start()
    for node in (*ministries.federation.nodes, frozen):
        centre.wait_ready(node.party)
    frozen.process.send_signal(signal.SIGSTOP)
    ministries.start_leader(rounds=1, nodes=4, deadline_s=40)
    events = ministries.finish()
    assert_averaged(ministries, events, 1)
    (trained, evaluated) = [event.details["nodes"] for event in events if event.kind is EventKind.GROUP_SUMMED]
    assert sorted(trained) == sorted(evaluated) == sorted(f"site {node_id}" for node_id in MEANS)


def test_a_node_that_the_helper_s_organisation_does_not_vouch_for_does_not_stop_the_others(ministries):
    helper, stranger = ministries.federation.helper, ministries.frozen.start()
    helper.command("withdraw", stranger.party)
    helper.start()
    ministries.start_nodes()
    ministries.start_leader(nodes=4)
    events = ministries.finish()
    assert_averaged(ministries, events, 2)
    (lost,) = [event.details for event in events if event.kind is EventKind.GROUP_LOST]
    assert lost["because_of"] == [f"site {FROZEN}"]
    sent = [event.details["nodes"] for event in events if event.kind is EventKind.TRAINING_SENT]
    assert list(map(len, sent)) == [3, 3]  # it is not even asked


def test_with_too_few_that_the_helper_s_organisation_vouches_for_the_run_stops_and_says_so(ministries):
    helper = ministries.federation.helper
    helper.command("withdraw", ministries.federation.nodes[0].party)
    helper.start()
    ministries.start_nodes()
    ministries.start_leader()
    lost = ministries.until(EventKind.GROUP_LOST)
    assert lost.details["because_of"] == ["site 5"]
    assert "has not approved" in lost.details["refusal"]
    ministries.finish(5)
    assert "the helper's organisation has approved 2 of 3" in ministries.errors
