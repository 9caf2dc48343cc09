import subprocess
import sys
from itertools import islice

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.store.connection import transaction
from edge.store.errors import StoreFull
from edge.store.inbox import AlreadyAnswered, Inbox, InboxItem, Receipt, UnknownMessage
from edge.store.outbox import Outbox, OutboxItem

RUN = 2**64 - 1
M1, M2, M3 = b"m1", b"m2", b"m3"


@pytest.fixture
def inbox(connection):
    return Inbox(connection)


@pytest.fixture
def outbox(connection):
    return Outbox(connection)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(message_id=st.binary(min_size=1), run_id=st.integers(0, 2**64 - 1), payload=st.binary())
def test_any_message_comes_back_as_it_was(connection, message_id, run_id, payload):
    connection.execute("DELETE FROM inbox")
    Inbox(connection).receive(message_id, run_id, payload, expires_at=10)
    assert Inbox(connection).next(0) == InboxItem(message_id, run_id, payload, 10, 0)


def test_a_message_that_comes_again_is_recognised_at_each_stage(inbox):
    assert inbox.receive(M1, RUN, b"task", 100) is Receipt.NEW
    assert inbox.receive(M1, RUN, b"task", 100) is Receipt.IN_PROGRESS
    inbox.start(M1)
    assert inbox.receive(M1, RUN, b"task", 100) is Receipt.IN_PROGRESS
    inbox.answer(M1, b"reply")
    assert inbox.receive(M1, RUN, b"task", 100) is Receipt.ANSWERED


def test_of_two_messages_with_one_id_the_first_stays(inbox):
    inbox.receive(M1, RUN, b"first", 100)
    inbox.receive(M1, RUN, b"second", 100)
    assert inbox.next(0).payload == b"first"


def test_the_oldest_comes_first_and_expired_ones_not_at_all(inbox):
    inbox.receive(M1, RUN, b"", 50)
    inbox.receive(M2, RUN, b"", 100)
    inbox.receive(M3, RUN, b"", 100)
    assert inbox.next(49).message_id == M1
    assert inbox.next(50).message_id == M2
    inbox.answer(M2, b"reply")
    assert inbox.next(50).message_id == M3
    assert inbox.next(100) is None


def test_attempts_are_counted_and_on_disk_before_the_work(database, inbox):
    inbox.receive(M1, RUN, b"task", 100)
    assert [inbox.start(M1), inbox.start(M1)] == [1, 2]
    other = database.connect()
    assert Inbox(other).next(0).attempts == 2
    other.close()


def test_an_attempt_inside_a_transaction_is_refused(connection, inbox):
    inbox.receive(M1, RUN, b"task", 100)
    with transaction(connection), pytest.raises(RuntimeError, match="outside of a transaction"):
        inbox.start(M1)


def test_a_reply_is_sent_again_as_it_was(inbox):
    inbox.receive(M1, RUN, b"task", 100)
    assert inbox.reply(M1) is None
    inbox.answer(M1, b"reply")
    inbox.answer(M1, b"reply")
    with pytest.raises(AlreadyAnswered, match="reply of 5 bytes, and another one of 7"):
        inbox.answer(M1, b"another")
    assert inbox.reply(M1) == b"reply"
    with pytest.raises(AlreadyAnswered, match="send that again"):
        inbox.start(M1)


def test_an_empty_reply_is_a_reply(inbox):
    inbox.receive(M1, RUN, b"task", 100)
    inbox.answer(M1, b"")
    assert inbox.receive(M1, RUN, b"task", 100) is Receipt.ANSWERED
    assert inbox.reply(M1) == b""


def test_a_message_that_never_came_is_named(inbox):
    assert inbox.reply(M1) is None
    for act in (lambda: inbox.start(M1), lambda: inbox.answer(M1, b"reply")):
        with pytest.raises(UnknownMessage, match="6d31 was never received"):
            act()


