import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.sensing.contacts import Contact, days
from edge.sensing.logbook import Logbook
from edge.sensing.replay import ReplayScanner
from edge.store.database import Database
from edge.store.sightings import Sightings
from edge.store.slots import DAY_S, SLOT_S
from simulations.datasets.sociopatterns import TooFewDays, federation, load_federation, zone_minutes
from simulations.world.generator import World

ZONE_OF = {"ann": "3A", "bob": "3A", "cat": "3B", "dan": "3B"}


def contact(t, a, b):
    return Contact(t, a, b, ZONE_OF[a], ZONE_OF[b])


PAIRS = st.lists(st.sampled_from(sorted(ZONE_OF)), min_size=2, max_size=2, unique=True)
CONTACTS = st.lists(st.tuples(st.integers(0, 4 * DAY_S // 20 - 1).map(lambda w: w * 20), PAIRS)).map(
    lambda rows: sorted(
        [contact(0, "ann", "cat"), contact(DAY_S, "bob", "dan"), *(contact(t, *pair) for t, pair in rows)],
        key=lambda c: c.t,
    )
)


def logged(contacts, zone, tmp_path, until_s=None):
    """What a node has in its store after replaying its zone."""
    connection = Database(tmp_path / f"{zone}.db", bytes(32)).connect()
    book = Logbook(connection)
    for heard in ReplayScanner(contacts, zone, seed=1, until_s=until_s):
        book.hear(heard)
        if book.unsaved > 1000:
            book.save()
    book.save()
    minutes = Sightings(connection).close_minutes()
    connection.close()
    return minutes


def test_a_replay_through_the_real_store_logs_the_same_minutes(tmp_path):
    site = federation("world", World(seed=5, zones=2, days=2).contacts())
    for zone in site.zones:
        assert dict(logged(site.contacts, zone, tmp_path)) == pytest.approx(dict(site.minutes[zone]))


def test_a_replay_that_stops_where_training_ends_logs_the_training_days_alone(tmp_path):
    site = federation("world", World(seed=5, zones=2, days=3, kind="ward").contacts())
    zone = site.zones[0]
    stored = logged(site.contacts, zone, tmp_path, site.training_until_s)
    assert dict(stored) == pytest.approx(dict(site.training(zone)))


@given(CONTACTS)
def test_no_slot_is_both_learnt_from_and_tested_on_and_none_is_lost(contacts):
    site = federation("drawn", contacts)
    for zone in site.zones:
        assert site.training(zone) + site.held_out(zone) == site.minutes[zone]
        last, first = site.training(zone)[-1][0], site.held_out(zone)[0][0]
        assert last * SLOT_S // DAY_S < first * SLOT_S // DAY_S


@given(CONTACTS)
def test_every_window_of_every_member_is_counted_once(contacts):
    minutes = zone_minutes(contacts, days(contacts))
    for zone in ("3A", "3B"):
        windows = {(c.t // 20, p) for c in contacts for p in (c.a, c.b) if ZONE_OF[p] == zone}
        assert sum(value for _, value in minutes.get(zone, [])) == pytest.approx(len(windows) / 3)


@given(CONTACTS)
def test_every_zone_listens_in_the_same_slots_and_in_none_outside_the_opening_hours(contacts):
    open_days = days(contacts)
    slots = {zone: [slot for slot, _ in rows] for zone, rows in zone_minutes(contacts, open_days).items()}
    expected = [s for day in open_days for s in range(day.opens_s // SLOT_S, day.closes_s // SLOT_S)]
    assert all(listened == expected for listened in slots.values())


def test_one_day_leaves_nothing_to_test_on():
    with pytest.raises(TooFewDays, match=r"brief: contacts of 1 day"):
        federation("brief", [contact(0, "ann", "bob")])


@pytest.mark.parametrize(
    ("name", "zones", "training_days", "held_out_days"),
    [
        ("primaryschool.csv", 11, 1, 1),
        ("hospital_lyon_contacts.dat", 4, 3, 2),
        ("highschool_2011.csv", 4, 2, 2),
        ("highschool_2012.csv", 5, 4, 3),
    ],
)
def test_published_files_become_federations(sociopatterns, name, zones, training_days, held_out_days):
    site = load_federation(sociopatterns / name)
    assert len(site.zones) == zones
    assert (site.training_days, len(site.open_days) - site.training_days) == (training_days, held_out_days)
    assert all(sum(minutes for _, minutes in site.training(zone)) > 0 for zone in site.zones)


def test_a_file_without_zones_takes_them_from_its_metadata(sociopatterns):
    site = load_federation(sociopatterns / "tij_InVS.dat", sociopatterns / "workplace_InVS_metadata.txt")
    assert "DISQ" in site.zones
