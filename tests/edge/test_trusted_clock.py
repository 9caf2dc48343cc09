"""The clock that the ledger, retention and reading go by, whatever is done to the wall clock."""

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from settable_clock import Machine

from edge.store.meta import Meta
from edge.store.retention import Retention
from edge.store.sighting import Sighting
from edge.store.sightings import Sightings
from edge.store.slots import DAY_S, WINDOW_S
from edge.store.trusted_clock import BOOT_GAP_S, DATED, HOUR_S, LONGEST_LOOK_S, STATE, TrustedClock
from privacy.accounting.events import SampledGaussian
from privacy.accounting.ledger import Budget, PrivacyLedger

NOON = 20_000 * DAY_S + 43_200.0
BOOT_S = 100.0
YEAR_S = 365.0 * DAY_S
KEPT_S = 14.0 * DAY_S
LIFETIME_S = 15.0 * DAY_S
ONE_STORE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=80)


def machine(wall_s=NOON, *, synchronized=True, boot="this boot"):
    return Machine(monotonic_s=BOOT_S, offset_s=wall_s - BOOT_S, synchronized=synchronized, boot=boot)


def clock_of(connection, this):
    return TrustedClock(connection, this.monotonic, this.wall, lambda: this.synchronized, this.boot)


def passes(this, clock, seconds, *, every_s=LONGEST_LOOK_S):
    """Time passes, and the node looks at the clock."""
    while seconds > 0:
        this.monotonic_s += min(every_s, seconds)
        seconds -= every_s
        clock.look()


def powered_off(this, seconds, *, wall_stands=True):
    """The same machine after a power cut; one without a battery clock begins where it was."""
    shown = this.wall() + (0.0 if wall_stands else seconds)
    return machine(shown, synchronized=False, boot=this.boot + "'")


def log_a_sighting(connection, clock, number=0, window=None):
    at = clock.now()
    window = int(at // WINDOW_S) if window is None else window
    Sightings(connection).add([Sighting(number.to_bytes(16, "big"), window, 1, -60, 3600, -60, -60)], at)


def emptied(connection):
    for table in (*(table for table, _ in DATED), "day_keys", "listening_mark", "guess"):
        connection.execute(f"DELETE FROM {table}")
    Meta(connection).set(STATE, b"")
    connection.execute("DELETE FROM meta")
    connection.execute("DROP TABLE IF EXISTS privacy_ledger")
    return connection


@pytest.fixture
def settled(connection):
    """A machine whose clock was right for a day, its clock, and a retention of 14 days."""
    this = machine()
    clock = clock_of(connection, this)
    clock.look()
    passes(this, clock, DAY_S)
    return this, clock, Retention(connection, clock, KEPT_S)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["pass", "set", "reboot", "look", "synchronized", "unsynchronized"]),
        st.floats(0, 1e5) | st.floats(-3e9, 3e9) | st.floats(-4, 4),
    ),
    max_size=40,
)


@ONE_STORE
@given(steps=STEPS, first_s=st.floats(0, 2 * NOON))
def test_time_never_goes_back_nor_faster_than_it_passed_unless_the_wall_clock_stayed_ahead(connection, steps, first_s):
    emptied(connection)
    this = machine(first_s)
    clock = clock_of(connection, this)
    Meta(connection).set("x", b"")
    Sightings(connection).add([Sighting(bytes(16), 1, 1, -60, 3600, -60, -60)], first_s)  # not a new store
    before = clock.look()
    for what, by in steps:
        passed_s = ahead_allowed_s = 0.0
        if what == "pass":
            passed_s = abs(by) % LONGEST_LOOK_S
            this.monotonic_s += passed_s
        elif what == "set":
            this.offset_s += by
        elif what == "reboot":
            this = machine(this.wall() + by, synchronized=this.synchronized, boot=this.boot + "'")
            clock = clock_of(connection, this)
            ahead_allowed_s = BOOT_GAP_S
        elif what != "look":
            this.synchronized = what == "synchronized"
        now = clock.look()
        assert before <= now
        # Forty looks of ten minutes can follow a jump only where they saw an hour of it, synchronized.
        if not _an_hour_ahead(steps):
            assert now <= before + passed_s + ahead_allowed_s + 2.001
        assert clock.now() == pytest.approx(now)
        before = now


