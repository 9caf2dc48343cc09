"""An old copy of the store is known for one; what comes between two writes is not taken for it."""

import shutil

import pytest
from typer.testing import CliRunner

from edge.cli import app
from edge.config import NodeConfig
from edge.store.anchor import Anchor, RolledBack
from edge.store.database import Database
from privacy.accounting.events import SampledGaussian
from privacy.accounting.ledger import Budget, BudgetSpent, PrivacyLedger
from privacy.boundary.audit import AuditLog

KEY = bytes(range(32))
BUDGET = Budget(8.0, 1e-6, 14 * 86400.0)
CHEAP = [SampledGaussian(50.0, 1.0, 1)]


@pytest.fixture
def home(tmp_path):
    (tmp_path / "store.key").write_text(KEY.hex())
    (tmp_path / "node.toml").write_text('name = "SDN 1"\n')
    return tmp_path


def anchor(home):
    return Anchor(home / "books.anchor")


def opened(home):
    connection = Database(home / "node.db", KEY).connect()
    AuditLog(connection)
    return connection, PrivacyLedger(connection, BUDGET)


def work(home, times, *, noted=True):
    """What a node does: pays, writes down, notes."""
    connection, ledger = opened(home)
    for _ in range(times):
        ledger.spend(ledger.reserve(b"m" * 16, "x", CHEAP))
        AuditLog(connection).append(kind="reply", recipient="leader", payload=b"x")
        if noted:
            anchor(home).write(connection)
    connection.close()


def check(home):
    connection, _ = opened(home)
    try:
        anchor(home).check(connection)
    finally:
        connection.close()


def copy(home, name):
    (home / name).mkdir()
    for file in home.glob("node.db*"):
        shutil.copy(file, home / name)


def put_back(home, name):
    for file in home.glob("node.db*"):
        file.unlink()
    for file in (home / name).iterdir():
        shutil.copy(file, home)


def test_a_first_start_makes_the_note_and_later_ones_hold(home):
    check(home)
    work(home, 2)
    check(home)
    work(home, 1, noted=False)  # a power cut before the note
    check(home)


def test_a_store_put_back_is_found_and_said_what_to_do(home):
    check(home)
    work(home, 1)
    copy(home, "backup")
    work(home, 2)
    put_back(home, "backup")
    with pytest.raises(RolledBack, match=r"old copy.*accept-old-store"):
        check(home)


def test_a_store_put_back_that_went_on_differently_is_found_too(home):
    check(home)
    work(home, 1)
    copy(home, "backup")
    work(home, 2)
    put_back(home, "backup")
    work(home, 5, noted=False)
    with pytest.raises(RolledBack, match="is another than"):
        check(home)


def test_a_note_that_is_gone_changed_or_of_another_store_is_refused(home):
    check(home)
    work(home, 1)
    raw = (home / "books.anchor").read_bytes()
    for wrong in (None, b"", b"{}", raw.replace(b"privacy_ledger", b"privacy_ledgex")):
        (home / "books.anchor").unlink(missing_ok=True)
        if wrong is not None:
            (home / "books.anchor").write_bytes(wrong)
        with pytest.raises(RolledBack):
            check(home)
    (home / "books.anchor").write_bytes(raw)
    (home / "other").mkdir()
    other, _ = opened(home / "other")
    Anchor(home / "other" / "books.anchor").write(other)
    shutil.copy(home / "other" / "books.anchor", home)
    with pytest.raises(RolledBack, match="another store"):
        check(home)
    (home / "books.anchor").write_bytes(raw)
    check(home)


def test_the_deliberate_way_out_counts_the_whole_budget_as_spent(home):
    check(home)
    work(home, 1)
    copy(home, "backup")
    work(home, 1)
    put_back(home, "backup")
    result = CliRunner().invoke(app, ["keys", "accept-old-store", str(home / "node.toml"), "--yes"])
    assert result.exit_code == 0, result.output
    check(home)
    connection, ledger = opened(home)
    with pytest.raises(BudgetSpent):
        ledger.reserve(b"n" * 16, "x", CHEAP)
    later = PrivacyLedger(connection, BUDGET, lambda: NodeConfig.load(home / "node.toml") and 4e9)
    later.reserve(b"n" * 16, "x", CHEAP)
    connection.close()


def test_without_a_yes_nothing_is_accepted(home):
    check(home)
    result = CliRunner().invoke(app, ["keys", "accept-old-store", str(home / "node.toml")], input="n\n")
    assert result.exit_code == 1
    assert opened(home)[1].entries() == []
