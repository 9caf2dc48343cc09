"""The ledger against its theorem, against `kill -9`, against two processes at once, and against an editor."""

import multiprocessing
import os
import signal
import sqlite3
from dataclasses import dataclass

import pytest
import sqlcipher3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from privacy.accounting.composition import epsilon
from privacy.accounting.events import SampledGaussian
from privacy.accounting.ledger import (
    UNIT_SPREAD_S,
    AlreadySpent,
    Budget,
    BudgetSpent,
    LedgerError,
    PrivacyLedger,
    UnknownEntry,
)
from privacy.journal import BrokenChain, UnsuitableConnection

DAY = 86400.0
BUDGET = Budget(epsilon=8, delta=1e-6, record_lifetime_s=7 * DAY)
# One such event costs epsilon 4.9, two 7.3, three 9.3: two fit into the budget. (Noise 2 over what a unit moves a sum
# by is noise 1 over what replacing it moves it by: closed form, 4.887 for all of delta.)
COSTLY = [SampledGaussian(2.0, 1.0, 1)]
CHEAP = [SampledGaussian(50.0, 1.0, 1)]
MESSAGE = b"m" * 16

forked = multiprocessing.get_context("fork")


def plain(path):
    return sqlite3.connect(path, isolation_level=None, timeout=10)


def encrypted(path):
    connection = sqlcipher3.connect(str(path), isolation_level=None, timeout=10)
    connection.execute(f"PRAGMA key = \"x'{'5a' * 32}'\"")
    connection.execute("PRAGMA journal_mode = WAL")
    return connection


@dataclass
class Clock:
    now: float = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture(params=[plain, encrypted], ids=["sqlite3", "sqlcipher3"])
def connect(request, tmp_path):
    return lambda: request.param(tmp_path / "node.db")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledger(connect, clock):
    return PrivacyLedger(connect(), BUDGET, clock)


def test_a_ledger_without_entries_has_spent_nothing(ledger):
    assert (ledger.epsilon(), ledger.entries(), ledger.verify()[0]) == (0, [], 0)


def test_a_reservation_counts_before_its_work_has_run_and_no_more_once_it_has(ledger):
    entry = ledger.reserve(MESSAGE, "train crowding", COSTLY)
    reserved = ledger.epsilon()
    ledger.spend(entry)
    assert ledger.epsilon() == reserved == epsilon(COSTLY, BUDGET.delta)


def test_what_does_not_fit_is_refused_with_every_figure_and_leaves_no_row(ledger):
    ledger.reserve(MESSAGE, "train", COSTLY * 2)
    with pytest.raises(
        BudgetSpent, match=r"epsilon 7\.\d+ is spent and this asks for 4\.897 more, .* of 8 "
    ) as refused:
        ledger.reserve(MESSAGE, "train", COSTLY)
    assert refused.value.total == epsilon(COSTLY * 3, BUDGET.delta)
    assert len(ledger.entries()) == 1


def test_what_still_fits_is_let_in_after_a_refusal(ledger):
    ledger.reserve(MESSAGE, "train", COSTLY * 2)
    with pytest.raises(BudgetSpent):
        ledger.reserve(MESSAGE, "train", COSTLY)
    assert ledger.reserve(MESSAGE, "evaluate", CHEAP) == 2


def test_a_release_without_noise_never_fits(ledger):
    with pytest.raises(BudgetSpent, match="asks for inf"):
        ledger.reserve(MESSAGE, "train", [SampledGaussian(0.0, 1.0, 1)])


def test_an_entry_is_spent_once(ledger):
    entry = ledger.reserve(MESSAGE, "train", CHEAP)
    ledger.spend(entry)
    with pytest.raises(AlreadySpent, match=f"entry {entry}"):
        ledger.spend(entry)


def test_only_a_reservation_can_be_spent(ledger):
    ledger.spend(ledger.reserve(MESSAGE, "train", CHEAP))
    for number in (0, 2, 99):
        with pytest.raises(UnknownEntry, match=f"entry {number} "):
            ledger.spend(number)


def test_a_second_attempt_at_one_message_is_a_second_cost(ledger):
    first, second = ledger.reserve(MESSAGE, "train", COSTLY), ledger.reserve(MESSAGE, "train", COSTLY)
    ledger.spend(second)
    assert [entry.number for entry in ledger.entries_of(MESSAGE)] == [first, second]
    assert ledger.spent_entries(MESSAGE) == [second]
    assert ledger.entries_of(b"another message.") == []
    assert ledger.epsilon() == epsilon(COSTLY * 2, BUDGET.delta)


