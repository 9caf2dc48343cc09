from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.sensing.advertisement import HEARTBEAT_S, SILENCE_S, Advertisement, Heartbeat
from edge.sensing.contacts import Contact, read_contacts
from edge.sensing.replay import ROTATION_S, ReplayScanner, UnknownZone
from edge.sensing.sightings import CLOSE_DBM, SLOT_S, WINDOW_S

ZONE_OF = {"ann": "3A", "bob": "3A", "cat": "3B", "dan": "3B"}


def contact(t, a, b):
    return Contact(t, a, b, ZONE_OF[a], ZONE_OF[b])


def heard(scanner):
    return [h for h in scanner if isinstance(h, Advertisement)]


def at(h):
    return h.at_s if isinstance(h, Heartbeat) else h.heard_at_s


PAIRS = st.lists(st.sampled_from(sorted(ZONE_OF)), min_size=2, max_size=2, unique=True)
CONTACTS = st.lists(st.tuples(st.integers(0, 9000).map(lambda w: w * WINDOW_S), PAIRS), min_size=1).map(
    lambda rows: [contact(0, "ann", "cat"), *(contact(t, *pair) for t, pair in rows)]
)


@given(CONTACTS)
def test_each_member_in_a_contact_is_heard_once_at_its_time(contacts):
    scanner = ReplayScanner(contacts, "3A", seed=1)
    expected = {(c.t, p) for c in contacts for p in (c.a, c.b) if ZONE_OF[p] == "3A"}
    assert Counter(h.heard_at_s for h in heard(scanner)) == Counter(float(t) for t, _ in expected)


@given(CONTACTS)
def test_time_never_goes_back_and_heartbeats_cover_the_opening_hours(contacts):
    stream = list(ReplayScanner(contacts, "3A", seed=1))
    assert [at(h) for h in stream] == sorted(at(h) for h in stream)
    beats = [h.at_s for h in stream if isinstance(h, Heartbeat)]
    pauses = [b - a for a, b in pairwise(beats) if b - a > HEARTBEAT_S]
    # Whole slots are closed at night, so a night is always longer than a pause that counts as listening.
    assert all(pause >= SLOT_S > SILENCE_S for pause in pauses)
    # A heartbeat at midnight ends a stretch of the day before.
    listened = [b - 1 for a, b in pairwise(beats) if b - a <= HEARTBEAT_S]
    assert {c.t // 86400 for c in contacts} == {int(t // 86400) for t in listened}


@given(CONTACTS)
def test_everything_it_says_is_in_its_list_of_identifiers(contacts):
    scanner = ReplayScanner(contacts, "3A", seed=1)
    assert {h.identifier for h in heard(scanner)} <= scanner.identifiers()


@given(CONTACTS, st.integers(0, 200_000))
def test_a_replay_cut_in_two_says_the_same_as_a_whole_one(contacts, cut):
    parts = [*ReplayScanner(contacts, "3A", 1, until_s=cut), *ReplayScanner(contacts, "3A", 1, since_s=cut)]
    assert heard(parts) == heard(ReplayScanner(contacts, "3A", 1))


def test_a_quiet_zone_still_listens():
    contacts = [contact(0, "ann", "bob"), contact(7200, "cat", "dan")]
    stream = list(ReplayScanner(contacts, "3A", seed=1))
    assert len(heard(stream)) == 2
    assert stream[0] == Heartbeat(0)
    assert stream[-1] == Heartbeat(7200 + SLOT_S)


def test_identifiers_rotate_with_the_period_and_tell_nothing_of_each_other():
    t = 10 * ROTATION_S
    scanner = ReplayScanner([contact(x, "ann", "cat") for x in (t, t + 20, t + ROTATION_S)], "3A", seed=1)
    first, again, later = (h.identifier for h in heard(scanner))
    assert first == again != later
    assert b"ann" not in first + later


def test_another_seed_gives_other_identifiers_and_the_same_seed_the_same():
    contacts = [contact(0, "ann", "bob")]
    one, same, other = (ReplayScanner(contacts, "3A", seed=s).identifiers() for s in (1, 1, 2))
    assert one == same
    assert one.isdisjoint(other)


def test_everybody_heard_is_close_and_not_all_equally_loud():
    scanner = ReplayScanner([contact(20 * i, "ann", "bob") for i in range(200)], "3A", seed=1)
    levels = {h.rssi_dbm for h in heard(scanner)}
    assert min(levels) >= CLOSE_DBM
    assert len(levels) > 5


def test_speed_asks_for_the_right_waits_and_nights_pass_at_once():
    asked = []
    contacts = [contact(0, "ann", "bob"), contact(86400, "ann", "bob")]
    list(ReplayScanner(contacts, "3A", seed=1, speed=1000, sleep=asked.append))
    # Nothing really sleeps here, so each wait is measured from the start of its day.
    assert max(asked) == pytest.approx(SLOT_S / 1000, abs=0.2)


@pytest.mark.parametrize("speed", [0, -1, float("nan"), float("inf")])
def test_a_speed_that_is_none_is_refused(speed):
    with pytest.raises(ValueError, match=r"speed .* is not a positive number"):
        ReplayScanner([contact(0, "ann", "bob")], "3A", seed=1, speed=speed)


def test_a_seed_out_of_range_is_refused():
    with pytest.raises(ValueError, match="seed -1"):
        ReplayScanner([contact(0, "ann", "bob")], "3A", seed=-1)


def test_an_unknown_zone_is_named_with_the_ones_there_are():
    with pytest.raises(UnknownZone, match="'3C': choose one of 3A, 3B"):
        ReplayScanner([contact(0, "ann", "cat")], "3C", seed=1)


def test_the_whole_school_is_heard_by_its_classes_together(sociopatterns):
    contacts = read_contacts(sociopatterns / "primaryschool.csv")
    members = {(c.t, p) for c in contacts for p in (c.a, c.b)}
    zones = {z for c in contacts for z in (c.zone_a, c.zone_b)}
    assert sum(len(heard(ReplayScanner(contacts, zone, seed=1))) for zone in zones) == len(members)
