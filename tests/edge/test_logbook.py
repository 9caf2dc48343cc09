import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.sensing.advertisement import HEARTBEAT_S, SILENCE_S, Advertisement, ClockReading, Heartbeat
from edge.sensing.contacts import Contact
from edge.sensing.logbook import FULL_PAGE, Logbook
from edge.sensing.process import Saving
from edge.sensing.replay import ReplayScanner
from edge.sensing.sightings import SLOT_S, WINDOW_S, Sighting, fold
from edge.store.errors import StoreFull
from edge.store.listening import Listening
from edge.store.sightings import Sightings

A, B = b"a" * 16, b"b" * 16


def heard(identifier, at_s):
    return Advertisement(identifier, at_s, -60)


def school(hours):
    """Two pupils of one class, face to face without a pause."""
    return [Contact(t, "ann", "bob", "3A", "3A") for t in range(0, hours * 3600, WINDOW_S)]


def stored(connection):
    return set(Sightings(connection).between(-1e9, 1e11))


def one(window, identifier, frames=1):
    return Sighting(identifier, window, frames, -60 * frames, 3600 * frames, -60, -60)


def take(logbook, stream):
    for one in stream:
        logbook.hear(one)
    return logbook


def out_of_room(connection):
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages + 1}")


def with_room(connection):
    connection.execute("PRAGMA max_page_count = 1000000")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(kills=st.lists(st.tuples(st.integers(0, 900), st.integers(1, 100)), max_size=3))
def test_wherever_it_dies_a_replay_that_goes_on_stores_all_of_it_once(connection, kills):
    for table in ("sightings", "listened", "listening_mark"):
        connection.execute(f"DELETE FROM {table}")
    contacts = school(hours=1)
    for frames, save_every in kills:
        logbook = Logbook(connection)
        replay = ReplayScanner(contacts, "3A", 1, since_s=Listening(connection).until())
        for i, one in zip(range(frames), replay, strict=False):
            logbook.hear(one)
            if i % save_every == 0:
                logbook.save()
    last = Logbook(connection)
    take(last, ReplayScanner(contacts, "3A", 1, since_s=Listening(connection).until())).save()
    assert stored(connection) == set(fold(ReplayScanner(contacts, "3A", 1)))
    assert set(Listening(connection).seconds().values()) == {SLOT_S}
    assert [minutes for _, minutes in Sightings(connection).close_minutes()] == [60, 60]


def test_a_window_that_is_not_over_is_not_stored(connection):
    logbook = take(Logbook(connection), [Heartbeat(0), heard(A, 5), heard(A, 25), Heartbeat(30)])
    logbook.save()
    assert stored(connection) == {one(0, A)}
    assert Listening(connection).until() == 20
    take(logbook, [heard(A, 35), Heartbeat(60)]).save()
    assert stored(connection) == {one(0, A), one(1, A, frames=2)}
    assert Listening(connection).seconds() == {0: 60}


def test_listening_that_begins_within_a_window_counts_from_the_next_one(connection):
    take(Logbook(connection), [Heartbeat(5), Heartbeat(65)]).save()
    assert Listening(connection).seconds() == {0: 40}


@pytest.mark.parametrize(("pause_s", "seconds"), [(SILENCE_S, SILENCE_S + 120), (SILENCE_S + 20, 120)])
def test_a_long_pause_was_not_listened_to_and_a_short_one_was(connection, pause_s, seconds):
    beats = [0, HEARTBEAT_S, HEARTBEAT_S + pause_s, 2 * HEARTBEAT_S + pause_s]
    take(Logbook(connection), map(Heartbeat, beats)).save()
    assert Listening(connection).seconds() == {0: seconds}


def test_counts_tell_what_is_stored_unsaved_and_heard_up_to(connection):
    logbook = take(Logbook(connection), [Heartbeat(0), heard(A, 0), heard(B, 0), heard(A, 20), Heartbeat(60)])
    assert (logbook.stored, logbook.unsaved, logbook.dropped, logbook.until_s) == (0, 3, 0, 60)
    logbook.save()
    assert (logbook.stored, logbook.unsaved, logbook.dropped, logbook.until_s) == (3, 0, 0, 60)


def test_a_full_disk_loses_nothing_that_fits_in_memory(connection):
    out_of_room(connection)
    logbook = take(Logbook(connection), ReplayScanner(school(hours=4), "3A", 1))
    for _ in range(3):
        with pytest.raises(StoreFull):
            logbook.save()
    assert stored(connection) == set()
    with_room(connection)
    logbook.save()
    assert stored(connection) == set(fold(ReplayScanner(school(hours=4), "3A", 1)))
    assert (logbook.unsaved, logbook.dropped) == (0, 0)