def _an_hour_ahead(steps):
    return sum(abs(by) % LONGEST_LOOK_S for what, by in steps if what == "pass") >= HOUR_S


@ONE_STORE
@given(by_s=st.floats(3, 10 * YEAR_S), shown_s=st.floats(1, 3500), synchronized=st.booleans())
def test_a_clock_that_is_ahead_for_less_than_an_hour_moves_nothing(connection, by_s, shown_s, synchronized):
    emptied(connection)
    this = machine(synchronized=synchronized)
    clock = clock_of(connection, this)
    log_a_sighting(connection, clock)
    started = clock.look()
    this.offset_s += by_s
    passes(this, clock, shown_s, every_s=60.0)
    assert clock.verdict().jumped
    this.offset_s -= by_s
    passes(this, clock, 60)
    assert clock.now() <= started + shown_s + 60 + 62
    assert not clock.verdict().jumped


@pytest.mark.parametrize(("synchronized", "hours"), [(True, 1), (False, 24)])
def test_a_clock_that_stays_ahead_is_followed_after_an_hour_or_a_day(connection, synchronized, hours):
    this = machine(synchronized=synchronized)
    clock = clock_of(connection, this)
    log_a_sighting(connection, clock)
    clock.look()
    this.offset_s += 100 * DAY_S
    passes(this, clock, hours * HOUR_S - 1)
    assert clock.now() == pytest.approx(this.wall() - 100 * DAY_S, abs=5)
    passes(this, clock, 2 * LONGEST_LOOK_S)
    assert clock.now() == pytest.approx(this.wall(), abs=5)


def test_the_hours_that_a_clock_is_ahead_add_up_over_power_cuts(connection, settled):
    this, clock, _ = settled
    this.synchronized = False
    for _ in range(4):  # eight hours a day, and a clock with a battery
        this = powered_off(this, 16 * HOUR_S, wall_stands=False)
        clock = clock_of(connection, this)
        clock.look()
        passes(this, clock, 8 * HOUR_S)
    assert this.wall() - clock.now() < 4 * DAY_S
    assert this.wall() - clock.now() < 4 * 16 * HOUR_S  # some of it was followed


def test_a_clock_that_goes_back_does_not_stop_time(connection, settled):
    this, clock, _ = settled
    before = clock.now()
    this.offset_s -= 40 * YEAR_S
    passes(this, clock, DAY_S)
    assert clock.now() == pytest.approx(before + DAY_S)


def test_time_goes_on_after_a_power_cut_from_where_it_was(connection, settled):
    _, clock, _ = settled
    before = clock.now()
    later = machine(0.0, synchronized=False, boot="in 1970")
    clock = clock_of(connection, later)
    assert clock.now() == before
    clock.look()
    passes(later, clock, 600)
    assert clock.now() == pytest.approx(before + 600)
    assert not clock.verdict().trusted
    assert "behind" in clock.verdict().reason


def test_a_clock_set_by_hand_is_trusted_after_a_steady_day_and_no_longer_once_it_is_set(connection):
    this = machine(synchronized=False)
    clock = clock_of(connection, this)
    clock.look()
    passes(this, clock, DAY_S - 60)
    assert not clock.verdict().trusted
    assert not clock.vouches_for(this.boot, this.offset_s)
    passes(this, clock, 120)
    assert clock.verdict().trusted
    assert clock.vouches_for(this.boot, this.offset_s)
    assert not clock.vouches_for(this.boot, this.offset_s + 60)
    assert not clock.vouches_for("another boot", this.offset_s)
    this.offset_s -= 60
    passes(this, clock, 60)
    assert not clock.verdict().trusted


