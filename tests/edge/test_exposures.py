"""Who was near a case, in each way a node is used: by hand-made sightings whose minutes can be counted on fingers."""

import pytest
from heard_contacts import heard, minutes

from edge.proximity.closeness import Closeness
from edge.store.exposures import SELF
from edge.store.sightings import Sightings
from edge.store.site import SiteModes
from edge.store.tags import Tags
from edge.tracing.calibration import Calibration
from edge.tracing.encounters import Nearness
from edge.tracing.exposure import Exposing, Site
from edge.tracing.rooms import Receiver, Rooms
from edge.tracing.scoring import Scoring
from privacy.tokens.gaen import ReportType, TemporaryExposureKey
from privacy.tokens.tags import exposure_key

DAY = 20_000
CASE_SECRET, TAG, OTHER = b"c" * 32, b"t" * 32, b"o" * 32
CORNERS = Rooms.of([Receiver(0, "hall", 0, 0), Receiver(1, "hall", 8, 0), Receiver(2, "hall", 0, 8)], (), "hall")
TWO_ROOMS = Rooms.of([Receiver(0, "a"), Receiver(1, "b")], (), "a")


@pytest.fixture
def site(connection):
    """A store with two tags, and a function that works out the exposures to one key, as {(subject, room): exposure}."""
    Tags(connection).add("tag-1", 0.0, TAG)
    Tags(connection).add("tag-2", 0.0, OTHER)

    def exposures(*keys: TemporaryExposureKey, mode: str = "zone", rooms: Rooms | None = None, wearer: str = ""):
        nearness = {mode: Nearness(mode, rooms or Rooms(), wearer=wearer)}
        model = Exposing(connection, Site(mode, nearness, -24.0, Calibration(), Scoring()), closeness())
        return {(e.subject, e.room): e for e in model.of_keys(keys)}

    return exposures


def closeness() -> Closeness:
    return Closeness.default()


def case(day: int = DAY, onset: int | None = 0, report: ReportType = ReportType.CONFIRMED_TEST) -> TemporaryExposureKey:
    key = exposure_key(CASE_SECRET, day)
    return TemporaryExposureKey(key.key, key.rolling_start, report_type=report, days_since_onset=onset)


def store(connection, *rows):
    for some in rows:
        Sightings(connection).add(some, 0.0)


def tag(secret: bytes, day: int = DAY) -> TemporaryExposureKey:
    return exposure_key(secret, day)


# Zone


def test_in_a_zone_minutes_together_count_for_the_tag_and_the_zone(connection, site):
    store(connection, heard(tag(CASE_SECRET), minutes(DAY, 600, 30)), heard(tag(TAG), minutes(DAY, 620, 30)))
    found = site(case())
    assert found["tag-1", ""].minutes == pytest.approx(10)
    assert found[SELF, ""].minutes == pytest.approx(30)
    assert ("tag-2", "") not in found


@pytest.mark.parametrize(("attenuation_db", "weight"), [(50, 1.0), (60, 1.0), (70, 0.5), (80, 0.0)])
def test_a_minute_counts_by_the_further_of_the_two(connection, site, attenuation_db, weight):
    store(connection, heard(tag(CASE_SECRET), minutes(DAY, 600, 20), 50))
    store(connection, heard(tag(TAG), minutes(DAY, 600, 20), attenuation_db))
    found = site(case())
    got = found["tag-1", ""].minutes if weight else 0.0
    assert got == pytest.approx(20 * weight)
    assert ("tag-1", "") in found or not weight


def test_short_contacts_of_a_day_add_up_and_days_stay_apart(connection, site):
    for day in (DAY, DAY + 1):
        for at in range(600, 900, 30):
            store(
                connection, heard(tag(CASE_SECRET, day), minutes(day, at, 1)), heard(tag(TAG, day), minutes(day, at, 1))
            )
    model = Exposing(connection, Site("zone", {"zone": Nearness("zone")}, -24.0, Calibration(), Scoring()), closeness())
    found = model.of_keys([case(), case(DAY + 1)])
    assert [(e.day, e.minutes) for e in found if e.subject == "tag-1"] == [
        (DAY, pytest.approx(10)),
        (DAY + 1, pytest.approx(10)),
    ]


def test_the_score_is_minutes_times_infectiousness(connection, site):
    store(connection, heard(tag(CASE_SECRET), minutes(DAY, 600, 20)), heard(tag(TAG), minutes(DAY, 600, 20)))
    scores = {onset: site(case(onset=onset))["tag-1", ""].score for onset in (0, -3, None)}
    assert scores == pytest.approx({0: 20, -3: 6, None: 6})
    assert site(case(onset=8)) == {}, "nobody is told of a day on which the case was not infectious"


def test_a_revoked_key_exposes_nobody(connection, site):
    store(connection, heard(tag(CASE_SECRET), minutes(DAY, 600, 20)))
    assert site(case(report=ReportType.REVOKED)) == {}


def test_two_cases_at_once_count_twice(connection, site):
    second = TemporaryExposureKey(b"2" * 16, DAY * 144, days_since_onset=0)
    for key in (tag(CASE_SECRET), second, tag(TAG)):
        store(connection, heard(key, minutes(DAY, 600, 10)))
    assert site(case(), second)["tag-1", ""].minutes == pytest.approx(20)


def test_a_key_nobody_heard_exposes_nobody(connection, site):
    store(connection, heard(tag(TAG), minutes(DAY, 600, 20)))
    assert site(case()) == {}


def test_the_case_is_not_exposed_to_itself_where_its_tag_is_of_this_site(connection, site):
    store(connection, heard(tag(TAG), minutes(DAY, 600, 20)), heard(tag(OTHER), minutes(DAY, 600, 20)))
    own = tag(TAG)
    found = site(TemporaryExposureKey(own.key, own.rolling_start, days_since_onset=0))
    assert {subject for subject, _ in found} == {SELF, "tag-2"}