@pytest.mark.parametrize("finishes", [True, False])
def test_an_entry_stops_counting_when_all_rows_of_a_unit_it_can_have_touched_are_out_of_reach(ledger, clock, finishes):
    entry = ledger.reserve(MESSAGE, "train", COSTLY)
    if finishes:
        ledger.spend(entry)
    clock.now += BUDGET.record_lifetime_s + UNIT_SPREAD_S
    assert ledger.epsilon() > 0
    clock.now += 1
    assert ledger.epsilon() == 0


def test_an_entry_reads_what_was_logged_in_one_record_lifetime_until_it_was_reserved(ledger, clock):
    entry = ledger.reserve(MESSAGE, "train", CHEAP)
    reserved_at = clock.now
    clock.now += 5 * DAY
    assert ledger.reading_window(entry) == (reserved_at - BUDGET.record_lifetime_s, reserved_at)
    with pytest.raises(UnknownEntry):
        ledger.reading_window(7)


def test_ledger_time_is_never_before_the_newest_record(connect, clock):
    """Otherwise a clock that went back before the first row would leave all newer records unread."""
    newest = clock.now + 3 * DAY
    ledger = PrivacyLedger(connect(), BUDGET, clock, lambda: newest)
    entry = ledger.reserve(MESSAGE, "train", CHEAP)
    assert ledger.reading_window(entry)[1] == newest


def test_a_broken_ledger_reserves_nothing(connect):
    connection = connect()
    ledger = PrivacyLedger(connection, BUDGET)
    for _ in range(3):
        ledger.reserve(MESSAGE, "train", CHEAP)
    connection.execute("DROP TRIGGER privacy_ledger_keeps_rows")
    connection.execute("UPDATE privacy_ledger SET at = at - 1e6 WHERE row = 3")
    for opened in (ledger, PrivacyLedger(connection, BUDGET)):
        with pytest.raises(BrokenChain, match="row 3"):
            opened.reserve(MESSAGE, "train", CHEAP)
    assert len(ledger.entries()) == 3


def test_a_ledger_that_lost_its_last_rows_while_it_was_open_reserves_nothing(connect):
    connection = connect()
    ledger = PrivacyLedger(connection, BUDGET)
    for _ in range(3):
        ledger.reserve(MESSAGE, "train", CHEAP)
    connection.execute("DROP TRIGGER privacy_ledger_loses_none")
    connection.execute("DELETE FROM privacy_ledger WHERE row > 1")
    with pytest.raises(BrokenChain):
        ledger.reserve(MESSAGE, "train", CHEAP)


def test_a_clock_that_goes_back_neither_forgets_an_entry_nor_backdates_one(ledger, clock):
    start = clock.now
    ledger.reserve(MESSAGE, "train", COSTLY)
    clock.now -= 30 * DAY
    entry = ledger.reserve(MESSAGE, "train", COSTLY)
    assert [entry.reserved_at for entry in ledger.entries()] == [start, start]
    ledger.spend(entry)
    assert ledger.epsilon() == epsilon(COSTLY * 2, BUDGET.delta)


class Site:
    """A node's rows, each with the time it was logged at, and what was released of them, as an outsider notes it."""

    def __init__(self, lifetime_s):
        self.clock = Clock()
        self.logged = []
        budget = Budget(epsilon=8, delta=1e-6, record_lifetime_s=lifetime_s)
        connection = sqlite3.connect(":memory:", isolation_level=None)
        self.ledger = PrivacyLedger(connection, budget, self.clock, lambda: max(self.logged, default=-1e18))
        self.reserved, self.released = [], []

    def log(self, at):
        self.logged.append(at)

    def reserve(self, noise):
        events = [SampledGaussian(noise, 1.0, 1)]
        try:
            entry = self.ledger.reserve(MESSAGE, "train", events)
        except BudgetSpent:
            return
        self.reserved.append((entry, events))

    def work(self):
        """Spend, read, release; rows that are logged later are read by the same window."""
        if self.reserved:
            entry, events = self.reserved.pop()
            self.ledger.spend(entry)
            self.released.append((*self.ledger.reading_window(entry), events))

    def cost_of(self, rows):
        touched = [
            event
            for after, until, events in self.released
            if any(after < row <= until for row in rows)
            for event in events
        ]
        return epsilon(touched, 1e-6)