def test_a_new_node_that_starts_in_1970_follows_the_first_time_it_is_given_and_keeps_what_it_heard(connection):
    this = machine(0.0, synchronized=False)
    clock = clock_of(connection, this)
    clock.look()
    passes(this, clock, 60)
    log_a_sighting(connection, clock, window=5)
    passes(this, clock, 600)
    this.offset_s += NOON
    this.synchronized = True
    passes(this, clock, 60)
    assert clock.now() == pytest.approx(this.wall(), abs=3)
    assert Retention(connection, clock, KEPT_S).enforce().sightings == 0
    assert Sightings(connection).count() == 1


def test_what_was_heard_since_a_boot_without_time_is_as_young_as_it_was_once_the_time_is_known(connection, settled):
    this, clock, retention = settled
    log_a_sighting(connection, clock, 1, window=1)
    this = powered_off(this, 90 * DAY_S)
    clock = clock_of(connection, this)
    retention = Retention(connection, clock, KEPT_S)
    clock.look()
    passes(this, clock, 600)
    log_a_sighting(connection, clock, 2)
    this.offset_s += 90 * DAY_S
    this.synchronized = True
    passes(this, clock, HOUR_S)
    log_a_sighting(connection, clock, 3)
    passes(this, clock, 2 * LONGEST_LOOK_S)
    assert clock.now() == pytest.approx(this.wall(), abs=3)
    ages = [(clock.now() - at) / HOUR_S for (at,) in connection.execute("SELECT logged_at FROM sightings ORDER BY 1")]
    assert ages == [pytest.approx(90 * 24, abs=3), pytest.approx(1.5, abs=0.2), pytest.approx(0.3, abs=0.1)]
    assert retention.enforce().sightings == 1


def test_a_record_that_an_entry_may_have_read_is_not_made_younger(connection, settled):
    this, clock, _ = settled
    ledger = PrivacyLedger(connection, Budget(8.0, 1e-6, LIFETIME_S), clock.now)
    this.offset_s += 30 * DAY_S
    passes(this, clock, 600)
    log_a_sighting(connection, clock, 1)
    passes(this, clock, 60)
    ledger.reserve(b"m" * 16, "x", [SampledGaussian(9.0, 1.0, 1)])
    passes(this, clock, 60)
    log_a_sighting(connection, clock, 2)
    passes(this, clock, 2 * HOUR_S)
    ages = [(clock.now() - at) / DAY_S for (at,) in connection.execute("SELECT logged_at FROM sightings ORDER BY 1")]
    assert ages == [pytest.approx(30, abs=0.2), pytest.approx(0, abs=0.2)]


@ONE_STORE
@given(
    script=st.lists(
        st.sampled_from(["log", "read"]) | st.floats(-40 * DAY_S, 40 * DAY_S) | st.sampled_from([600.0, 7200.0, -1.0]),
        max_size=60,
    ),
    first_s=st.floats(-NOON, NOON),
)
def test_no_record_is_read_longer_than_entries_that_read_it_count(connection, script, first_s):
    """Whatever the wall clock does, also before the ledger's first row: `b < r <= b + L` in the ledger's own time for
    the last entry that reads a record, and no earlier one that read it is out of the account by then."""
    emptied(connection)
    this = machine(NOON + first_s)
    clock = clock_of(connection, this)
    clock.look()
    entries, readers, number = [], {}, 0
    connection.execute(
        "CREATE TABLE privacy_ledger (row INTEGER PRIMARY KEY, kind TEXT, at REAL)"
    )  # the clock looks at nothing else of it
    for step in script:
        if step == "log":
            number += 1
            log_a_sighting(connection, clock, number)
        elif step == "read":
            reserved_at = max([clock.now(), *entries[-1:]])
            connection.execute("INSERT INTO privacy_ledger (kind, at) VALUES ('reserve', ?)", (reserved_at,))
            entries.append(reserved_at)
            query = "SELECT identifier, window_index FROM sightings WHERE logged_at > ? AND logged_at <= ?"
            for row in connection.execute(query, (reserved_at - LIFETIME_S, reserved_at)):
                readers.setdefault(row, []).append(reserved_at)
        elif step == -1.0:
            this = powered_off(this, 0.0)
            clock = clock_of(connection, this)
            clock.look()
        elif step in {600.0, 7200.0}:
            passes(this, clock, step)
        else:
            this.offset_s += step
            clock.look()
    for reads in readers.values():
        # The ledger of the last reader counts every entry of the record lifetime before it.
        assert reads[0] >= reads[-1] - LIFETIME_S