def test_an_identifier_played_again_hours_later_exposes_nobody(connection, site):
    rows = list(heard(tag(CASE_SECRET), minutes(DAY, 900, 20), late_s=4 * 3600))
    store(connection, rows, heard(tag(TAG), minutes(DAY, 900, 20)))
    assert site(case()) == {}


def test_a_replay_beside_the_real_one_adds_no_minute(connection, site):
    store(connection, heard(tag(CASE_SECRET), minutes(DAY, 900, 5)))
    store(connection, heard(tag(CASE_SECRET), minutes(DAY, 905, 5), late_s=4 * 3600))
    store(connection, heard(tag(TAG), minutes(DAY, 900, 10)))
    assert site(case())["tag-1", ""].minutes == pytest.approx(5)


def test_a_clock_that_is_an_hour_off_changes_nothing(connection, site):
    store(
        connection, heard(tag(CASE_SECRET), minutes(DAY, 900, 20), late_s=3600), heard(tag(TAG), minutes(DAY, 900, 20))
    )
    assert site(case())["tag-1", ""].minutes == pytest.approx(20)


# Rooms


def test_minutes_are_told_by_room(connection, site):
    store(connection, heard(tag(CASE_SECRET), minutes(DAY, 600, 20), receiver=0))
    store(connection, heard(tag(CASE_SECRET), minutes(DAY, 640, 10), receiver=1))
    store(
        connection,
        heard(tag(TAG), minutes(DAY, 610, 10), receiver=0),
        heard(tag(TAG), minutes(DAY, 640, 5), receiver=1),
    )
    found = site(case(), rooms=TWO_ROOMS)
    assert {place: round(e.minutes, 3) for place, e in found.items()} == {
        (SELF, "a"): 20,
        (SELF, "b"): 10,
        ("tag-1", "a"): 10,
        ("tag-1", "b"): 5,
    }


def test_two_rooms_at_once_are_not_together(connection, site):
    store(connection, heard(tag(CASE_SECRET), minutes(DAY, 600, 20), receiver=0))
    store(connection, heard(tag(TAG), minutes(DAY, 600, 20), receiver=1))
    assert {subject for subject, _ in site(case(), rooms=TWO_ROOMS)} == {SELF}


def test_a_case_carried_into_another_room_by_radio_exposes_nobody(connection, site):
    """A relay: heard in two rooms at once that no radio reaches at once."""
    for receiver in (0, 1):
        store(connection, heard(tag(CASE_SECRET), minutes(DAY, 600, 20), receiver=receiver))
    store(connection, heard(tag(TAG), minutes(DAY, 600, 20), receiver=1))
    assert site(case(), rooms=TWO_ROOMS) == {}


def test_in_room_mode_who_is_near_counts_more_than_who_is_across_the_room(connection, site):
    near, far = {0: 45, 1: 65, 2: 65}, {0: 70, 1: 50, 2: 66}
    for key, levels in ((tag(CASE_SECRET), near), (tag(TAG), near), (tag(OTHER), far)):
        for receiver, attenuation in levels.items():
            store(connection, heard(key, minutes(DAY, 600, 20), attenuation, receiver=receiver))
    found = site(case(), mode="room", rooms=CORNERS)
    beside, across = found["tag-1", "hall"], found.get(("tag-2", "hall"))
    assert beside.minutes > 10
    assert across is None or across.minutes < beside.minutes / 2
    assert beside.closeness > 0.5


# Person


def test_a_worn_node_exposes_its_wearer_and_nobody_else(connection, site):
    store(connection, heard(tag(CASE_SECRET), minutes(DAY, 600, 20)), heard(tag(TAG), minutes(DAY, 600, 20)))
    found = site(case(), mode="person")
    assert {place: round(e.minutes, 3) for place, e in found.items()} == {(SELF, ""): 20}


def test_a_wearer_who_is_the_case_is_not_exposed_to_themselves(connection, site):
    store(connection, heard(tag(TAG), minutes(DAY, 600, 20)))
    own = tag(TAG)
    key = TemporaryExposureKey(own.key, own.rolling_start, days_since_onset=0)
    assert site(key, mode="person", wearer="tag-1") == {}
    assert site(key, mode="person") != {}


def test_a_day_is_read_as_the_node_was_used_then(connection, site):
    SiteModes(connection).declare("person", 0.0)
    store(connection, heard(tag(CASE_SECRET), minutes(DAY, 600, 20)), heard(tag(TAG), minutes(DAY, 600, 20)))
    nearness = {mode: Nearness(mode) for mode in ("zone", "person")}
    model = Exposing(connection, Site("zone", nearness, -24.0, Calibration(), Scoring()), closeness())
    assert [(e.subject, e.mode) for e in model.of_keys([case()])] == [(SELF, "person")]


# Closeness


def test_louder_is_closer_and_the_highest_of_a_day_stays(connection, site):
    store(connection, heard(tag(CASE_SECRET), minutes(DAY, 600, 10), 72))
    faint = site(case())[SELF, ""].closeness
    store(connection, heard(tag(CASE_SECRET), minutes(DAY, 700, 10), 40))
    loud = site(case())[SELF, ""].closeness
    assert 0 <= faint < loud <= 1


def test_a_tag_is_no_closer_to_the_case_than_either_is_to_the_node(connection, site):
    store(connection, heard(tag(CASE_SECRET), minutes(DAY, 600, 10), 40), heard(tag(TAG), minutes(DAY, 600, 10), 72))
    found = site(case())
    assert found["tag-1", ""].closeness < found[SELF, ""].closeness
