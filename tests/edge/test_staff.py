"""Accounts, sessions and failures in the store, and the commands that change them."""

import re
import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from page_site import NOON, OTHER_PASSWORD, PASSWORD, hashed
from typer.testing import CliRunner

from edge.cli import app
from edge.page.passwords import verified
from edge.page.secret import account_mark, page_secret
from edge.store.database import Database
from edge.store.staff import (
    FIRST_LOCK_S,
    FORGET_FAILURES_S,
    LOCKING_FAILURE,
    LONGEST_LOCK_S,
    MOST_FAILING,
    SESSIONS_EACH,
    SignInFailures,
    Staff,
    StaffError,
    StaffSessions,
    account_name,
)

LIMITS = {"idle_s": 900.0, "longest_s": 28800.0}
ACCOUNT = b"a" * 32


def digest(n):
    return n.to_bytes(32, "big")


@given(st.text())
def test_a_name_is_taken_or_refused_and_never_changed_twice(typed):
    try:
        name = account_name(typed)
    except StaffError:
        return
    assert account_name(name) == name
    assert re.fullmatch(r"[a-z0-9][a-z0-9._-]+", name)


def test_an_account_is_made_once(connection):
    Staff(connection).add("sari", "$phc", NOON)
    with pytest.raises(StaffError, match="sari is there already"):
        Staff(connection).add("sari", "$other", NOON)
    assert Staff(connection).password("sari") == "$phc"


@pytest.mark.parametrize("change", ["set_password", "remove"])
def test_who_is_not_there_cannot_be_changed(connection, change):
    arguments = ("budi", "$phc", NOON) if change == "set_password" else ("budi",)
    with pytest.raises(StaffError, match="staff list"):
        getattr(Staff(connection), change)(*arguments)


@pytest.mark.parametrize("change", ["set_password", "remove"])
def test_a_change_of_the_account_ends_its_sessions_and_no_others(connection, change):
    for n, name in enumerate(("sari", "budi")):
        Staff(connection).add(name, "$phc", NOON)
        StaffSessions(connection).open(digest(n), name, NOON)
    getattr(Staff(connection), change)(*(("sari", "$new", NOON) if change == "set_password" else ("sari",)))
    found = [StaffSessions(connection).name(digest(n), NOON, **LIMITS) for n in (0, 1)]
    assert found == [None, "budi"]


def test_an_account_has_a_few_sessions_and_the_oldest_ends_first(connection):
    Staff(connection).add("sari", "$phc", NOON)
    for n in range(SESSIONS_EACH + 3):
        StaffSessions(connection).open(digest(n), "sari", NOON + n)
    assert StaffSessions(connection).count("sari") == SESSIONS_EACH
    assert StaffSessions(connection).name(digest(2), NOON + 20, **LIMITS) is None
    assert StaffSessions(connection).name(digest(3), NOON + 20, **LIMITS) == "sari"


@given(steps=st.lists(st.tuples(st.floats(-2000, 2000), st.booleans()), max_size=30))
@settings(max_examples=60, deadline=None)
def test_no_session_outlives_its_limits_whatever_the_clock_does(tmp_path_factory, steps):
    connection = Database(tmp_path_factory.mktemp("store") / "node.db", bytes(32)).connect()
    Staff(connection).add("sari", "$phc", NOON)
    StaffSessions(connection).open(digest(1), "sari", NOON)
    now = used = NOON
    ended = False
    for step, touch in steps:
        now += step
        alive = StaffSessions(connection).name(digest(1), now, **LIMITS, touch=touch) is not None
        assert not (alive and ended)
        if alive:
            assert now <= NOON + LIMITS["longest_s"]
            assert now <= used + LIMITS["idle_s"]
        used = max(used, now) if alive and touch else used
        ended = ended or not alive
    connection.close()


def test_locks_grow_with_each_failure_up_to_a_limit(connection):
    failures, now, locks = SignInFailures(connection), NOON, []
    for _ in range(LOCKING_FAILURE + 8):
        assert failures.count(ACCOUNT, now) == 0
        locks.append(failures.count(ACCOUNT, now) if failures.locked_until(ACCOUNT, now) else 0.0)
        now += locks[-1]
    assert locks[: LOCKING_FAILURE - 1] == [0.0] * (LOCKING_FAILURE - 1)
    assert locks[LOCKING_FAILURE - 1] == FIRST_LOCK_S
    assert locks == sorted(locks)
    assert locks[-1] == LONGEST_LOCK_S


@given(st.lists(st.floats(0, 400), min_size=20, max_size=80))
@settings(max_examples=25, deadline=None)
def test_guessing_is_slow_however_it_is_timed(tmp_path_factory, pauses):
    connection = Database(tmp_path_factory.mktemp("store") / "node.db", bytes(32)).connect()
    failures, now, guesses = SignInFailures(connection), NOON, []
    for pause in pauses:
        now += pause
        if failures.count(ACCOUNT, now) == 0:
            guesses.append(now)
    # From the eleventh failure on, a quarter of an hour lies between two guesses.
    for before, after in pairwise(guesses[10:]):
        assert after - before >= LONGEST_LOCK_S
    connection.close()


