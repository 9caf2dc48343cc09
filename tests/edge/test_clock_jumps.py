"""What becomes of what was heard when the clock is set, from the radio's frames to the store and back."""

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from settable_clock import Machine

from edge.sensing.advertisement import Advertisement, Heartbeat, RadioFrame
from edge.sensing.formats import gaen
from edge.sensing.hearing import Counts, decode
from edge.sensing.logbook import Logbook
from edge.store.errors import StoreFull
from edge.store.guesses import Guesses
from edge.store.listening import Listening
from edge.store.sighting import Sighting
from edge.store.sightings import Sightings
from edge.store.slots import DAY_S, SLOT_S, WINDOW_S

A, B = b"a" * 16, b"b" * 16
BOOT_S = 100.0
NOON = 20_000 * DAY_S + 43_200
ONE_STORE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
TABLES = ("sightings", "day_keys", "listened", "listening_mark", "guessed_stretches", "guess", "saved_page")


def emptied(connection):
    for table in TABLES:
        connection.execute(f"DELETE FROM {table}")
    return connection


@dataclass(frozen=True)
class Hear:
    after_s: float = 0.0
    identifier: bytes = A


@dataclass(frozen=True)
class Beat:
    after_s: float = 0.0


@dataclass(frozen=True)
class Set:
    """The clock is set, by hand or by a time server."""

    by_s: float
    synchronized: bool = False


@dataclass(frozen=True)
class Save:
    pass


END = [Beat(), Beat(20), Beat(60), Save()]
"""Listen a little longer, so that all windows are closed, and save."""


def machine(wall_s=NOON, *, synchronized=False):
    """A machine that has just booted, and whose clock shows this."""
    return Machine(monotonic_s=BOOT_S, offset_s=wall_s - BOOT_S, synchronized=synchronized)


def play(connection, machine, script, **logbook_settings):
    """One run of the sensing process, which hears what the script says; it is not told that it ends."""
    logbook = Logbook(connection, clock=machine.wall, **logbook_settings)

    def frames():
        for step in script:
            machine.monotonic_s += getattr(step, "after_s", 0.0)
            if isinstance(step, Hear):
                yield RadioFrame(gaen.encode(step.identifier, b"meta"), machine.monotonic_s, -60)
            elif isinstance(step, Beat):
                yield Heartbeat(machine.monotonic_s)
            elif isinstance(step, Set):
                machine.offset_s += step.by_s
                machine.synchronized |= step.synchronized
            else:
                logbook.save()

    for heard in decode(frames(), Counts(), machine.clock()):
        logbook.hear(heard)
    return logbook


def stored(connection):
    return list(Sightings(connection).between(-1e12, 1e12))


def windows_of(connection):
    return {row.window * WINDOW_S - NOON: row.frames for row in stored(connection)}


PAUSES = st.floats(0, 90)
JUMPS = st.floats(-5 * DAY_S, 5 * DAY_S) | st.floats(-100, 100)
SCRIPTS = st.lists(
    st.builds(Hear, PAUSES) | st.builds(Beat, PAUSES) | st.builds(Set, JUMPS, st.booleans()) | st.just(Save()),
    max_size=40,
)


@ONE_STORE
@given(script=SCRIPTS, synchronized=st.booleans())
def test_no_frame_is_lost_or_invented_however_the_clock_is_set(connection, script, synchronized):
    emptied(connection)
    logbook = play(connection, machine(synchronized=synchronized), [*script, *END])
    heard = sum(isinstance(step, Hear) for step in script)
    assert sum(row.frames for row in stored(connection)) == heard
    assert (logbook.unsaved, logbook.dropped, logbook.over_capacity) == (0, 0, 0)


@ONE_STORE
@given(scripts=st.lists(SCRIPTS, min_size=2, max_size=3))
def test_nor_where_the_process_is_started_again_in_between(connection, scripts):
    emptied(connection)
    this = machine()
    for script in scripts:
        play(connection, this, [*script, *END])
    heard = sum(isinstance(step, Hear) for script in scripts for step in script)
    assert sum(row.frames for row in stored(connection)) == heard


@ONE_STORE
@given(script=SCRIPTS)
def test_each_frame_gets_the_right_date_to_the_window(connection, script):
    emptied(connection)
    this = machine()
    # Each frame has an identifier of its own, by which it is found again; each setting of the clock is noticed.
    script = [Hear(s.after_s, n.to_bytes(16, "big")) if isinstance(s, Hear) else s for n, s in enumerate(script)]
    script = [step for s in script for step in ([s, Beat(1)] if isinstance(s, Set) else [s])]
    trusted_offset_s, now_s, offset, expected, guessed = None, BOOT_S, this.offset_s, {}, {}
    for step in script:
        now_s += getattr(step, "after_s", 0.0)
        if isinstance(step, Set):
            offset += step.by_s
            if step.synchronized and trusted_offset_s is None:
                trusted_offset_s = offset
        elif isinstance(step, Hear):
            (guessed if trusted_offset_s is None else expected)[step.identifier] = (now_s, offset)
    # What was heard before the first synchronization belongs where that puts it; else where the clock was in the end.
    final = offset if trusted_offset_s is None else trusted_offset_s
    play(connection, this, [*script, *END])
    found = {row.identifier: row.window * WINDOW_S for row in stored(connection)}
    assert found.keys() == expected.keys() | guessed.keys()
    for identifier, (heard_s, _) in guessed.items():
        assert -2 * WINDOW_S <= found[identifier] - (heard_s + final) <= WINDOW_S
    for identifier, (heard_s, by) in expected.items():
        # Two seconds are no jump.
        assert -WINDOW_S - 3 <= found[identifier] - (heard_s + by) <= 3