JUMPS = st.sampled_from([-30 * DAY, -2 * DAY, -0.25 * DAY, 0.0, 0.25 * DAY, 0.75 * DAY, 3 * DAY, 40 * DAY])
LIVES = st.lists(
    st.tuples(st.sampled_from(["log", "reserve", "reserve", "work", "crash"]), JUMPS, st.sampled_from([1.6, 2.0, 4.0])),
    min_size=6,
    max_size=40,
)


def check_that_no_record_pays_more_than_the_budget(steps):
    site = Site(lifetime_s=2 * DAY)
    site.log(site.clock.now)
    for what, jump, noise in steps:
        site.clock.now += jump
        if what == "log":
            site.log(site.clock.now)  # by a clock that nobody trusts: times of rows go back and forth
        elif what == "reserve":
            site.reserve(noise)
        elif what == "work":
            site.work()
        else:
            site.reserved.clear()
    for row in {row + late for row in site.logged for late in (0.0, UNIT_SPREAD_S)}:
        assert site.cost_of([row]) <= 8
        # A unit whose rows were logged over its spread.
        assert site.cost_of([row, row + UNIT_SPREAD_S / 3, row + UNIT_SPREAD_S]) <= 8
    site.ledger.verify()


@settings(max_examples=300, deadline=None)
@given(LIVES)
def test_no_record_ever_pays_more_than_the_budget(steps):
    check_that_no_record_pays_more_than_the_budget(steps)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=10_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(LIVES)
def test_no_record_ever_pays_more_than_the_budget_in_ten_thousand_lives(steps):
    check_that_no_record_pays_more_than_the_budget(steps)


def test_a_clock_that_starts_ahead_and_goes_back_before_the_first_row_lets_no_record_be_read_twice_over():
    site = Site(lifetime_s=2 * DAY)
    for when in (30 * DAY, -30 * DAY, 3 * DAY, 3 * DAY, 3 * DAY):
        site.clock.now += when
        site.log(site.clock.now)
        for _ in range(3):
            site.reserve(2.0)
            site.work()
    assert all(site.cost_of([row]) <= 8 for row in site.logged)
    assert len(site.released) == 2  # ledger time stands still at the first, which is ahead


class DiesBefore:
    """A connection whose process is killed, as by `kill -9`, right before its n-th statement."""

    def __init__(self, connection, statements_left):
        self._connection, self._left = connection, statements_left

    @property
    def in_transaction(self):
        return self._connection.in_transaction

    def execute(self, *arguments):
        self._left -= 1
        if self._left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return self._connection.execute(*arguments)


def train_once(connect, statements_left, work):
    ledger = PrivacyLedger(DiesBefore(connect(), statements_left), BUDGET)
    entry = ledger.reserve(MESSAGE, "train", CHEAP)
    with work.open("ab") as ran:
        ran.write(b"x")
    ledger.spend(entry)


def test_killed_before_any_statement_the_ledger_still_counts_all_work_that_ran(connect, tmp_path):
    work = tmp_path / "work"
    work.touch()
    deaths, exit_code = 0, -signal.SIGKILL
    while exit_code == -signal.SIGKILL:
        process = forked.Process(target=train_once, args=(connect, deaths, work))
        process.start()
        process.join(30)
        exit_code = process.exitcode
        deaths += exit_code == -signal.SIGKILL

        survivor = PrivacyLedger(connect(), BUDGET)
        survivor.verify()
        ran = len(work.read_bytes())
        assert survivor.epsilon() >= epsilon(CHEAP * ran, BUDGET.delta)
        assert len(survivor.spent_entries(MESSAGE)) <= ran <= len(survivor.entries())
    assert exit_code == 0
    assert deaths > 12
    # Some died between reservation and spend: those reservations count for what may have run.
    assert 1 <= len(survivor.spent_entries(MESSAGE)) < len(survivor.entries())
    assert survivor.epsilon() == epsilon(CHEAP * len(survivor.entries()), BUDGET.delta)


def race(connect, barrier, outcomes):
    ledger = PrivacyLedger(connect(), BUDGET)
    barrier.wait(30)
    for _ in range(4):
        try:
            outcomes.put(ledger.reserve(MESSAGE, "train", COSTLY))
        except BudgetSpent:
            outcomes.put(None)


def test_two_processes_at_once_do_not_both_fit_into_the_last_of_the_budget(connect):
    PrivacyLedger(connect(), BUDGET)
    barrier, outcomes = forked.Barrier(2), forked.Queue()
    racers = [forked.Process(target=race, args=(connect, barrier, outcomes)) for _ in range(2)]
    for racer in racers:
        racer.start()
    granted = [outcome for outcome in (outcomes.get(timeout=30) for _ in range(8)) if outcome is not None]
    for racer in racers:
        racer.join(30)
    ledger = PrivacyLedger(connect(), BUDGET)
    assert sorted(granted) == [1, 2]
    assert ledger.epsilon() == epsilon(COSTLY * 2, BUDGET.delta) <= BUDGET.epsilon
    ledger.verify()


