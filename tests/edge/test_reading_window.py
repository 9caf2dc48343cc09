"""What learning may read of a store: what was logged in the window of its ledger entry, whole units or nothing."""

import time
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.learning.app import _examples
from edge.learning.site import Site
from edge.learning.tasks.crowding import TASK as CROWDING
from edge.learning.tasks.proximity import TASK as PROXIMITY
from edge.proximity.session import Session, Step
from edge.proximity.stats import Stats
from edge.store.calibration import Calibrations
from edge.store.listening import Listening
from edge.store.sighting import Sighting
from edge.store.sightings import FUTURE_S, Sightings
from edge.store.slots import SLOT_S, WINDOW_S, WINDOWS_PER_SLOT
from privacy.accounting.events import SampledGaussian
from privacy.accounting.ledger import Budget, PrivacyLedger

FIRST = 900_000
"""A slot of the year 2021."""
ONE_STORE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
SESSION = Session("hci0", "tag", 5.0, (Step(1.0, False, Stats.of_frames([-60] * 20, 1, 1)),))


def log_slot(connection, slot, *logged_at):
    """Heard and listened to in as many parts as there are times of logging."""
    length = SLOT_S / len(logged_at)
    for part, at in enumerate(logged_at):
        from_s = slot * SLOT_S + part * length
        Sightings(connection).add([Sighting(bytes(16), int(from_s // WINDOW_S), 1, -50, 2500, -50, -50)], at)
        Listening(connection).add(from_s, from_s + length, at)


def slots(connection, after, until):
    return [slot - FIRST for slot, _ in Sightings(connection).close_minutes(after, until)]


def test_a_slot_is_read_by_when_its_first_row_was_logged_and_then_as_a_whole(connection):
    now = FIRST * SLOT_S
    log_slot(connection, FIRST, now - 10.0, now + 10.0)
    minutes = pytest.approx(2 * WINDOW_S / 60)
    assert Sightings(connection).close_minutes(now - 11, now) == [(FIRST, minutes)]  # its second part is later
    assert Sightings(connection).close_minutes(now - 10, now + 20) == []  # its first part is earlier
    assert Sightings(connection).close_minutes(now - 11, now - 10) == [(FIRST, minutes)]


@ONE_STORE
@given(
    logged=st.lists(st.integers(-50, 50), min_size=1, max_size=6), after=st.integers(-60, 60), span=st.integers(0, 60)
)
def test_exactly_the_slots_of_the_window_are_read(connection, logged, after, span):
    for table in ("sightings", "listened", "listening_mark", "day_keys"):
        connection.execute(f"DELETE FROM {table}")
    origin = float(FIRST * SLOT_S)
    for number, at in enumerate(logged):
        log_slot(connection, FIRST + number, origin + at)
    expected = [number for number, at in enumerate(logged) if after < at <= after + span]
    assert slots(connection, origin + after, origin + after + span) == expected


def test_a_sighting_that_was_logged_before_its_slot_s_stretch_counts(connection):
    now = FIRST * SLOT_S
    Sightings(connection).add([Sighting(bytes(16), FIRST * WINDOWS_PER_SLOT, 1, -50, 2500, -50, -50)], now - 100.0)
    log_slot(connection, FIRST, float(now))
    assert slots(connection, now - 50, now) == []
    assert slots(connection, now - 101, now) == [0]


def test_a_slot_that_a_clock_which_was_ahead_has_dated_is_set_aside_and_does_not_end_the_present_one(connection):
    now = float(FIRST * SLOT_S)
    later = FIRST + int(FUTURE_S // SLOT_S) + 10
    log_slot(connection, later, now)
    log_slot(connection, FIRST, now)
    Listening(connection).add((FIRST + 1) * SLOT_S, (FIRST + 2) * SLOT_S - 100, now)  # not over
    assert slots(connection, now - 1, now) == [0]
    assert Sightings(connection).in_the_future(now) == 1
    assert Sightings(connection).in_the_future(now + FUTURE_S) == 0


def test_a_session_is_read_by_when_it_was_logged_not_by_when_the_wall_clock_says_it_began(connection):
    Calibrations(connection).add(SESSION, 100.0)
    Calibrations(connection).add(replace(SESSION, started_at=1e12), 200.0)
    assert len(PROXIMITY.read(connection, 99.0, 200.0)) == 2
    assert len(PROXIMITY.read(connection, 100.0, 200.0)) == 1
    assert PROXIMITY.read(connection, 200.0, 1e13) == []
    assert Calibrations(connection).purge(150.0) == 1


def test_an_app_reads_nothing_from_outside_of_its_entry_s_window(connection):
    now, lifetime_s = time.time(), 15 * 86400.0
    first = int(now // SLOT_S) - 40 * 48
    for number, age_s in enumerate((lifetime_s + 60, 14 * 86400.0, 60.0, 30.0, -3600.0)):
        log_slot(connection, first + number, now - age_s)
    site = Site(connection, PrivacyLedger(connection, Budget(8.0, 1e-6, lifetime_s), lambda: now))
    entry = site.ledger.reserve(b"m" * 16, "x", [SampledGaussian(9.0, 1.0, 1)])
    assert _examples(site, CROWDING, entry).units == tuple(slot for slot in (first + 2, first + 3) if slot % 48 >= 1)
