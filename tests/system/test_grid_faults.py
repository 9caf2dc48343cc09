"""What goes wrong on the wire: each fault is counted under its name, and the round goes on."""

import secrets
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from learning_double import first_model, halfway_app
from node_double import NodeDouble
from small_federation import RUN_ID, SOON_S, SmallFederation, wait_for_nodes

from aggregator.grid import MqttGrid, Waiting
from privacy.boundary import topics
from privacy.boundary.envelope import Reason, wrap
from privacy.boundary.flower import head_of
from privacy.boundary.gate import presence
from privacy.boundary.messages import Encoding, Header, Kind, Refusal, Reply
from privacy.identity.authority import CertificateAuthority, Identity
from privacy.identity.certificates import Role, node_party
from simulations.broker import mosquitto_program

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(mosquitto_program() is None, reason="Mosquitto is not installed"),
]

GOOD, BAD = 5, 6
A_WHILE_S = 1.0
"""How long to wait for what must not arrive."""


@pytest.fixture
def federation(tmp_path) -> Iterator[SmallFederation]:
    federation = SmallFederation(tmp_path)
    yield federation
    federation.close()


def halfway(federation: SmallFederation, node_id: int, **options) -> NodeDouble:
    return federation.node(node_id, halfway_app(), config={"mean": float(node_id), "examples": 1}, **options)


def tasks(*node_ids: int, model: ArrayRecord | None = None, ttl: float | None = None) -> list[Message]:
    content = RecordDict({"arrays": model or first_model(), "config": ConfigRecord({"server-round": 1})})
    return [Message(content, node_id, "train", ttl=ttl) for node_id in node_ids]


def answered_by(replies) -> dict[int, str | None]:
    """Of each reply: the node, and the error's reason or None."""
    return {r.metadata.src_node_id: r.error.reason if r.has_error() else None for r in replies}


def first_task(node: NodeDouble) -> Header:
    assert node.got_task.wait(SOON_S)
    return node.seen[0]


def until_counted(grid: MqttGrid, reason: Reason) -> None:
    deadline = time.monotonic() + SOON_S
    while not grid.turned_away[reason]:
        assert time.monotonic() < deadline, f"{reason} was not counted: {grid.turned_away}"
        grid.attendance.wait_for_change(grid.get_node_ids(), 0.01)


def damaged_signature(payload: bytes) -> bytes:
    return payload[:-1] + bytes([payload[-1] ^ 1])


