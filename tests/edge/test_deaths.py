"""A node that is killed at any step, and then at any step again, never under-counts privacy and never spends twice."""

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import mortal_node
import pytest
from mortal_node import BUDGET, EVENTS, KEY, STEPS, TASK

from edge.store.database import Database
from privacy.accounting.composition import epsilon
from privacy.accounting.ledger import PrivacyLedger
from privacy.boundary.audit import AuditLog
from privacy.identity.authority import CertificateAuthority
from privacy.identity.certificates import Role

AUTHORITY = CertificateAuthority.create("ours")
PARTIES = {
    "node": AUTHORITY.enrol("node-00000000000000a7", Role.NODE),
    "leader": AUTHORITY.enrol("leader", Role.LEADER),
}


@pytest.fixture
def home(tmp_path):
    for name, identity in PARTIES.items():
        identity.save(tmp_path / name)
    return tmp_path


def live(home, dies_after=""):
    command = [sys.executable, mortal_node.__file__, str(home), dies_after]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == (-signal.SIGKILL if dies_after else 0), done.stderr


def look(home, step):
    """What must hold after any number of deaths and one whole life."""
    store = Database(home / "node.db", KEY).connect()
    ledger, audit = PrivacyLedger(store, BUDGET), AuditLog(store)
    ledger.verify()
    audit.verify()
    entries = ledger.entries_of(TASK)
    spent = [entry for entry in entries if entry.spent_at is not None]
    trained = (home / "trained").read_bytes().count(b".")
    published = (home / "published").read_bytes().split(b"\nEND\n")[:-1]
    assert len(entries) >= trained, step  # whatever ran was paid for before
    assert ledger.epsilon() >= epsilon(EVENTS * trained, BUDGET.delta) - 1e-9
    (row,) = audit.rows()  # one release
    assert {*row.entries} == {entry.number for entry in spent}
    assert len(set(published)) == 1  # perhaps twice, but the same
    store.close()


@pytest.mark.parametrize("step", STEPS)
def test_a_death_after_any_step_costs_at_least_what_was_learnt_and_lets_one_reply_out(home, step):
    live(home, step)
    live(home)
    look(home, step)


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), list(itertools.product(STEPS[2:8], STEPS[2:])))
def test_two_deaths_do_no_more(home, first, second):
    live(home, first)
    command = [sys.executable, mortal_node.__file__, str(home), second]
    subprocess.run(command, capture_output=True, check=False)  # a step that is behind it already does not come again
    live(home)
    look(home, (first, second))


def test_the_steps_are_all_there_are(home):
    live(home)
    look(home, "a whole life")
    assert Path(mortal_node.__file__).read_text().count('reached("') == len(STEPS)