def test_what_was_heard_before_the_first_synchronization_moves_saved_or_not(connection):
    script = [Beat(), Hear(1), Beat(60), Save(), Hear(1), Beat(60), Set(+3600, synchronized=True), Hear(1), *END]
    play(connection, machine(), script)
    assert windows_of(connection) == {3600: 1, 3660: 1, 3720: 1}
    assert {row.metadata for row in stored(connection)} == {b"meta"}
    assert connection.execute("SELECT count(*) FROM guess").fetchone() == (0,)
    assert connection.execute("SELECT count(*) FROM sightings WHERE guessed").fetchone() == (0,)


def test_it_moves_to_another_day_and_the_key_of_the_wrong_one_is_deleted(connection):
    play(connection, machine(), [Beat(), Hear(1), Beat(60), Save()])
    assert Sightings(connection).days() == [20_000]
    play(connection, machine(), [Beat(), Hear(1), Beat(60), Save(), Set(100 * DAY_S, synchronized=True), *END])
    assert Sightings(connection).days() == [20_100]
    assert windows_of(connection) == {100 * DAY_S: 2}


def test_where_the_clock_was_right_all_along_it_is_a_guess_no_more(connection):
    this = machine()
    play(connection, this, [Beat(), Hear(1), Beat(60), Save()])
    assert connection.execute("SELECT count(*) FROM sightings WHERE guessed").fetchone() == (1,)
    play(connection, this, [Set(0, synchronized=True), *END])
    assert connection.execute("SELECT count(*) FROM sightings WHERE guessed").fetchone() == (0,)
    assert windows_of(connection) == {0: 1}


def test_a_clock_that_was_set_while_the_process_was_down_is_noticed(connection):
    this = machine()
    play(connection, this, [Beat(), Hear(1), Beat(60), Save()])
    this.offset_s += 7200
    play(connection, this, [Beat(), Hear(1), *END])
    assert windows_of(connection) == {7200: 1, 7260: 1}


def test_what_an_earlier_boot_guessed_stays_where_it_is(connection):
    play(connection, machine(), [Beat(), Hear(1), Beat(60), Save()])
    later = machine(NOON + 600)
    later.boot = "the next boot"
    play(connection, later, [Beat(), Hear(1), Beat(60), Save(), Set(3600, synchronized=True), *END])
    assert windows_of(connection) == {0: 1, 4200: 1}
    assert connection.execute("SELECT count(*) FROM sightings WHERE guessed").fetchone() == (0,)


def test_what_was_certain_stays_where_it_is_when_the_clock_is_set_later(connection):
    script = [Beat(), Hear(1), Beat(60), Save(), Hear(1), Set(3600), Hear(1), *END]
    logbook = play(connection, machine(synchronized=True), script)
    assert windows_of(connection) == {0: 1, 60: 1, 3660: 1}
    assert logbook.clock_jumps == 1


def test_windows_that_are_heard_again_after_a_jump_back_add_up(connection):
    script = [Beat(), Hear(1), Beat(59), Save(), Set(-60), Hear(1), Hear(1), *END]
    play(connection, machine(synchronized=True), script)
    assert windows_of(connection) == {0: 3}


def test_so_they_do_when_the_process_was_started_again_in_between(connection):
    this = machine(synchronized=True)
    play(connection, this, [Beat(), Hear(1), Beat(59), Save()])
    this.offset_s -= 60
    play(connection, this, [Beat(), Hear(1), *END])
    assert windows_of(connection) == {0: 2}


def test_a_guess_that_lands_on_what_was_heard_for_certain_adds_up_with_it(connection):
    play(connection, machine(NOON + 3600, synchronized=True), [Beat(), Hear(1), *END])
    later = machine()
    later.boot = "the next boot"
    play(connection, later, [Beat(), Hear(1), Beat(60), Save(), Set(3600, synchronized=True), *END])
    assert windows_of(connection) == {3600: 2}
    assert connection.execute("SELECT count(*) FROM sightings").fetchone() == (1,)


def test_a_guess_and_a_certain_row_of_one_window_are_read_as_one(connection):
    play(connection, machine(synchronized=True), [Beat(), Hear(1), *END])
    later = machine()
    later.boot = "the next boot"
    play(connection, later, [Beat(), Hear(1), Beat(60), Save()])
    assert connection.execute("SELECT count(*) FROM sightings").fetchone() == (2,)
    assert windows_of(connection) == {0: 2}
    assert list(Sightings(connection).columns(20_000).frames) == [2]
    assert Sightings(connection).erase([A]) == 2
    assert stored(connection) == []