def test_a_spend_is_undone_with_the_transaction_that_stores_its_output(ledger, connect):
    entry = ledger.reserve(MESSAGE, "train", CHEAP)
    connection = connect()
    other = PrivacyLedger(connection, BUDGET, Clock())
    connection.execute("BEGIN IMMEDIATE")
    other.spend(entry)
    connection.execute("ROLLBACK")
    assert ledger.spent_entries(MESSAGE) == []
    ledger.spend(entry)
    assert ledger.verify()[0] == 2


def test_a_reservation_that_a_rollback_could_take_back_is_refused(connect):
    connection = connect()
    ledger = PrivacyLedger(connection, BUDGET)
    connection.execute("BEGIN")
    with pytest.raises(LedgerError, match="open transaction"):
        ledger.reserve(MESSAGE, "train", CHEAP)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE privacy_ledger SET events = x''",
        "DELETE FROM privacy_ledger",
        "INSERT OR REPLACE INTO privacy_ledger SELECT row, kind, at, x'', purpose, events, entry, hash "
        "FROM privacy_ledger WHERE row = 1",
        "INSERT INTO privacy_ledger SELECT 9, kind, at, message_id, purpose, events, entry, hash "
        "FROM privacy_ledger WHERE row = 1",
    ],
)
def test_the_database_refuses_to_change_or_lose_a_row(connect, statement):
    connection = connect()
    ledger = PrivacyLedger(connection, BUDGET)
    ledger.reserve(MESSAGE, "train", CHEAP)
    with pytest.raises((sqlite3.IntegrityError, sqlcipher3.IntegrityError), match="append-only"):
        connection.execute(statement)
    assert len(ledger.entries()) == 1
    ledger.verify()


@pytest.mark.parametrize(
    ("tampering", "row"),
    [
        ("UPDATE privacy_ledger SET events = (SELECT events FROM privacy_ledger WHERE row = 1) WHERE row = 3", 3),
        ("UPDATE privacy_ledger SET at = at - 1e6 WHERE row = 1", 1),
        ("UPDATE privacy_ledger SET purpose = 'nothing' WHERE row = 3", 3),
        ("DELETE FROM privacy_ledger WHERE row = 2", 2),
        ("UPDATE privacy_ledger SET hash = zeroblob(32) WHERE row = 4", 4),
    ],
)
def test_an_edited_ledger_names_the_first_row_that_was_touched(connect, tampering, row):
    connection = connect()
    ledger = PrivacyLedger(connection, BUDGET)
    for events in (CHEAP, COSTLY):
        ledger.spend(ledger.reserve(MESSAGE, "train", events))
    assert ledger.verify()[0] == 4
    for trigger in ("keeps_rows", "loses_none"):
        connection.execute(f"DROP TRIGGER privacy_ledger_{trigger}")
    connection.execute(tampering)
    with pytest.raises(BrokenChain, match=f"row {row} of privacy_ledger") as broken:
        ledger.verify()
    assert broken.value.row == row


def test_a_ledger_opened_again_goes_on_where_it_was(connect, clock):
    entry = PrivacyLedger(connect(), BUDGET, clock).reserve(MESSAGE, "train", COSTLY)
    again = PrivacyLedger(connect(), BUDGET, clock)
    again.spend(entry)
    assert again.epsilon() == epsilon(COSTLY, BUDGET.delta)
    assert again.verify()[0] == 2


def test_a_connection_that_commits_by_itself_or_forgets_in_a_power_cut_is_refused(tmp_path):
    with pytest.raises(UnsuitableConnection, match="isolation_level=None"):
        PrivacyLedger(sqlite3.connect(tmp_path / "a.db"), BUDGET)
    careless = plain(tmp_path / "b.db")
    careless.execute("PRAGMA synchronous = NORMAL")
    with pytest.raises(UnsuitableConnection, match="power cut"):
        PrivacyLedger(careless, BUDGET)


@pytest.mark.parametrize("numbers", [(0, 1e-6, 1), (float("inf"), 1e-6, 1), (8, 0, 1), (8, 1, 1), (8, 1e-6, 0)])
def test_a_budget_that_protects_nothing_is_refused(numbers):
    with pytest.raises(ValueError, match="must be"):
        Budget(*numbers)
