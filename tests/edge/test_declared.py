"""The catalogue against a real store: nothing undeclared is in it, and tasks read what they declare."""

import math
import time

import pytest

from edge.learning.tasks.task import load_task
from edge.store.app_states import AppStates
from edge.store.cases import Cases, ReportedCase
from edge.store.reading import UndeclaredRead, reading_only
from edge.store.receipts import Receipts
from edge.store.staff import Staff, StaffSessions
from privacy.accounting.ledger import Budget, PrivacyLedger
from privacy.boundary.audit import AuditLog
from privacy.catalogue.columns import Mechanism
from privacy.catalogue.use import CATALOGUE, Use

TASKS = [load_task(name) for name in ("crowding", "proximity")]


@pytest.fixture
def whole(connection):
    """A store with all that a node ever makes in it."""
    PrivacyLedger(connection, Budget(8.0, 1e-6, 14 * 86400.0))
    AuditLog(connection)
    Receipts(connection)
    return connection


def test_every_column_of_every_table_is_declared_and_every_declared_one_is_there(whole):
    names = [
        row[0]
        for row in whole.execute(
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'"
        )
    ]
    there = {name: {row[1] for row in whole.execute(f"PRAGMA table_info({name})")} for name in names}
    declared = {table.name: {column.name for column in table.columns} for table in CATALOGUE.tables}
    assert there == declared


def test_a_new_column_would_be_found(whole):
    whole.execute("ALTER TABLE tags ADD COLUMN pupil TEXT")
    with pytest.raises(AssertionError):
        test_every_column_of_every_table_is_declared_and_every_declared_one_is_there(whole)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_task_reads_what_it_declares_and_may_use_it(task, connection):
    with reading_only(connection, task.sources):
        task.read(connection, -math.inf, math.inf)
    assert Use.of("train", task.sources, [Mechanism.DP_SGD, Mechanism.NOISED_METRICS]).objections() == []


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_task_needs_each_table_that_it_declares(task, connection):
    for table in task.sources:
        less = {name: columns for name, columns in task.sources.items() if name != table}
        with pytest.raises(UndeclaredRead, match=table), reading_only(connection, less):
            task.read(connection, -math.inf, math.inf)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT metadata FROM sightings",
        "SELECT label FROM tags",
        "SELECT * FROM sightings",
        "INSERT INTO meta VALUES ('x', x'00')",
        "DELETE FROM sightings",
        "PRAGMA key = 'x'",
        "ATTACH DATABASE '/tmp/x' AS x",
    ],
)
def test_whatever_else_is_tried_while_a_task_reads_is_denied(sql, connection):
    with pytest.raises(UndeclaredRead), reading_only(connection, {"sightings": ("window_index",)}):
        connection.execute(sql).fetchall()
    assert connection.execute("SELECT count(*) FROM meta").fetchone() == (0,)


def test_after_reading_the_connection_is_as_free_as_before(connection):
    with reading_only(connection, {"tags": ("label",)}):
        assert connection.execute("SELECT label FROM tags").fetchall() == []
    assert connection.execute("SELECT secret FROM tags").fetchall() == []


def test_what_apps_keep_goes_when_it_is_old(connection):
    states = AppStates(connection)
    states.keep(2**64 - 1, b"old", 100.0)
    states.keep(7, b"new", 200.0)
    assert (states.get(2**64 - 1), states.get(7), states.get(8)) == (b"old", b"new", None)
    connection.execute("INSERT INTO meta VALUES ('flower context 0000000000000009', x'00')")
    assert states.purge(150.0) == 2
    assert (states.get(2**64 - 1), states.get(7)) == (None, b"new")


def test_reports_and_idle_sessions_go_too(connection):
    cases, now = Cases(connection), time.time()
    for number, at in enumerate((now - 100, now)):
        cases.add(ReportedCase(bytes([number]) * 16, at, "1-id", "sari", 3))
    assert cases.purge(now - 50) == 1
    assert [case.reported_at for case in cases.all()] == [now]
    Staff(connection).add("sari", "x", now)
    sessions = StaffSessions(connection)
    sessions.open(b"a" * 32, "sari", now - 100)
    sessions.open(b"b" * 32, "sari", now)
    assert sessions.purge(now - 50) == 1
    assert sessions.count("sari") == 1
