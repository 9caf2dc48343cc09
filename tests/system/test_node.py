"""A real node against a real broker, with everything that goes wrong in the field."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from waiting import wait_until

from edge.learning.tasks import crowding
from privacy.boundary import topics
from privacy.boundary.envelope import wrap
from privacy.boundary.messages import Encoding, Kind, Refusal, Task
from privacy.identity.authority import CertificateAuthority
from privacy.identity.certificates import Role

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

PAYING = '[learning]\napp = "waiting_app:paying"\nlinger_s = 30\n[learning.node_config]\nfolder = "FOLDER"\n'
UNPAID = PAYING.replace("waiting_app:paying", "waiting_app:app")
CROWDING = {"task": "crowding", "noise-multiplier": 5.0, "metrics-noise-multiplier": 10.0}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def runs_of(node) -> int:
    file = node.folder / "runs"
    return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.fixture
def paying_node(federation):
    """A started node with an app that pays and can be made to wait, and the centre that sees it online."""
    federation.start_broker()
    node = federation.node(PAYING).start()
    federation.centre.wait_online(node.party)
    return node


def test_a_message_that_comes_twice_trains_once_and_gets_the_same_reply(federation, paying_node):
    centre = federation.centre
    header, payload = centre.task(paying_node.party)
    centre.send(paying_node.party, payload)
    centre.send(paying_node.party, payload)
    centre.reply_to(header)
    centre.send(paying_node.party, payload)
    first, second = centre.payloads_to(header, 2)
    assert first == second
    assert runs_of(paying_node) == 1
    assert len(paying_node.ledger().entries()) == 1


def test_tasks_out_of_order_are_all_answered_and_the_apps_state_lasts(federation, paying_node):
    centre = federation.centre
    older, older_payload = centre.task(paying_node.party)
    newer, newer_payload = centre.task(paying_node.party)
    centre.send(paying_node.party, newer_payload)
    assert np.array_equal(centre.arrays(newer, centre.reply_to(newer))[0], np.ones(9, np.float32))
    centre.send(paying_node.party, older_payload)
    centre.reply_to(older)
    audit = paying_node.audit().rows()
    assert [row.entries for row in audit] == [(1,), (3,)]


def test_what_is_forged_damaged_old_or_for_others_is_turned_away(federation, paying_node):
    centre, party = federation.centre, paying_node.party
    good, payload = centre.task(party)
    other_authority = CertificateAuthority.create("test federation")
    stranger = other_authority.enrol("leader", Role.LEADER)
    task = Task(b"", None, Encoding.EXACT)
    certificate = centre.directory.certificate(party)
    bad = [
        payload[:-1] + bytes([payload[-1] ^ 1]),
        payload[: len(payload) // 2],
        b"",
        os.urandom(500),
        wrap(stranger, centre.header(Kind.TASK, party), task, certificate),
        centre.task(party, created_at=1.0, expires_at=2.0)[1],
        wrap(centre.identity, centre.header(Kind.TASK, "leader"), task, centre.identity.certificate),
    ]
    for wrong in bad:
        centre.send(party, wrong)
    centre.send(party, payload)
    centre.reply_to(good)
    assert len(centre.replies) == 1
    assert runs_of(paying_node) == 1
    for reason in ("malformed", "wrong signature", "expired", "another kind or party"):
        assert reason in paying_node.log()


def test_a_trainer_that_dies_is_a_refusal_and_its_reservation_stays_spent(federation, paying_node):
    centre = federation.centre
    (paying_node.folder / "wait").touch()
    header, payload = centre.task(paying_node.party)
    centre.send(paying_node.party, payload)
    wait_until(lambda: runs_of(paying_node) == 1)
    os.kill(paying_node.children()["edge.learning"], signal.SIGKILL)
    assert centre.reply_to(header).refusal is Refusal.TRAINING_FAILED
    (paying_node.folder / "wait").unlink()
    assert centre.ask(paying_node.party).refusal is None
    first, second = paying_node.ledger().entries()
    assert first.spent_at is None
    assert second.spent_at is not None
    assert paying_node.ledger().epsilon() > 0


def test_a_node_killed_in_training_answers_after_its_restart_and_pays_twice(federation, paying_node):
    centre = federation.centre
    (paying_node.folder / "wait").touch()
    header, payload = centre.task(paying_node.party)
    centre.send(paying_node.party, payload)
    wait_until(lambda: runs_of(paying_node) == 1)
    trainer = paying_node.children()["edge.learning"]
    paying_node.kill()
    os.kill(trainer, signal.SIGKILL)
    (paying_node.folder / "wait").unlink()
    paying_node.start()
    assert centre.reply_to(header).refusal is None
    assert [entry.spent_at is None for entry in paying_node.ledger().entries()] == [True, False]


def test_a_task_that_kills_the_node_each_time_is_given_up(federation, paying_node):
    centre = federation.centre
    (paying_node.folder / "wait").touch()
    header, payload = centre.task(paying_node.party)
    centre.send(paying_node.party, payload)
    for attempt in (1, 2):
        wait_until(lambda attempt=attempt: runs_of(paying_node) == attempt)
        trainer = paying_node.children()["edge.learning"]
        paying_node.kill()
        os.kill(trainer, signal.SIGKILL)
        paying_node.start()
    assert centre.reply_to(header).refusal is Refusal.GAVE_UP


def test_a_spent_budget_is_refused_in_words_the_centre_understands(federation):
    federation.start_broker()
    node = federation.node("[privacy]\nepsilon = 0.5\n").start()
    federation.centre.wait_online(node.party)
    start = {name: values.numpy() for name, values in crowding.TASK.model().state_dict().items()}
    assert federation.centre.ask(node.party, CROWDING, model=start).refusal is Refusal.BUDGET_SPENT
    assert node.ledger(0.5).entries() == []


@pytest.mark.parametrize(
    ("config", "refusal"),
    [
        ({"task": "unheard-of", "noise-multiplier": 4.0}, Refusal.NOT_ALLOWED),
        ({"task": "announced", "noise-multiplier": 4.0}, Refusal.UNKNOWN_TASK),
        ({"task": "crowding", "noise-multiplier": -1.0}, Refusal.BAD_TASK),
        ({"task": "crowding", "noise-multiplier": 0.0}, Refusal.BAD_TASK),
        (CROWDING, Refusal.BAD_MODEL),
    ],
)
def test_the_crowding_app_refuses_what_it_cannot_do(federation, config, refusal):
    federation.start_broker()
    node = federation.node('[privacy.allow]\ntasks = ["crowding", "announced"]\n').start()
    federation.centre.wait_online(node.party)
    assert federation.centre.ask(node.party, config).refusal is refusal


def test_an_app_without_a_ledger_stays_inside_unless_the_owner_allows_it(federation):
    federation.start_broker()
    strict = federation.node(UNPAID, node_id=11).start()
    allowed = federation.node(UNPAID + "[privacy]\nallow_unaccounted_apps = true\n", node_id=12).start()
    for node in (strict, allowed):
        federation.centre.wait_online(node.party)
    assert federation.centre.ask(strict.party).refusal is Refusal.UNACCOUNTED
    assert federation.centre.ask(allowed.party).refusal is None
    assert "unaccounted" in allowed.audit().rows()[0].note


def test_an_exceptions_text_never_leaves(federation, paying_node):
    federation.centre.ask(paying_node.party)
    header, payload = federation.centre.task(paying_node.party, message_type="evaluate")
    federation.centre.send(paying_node.party, payload)
    reply = federation.centre.reply_to(header)
    assert reply.refusal is Refusal.TRAINING_FAILED
    assert b"0123456789abcdef" not in bytes(reply.flower) + bytes(reply.arrays)


def test_a_broker_that_is_absent_at_start_is_waited_for(federation):
    port = free_port()
    node = federation.node(PAYING, url=f"mqtts://127.0.0.1:{port}").start()
    wait_until(lambda: "node starts" in node.log())
    federation.start_broker(port)
    federation.centre.wait_online(node.party)
    assert federation.centre.ask(node.party).refusal is None


def test_a_reply_made_while_the_broker_is_down_arrives_when_it_is_back(federation, paying_node):
    centre = federation.centre
    (paying_node.folder / "wait").touch()
    header, payload = centre.task(paying_node.party)
    centre.send(paying_node.party, payload)
    wait_until(lambda: runs_of(paying_node) == 1)
    federation.broker.kill()
    (paying_node.folder / "wait").unlink()
    wait_until(lambda: "task answered" in paying_node.log())
    # The killed broker forgot the centre's session: what is published before it subscribes again reaches nobody.
    paying_node.process.send_signal(signal.SIGSTOP)
    federation.broker.restart()
    wait_until(lambda: centre.connection.connected)
    paying_node.process.send_signal(signal.SIGCONT)
    assert centre.reply_to(header).refusal is None
    assert runs_of(paying_node) == 1


def test_a_reply_survives_a_node_that_is_killed_before_the_broker_is_back(federation, paying_node):
    centre = federation.centre
    (paying_node.folder / "wait").touch()
    header, payload = centre.task(paying_node.party)
    centre.send(paying_node.party, payload)
    wait_until(lambda: runs_of(paying_node) == 1)
    federation.broker.kill()
    (paying_node.folder / "wait").unlink()
    wait_until(lambda: "task answered" in paying_node.log())
    paying_node.kill()
    federation.broker.restart()
    # The killed broker forgot the centre's session: what is published before it subscribes again reaches nobody.
    wait_until(lambda: centre.connection.connected)
    paying_node.start()
    assert centre.reply_to(header).refusal is None
    assert runs_of(paying_node) == 1


def test_the_trainers_memory_is_gone_after_a_round_and_the_node_is_light(federation):
    federation.start_broker()
    node = federation.node(PAYING.replace("linger_s = 30", "linger_s = 0.5")).start()
    federation.centre.wait_online(node.party)
    before = node.resident_mb()
    federation.centre.ask(node.party)
    wait_until(lambda: "edge.learning" not in node.children(), 30)
    assert node.resident_mb() < before + 20


def test_the_centre_sees_a_node_that_vanishes_and_one_that_says_goodbye(federation, paying_node):
    paying_node.kill()
    federation.centre.wait_online(paying_node.party, online=False)
    paying_node.start()
    federation.centre.wait_online(paying_node.party)
    paying_node.stop()
    federation.centre.wait_online(paying_node.party, online=False)


def test_a_model_that_never_comes_is_a_refusal(federation, paying_node):
    centre = federation.centre
    header, payload = centre.task(paying_node.party, expires_at=time.time() + 4)
    for topic in {topics.blob(bytes(32)), *_blob_topics(centre, header)}:
        centre.connection.publish(topic, b"", retain=True).result(20)
    centre.send(paying_node.party, payload)
    assert centre.reply_to(header).refusal is Refusal.BAD_MODEL


def _blob_topics(centre, header) -> list[str]:
    """The topics of the blobs that the broker keeps, found as anybody could: by listening."""
    found: list[str] = []
    centre.connection.subscribe("jaga/1/blob/+", lambda delivery: found.append(delivery.topic))
    wait_until(lambda: bool(found))
    centre.connection.unsubscribe("jaga/1/blob/+")
    return found


@pytest.mark.parametrize(
    ("damage", "status", "words"),
    [
        (lambda folder: (folder / "store.key").write_text("00" * 32), 5, "key"),
        (lambda folder: (folder / "node.db").write_bytes(os.urandom(8192)), 5, "damaged"),
        (lambda folder: (folder / "node.toml").write_text("name = 3"), 3, "name"),
        (lambda folder: (folder / "credentials" / "party.pem").unlink(), 4, "enrol"),
    ],
)
def test_a_node_that_cannot_start_says_why_in_one_line(federation, damage, status, words):
    federation.start_broker()
    node = federation.node()
    node.ledger()
    damage(node.folder)
    command = [sys.executable, "-c", "from edge.cli import main; main()", "run", "node.toml"]
    ended = subprocess.run(command, cwd=node.folder, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == status
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
    assert Path(node.folder / "node.db").exists()