def test_what_expired_long_ago_is_forgotten_answered_or_not(inbox):
    for message, expires_at in ((M1, 10), (M2, 10), (M3, 30)):
        inbox.receive(message, RUN, b"", expires_at)
    inbox.answer(M1, b"reply")
    assert inbox.forget(before=20) == 2
    assert inbox.next(0).message_id == M3
    assert inbox.receive(M1, RUN, b"", 10) is Receipt.NEW


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(messages=st.lists(st.tuples(st.binary(), st.integers(0, 20))), now=st.integers(0, 20))
def test_what_has_not_expired_is_pending_in_the_order_it_was_put(connection, messages, now):
    connection.execute("DELETE FROM outbox")
    outbox = Outbox(connection)
    for i, (payload, expires_at) in enumerate(messages):
        outbox.put("jaga/1/reply/n", payload, expires_at=expires_at, message_id=b"%d" % i)
    expected = [(b"%d" % i, p) for i, (p, expires_at) in enumerate(messages) if expires_at > now]
    # One more than there can be: a queue that came round again would not end.
    pending = islice(outbox.pending(now), len(messages) + 1)
    assert [(item.message_id, item.payload) for item in pending] == expected
    assert outbox.drop_expired(now) == len(messages) - len(expected)
    assert len(list(outbox.pending(-1))) == len(expected)


def test_items_may_be_marked_sent_while_they_are_read(outbox):
    for message in (M1, M2, M3):
        outbox.put("topic", b"payload", expires_at=100, message_id=message)
    read = []
    for item in outbox.pending(0):
        read.append(item.message_id)
        outbox.sent(item.id)
        outbox.sent(item.id)
    assert read == [M1, M2, M3]
    assert list(outbox.pending(0)) == []


def test_what_is_put_while_the_queue_is_read_comes_too(outbox):
    outbox.put("topic", b"", expires_at=100, message_id=M1)
    pending = outbox.pending(0)
    assert next(pending).message_id == M1
    outbox.put("topic", b"", expires_at=100, message_id=M2)
    assert next(pending).message_id == M2


def test_reading_the_queue_holds_no_snapshot(database, outbox):
    for message in (M1, M2):
        outbox.put("topic", b"", expires_at=100, message_id=message)
    pending = outbox.pending(0)
    next(pending)
    other = database.connect()
    Outbox(other).put("topic", b"", expires_at=100, message_id=M3)
    # A reader in the middle of a statement would make this checkpoint busy.
    assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    assert [item.message_id for item in pending] == [M2, M3]
    other.close()


def test_a_message_that_still_waits_is_not_queued_twice(outbox):
    first = outbox.put("topic", b"reply", expires_at=100, message_id=M1)
    assert outbox.put("topic", b"reply", expires_at=100, message_id=M1) == first
    assert list(outbox.pending(0)) == [OutboxItem(first, "topic", b"reply", M1, 100)]
    outbox.sent(first)
    assert outbox.put("topic", b"reply", expires_at=100, message_id=M1) > first


def test_answer_and_put_happen_both_or_neither(connection, inbox, outbox):
    inbox.receive(M1, RUN, b"task", 100)
    connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0] + 1}")

    def answer(reply):
        with transaction(connection):
            inbox.answer(M1, b"reply")
            outbox.put("topic", reply, expires_at=100, message_id=M1)

    with pytest.raises(StoreFull):
        answer(bytes(50_000))
    assert inbox.reply(M1) is None
    answer(b"reply")
    assert inbox.reply(M1) == b"reply"
    assert [item.message_id for item in outbox.pending(0)] == [M1]


@pytest.mark.system
def test_a_kill_between_answer_and_put_leaves_neither(database, connection, inbox, outbox):
    inbox.receive(M1, RUN, b"task", 100)
    inbox.start(M1)
    program = """
import sys
from pathlib import Path
from edge.store.connection import transaction
from edge.store.database import Database
from edge.store.inbox import Inbox
connection = Database(Path(sys.argv[1]), bytes.fromhex(sys.argv[2])).connect()
with transaction(connection):
    Inbox(connection).answer(b"m1", b"reply")
    sys.stdout.write("answered\\n")
    sys.stdout.flush()
    sys.stdin.read()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program, database.path, database.key.reveal().hex()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"answered\n"
    process.kill()
    process.communicate()
    assert inbox.reply(M1) is None
    assert list(outbox.pending(0)) == []
    assert inbox.next(0).attempts == 1
    inbox.answer(M1, b"reply")