def test_what_does_not_fit_is_counted_and_its_slots_are_not_taken_for_quiet(connection):
    logbook = Logbook(connection, capacity=500)
    take(logbook, ReplayScanner(school(hours=2), "3A", 1))
    assert logbook.unsaved <= 500
    assert logbook.unsaved + logbook.dropped == 2 * 2 * 180
    logbook.save()
    # Half an hour is 180 sightings and 30 pages: 500 hold the last two slots, and no more than a part of the second.
    assert [slot for slot, _ in Sightings(connection).close_minutes()] == [2, 3]
    assert logbook.stored + logbook.dropped == 2 * 2 * 180


def test_memory_is_bounded_in_a_quiet_place_too(connection):
    logbook = Logbook(connection, capacity=50)
    take(logbook, map(Heartbeat, range(0, 100 * HEARTBEAT_S, HEARTBEAT_S)))
    assert logbook.pages == 50


def test_a_full_disk_is_said_once_and_so_is_its_end(connection):
    events = []
    logbook = Logbook(connection)
    saving = Saving(logbook, events.append)
    out_of_room(connection)
    stream = iter(ReplayScanner(school(hours=8), "3A", 1))
    for _ in range(3):
        take(logbook, (one for one, _ in zip(stream, range(600), strict=False)))
        saving.save()
    assert saving.failing
    with_room(connection)
    for _ in range(2):
        saving.save()
    assert [e["event"] for e in events] == ["store_full", "store_recovered", "heard", "heard"]
    assert "make room" in events[0]["reason"]
    assert events[0]["unsaved"] > 0
    assert events[1]["unsaved"] == 0


def test_a_locked_store_is_waited_for_like_a_full_one(database, connection):
    other = database.connect()
    other.execute("BEGIN IMMEDIATE")
    connection.execute("PRAGMA busy_timeout = 1")
    events = []
    saving = Saving(take(Logbook(connection), [Heartbeat(0), heard(A, 0), Heartbeat(60)]), events.append)
    saving.save()
    other.execute("ROLLBACK")
    other.close()
    saving.save()
    assert [e["event"] for e in events] == ["store_unavailable", "store_recovered", "heard"]
    assert len(stored(connection)) == 1


READING = ClockReading("this boot", 0.0, trusted=True)


def test_what_a_radio_heard_last_is_kept_when_it_stops(connection):
    logbook = take(Logbook(connection), [Heartbeat(0, READING), heard(A, 5), heard(A, 25), heard(B, 45)])
    logbook.end(through=False)
    logbook.save()
    assert stored(connection) == {one(0, A), one(1, A), one(2, B)}
    # How long it listened is known up to the last heartbeat.
    assert Listening(connection).seconds() == {}


@pytest.mark.parametrize("through", [False, True])
def test_a_recording_that_stops_midway_hears_its_open_window_again_and_one_that_is_through_does_not(
    connection, through
):
    stream = [Heartbeat(0), heard(A, 5), heard(A, 25), Heartbeat(30), heard(B, 35)]
    logbook = take(Logbook(connection), stream)
    logbook.end(through=through)
    logbook.save()
    again = Listening(connection).until()
    later = take(Logbook(connection), [one for one in stream if getattr(one, "heard_at_s", 0) >= again])
    later.end(through=True)
    later.save()
    assert stored(connection) == {one(0, A), one(1, A), one(1, B)}


def test_in_a_crowd_a_page_does_not_wait_for_a_heartbeat_and_a_window_fits_whatever_the_capacity(connection):
    crowd = [n.to_bytes(16, "big") for n in range(FULL_PAGE)]
    logbook = take(Logbook(connection, capacity=100), [Heartbeat(0), *(heard(i, 1) for i in crowd)])
    assert logbook.pages == 0
    assert logbook.hear(heard(A, 21))
    assert (logbook.unsaved, logbook.until_s) == (FULL_PAGE, 20)
    logbook.save()
    assert len(stored(connection)) == FULL_PAGE
    assert Listening(connection).seconds() == {0: 20}


def test_beyond_its_limit_a_window_drops_new_identifiers_and_counts_their_frames(connection):
    logbook = Logbook(connection, identifiers_a_window=1)
    take(logbook, [Heartbeat(0), heard(A, 1), heard(B, 2), heard(A, 3), heard(B, 4), Heartbeat(60)]).save()
    assert stored(connection) == {one(0, A, frames=2)}
    assert (logbook.over_capacity, logbook.dropped) == (2, 0)


def test_a_recording_whose_time_goes_back_begins_a_new_stretch(connection):
    stream = [
        Heartbeat(1000),
        heard(A, 1001),
        Heartbeat(1060),
        heard(A, 5),
        Heartbeat(60),
        heard(A, 61),
        Heartbeat(120),
    ]
    logbook = take(Logbook(connection), stream)
    logbook.save()
    assert stored(connection) == {one(50, A), one(0, A), one(3, A)}
    assert logbook.clock_jumps == 1
    # Within a slot what comes out of order does not count as listened: too little is safe, twice would not be.
    assert Listening(connection).seconds() == {0: 60}
