import random
from collections import defaultdict
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.store.connection import transaction
from edge.store.day_keys import DayKeys
from edge.store.listening import Listening
from edge.store.sealed_rows import ADD, READ
from edge.store.sighting import Sighting
from edge.store.sightings import Purged, Sightings
from edge.store.slots import CLOSE_DBM, DAY_S, SLOT_S, WINDOW_S

A, B = b"a" * 16, b"b" * 16
PER_SLOT = SLOT_S // WINDOW_S
PER_DAY = DAY_S // WINDOW_S

# One connection serves all examples of a property: each begins by emptying the tables.
ONE_STORE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)


def seen(identifier, window, rssi=-60):
    return Sighting(identifier, window, 1, rssi, rssi * rssi, rssi, rssi)


def emptied(connection):
    for table in ("sightings", "day_keys", "listened", "listening_mark", "guessed_stretches", "guess"):
        connection.execute(f"DELETE FROM {table}")
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


SIGHTINGS = st.builds(
    lambda identifier, window, levels, metadata, receiver: Sighting(
        identifier,
        window,
        len(levels),
        sum(levels),
        sum(level * level for level in levels),
        min(levels),
        max(levels),
        metadata,
        receiver,
    ),
    st.sampled_from([A, B]),
    st.integers(-3, 3) | st.integers(PER_DAY - 3, PER_DAY + 3),
    st.lists(st.integers(-127, 20), min_size=1, max_size=3),
    st.sampled_from([b"", b"aaaa"]),
    st.integers(0, 2),
)


def added_up(rows):
    """One sighting an identifier, window and receiver."""
    sums = {}
    for row in rows:
        key = (row.window, row.identifier, row.receiver)
        sums[key] = sums[key] + row if key in sums else row
    return sums