FAULTS = {
    "truncated to nothing much": (lambda node, task, good: good[:20], Reason.MALFORMED),
    "truncated in its body": (lambda node, task, good: good[:-100], Reason.BAD_SIGNATURE),
    "not a message of ours": (lambda node, task, good: secrets.token_bytes(500), Reason.MALFORMED),
    "empty": (lambda node, task, good: b"", Reason.MALFORMED),
    "with a wrong signature": (lambda node, task, good: damaged_signature(good), Reason.BAD_SIGNATURE),
    "for another run": (
        lambda node, task, good: node.sealed_reply(task, Reply(), run_id=task.run_id + 1),
        Reason.WRONG_RUN,
    ),
    "expired": (
        lambda node, task, good: node.sealed_reply(task, Reply(), created_at=1.0, expires_at=2.0),
        Reason.EXPIRED,
    ),
    "of a task that nobody asked for": (
        lambda node, task, good: node.sealed_reply(task, Reply(), reply_to=secrets.token_bytes(16)),
        Reason.UNASKED,
    ),
    "of no task at all": (lambda node, task, good: node.sealed_reply(task, Reply(), reply_to=None), Reason.UNASKED),
    "under another node's name": (
        lambda node, task, good: node.sealed_reply(task, Reply(), sender=node_party(GOOD)),
        Reason.WRONG_TOPIC,
    ),
    "for somebody else": (lambda node, task, good: node.for_another(task), Reason.NOT_FOR_US),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_payload_that_is_wrong_is_counted_and_the_same_nodes_good_reply_still_comes(federation, fault):
    make, reason = FAULTS[fault]
    halfway(federation, GOOD)
    bad = halfway(federation, BAD, answers=False)
    grid = federation.grid()
    wait_for_nodes(grid, GOOD, BAD)
    replies = grid.send_and_receive(tasks(GOOD, BAD), timeout=SOON_S)
    task = first_task(bad)
    good = bad.sealed_reply(task, Reply(refusal=Refusal.BUDGET_SPENT))
    bad.publish_reply(make(bad, task, good))
    bad.publish_reply(good)
    assert answered_by(replies) == {GOOD: None, BAD: Refusal.BUDGET_SPENT.value}
    assert grid.turned_away == {reason: 1}


def test_a_reply_that_comes_twice_counts_once(federation):
    node = halfway(federation, GOOD, answers=False)
    grid = federation.grid()
    wait_for_nodes(grid, GOOD)
    replies = grid.send_and_receive(tasks(GOOD), timeout=SOON_S)
    payload = node.sealed_reply(first_task(node), Reply(refusal=Refusal.BUDGET_SPENT))
    for _ in range(3):
        node.publish_reply(payload)
    assert len(list(replies)) == 1
    until_counted(grid, Reason.DUPLICATE)


def test_a_reply_after_the_deadline_is_turned_away(federation):
    node = halfway(federation, GOOD, answers=False)
    grid = federation.grid()
    wait_for_nodes(grid, GOOD)
    assert list(grid.send_and_receive(tasks(GOOD), timeout=A_WHILE_S)) == []
    node.publish_reply(node.sealed_reply(first_task(node), Reply(refusal=Refusal.BUDGET_SPENT)))
    until_counted(grid, Reason.UNASKED)


@pytest.fixture
def stranger() -> Identity:
    """A node of another authority that calls itself and its federation as ours does."""
    return CertificateAuthority.create("small").enrol(node_party(BAD), Role.NODE)


def test_a_stranger_that_presents_itself_is_turned_away(federation, stranger):
    halfway(federation, GOOD)
    grid = federation.grid()
    wait_for_nodes(grid, GOOD)
    here = presence(stranger, secrets.token_bytes(16), online=True, software="stranger")
    federation.publish_as("leader", here.topic, here.payload)
    until_counted(grid, Reason.STRANGER)
    assert grid.get_node_ids() == [GOOD]


def test_a_strangers_reply_is_turned_away_though_a_broker_lets_it_in(federation, stranger):
    federation.credentials(BAD)
    node = halfway(federation, GOOD, answers=False)
    grid = federation.grid()
    wait_for_nodes(grid, GOOD)
    replies = grid.send_and_receive(tasks(GOOD), timeout=A_WHILE_S)
    task = first_task(node)
    now = time.time()
    header = Header(
        Kind.REPLY, "small", stranger.party, "leader", RUN_ID, bytes(16), task.message_id, now, now + 60, True
    )
    payload = wrap(stranger, header, Reply(), federation.leader.certificate)
    federation.publish_as(stranger.party, topics.reply(stranger.party), payload)
    assert list(replies) == []
    assert grid.turned_away == {Reason.STRANGER: 1}


def flawed_reply(changes) -> Reply:
    """A reply that is whole outside."""
    fields = {"flower": memoryview(b""), "arrays": memoryview(b""), "sizes": [], "encoding": Encoding.EXACT}
    return Reply(**{**fields, **changes})


def a_reply_to(task: Header, **metadata) -> Message:
    message = Message(RecordDict({"metrics": MetricRecord({"num-examples": 1})}), GOOD, "train")
    message.metadata.__dict__.update(
        {
            "_src_node_id": BAD,
            "_dst_node_id": 1,
            "_reply_to_message_id": task.message_id.hex(),
            **{f"_{k}": v for k, v in metadata.items()},
        }
    )
    return message


INSIDES = {
    "no Flower message": lambda task: flawed_reply({"flower": memoryview(b"\xff\xff\xff")}),
    "another node's": lambda task: flawed_reply({"flower": memoryview(head_of(a_reply_to(task, src_node_id=GOOD)))}),
    "another run's": lambda task: flawed_reply({"flower": memoryview(head_of(a_reply_to(task, run_id=5)))}),
    "to another task": lambda task: flawed_reply(
        {"flower": memoryview(head_of(a_reply_to(task, reply_to_message_id="ab" * 16)))}
    ),
    "sizes that do not add up": lambda task: flawed_reply(
        {"flower": memoryview(head_of(a_reply_to(task))), "sizes": [5], "arrays": memoryview(b"12345")}
    ),
}


@pytest.mark.parametrize("inside", INSIDES)
def test_a_reply_that_is_bad_inside_becomes_a_failure_of_its_node(federation, inside):
    halfway(federation, GOOD)
    bad = halfway(federation, BAD, answers=False)
    grid = federation.grid()
    wait_for_nodes(grid, GOOD, BAD)
    replies = grid.send_and_receive(tasks(GOOD, BAD), timeout=SOON_S)
    task = first_task(bad)
    bad.publish_reply(bad.sealed_reply(task, INSIDES[inside](task)))
    assert answered_by(replies) == {GOOD: None, BAD: Refusal.BAD_REPLY.value}
    assert grid.participations()[BAD].refusal is Refusal.BAD_REPLY


def test_a_node_that_refuses_says_so_and_the_round_goes_on(federation):
    halfway(federation, GOOD)
    federation.node(BAD, lambda message: Refusal.BUDGET_SPENT)
    grid = federation.grid()
    wait_for_nodes(grid, GOOD, BAD)
    replies = grid.send_and_receive(tasks(GOOD, BAD), timeout=SOON_S)
    assert answered_by(replies) == {GOOD: None, BAD: "privacy budget spent"}
    parts = grid.participations()
    assert parts[BAD].refusal is Refusal.BUDGET_SPENT
    assert parts[GOOD].bytes_up > 1000
    assert parts[GOOD].bytes_down > 4 * 1007, "the model and the task"


def test_a_node_that_never_answers_costs_the_round_its_deadline_and_is_named_while_it_lasts(federation):
    halfway(federation, GOOD)
    halfway(federation, BAD, answers=False)
    seen: list[Waiting] = []
    grid = federation.grid(on_wait=seen.append, observe_s=0.2)
    wait_for_nodes(grid, GOOD, BAD)
    assert answered_by(grid.send_and_receive(tasks(GOOD, BAD), timeout=2)) == {GOOD: None}
    assert seen[-1].open == {BAD}
    assert grid.participations()[BAD].seconds is None


def test_a_node_that_starts_anew_gets_its_task_again(federation):
    first = halfway(federation, GOOD, answers=False)
    grid = federation.grid()
    wait_for_nodes(grid, GOOD)
    replies = grid.send_and_receive(tasks(GOOD), timeout=SOON_S)
    asked = first_task(first)
    first.stop()
    wait_for_nodes(grid)
    second = halfway(federation, GOOD)
    assert answered_by(replies) == {GOOD: None}
    assert second.seen[0].message_id == asked.message_id


def test_a_task_that_is_sent_anew_is_not_settled_with_the_old_one(federation):
    """A coordinator asks for stored replies again under the same ids, while the first replies are still in somebody's
    hands."""
    halfway(federation, GOOD)
    grid = federation.grid()
    wait_for_nodes(grid, GOOD)
    asked = tasks(GOOD)
    old = grid.send_and_receive(asked, timeout=SOON_S)
    assert answered_by(old) == {GOOD: None}
    new = grid.send_and_receive(asked, timeout=SOON_S)
    old.close()
    assert answered_by(new) == {GOOD: None}


def test_a_task_for_a_node_that_has_never_been_there_waits_for_it(federation):
    grid = federation.grid()
    replies = grid.send_and_receive(tasks(GOOD), timeout=SOON_S)
    halfway(federation, GOOD)
    assert answered_by(replies) == {GOOD: None}


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_broker_that_restarts_in_mid_round_loses_no_task_and_no_model(federation, how):
    """Killed, it forgets what it did not save: sessions, tasks and the retained model."""
    halfway(federation, GOOD)
    slow = halfway(federation, BAD, answers=False)
    grid = federation.grid()
    wait_for_nodes(grid, GOOD, BAD)
    replies = iter(grid.send_and_receive(tasks(GOOD, BAD), timeout=60))
    assert next(replies).metadata.src_node_id == GOOD
    first_task(slow)
    getattr(federation.broker, how)()
    slow.answers = True
    federation.broker.restart()
    assert answered_by(replies) == {BAD: None}


def test_a_message_id_that_is_set_is_kept(federation):
    halfway(federation, GOOD)
    grid = federation.grid()
    wait_for_nodes(grid, GOOD)
    (task,) = tasks(GOOD)
    task.metadata.__dict__["_message_id"] = "c0ffee" * 5 + "00"
    (reply,) = grid.send_and_receive([task], timeout=SOON_S)
    assert reply.metadata.reply_to_message_id == "c0ffee" * 5 + "00"


def test_a_task_that_has_expired_is_not_done(federation):
    node = halfway(federation, GOOD)
    grid = federation.grid()
    wait_for_nodes(grid, GOOD)
    (task,) = tasks(GOOD, ttl=1.0)
    task.metadata.created_at -= 10
    assert list(grid.send_and_receive([task], timeout=A_WHILE_S)) == []
    assert not node.seen


def test_messages_are_sent_while_the_iterable_is_still_making_others(federation):
    node = halfway(federation, GOOD)
    grid = federation.grid()
    wait_for_nodes(grid, GOOD)

    def lazily():
        yield from tasks(GOOD)
        assert node.got_task.wait(SOON_S), "the first message went out before the second was asked for"
        yield from tasks(GOOD)

    assert len(list(grid.send_and_receive(lazily(), timeout=SOON_S))) == 2


def test_replies_wait_at_the_broker_while_nobody_takes_them(federation):
    nodes = range(11, 17)
    for node_id in nodes:
        halfway(federation, node_id)
    grid = federation.grid()
    wait_for_nodes(grid, *nodes)
    replies = iter(grid.send_and_receive(tasks(*nodes), timeout=SOON_S))
    first = next(replies)
    threading.Event().wait(A_WHILE_S)
    taken = [part for part in grid.participations().values() if part.answered]
    assert len(taken) <= 3, "one was taken, one is in the queue, one is in the network thread's hands"
    assert {first.metadata.src_node_id} | answered_by(replies).keys() == set(nodes)


def test_a_reply_that_nobody_took_for_too_long_is_asked_for_again(federation):
    nodes = range(11, 15)
    for node_id in nodes:
        halfway(federation, node_id)
    grid = federation.grid(patience_s=0.2)
    wait_for_nodes(grid, *nodes)
    replies = grid.send_and_receive(tasks(*nodes), timeout=SOON_S)
    threading.Event().wait(A_WHILE_S)
    assert answered_by(replies) == dict.fromkeys(nodes)
    assert {federation.nodes[n].trained for n in nodes} == {1}


def test_replies_that_are_given_up_do_not_stop_the_next_round(federation):
    nodes = range(11, 15)
    for node_id in nodes:
        halfway(federation, node_id)
    grid = federation.grid()
    wait_for_nodes(grid, *nodes)
    grid.send_and_receive(tasks(*nodes), timeout=SOON_S)
    assert answered_by(grid.send_and_receive(tasks(*nodes), timeout=SOON_S)) == dict.fromkeys(nodes)


def test_no_messages_make_no_replies_at_once(federation):
    assert list(federation.grid().send_and_receive([], timeout=SOON_S)) == []


def test_a_model_leaves_the_broker_when_another_one_comes_and_when_the_grid_is_closed(federation):
    halfway(federation, GOOD)
    grid = federation.grid()
    wait_for_nodes(grid, GOOD)
    for value in (1.0, 2.0):
        model = ArrayRecord({"w": Array(np.full(3, value, np.float32))})
        list(grid.send_and_receive(tasks(GOOD, model=model), timeout=SOON_S))
    assert len(federation.retained(f"{topics.PREFIX}/blob/+")) == 1
    grid.close()
    assert federation.retained(f"{topics.PREFIX}/blob/+") == []


def test_a_leader_that_another_process_of_its_calls_gone_says_that_it_is_here(federation):
    grid = federation.grid()
    other = federation.grid()
    other.close()
    node = halfway(federation, GOOD)
    assert node.leader_online.wait(SOON_S)
    wait_for_nodes(grid, GOOD)


def test_a_revoked_node_counts_as_absent(federation):
    halfway(federation, GOOD)
    bad = halfway(federation, BAD)
    grid = federation.grid()
    wait_for_nodes(grid, GOOD, BAD)
    grid.attendance.exclude([bad.identity.certificate.serial])
    assert grid.get_node_ids() == [GOOD]