def test_failures_are_forgotten_after_a_day_or_when_the_password_was_right(connection):
    failures = SignInFailures(connection)
    for _ in range(LOCKING_FAILURE):
        failures.count(ACCOUNT, NOON)
    assert failures.locked_until(ACCOUNT, NOON) == NOON + FIRST_LOCK_S
    failures.count(ACCOUNT, NOON + FORGET_FAILURES_S + 1)
    assert failures.locked_until(ACCOUNT, NOON + FORGET_FAILURES_S + 1) is None
    for _ in range(LOCKING_FAILURE):
        failures.count(ACCOUNT, NOON + FORGET_FAILURES_S + 1)
    failures.forgive(ACCOUNT)
    assert failures.locked_until(ACCOUNT, NOON + FORGET_FAILURES_S + 1) is None


def test_a_clock_that_was_set_back_locks_nobody_out_for_long(connection):
    failures = SignInFailures(connection)
    for _ in range(LOCKING_FAILURE):
        failures.count(ACCOUNT, NOON)
    assert failures.count(ACCOUNT, NOON - 7 * 86400) == 0


def test_made_up_names_do_not_fill_the_disk(connection):
    for n in range(MOST_FAILING + 20):
        SignInFailures(connection).count(digest(n), NOON + n)
    assert connection.execute("SELECT count(*) FROM sign_in_failures").fetchone()[0] == MOST_FAILING


@pytest.fixture
def node(tmp_path):
    (tmp_path / "store.key").write_text("ab" * 32)
    file = tmp_path / "node.toml"
    file.write_text('name = "SDN 1 Menteng"\n[page]\n')

    class Node:
        database = Database(tmp_path / "node.db", bytes.fromhex("ab" * 32))

        @staticmethod
        def type(*arguments, typed=""):
            command = ["--log", "json", *arguments[:2], str(file), *arguments[2:]]
            return CliRunner().invoke(app, command, input=typed, env={"COLUMNS": "200"})

        def ask(self, question):
            connection = self.database.connect()
            try:
                return question(connection)
            finally:
                connection.close()

    return Node()


def test_an_account_is_added_from_standard_input_and_no_password_is_shown(node):
    done = node.type("staff", "add", "Sari", typed=PASSWORD + "\n")
    assert done.exit_code == 0, done.output
    assert PASSWORD not in done.output
    assert verified(PASSWORD, node.ask(lambda store: Staff(store).password("sari")))


@pytest.mark.parametrize(
    ("name", "typed", "said"),
    [
        ("budi", "short\n", "at least 10 characters"),
        ("budi", "", "at least 10 characters"),
        ("ibu budi", PASSWORD, "2 to 32 letters"),
        ("budi", "budi budi budi", "account's name"),
    ],
)
def test_what_cannot_be_added_says_why_and_is_not_there(node, name, typed, said):
    done = node.type("staff", "add", name, typed=typed)
    assert (done.exit_code, said in done.output) == (2, True)
    assert node.ask(lambda store: Staff(store).accounts()) == []


def test_a_name_that_is_taken_keeps_its_password(node):
    node.type("staff", "add", "sari", typed=PASSWORD)
    done = node.type("staff", "add", "sari", typed=OTHER_PASSWORD)
    assert (done.exit_code, "staff password" in done.output) == (2, True)
    assert verified(PASSWORD, node.ask(lambda store: Staff(store).password("sari")))


def test_a_new_password_ends_sessions_and_opens_a_locked_account(node):
    node.type("staff", "add", "sari", typed=PASSWORD)

    def lock(store):
        mark = account_mark(page_secret(store), "sari")
        now = time.time()
        for _ in range(LOCKING_FAILURE):
            SignInFailures(store).count(mark, now)
        StaffSessions(store).open(digest(1), "sari", now)

    node.ask(lock)
    listed = node.type("staff", "list").output
    assert re.search(r"sari .*\d\d:\d\d:\d\d UTC", listed)
    assert node.type("staff", "password", "sari", typed=OTHER_PASSWORD).exit_code == 0
    assert not re.search(r"sari .*\d\d:\d\d:\d\d UTC", node.type("staff", "list").output)
    assert node.ask(lambda store: StaffSessions(store).count("sari")) == 0
    assert verified(OTHER_PASSWORD, node.ask(lambda store: Staff(store).password("sari")))


def test_an_account_is_removed_and_one_that_is_not_there_is_named(node):
    node.type("staff", "add", "sari", typed=PASSWORD)
    assert node.type("staff", "remove", "sari").exit_code == 0
    assert node.ask(lambda store: Staff(store).accounts()) == []
    for command in ("remove", "password"):
        done = node.type("staff", command, "sari", typed=PASSWORD)
        assert (done.exit_code, "staff list" in done.output) == (2, True)


def test_a_password_is_kept_as_a_phc_string_with_a_salt_of_its_own():
    one, other = hashed(PASSWORD), hashed(PASSWORD + " ")
    assert one.startswith("$argon2id$v=19$m=32768,t=3,p=1$")
    assert one.split("$")[4] != other.split("$")[4]
