import random
from collections import defaultdict
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.sensing.sightings import CLOSE_DBM, SLOT_S, WINDOW_S, Sighting
from edge.store.connection import transaction
from edge.store.listening import Listening
from edge.store.sightings import Purged, Sightings

A, B = b"a" * 16, b"b" * 16
PER_SLOT = SLOT_S // WINDOW_S

# One connection serves all examples of a property: each begins by emptying the tables.
ONE_STORE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)


def seen(identifier, window, rssi=-60):
    return Sighting(identifier, window, 1, rssi, rssi)


def emptied(connection):
    connection.execute("DELETE FROM sightings")
    connection.execute("DELETE FROM listened")
    connection.execute("DELETE FROM listening_mark")
    return Sightings(connection), Listening(connection)


STRETCHES = st.lists(
    st.tuples(st.integers(0, 4 * SLOT_S), st.integers(1, 2 * SLOT_S)).map(lambda s: (s[0], s[0] + s[1])), min_size=1
)


@ONE_STORE
@given(stretches=STRETCHES)
def test_listening_in_order_adds_up_to_the_time_covered(connection, stretches):
    _, listening = emptied(connection)
    stretches.sort()
    covered = defaultdict(set)
    for from_s, until_s in stretches:
        listening.add(from_s, until_s, logged_at=0)
        for t in range(from_s, until_s):
            covered[t // SLOT_S].add(t)
    # The order of the starts lets a short stretch follow inside a long one, where it adds nothing.
    assert listening.seconds() == {slot: len(seconds) for slot, seconds in covered.items()}


@ONE_STORE
@given(stretches=STRETCHES)
def test_adding_the_last_stretch_again_changes_nothing(connection, stretches):
    _, listening = emptied(connection)
    for stretch in sorted(stretches):
        listening.add(*stretch, logged_at=0)
    before = listening.seconds()
    listening.add(*max(stretches), logged_at=9)
    assert listening.seconds() == before
    assert listening.until() == max(stretches)[1]


@ONE_STORE
@given(
    rows=st.lists(
        st.builds(seen, st.sampled_from([A, B]), st.integers(0, 3 * PER_SLOT - 1), st.integers(-90, -50)),
        unique_by=lambda s: (s.identifier, s.window),
    )
)
def test_close_minutes_are_those_counted_by_hand(connection, rows):
    sightings, listening = emptied(connection)
    listening.add(0, 3 * SLOT_S, logged_at=0)
    assert sightings.add(rows, logged_at=0) == len(rows)
    by_hand = [sum(r.window // PER_SLOT == s and r.rssi_mean >= CLOSE_DBM for r in rows) / 3 for s in range(3)]
    assert sightings.close_minutes() == [(s, pytest.approx(minutes)) for s, minutes in enumerate(by_hand)]


def test_adding_twice_is_adding_once(connection):
    sightings = Sightings(connection)
    rows = [seen(A, 0), seen(B, 0), seen(A, 1)]
    assert sightings.add(rows, logged_at=1) == 3
    assert sightings.add([*rows, seen(B, 1)], logged_at=2) == 1
    assert sightings.count() == 4


def test_a_quiet_slot_is_zero_and_one_without_listening_is_absent(connection):
    Sightings(connection).add([seen(A, 2 * PER_SLOT)], logged_at=0)
    Listening(connection).add(0, SLOT_S, logged_at=0)
    assert Sightings(connection).close_minutes() == [(0, 0.0)]


def test_a_slot_is_absent_until_it_is_over(connection):
    listening = Listening(connection)
    listening.add(0, SLOT_S - WINDOW_S, logged_at=0)
    assert Sightings(connection).close_minutes() == []
    listening.add(SLOT_S - WINDOW_S, SLOT_S, logged_at=0)
    assert Sightings(connection).close_minutes() == [(0, 0.0)]


@pytest.mark.parametrize(("pause_s", "slots"), [(SLOT_S // 10, [0, 1]), (SLOT_S // 10 + 1, [1])])
def test_a_slot_with_a_tenth_missing_still_counts_and_with_more_it_does_not(connection, pause_s, slots):
    listening = Listening(connection)
    listening.add(0, 600, logged_at=0)
    listening.add(600 + pause_s, 2 * SLOT_S, logged_at=0)
    assert [slot for slot, _ in Sightings(connection).close_minutes()] == slots


def test_a_far_one_is_not_close_however_loud_one_frame_was(connection):
    Listening(connection).add(0, SLOT_S, logged_at=0)
    far = Sighting(A, 0, frames=2, rssi_sum=-150, rssi_max=-60)
    Sightings(connection).add([far, replace(far, identifier=B, rssi_sum=-140)], logged_at=0)
    assert Sightings(connection).close_minutes() == [(0, pytest.approx(1 / 3))]


def test_listening_that_runs_backwards_is_refused(connection):
    with pytest.raises(ValueError, match="from 20 to 20 s is no stretch"):
        Listening(connection).add(20, 20, logged_at=0)


def test_a_clock_that_was_far_ahead_once_does_not_stop_the_counting(connection):
    listening = Listening(connection)
    listening.add(10**9, 10**9 + 60, logged_at=0)
    listening.add(0, SLOT_S, logged_at=0)
    assert listening.seconds()[0] == SLOT_S
    assert listening.until() == SLOT_S


def test_retention_deletes_old_slots_and_keeps_the_rest(connection):
    sightings, listening = Sightings(connection), Listening(connection)
    for slot, logged_at in ((0, 100), (1, 200), (2, 300)):
        listening.add(slot * SLOT_S, (slot + 1) * SLOT_S, logged_at)
        sightings.add([seen(A, slot * PER_SLOT), seen(B, slot * PER_SLOT)], logged_at)
    assert sightings.purge(before_logged_at=250) == Purged(sightings=4, slots=2, overwritten=True)
    assert [slot for slot, _ in sightings.close_minutes()] == [2]
    assert sightings.count() == 2
    assert sightings.purge(before_logged_at=250) == Purged(0, 0, overwritten=True)


def test_a_slot_that_is_half_old_goes_as_a_whole(connection):
    sightings, listening = Sightings(connection), Listening(connection)
    listening.add(0, 900, logged_at=100)
    listening.add(900, SLOT_S, logged_at=200)
    sightings.add([seen(A, 0)], logged_at=100)
    sightings.add([seen(A, PER_SLOT - 1)], logged_at=200)
    assert sightings.purge(before_logged_at=150) == Purged(2, 1, overwritten=True)
    assert sightings.close_minutes() == []


def test_sightings_without_listening_grow_old_too(connection):
    Sightings(connection).add([seen(A, 0)], logged_at=100)
    assert Sightings(connection).purge(before_logged_at=101).sightings == 1


def test_retention_does_not_send_a_replay_back_to_its_start(connection):
    Listening(connection).add(0, SLOT_S, logged_at=100)
    Sightings(connection).purge(before_logged_at=101)
    assert Listening(connection).seconds() == {}
    assert Listening(connection).until() == SLOT_S


def crowd(connection, slots, seed=1):
    """Sixty identifiers a slot, stored as they come: mixed up, in many batches; slot n is logged at 100 n."""
    random_bytes = random.Random(seed)
    identifiers = [[random_bytes.randbytes(16) for _ in range(60)] for _ in range(slots)]
    for slot, those in enumerate(identifiers):
        Listening(connection).add(slot * SLOT_S, (slot + 1) * SLOT_S, 100 * slot)
        for batch in range(0, PER_SLOT, 10):
            windows = range(slot * PER_SLOT + batch, slot * PER_SLOT + batch + 10)
            rows = [seen(identifier, w) for w in windows for identifier in random_bytes.sample(those, 20)]
            Sightings(connection).add(rows, 100 * slot)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return identifiers


def test_after_retention_the_bytes_are_gone(database, connection, plaintext):
    identifiers = crowd(connection, slots=4)
    assert all(identifier in plaintext(database) for those in identifiers for identifier in those)
    for cut in range(1, 4):
        assert Sightings(connection).purge(before_logged_at=100 * cut - 50).overwritten
        assert database.path.with_name("node.db-wal").stat().st_size == 0
        there = plaintext(database)
        assert not any(identifier in there for those in identifiers[:cut] for identifier in those)
        assert all(identifier in there for those in identifiers[cut:] for identifier in those)
    database.check()


def test_where_the_disk_is_full_the_rows_go_at_once_and_their_bytes_with_the_next_purge(
    database, connection, plaintext
):
    old, *_ = crowd(connection, slots=3)
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    assert Sightings(connection).purge(before_logged_at=50) == Purged(1800, 1, overwritten=False)
    assert [slot for slot, _ in Sightings(connection).close_minutes()] == [1, 2]
    connection.execute(f"PRAGMA max_page_count = {10 * pages}")
    assert Sightings(connection).purge(before_logged_at=50) == Purged(0, 0, overwritten=True)
    there = plaintext(database)
    assert not any(identifier in there for identifier in old)


def test_a_reader_delays_the_overwriting_and_purge_says_so(database, connection):
    Sightings(connection).add([seen(A, 0)], logged_at=100)
    reader = database.connect()
    reader.execute("BEGIN")
    assert Sightings(reader).count() == 1
    connection.execute("PRAGMA busy_timeout = 1")
    assert Sightings(connection).purge(before_logged_at=200) == Purged(1, 1, overwritten=False)
    reader.execute("COMMIT")
    assert Sightings(connection).purge(before_logged_at=200).overwritten
    reader.close()


def test_purge_inside_a_transaction_is_refused(connection):
    with transaction(connection), pytest.raises(RuntimeError, match="inside a transaction"):
        Sightings(connection).purge(0)


def test_the_store_refuses_what_is_no_identifier(connection):
    with pytest.raises(Exception, match="CHECK constraint failed"):
        Sightings(connection).add([seen(b"00:11:22:33:44:55", 0)], logged_at=0)