def test_listening_is_moved_with_what_was_heard(connection):
    beats = [Beat(60)] * (SLOT_S // 60)
    play(connection, machine(), [Beat(), *beats, Save(), Set(2 * SLOT_S, synchronized=True), *END])
    seconds = Listening(connection).seconds()
    noon = NOON // SLOT_S
    assert seconds[noon + 2] == SLOT_S
    assert noon not in seconds
    assert [slot for slot, _ in Sightings(connection).close_minutes()] == [noon + 2]


def test_a_stretch_ends_with_a_jump_and_another_begins(connection):
    script = [Beat(), Beat(60), Beat(60), Set(SLOT_S), Beat(60), Beat(60), Save()]
    play(connection, machine(synchronized=True), script)
    # The minute in which the clock was set counts neither here nor there.
    assert Listening(connection).seconds() == {NOON // SLOT_S: 120, NOON // SLOT_S + 1: 60}


def test_listening_by_a_guess_counts_and_is_learnt_from_once_it_is_certain(connection):
    this = machine()
    play(connection, this, [Beat(), *[Beat(60)] * 60, Save()])
    noon = NOON // SLOT_S
    assert Listening(connection).seconds() == {noon: SLOT_S, noon + 1: SLOT_S}
    assert Sightings(connection).close_minutes() == []
    play(connection, this, [Set(0, synchronized=True), *END])
    assert [slot for slot, _ in Sightings(connection).close_minutes()] == [noon, noon + 1]


def test_a_slot_with_one_guessed_sighting_is_not_learnt_from(connection):
    play(connection, machine(synchronized=True), [Beat(), *[Beat(60)] * 60, Save()])
    noon = NOON // SLOT_S
    assert [slot for slot, _ in Sightings(connection).close_minutes()] == [noon, noon + 1]
    row = Sighting(A, NOON // WINDOW_S, 1, -60, 3600, -60, -60)
    Guesses(connection).add([row], [], NOON, boot="this boot", offset_s=0.0)
    assert [slot for slot, _ in Sightings(connection).close_minutes()] == [noon + 1]


def test_what_the_store_vouches_for_is_no_guess_until_the_clock_is_set_again(connection):
    this = machine()
    vouched = [this.offset_s]
    script = [Beat(), Hear(1), Beat(60), Save(), Set(3600), Hear(1), Beat(60), Beat(60), Save()]
    play(connection, this, script, vouches=lambda boot, offset_s: boot == this.boot and offset_s in vouched)
    rows = connection.execute("SELECT window_index, guessed FROM sightings ORDER BY window_index").fetchall()
    assert rows == [(NOON // WINDOW_S, 0), ((NOON + 3660) // WINDOW_S, 1)]


def test_a_page_is_added_once_even_where_its_commit_seemed_to_fail(connection, monkeypatch):
    logbook = Logbook(connection)
    for heard in (Heartbeat(0.0), Advertisement(A, 1.0, -60), Heartbeat(60.0), Heartbeat(120.0)):
        logbook.hear(heard)
    saved = Logbook._write

    def fails_at_last(self, pages, logged_at):
        # All of it is on disk, and the process is told that it is not.
        saved(self, pages, logged_at)
        Listening(connection).page_saved(self._run, self._closed_pages)
        connection.execute("COMMIT")
        raise StoreFull("the disk did not answer in time")

    monkeypatch.setattr(Logbook, "_write", fails_at_last)
    with pytest.raises(StoreFull):
        logbook.save()
    monkeypatch.setattr(Logbook, "_write", saved)
    logbook.save()
    assert stored(connection) == [Sighting(A, 0, 1, -60, 3600, -60, -60)]
    assert Listening(connection).seconds() == {0: 120}
    # What comes later is added.
    for heard in (Advertisement(A, 121.0, -60), Heartbeat(180.0)):
        logbook.hear(heard)
    logbook.save()
    assert [row.window for row in stored(connection)] == [0, 6]


def test_when_it_was_logged_does_not_move_with_the_wall_clock(connection):
    this = machine()
    this.boot = "this boot"
    play(connection, this, [Beat(), Hear(1), Beat(60), Save()])
    (logged_at,) = connection.execute("SELECT logged_at FROM sightings").fetchone()
    Guesses(connection).follow("this boot", this.offset_s + 100 * DAY_S, trusted=True)
    assert windows_of(connection) == {100 * DAY_S: 1}
    assert connection.execute("SELECT logged_at FROM sightings").fetchone() == (logged_at,)
    assert connection.execute("SELECT DISTINCT first_logged_at FROM listened").fetchall() == [(logged_at,)]


def test_what_was_guessed_grows_old_too(connection):
    play(connection, machine(), [Beat(), Hear(1), Beat(60), Save()])
    assert Sightings(connection).purge(NOON + DAY_S).sightings == 1
    assert Listening(connection).seconds() == {}