@ONE_STORE
@given(batches=st.lists(st.lists(SIGHTINGS, max_size=6), max_size=4))
def test_what_is_heard_again_adds_up_in_whatever_parts_it_comes(connection, batches):
    sightings, _ = emptied(connection)
    assert [sightings.add(batch, logged_at=0) for batch in batches] == [len(batch) for batch in batches]
    expected = added_up(row for batch in batches for row in batch)
    found = list(sightings.between(-1e9, 1e9))
    assert {(row.window, row.identifier, row.receiver): row for row in found} == expected
    assert len(found) == sightings.count() == len(expected)
    assert [row.window for row in found] == sorted(row.window for row in found)
    assert sightings.days() == sorted({row.window // PER_DAY for row in found})


@ONE_STORE
@given(rows=st.lists(SIGHTINGS), bounds=st.tuples(st.integers(-90, 90), st.integers(0, 2 * DAY_S)))
def test_between_gives_the_windows_that_begin_in_between(connection, rows, bounds):
    sightings, _ = emptied(connection)
    sightings.add(rows, logged_at=0)
    from_s, until_s = bounds
    expected = {key for key in added_up(rows) if from_s <= key[0] * WINDOW_S < until_s}
    assert {(row.window, row.identifier, row.receiver) for row in sightings.between(from_s, until_s)} == expected


@ONE_STORE
@given(rows=st.lists(SIGHTINGS, max_size=20))
def test_columns_are_the_rows_of_a_day_in_bulk(connection, rows):
    sightings, _ = emptied(connection)
    sightings.add(rows, logged_at=0)
    for day in (-1, 0, 1, 2):
        of_day = list(sightings.between(day * DAY_S, (day + 1) * DAY_S))
        columns = sightings.columns(day)
        assert len(columns) == len(of_day)
        assert columns.identifiers == b"".join(row.identifier for row in of_day)
        assert columns.metadata == b"".join(row.metadata or bytes(4) for row in of_day)
        for column, field in (
            (columns.windows, "window"),
            (columns.receivers, "receiver"),
            (columns.frames, "frames"),
            (columns.rssi_sums, "rssi_sum"),
            (columns.rssi_square_sums, "rssi_square_sum"),
            (columns.rssi_min, "rssi_min"),
            (columns.rssi_max, "rssi_max"),
        ):
            assert list(column) == [getattr(row, field) for row in of_day]


def test_a_day_is_read_in_the_order_it_is_stored_without_sorting(connection):
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {READ}", (0, 4320))]
    assert len(plan) == 1
    assert "USING PRIMARY KEY" in plan[0]


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
    far = Sighting(A, 0, frames=2, rssi_sum=-150, rssi_square_sum=11_700, rssi_min=-90, rssi_max=-60)
    Sightings(connection).add([far, replace(far, identifier=B, rssi_sum=-140, rssi_square_sum=10_000)], logged_at=0)
    assert Sightings(connection).close_minutes() == [(0, pytest.approx(1 / 3))]


def test_one_whom_several_receivers_heard_counts_once_and_the_loudest_decides(connection):
    Listening(connection).add(0, SLOT_S, logged_at=0)
    heard = [replace(seen(A, 0, rssi), receiver=n) for n, rssi in enumerate((-90, -60, -65))]
    far = [replace(seen(B, 0, rssi), receiver=n) for n, rssi in enumerate((-90, -75))]
    Sightings(connection).add(heard + far, logged_at=0)
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
    """Sixty identifiers a slot, stored as they come: mixed up, in many batches; slot n is logged at 100 n.

    Returns each slot's rows, and what is stored of them: the identifier sealed, and the metadata masked.
    """
    random_bytes = random.Random(seed)
    devices = [[(random_bytes.randbytes(16), random_bytes.randbytes(4)) for _ in range(60)] for _ in range(slots)]
    stored = []
    for slot, those in enumerate(devices):
        Listening(connection).add(slot * SLOT_S, (slot + 1) * SLOT_S, 100 * slot)
        added = []
        for batch in range(0, PER_SLOT, 10):
            windows = range(slot * PER_SLOT + batch, slot * PER_SLOT + batch + 10)
            rows = [
                replace(seen(identifier, window), metadata=metadata)
                for window in windows
                for identifier, metadata in random_bytes.sample(those, 20)
            ]
            Sightings(connection).add(rows, 100 * slot)
            added += rows
        key = DayKeys(connection).find(slot * SLOT_S // DAY_S)
        stored.append((added, traces(added, key)))
    return stored


def traces(rows, key):
    """What could be left on the disk of rows under a day's key: identifiers in clear and sealed, masked metadata."""
    identifiers = [row.identifier for row in rows]
    sealed = key.seal(b"".join(identifiers))
    masked = key.mask(b"".join(identifiers), b"".join(row.metadata for row in rows))
    return {
        "clear": set(identifiers),
        "sealed": {sealed[n : n + 16] for n in range(0, len(sealed), 16)},
        "masked": {masked[n : n + 4] for n in range(0, len(masked), 4)},
    }


def counted(found, there):
    return sum(one in there for one in found)


def test_nothing_is_stored_in_clear(database, connection, plaintext):
    ((_, left),) = crowd(connection, slots=1)
    there = plaintext(database)
    assert counted(left["sealed"], there) == len(left["sealed"])
    assert counted(left["masked"], there) == len(left["masked"])
    assert counted(left["clear"], there) == 0


def test_after_retention_the_bytes_are_gone(database, connection, plaintext):
    slots = crowd(connection, slots=4)
    key = DayKeys(connection).find(0).key.reveal()
    assert all(counted(left["sealed"], plaintext(database)) == len(left["sealed"]) for _, left in slots)
    assert key in plaintext(database)
    for cut in range(1, 5):
        assert Sightings(connection).purge(before_logged_at=100 * cut - 50).overwritten
        assert database.path.with_name("node.db-wal").stat().st_size == 0
        there = plaintext(database)
        for _, left in slots[:cut]:
            assert counted(left["sealed"] | left["clear"], there) == 0
            # By chance one of some hundred four-byte masks may be in a file of some hundred kilobytes.
            assert counted(left["masked"], there) <= 1
        assert all(counted(left["sealed"], there) == len(left["sealed"]) for _, left in slots[cut:])
        # The key of the day stays as long as a row of the day does, and no longer.
        assert (key in there) == (cut < 4)
    assert Sightings(connection).days() == []
    database.check()


def test_after_an_erasure_the_bytes_are_gone_and_the_rest_can_still_be_read(database, connection, plaintext):
    slots = crowd(connection, slots=3)
    rows = [row for added, _ in slots for row in added]
    erased = set(sorted({row.identifier for row in rows})[::7])
    old_key = DayKeys(connection).find(0)
    left = traces([row for row in rows if row.identifier in erased], old_key)
    assert counted(left["sealed"], plaintext(database)) == len(erased) > 20
    assert Sightings(connection).erase(erased) == sum(row.identifier in erased for row in rows)
    assert database.path.with_name("node.db-wal").stat().st_size == 0
    there = plaintext(database)
    assert counted(left["sealed"] | left["clear"], there) == 0
    assert counted(left["masked"], there) <= 1
    # A remnant somewhere on the card cannot be opened either: the day has another key now, under another seal.
    assert old_key.key.reveal() not in there
    assert counted(traces(rows, old_key)["sealed"], there) == 0
    kept = {(row.window, row.identifier, row.receiver): row for row in rows if row.identifier not in erased}
    assert {(r.window, r.identifier, r.receiver): r for r in Sightings(connection).between(0, DAY_S)} == kept
    assert Sightings(connection).erase(erased) == 0
    database.check()


def test_erasing_one_leaves_other_days_and_their_keys_alone(connection):
    sightings = Sightings(connection)
    sightings.add([seen(A, 0), seen(B, 0), seen(B, PER_DAY)], logged_at=0)
    today, tomorrow = (DayKeys(connection).find(day) for day in (0, 1))
    assert sightings.erase([A]) == 1
    assert DayKeys(connection).find(0) != today
    assert DayKeys(connection).find(1) == tomorrow
    assert {(row.identifier, row.window) for row in sightings.between(0, 1e9)} == {(B, 0), (B, PER_DAY)}
    assert sightings.erase([B]) == 2
    assert sightings.days() == []


def test_erasing_within_a_transaction_is_undone_with_it_and_overwritten_after_it(database, connection, plaintext):
    ((rows, left),) = crowd(connection, slots=1)
    connection.execute("BEGIN")
    assert Sightings(connection).erase(left["clear"]) == len(rows)
    connection.execute("ROLLBACK")
    assert Sightings(connection).count() == len(rows)
    with transaction(connection):
        assert Sightings(connection).erase(left["clear"]) == len(rows)
    assert Sightings(connection).overwrite()
    assert counted(left["sealed"], plaintext(database)) == 0


def test_a_day_that_is_shredded_is_gone_with_its_key_and_its_listening(database, connection, plaintext):
    ((rows, left),) = crowd(connection, slots=1)
    Sightings(connection).add([seen(A, PER_DAY)], logged_at=0)
    Listening(connection).add(DAY_S, DAY_S + SLOT_S, logged_at=0)
    key = DayKeys(connection).find(0).key.reveal()
    assert Sightings(connection).shred(0) == len(rows)
    there = plaintext(database)
    assert key not in there
    assert counted(left["sealed"], there) == 0
    assert [row.identifier for row in Sightings(connection).between(0, 1e9)] == [A]
    assert set(Listening(connection).seconds()) == {DAY_S // SLOT_S}


def test_where_the_disk_is_full_the_rows_go_at_once_and_their_bytes_with_the_next_purge(
    database, connection, plaintext
):
    (_, old), *_ = crowd(connection, slots=3)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    assert Sightings(connection).purge(before_logged_at=50) == Purged(1800, 1, overwritten=False)
    assert [slot for slot, _ in Sightings(connection).close_minutes()] == [1, 2]
    connection.execute(f"PRAGMA max_page_count = {10 * pages}")
    assert Sightings(connection).purge(before_logged_at=50) == Purged(0, 0, overwritten=True)
    assert counted(old["sealed"], plaintext(database)) == 0


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
    short = b"00:11:22:33:44:55"
    with pytest.raises(ValueError, match="these have 17"):
        seen(short, 0)
    with pytest.raises(Exception, match="CHECK constraint failed"):
        connection.execute(ADD, (0, short, 0, 0, 1, -60, 3600, -60, -60, b"", 0.0))
