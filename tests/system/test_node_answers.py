"""A real node with records and Jaga's own app: whatever happens after the charge, one answer leaves."""

import os
import signal
import time

import pytest
from waiting import wait_until

from edge.learning.tasks.crowding import TASK
from edge.store.database import Database
from edge.store.listening import Listening
from edge.store.sighting import Sighting
from edge.store.sightings import Sightings
from edge.store.slots import SLOT_S, WINDOWS_PER_SLOT
from privacy.boundary.messages import Refusal

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

SLOW = "[learning]\nlinger_s = 30\nspeed = 1.5\n"
"""An answer takes some seconds."""
QUICK = SLOW.replace("1.5", "20")
CROWDING = {"task": "crowding", "unit": "day", "noise-multiplier": 30.0, "metrics-noise-multiplier": 60.0}


def model(value=None):
    state = {name: values.numpy() for name, values in TASK.model().state_dict().items()}
    return state if value is None else {name: values * 0 + value for name, values in state.items()}


def fill(node, slots=20):
    """Half hours with a few people in them."""
    connection = Database(node.folder / "node.db", bytes.fromhex((node.folder / "store.key").read_text())).connect()
    first = int(time.time() // SLOT_S) - slots - 2
    for slot in range(first, first + slots):
        logged_at = float((slot + 1) * SLOT_S)
        heard = [
            Sighting(bytes([person]) * 16, slot * WINDOWS_PER_SLOT + window, 3, -150, 7500, -50, -50)
            for person in range(1 + slot % 5)
            for window in range(WINDOWS_PER_SLOT)
        ]
        Sightings(connection).add(heard, logged_at=logged_at)
        Listening(connection).add(slot * SLOT_S, (slot + 1) * SLOT_S, logged_at=logged_at)
    connection.close()
    return node


def started(federation, config):
    federation.start_broker()
    node = fill(federation.node(config)).start()
    federation.centre.wait_online(node.party)
    return node


def send(federation, node, **options):
    header, payload = federation.centre.task(node.party, CROWDING, model=model(), **options)
    federation.centre.send(node.party, payload)
    return header


def charged(node) -> list:
    return node.ledger().entries()


def test_a_trainer_that_is_killed_on_records_answers_and_is_charged_once(federation):
    node = started(federation, SLOW)
    header = send(federation, node)
    wait_until(lambda: charged(node) and charged(node)[0].spent_at is not None)
    os.kill(node.children()["edge.learning"], signal.SIGKILL)
    reply = federation.centre.reply_to(header)
    assert reply.refusal is None
    assert len(reply.arrays) > 0
    assert len(charged(node)) == 1


def test_a_node_that_is_killed_on_records_answers_after_its_restart_and_is_charged_once(federation):
    node = started(federation, SLOW)
    header = send(federation, node)
    wait_until(lambda: charged(node) and charged(node)[0].spent_at is not None)
    trainer = node.children()["edge.learning"]
    node.kill()
    os.kill(trainer, signal.SIGKILL)
    node.start()
    assert federation.centre.reply_to(header).refusal is None
    assert len(charged(node)) == 1


@pytest.mark.parametrize(
    ("change", "value", "refusal"),
    [
        ({"learning-rate": 1e39}, None, Refusal.BAD_TASK),
        ({"clip-norm": 7e-46}, None, Refusal.BAD_TASK),
        ({"steps": 2**62}, None, Refusal.BAD_TASK),
        ({}, 3e38, Refusal.BAD_MODEL),
        ({}, float("nan"), Refusal.BAD_MODEL),
        ({"task": "somebody-else-s"}, None, Refusal.NOT_ALLOWED),
    ],
)
def test_what_no_honest_leader_asks_is_refused_and_costs_nothing(federation, change, value, refusal):
    node = started(federation, QUICK)
    header, payload = federation.centre.task(node.party, CROWDING | change, model=model(value))
    federation.centre.send(node.party, payload)
    assert federation.centre.reply_to(header).refusal is refusal
    assert charged(node) == []


def test_a_node_without_records_answers_like_one_with_records(federation):
    federation.start_broker()
    full, empty = fill(federation.node(QUICK, node_id=11)).start(), federation.node(QUICK, node_id=12).start()
    shapes = []
    for node in (full, empty):
        federation.centre.wait_online(node.party)
        reply = federation.centre.reply_to(send(federation, node))
        shapes.append((reply.refusal, len(reply.flower), len(reply.arrays), reply.sizes))
    assert shapes[0] == shapes[1]
    assert shapes[0][0] is None