def test_a_year_ahead_for_forty_seconds_deletes_nothing_and_housekeeping_goes_on(connection, settled):
    this, clock, retention = settled
    from edge.housekeeping import Housekeeping

    housekeeping = Housekeeping(connection, retention, KEPT_S, this.monotonic)
    window = int(clock.now() // WINDOW_S)
    rows = [Sighting(n.to_bytes(16, "big"), window, 1, -60, 3600, -60, -60) for n in range(13_490)]
    Sightings(connection).add(rows, clock.now())
    assert housekeeping.tick()
    this.offset_s += YEAR_S
    for _ in range(40):
        this.monotonic_s += 1
        housekeeping.tick()
    this.offset_s -= YEAR_S
    this.monotonic_s += HOUR_S
    assert housekeeping.tick(), "it stood still until the year was over"
    assert Sightings(connection).count() == 13_490


def test_ten_years_ahead_for_a_day_takes_one_day_of_records_a_purge(connection, settled):
    this, clock, retention = settled
    this.synchronized = False
    for day in range(10):
        log_a_sighting(connection, clock, day)
        passes(this, clock, DAY_S)
    this.offset_s += 10 * YEAR_S
    passes(this, clock, 2 * DAY_S)
    left = []
    while True:
        enforced = retention.enforce()
        left.append(Sightings(connection).count())
        if not enforced.more:
            break
    assert left[0] >= 8
    assert left[-1] == 0
    assert all(before - after <= 2 for before, after in pairwise(left))


def test_after_months_without_power_retention_is_kept_within_a_day(connection, settled):
    this, clock, _ = settled
    for day in range(14):
        log_a_sighting(connection, clock, day)
        passes(this, clock, DAY_S)
    this = powered_off(this, 120 * DAY_S, wall_stands=False)
    this.synchronized = True
    clock = clock_of(connection, this)
    retention = Retention(connection, clock, KEPT_S)
    for _ in range(24):
        passes(this, clock, HOUR_S)
        retention.enforce()
    assert Sightings(connection).count() == 0


def test_in_normal_operation_a_record_lives_as_long_as_it_should(connection, settled):
    this, clock, retention = settled
    log_a_sighting(connection, clock)
    passes(this, clock, KEPT_S - HOUR_S)
    assert retention.enforce().sightings == 0
    passes(this, clock, HOUR_S + 60)
    assert retention.enforce().sightings == 1


def test_retention_is_enforced_before_reading_where_it_was_not_for_an_hour(connection, settled):
    this, clock, retention = settled
    assert retention.enforce_if_due() is not None
    assert retention.enforce_if_due() is None
    passes(this, clock, HOUR_S)
    assert retention.enforce_if_due() is not None


def test_rows_that_an_earlier_program_dated_in_the_future_count_from_now_on(connection):
    this = machine()
    Sightings(connection).add([Sighting(bytes(16), 1, 1, -60, 3600, -60, -60)], NOON + YEAR_S)
    clock = clock_of(connection, this)
    retention = Retention(connection, clock, KEPT_S)
    enforced = retention.enforce()
    assert (enforced.dated_anew, enforced.sightings) == (1, 0)
    passes(this, clock, KEPT_S + 60)
    assert retention.enforce().sightings == 1


def test_a_store_of_an_earlier_program_is_not_purged_by_a_clock_that_is_ahead_at_its_first_start(connection):
    Sightings(connection).add([Sighting(bytes(16), 1, 1, -60, 3600, -60, -60)], NOON)
    clock = clock_of(connection, machine(NOON + YEAR_S))
    assert Retention(connection, clock, KEPT_S).enforce().sightings == 0
    assert clock.verdict().jumped


def test_retention_refuses_a_transaction(connection, settled):
    _, _, retention = settled
    connection.execute("BEGIN")
    with pytest.raises(RuntimeError):
        retention.enforce()
    connection.execute("ROLLBACK")
