"""What the node keeps of batches, exposures and cases: each once, whatever comes twice or breaks off."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.store.cases import Cases, ReportedCase
from edge.store.connection import transaction
from edge.store.exposures import SELF, Exposure, Exposures
from edge.store.key_batches import BatchReceipt, KeyBatches
from edge.store.slots import DAY_S
from privacy.boundary.gate import Consent

NOW = 20_000 * DAY_S
ONE, TWO = b"1" * 32, b"2" * 32
KEYS = [(b"a" * 16, 19_999), (b"b" * 16, 19_999)]


def receive(
    batches: KeyBatches, digest: bytes, batch: str, *, region: str = "ID-JK", ends_at: float = NOW
) -> BatchReceipt:
    return batches.receive(digest, region, batch, ends_at - 3600, ends_at, b"export " + digest, NOW)


def match(connection, found=(), batch=None):
    batches = KeyBatches(connection)
    batch = batch or batches.start()
    with transaction(connection):
        done = batches.matched(batch.id, KEYS, NOW)
        if done:
            Exposures(connection).add(found, NOW)
    return done


def near(minutes: float = 10.0, *, day: int = 19_999, subject: str = "tag-1", room: str = "a", closeness: float = 0.5):
    return Exposure(day, subject, "zone", room, minutes, minutes / 2, closeness)


# Batches


def test_a_batch_is_kept_until_it_is_matched_and_known_afterwards(connection):
    batches = KeyBatches(connection)
    assert receive(batches, ONE, "1-1") is BatchReceipt.NEW
    assert receive(batches, ONE, "1-1") is BatchReceipt.KNOWN
    assert batches.waiting() == 1
    assert batches.start().export == b"export " + ONE
    match(connection)
    assert batches.waiting() == 0
    assert batches.start() is None
    assert receive(batches, ONE, "1-1") is BatchReceipt.KNOWN
    assert connection.execute("SELECT export FROM key_batches").fetchone() == (None,)


def test_a_replay_under_another_name_or_another_file_under_this_name_is_told_apart(connection):
    batches = KeyBatches(connection)
    receive(batches, ONE, "1-1")
    assert receive(batches, ONE, "2-1") is BatchReceipt.OTHER_NAME
    assert receive(batches, ONE, "1-1", region="ID-JB") is BatchReceipt.OTHER_NAME
    assert receive(batches, TWO, "1-1") is BatchReceipt.OTHER_CONTENT
    assert receive(batches, TWO, "1-1", region="ID-JB") is BatchReceipt.NEW
    assert batches.waiting() == 2


def test_a_batch_that_breaks_the_matching_does_not_hold_up_the_others(connection):
    batches = KeyBatches(connection)
    receive(batches, ONE, "1-1")
    receive(batches, TWO, "2-1")
    first, second, third = batches.start(), batches.start(), batches.start()
    assert [b.batch for b in (first, second, third)] == ["1-1", "2-1", "1-1"]
    assert third.attempts == 2


def test_an_attempt_is_on_disk_before_the_work(connection):
    with transaction(connection), pytest.raises(RuntimeError, match="outside of a transaction"):
        KeyBatches(connection).start()


def test_two_processes_that_match_one_batch_write_it_once(connection):
    receive(KeyBatches(connection), ONE, "1-1")
    mine, theirs = KeyBatches(connection).start(), KeyBatches(connection).start()
    assert match(connection, [near()], mine)
    assert not match(connection, [near()], theirs)
    assert [e.exposure.minutes for e in Exposures(connection).stored()] == [10.0]


def test_a_key_that_another_batch_brought_is_seen(connection):
    batches = KeyBatches(connection)
    receive(batches, ONE, "1-1")
    match(connection)
    assert batches.unseen([b"a" * 16, b"c" * 16]) == {b"c" * 16}


def test_what_was_found_is_written_with_its_batch_or_not_at_all(connection):
    receive(KeyBatches(connection), ONE, "1-1")
    batch = KeyBatches(connection).start()
    with pytest.raises(RuntimeError, match="in the transaction"):
        KeyBatches(connection).matched(batch.id, KEYS, NOW)
    with pytest.raises(RuntimeError, match="in the transaction"):
        Exposures(connection).add([near()], NOW)

    def crash() -> None:
        with transaction(connection):
            KeyBatches(connection).matched(batch.id, KEYS, NOW)
            Exposures(connection).add([near()], NOW)
            raise ZeroDivisionError("power cut")

    with pytest.raises(ZeroDivisionError):
        crash()
    assert Exposures(connection).stored() == []
    assert KeyBatches(connection).waiting() == 1
    assert KeyBatches(connection).unseen([b"a" * 16]) == {b"a" * 16}
    assert match(connection, [near()])
    assert len(Exposures(connection).stored()) == 1


def test_batches_and_keys_are_forgotten_after_14_days(connection):
    batches = KeyBatches(connection)
    receive(batches, ONE, "1-1")
    match(connection)
    receive(batches, TWO, "2-1")
    assert batches.forget(NOW + 14 * DAY_S) == 0
    assert batches.forget(NOW + 14 * DAY_S + 1) == 2
    batches.forget(NOW + 17 * DAY_S)
    assert connection.execute("SELECT count(*) FROM seen_keys").fetchone() == (0,)


# Exposures


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["x", "y"]), st.floats(0, 1000)), max_size=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
def test_minutes_of_several_batches_add_up_as_if_they_had_come_in_one(connection, rows):
    connection.execute("DELETE FROM exposures")
    expected: dict[tuple[str, str], float] = {}
    for subject, room, minutes in rows:
        with transaction(connection):
            Exposures(connection).add([near(minutes, subject=subject, room=room)], NOW)
        expected[subject, room] = expected.get((subject, room), 0) + minutes
    stored = Exposures(connection).stored()
    assert {(e.exposure.subject, e.exposure.room): e.exposure.minutes for e in stored} == pytest.approx(expected)


def add(connection, *found):
    with transaction(connection):
        Exposures(connection).add(found, NOW)


def test_an_alert_goes_by_the_score_of_a_day_over_all_rooms(connection):
    exposures = Exposures(connection)
    add(connection, near(20, room="a"), near(10, room="b"), near(20, subject="tag-2"), near(29, day=19_998))
    assert exposures.raise_alerts(15, NOW, tell=True) == 2
    alerts = [(e.exposure.day, e.exposure.subject, e.exposure.room) for e in exposures.stored(alerts_only=True)]
    assert alerts == [(19_999, "tag-1", "a"), (19_999, "tag-1", "b")]
    assert exposures.raise_alerts(15, NOW, tell=True) == 0


def test_an_alert_waits_to_be_told_until_it_was(connection):
    exposures = Exposures(connection)
    add(connection, near(40), near(40, subject=SELF))
    assert exposures.next_try_at() is None
    exposures.raise_alerts(15, NOW, tell=True)
    first, second = exposures.to_tell(NOW)
    exposures.delivered(first.id, NOW + 1)
    exposures.failed(second.id, NOW + 60)
    assert exposures.to_tell(NOW + 59) == []
    assert exposures.next_try_at() == NOW + 60
    (again,) = exposures.to_tell(NOW + 60)
    assert (again.id, again.attempts) == (second.id, 1)
    exposures.delivered(again.id, NOW + 61)
    assert exposures.next_try_at() is None
    assert all(e.delivered_at for e in exposures.stored())


def test_without_a_server_nothing_waits_to_be_told(connection):
    add(connection, near(40))
    Exposures(connection).raise_alerts(15, NOW, tell=False)
    assert Exposures(connection).next_try_at() is None
    assert Exposures(connection).stored()[0].alerted_at == NOW


def test_an_exposure_that_grows_after_it_was_seen_is_to_be_seen_again(connection):
    exposures = Exposures(connection)
    add(connection, near())
    (row,) = exposures.stored()
    assert exposures.seen(row.id, "bu-ani", NOW)
    assert not exposures.seen(row.id, "pak-budi", NOW)
    assert exposures.stored()[0].seen_by == "bu-ani"
    add(connection, near(closeness=0.9))
    grown = exposures.stored()[0]
    assert (grown.seen_at, grown.seen_by, grown.exposure.closeness) == (None, None, 0.9)


def test_exposures_go_with_their_subject_and_with_time(connection):
    exposures = Exposures(connection)
    add(connection, near(), near(subject="tag-2"), near(day=19_000))
    assert exposures.erase("tag-2") == 1
    assert exposures.purge(19_500) == 1
    assert len(exposures.stored()) == 1


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1), st.floats(0, 1))
def test_two_exposures_add_up_and_keep_the_higher_closeness(a, b, close_a, close_b):
    total = near(a, closeness=close_a) + near(b, closeness=close_b)
    assert total.minutes == a + b
    assert total.closeness == max(close_a, close_b)


@pytest.mark.parametrize("other", [near(day=1), near(subject="x"), near(room="x")])
def test_exposures_of_two_days_subjects_or_rooms_stay_apart(other):
    with pytest.raises(ValueError, match="stay apart"):
        near() + other


# Cases


def test_a_consent_is_recorded_for_one_message_and_names_nobody_but_the_witness(connection):
    case = ReportedCase(b"m" * 16, NOW, "1-id", "bu-ani", 14)
    Cases(connection).add(case)
    assert Cases(connection).consent_to(b"m" * 16) == Consent("1-id", 14)
    assert Cases(connection).consent_to(b"o" * 16) is None
    assert Cases(connection).all() == [case]


@pytest.mark.parametrize(("consent", "witness"), [("", "bu-ani"), ("1-id", ""), ("1-id", "  ")])
def test_a_case_without_consent_or_witness_is_none(consent, witness):
    with pytest.raises(ValueError, match="before a witness"):
        ReportedCase(b"m" * 16, NOW, consent, witness, 14)
