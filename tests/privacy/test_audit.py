"""The audit log says what left in words, and cannot be rewritten without `verify` naming the row."""

import hashlib
import sqlite3

import pytest
import sqlcipher3
from hypothesis import given
from hypothesis import strategies as st

from privacy.boundary.audit import AuditLog
from privacy.journal import BrokenChain

T0 = 1_700_000_000.0


def in_memory(module):
    return module.connect(":memory:", isolation_level=None)


@pytest.fixture(params=[sqlite3, sqlcipher3], ids=["sqlite3", "sqlcipher3"])
def connection(request):
    return in_memory(request.param)


@given(st.lists(st.tuples(st.binary(max_size=40), st.lists(st.integers(1, 99), max_size=3), st.text(max_size=20))))
def test_what_was_written_is_read_back_in_order_and_the_chain_holds(sent):
    log = AuditLog(in_memory(sqlite3), clock=lambda: T0)
    for payload, entries, note in sent:
        log.append(kind="reply", recipient="leader", payload=payload, entries=entries, note=note)
    assert [(row.size_bytes, row.sha256, list(row.entries), row.note) for row in log.rows()] == [
        (len(payload), hashlib.sha256(payload).digest(), entries, note) for payload, entries, note in sent
    ]
    assert log.verify()[0] == len(sent)


def test_a_row_reads_as_a_sentence(connection):
    log = AuditLog(connection, clock=lambda: T0)
    log.append(kind="reply", recipient="leader", payload=b"abc", entries=[4, 7], note="model update")
    log.append(kind="presence", recipient="everyone", payload=b"", note="online")
    assert [str(row) for row in log.rows()] == [
        "1. 2023-11-14 22:13:20 UTC: reply to leader, 3 bytes, ledger 4, 7: model update",
        "2. 2023-11-14 22:13:20 UTC: presence to everyone, 0 bytes, no ledger entry: online",
    ]


def test_the_payload_itself_is_not_kept(connection):
    log = AuditLog(connection)
    log.append(kind="reply", recipient="leader", payload=b"not to be stored")
    kept = connection.execute("SELECT * FROM audit_log").fetchall()
    assert "not to be stored" not in repr(kept)
    assert hashlib.sha256(b"not to be stored").digest() in kept[0]


def test_only_new_rows_are_read_where_asked(connection):
    log = AuditLog(connection)
    for payload in (b"1", b"22", b"333"):
        log.append(kind="reply", recipient="leader", payload=payload)
    assert [row.size_bytes for row in log.rows(since=1)] == [2, 3]


def test_a_clock_that_goes_back_does_not_reorder_the_log(connection):
    times = iter([T0, T0 - 500, T0 + 1])
    log = AuditLog(connection, clock=lambda: next(times))
    for _ in range(3):
        log.append(kind="reply", recipient="leader", payload=b"")
    assert [row.at for row in log.rows()] == [T0, T0, T0 + 1]


def test_a_row_commits_with_the_callers_transaction_or_not_at_all(connection):
    log = AuditLog(connection)
    connection.execute("BEGIN IMMEDIATE")
    log.append(kind="reply", recipient="leader", payload=b"queued")
    connection.execute("ROLLBACK")
    assert log.rows() == []
    assert log.append(kind="reply", recipient="leader", payload=b"queued") == 1


@pytest.mark.parametrize("statement", ["UPDATE audit_log SET note = 'nothing'", "DELETE FROM audit_log"])
def test_the_database_refuses_to_rewrite_the_log(connection, statement):
    log = AuditLog(connection)
    log.append(kind="reply", recipient="leader", payload=b"x", note="as it was")
    with pytest.raises((sqlite3.IntegrityError, sqlcipher3.IntegrityError), match="audit_log is append-only"):
        connection.execute(statement)
    assert [row.note for row in log.rows()] == ["as it was"]


@pytest.mark.parametrize("column", ["at = 1.0", "kind = 'x'", "recipient = 'x'", "bytes = 0", "entries = '[]'"])
def test_any_edited_column_is_named_by_its_row(connection, column):
    log = AuditLog(connection)
    for _ in range(3):
        log.append(kind="reply", recipient="leader", payload=b"x", entries=[1])
    connection.execute("DROP TRIGGER audit_log_keeps_rows")
    connection.execute(f"UPDATE audit_log SET {column} WHERE row = 2")
    with pytest.raises(BrokenChain, match="row 2 of audit_log does not match its hash"):
        log.verify()


def test_a_row_cut_off_at_the_end_shows_against_a_head_that_was_noted(connection):
    log = AuditLog(connection)
    for _ in range(2):
        log.append(kind="reply", recipient="leader", payload=b"x")
    noted = log.verify()
    connection.execute("DROP TRIGGER audit_log_loses_none")
    connection.execute("DELETE FROM audit_log WHERE row = 2")
    assert log.verify() != noted
