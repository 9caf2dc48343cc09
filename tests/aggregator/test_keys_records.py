"""What the health authority remembers: a case once, a key once, and nothing that says whose."""

import sqlite3
from collections import Counter

import pytest

from aggregator.keys.limits import DAY_S, CaseRefusal, CaseRefused, KeyRefusal, Limits
from aggregator.keys.records import KeyRecords, StoredExport
from aggregator.records.database import Records, WrongSchema
from privacy.boundary.messages import Case, CaseKey

DAY = 20_000
NOW = DAY * DAY_S + 12 * 3600
CLINIC, OTHER = "node-00000000000000a7", "node-00000000000000a8"
LIMITS = Limits(cases_a_day=2)


@pytest.fixture
def records(tmp_path):
    made = KeyRecords(f"sqlite:///{tmp_path / 'health.db'}")
    yield made
    made.close()


def case(*names: int, day: int = DAY - 1) -> Case:
    return Case([CaseKey(bytes([name]) * 16, (day - at) * 144, 144, 0) for at, name in enumerate(names)], "1-id")


def take(
    records: KeyRecords, message: int, what: Case, *, party: str = CLINIC, region: str = "ID-JK", now: float = NOW
):
    return records.take(bytes([message]) * 16, party, region, what, LIMITS, now)


def test_a_case_that_comes_again_is_recognised(records):
    assert take(records, 1, case(1, 2)).keys == 2
    assert take(records, 1, case(1, 2)) is None
    assert len(records.pending()) == 2


def test_a_key_that_another_case_brought_is_kept_once_and_said_so(records):
    take(records, 1, case(1, 2))
    taken = take(records, 2, case(2, 3), party=OTHER)
    assert (taken.keys, taken.left_out) == (1, {KeyRefusal.KNOWN.value: 1})
    assert len(records.pending()) == 3


def test_a_clinic_that_reports_too_often_is_refused_until_the_next_day_and_others_are_not(records):
    take(records, 1, case(1))
    take(records, 2, case(2))
    with pytest.raises(CaseRefused) as refused:
        take(records, 3, case(3))
    assert refused.value.reason is CaseRefusal.TOO_MANY_CASES
    assert take(records, 4, case(4), party=OTHER).keys == 1
    assert take(records, 3, case(3), now=NOW + DAY_S + 1).keys == 1
    assert records.refusals() == [(DAY, CLINIC, CaseRefusal.TOO_MANY_CASES.value, 1)]


def test_a_refused_case_leaves_no_key_behind(records):
    overlapping = Case(
        [CaseKey(b"a" * 16, DAY * 144 - 144, 144, 0), CaseKey(b"b" * 16, DAY * 144 - 100, 144, 0)], "1-id"
    )
    with pytest.raises(CaseRefused):
        take(records, 1, overlapping)
    assert records.pending() == []


def test_keys_are_due_by_region_when_their_time_has_come(records):
    take(records, 1, case(1))
    take(records, 2, case(2, day=DAY))
    take(records, 3, case(3), party=OTHER, region="ID-JB")
    assert records.due(NOW - 1) == {}
    due = records.due(NOW + 3600)
    assert {region: [key.key[0] for key in keys] for region, keys in due.items()} == {"ID-JK": [1], "ID-JB": [3]}
    later = records.due((DAY + 1) * DAY_S + 2 * 3600)
    assert sorted(key.key[0] for key in later["ID-JK"]) == [1, 2]


def export(batch: str, ends_at: float) -> StoredExport:
    return StoredExport("ID-JK", batch, ends_at - 3600, ends_at, 1000, b"payload", None)


def test_a_key_that_went_out_is_due_no_more_and_is_known_still(records):
    take(records, 1, case(1, 2))
    keys = records.due(NOW + 3600)["ID-JK"]
    records.keep([export("1-1", NOW), export("1-2", NOW)], keys, NOW)
    assert records.due(NOW + 3600) == {}
    assert take(records, 2, case(1)).left_out == {KeyRefusal.KNOWN.value: 1}
    assert records.last_end("ID-JK") == NOW
    assert records.last_end("ID-JB") is None


def test_exports_are_kept_as_they_were_published_until_their_time_is_over(records):
    records.keep([export("1-1", NOW)], [], NOW)
    (kept,) = records.exports()
    assert (kept.payload, kept.published_at) == (b"payload", None)
    records.published(kept, NOW + 1)
    assert records.exports()[0].published_at == NOW + 1
    assert records.forget(NOW + 14 * DAY_S) == []
    (gone,) = records.forget(NOW + 14 * DAY_S + 1)
    assert gone.batch == "1-1"
    assert records.exports() == []


def test_after_14_days_nothing_is_left(records, tmp_path):
    take(records, 1, case(1, 2))
    records.wait(OTHER, b"sealed", NOW)
    records.count_refusal(CLINIC, "reason", NOW)
    records.forget(NOW + 30 * DAY_S)
    with sqlite3.connect(tmp_path / "health.db") as raw:
        tables = [name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = {table: raw.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}
    assert Counter(rows) == Counter({"jaga_keys_schema": 1})


def test_what_waits_for_a_clinics_certificate_is_kept_once_and_bounded(records):
    for _ in range(2):
        assert records.wait(CLINIC, b"sealed", NOW)
    assert records.waiting(CLINIC) == [b"sealed"]
    assert records.waiting(OTHER) == []
    records.waited(b"sealed")
    assert records.waiting(CLINIC) == []
    assert all(records.wait(CLINIC, bytes([n]), NOW) for n in range(64))
    assert not records.wait(CLINIC, b"one more", NOW)
    assert records.wait(OTHER, b"one more", NOW)


def test_no_row_says_which_keys_came_together(records, tmp_path):
    """Two cases with the same days are told apart by nothing but the keys themselves."""
    take(records, 1, case(1, 2), now=NOW + 60)
    take(records, 2, case(3, 4), party=OTHER, now=NOW + 600)
    columns = "region, rolling_start, rolling_period, days_since_onset, release_at, exported_at"
    with sqlite3.connect(tmp_path / "health.db") as raw:
        rows = raw.execute(f"SELECT {columns} FROM diagnosis_keys").fetchall()
        with pytest.raises(sqlite3.OperationalError, match="rowid"):
            raw.execute("SELECT rowid FROM diagnosis_keys")
    assert len(rows) == 4
    assert len(set(rows)) == 2, "one kind of row for each day"


def test_the_centres_records_are_not_taken_for_the_authoritys_nor_the_other_way_round(tmp_path):
    centre, health = f"sqlite:///{tmp_path / 'central.db'}", f"sqlite:///{tmp_path / 'health.db'}"
    Records(centre).close()
    KeyRecords(health).close()
    with pytest.raises(WrongSchema, match="give the health authority its own"):
        KeyRecords(centre)
    with pytest.raises(WrongSchema):
        Records(health)
