"""Large replies: files beside the store, which count only once a row names them."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.store.connection import transaction
from edge.store.errors import CorruptStore, StoreFull, StoreUnavailable
from edge.store.inbox import AlreadyAnswered, Inbox
from edge.store.outbox import Outbox, OutboxItem
from edge.store.replies import LARGE_BYTES, ReplyFiles

RUN = 7
M1, M2 = b"1" * 16, b"2" * 16
LARGE = bytes(range(256)) * (LARGE_BYTES // 256) + b"!"


@pytest.fixture
def inbox(connection):
    inbox = Inbox(connection)
    for message in (M1, M2):
        inbox.receive(message, RUN, b"task", 100)
    return inbox


@pytest.fixture
def files(database):
    return ReplyFiles.beside(database.path)


def names(files: ReplyFiles) -> set[str]:
    return {path.name for path in files.folder.glob("*")}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=20)
@given(extra=st.integers(-2, 2), last=st.binary(min_size=1, max_size=1))
def test_a_reply_of_any_size_comes_back_as_it_was(connection, extra, last):
    connection.execute("DELETE FROM inbox")
    inbox, reply = Inbox(connection), bytes(LARGE_BYTES + extra - 1) + last
    inbox.receive(M1, RUN, b"task", 100)
    inbox.answer(M1, reply)
    assert inbox.reply(M1) == reply


def test_a_large_reply_lies_beside_the_store_and_a_small_one_in_it(inbox, files):
    inbox.answer(M1, LARGE)
    inbox.answer(M2, b"small")
    assert names(files) == {M1.hex()}
    assert (files.folder / M1.hex()).stat().st_mode & 0o077 == 0
    assert inbox.reply(M2) == b"small"


def test_a_large_reply_is_never_made_twice(inbox):
    inbox.answer(M1, LARGE)
    inbox.answer(M1, LARGE)
    with pytest.raises(AlreadyAnswered, match=f"{len(LARGE)} bytes, and another one of {len(LARGE)}"):
        inbox.answer(M1, LARGE[::-1])
    assert inbox.reply(M1) == LARGE


def test_the_outbox_publishes_the_reply_that_the_inbox_keeps(connection, inbox):
    inbox.answer(M1, LARGE)
    outbox = Outbox(connection)
    item = outbox.put("topic", None, expires_at=100, message_id=M1)
    assert list(outbox.pending(0)) == [OutboxItem(item, "topic", LARGE, M1, 100)]
    assert list(outbox.pending(0, without={item})) == []


def test_a_reply_that_was_forgotten_is_not_published_any_more(connection, inbox):
    inbox.answer(M1, LARGE)
    outbox = Outbox(connection)
    outbox.put("topic", None, expires_at=1000, message_id=M1)
    inbox.forget(before=200)
    assert list(outbox.pending(0)) == []


def test_what_was_not_committed_is_no_reply_and_is_written_anew(connection, inbox, files):
    def interrupted():
        with transaction(connection):
            inbox.answer(M1, LARGE[::-1])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert inbox.reply(M1) is None
    inbox.answer(M1, LARGE)
    assert inbox.reply(M1) == LARGE


def test_forgetting_clears_away_files_that_nobody_names(inbox, files):
    inbox.receive(b"3" * 16, RUN, b"task", 10)
    inbox.answer(b"3" * 16, LARGE)
    inbox.answer(M1, LARGE)
    files.write(M2, b"half of a reply, and then the power failed")
    assert inbox.forget(before=50) == 1
    assert names(files) == {M1.hex()}
    assert inbox.reply(M1) == LARGE


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(LARGE[:-1]), lambda path: path.unlink()])
def test_a_reply_that_is_damaged_or_gone_is_named(inbox, files, damage):
    inbox.answer(M1, LARGE)
    damage(files.folder / M1.hex())
    with pytest.raises(CorruptStore, match=M1.hex()):
        inbox.reply(M1)


def test_a_folder_that_cannot_be_written_leaves_the_message_unanswered(inbox, files):
    files.folder.write_text("a file where the folder should be")
    with pytest.raises(StoreUnavailable, match="cannot be used"):
        inbox.answer(M1, LARGE)
    assert inbox.reply(M1) is None


def test_a_full_disk_is_named_and_leaves_the_message_unanswered(inbox, files):
    files.folder.mkdir()
    (files.folder / M1.hex()).symlink_to("/dev/full")
    with pytest.raises(StoreFull, match="make room on that disk"):
        inbox.answer(M1, LARGE)
    assert inbox.reply(M1) is None
