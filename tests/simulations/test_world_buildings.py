"""What is true of every building, whoever is in it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.sensing.contacts import days
from simulations.datasets.sociopatterns import TooFewDays, zone_minutes
from simulations.world.building import Building
from simulations.world.bursts import Bursts, ShiftedPower, spread
from simulations.world.episodes import WINDOWS_A_DAY, Episodes
from simulations.world.federate import federate, zone_logs
from simulations.world.generator import World
from simulations.world.places import PLACES, Place
from simulations.world.timetables import ABSENT, PERIOD_WINDOWS, PERIODS_A_DAY, Day

KINDS = tuple(PLACES)
worlds = st.builds(World, st.integers(0, 2**32), st.integers(1, 3), st.integers(1, 2), st.sampled_from(KINDS))


def ints(*values):
    return np.array(values, dtype=np.int64)


@given(worlds)
@settings(deadline=None, max_examples=10)
def test_two_in_contact_are_in_one_room_from_the_first_window_to_the_last(world):
    for raised in world.buildings():
        window, a, b = raised.episodes.windows()
        room = raised.building.room[:, window // PERIOD_WINDOWS]
        at = np.arange(len(window))
        assert (room[a, at] == room[b, at]).all()
        assert (room[a, at] != ABSENT).all()


@given(worlds)
@settings(deadline=None, max_examples=10)
def test_people_are_in_their_own_zones_room_or_in_the_common_room_or_away(world):
    for raised in world.buildings():
        building = raised.building
        own = building.room == building.zone[:, None]
        assert (own | (building.room == building.zones) | (building.room == ABSENT)).all()


@given(worlds)
@settings(deadline=None, max_examples=5)
def test_nobody_is_where_it_is_closed(world):
    for raised in world.buildings():
        closed = (raised.building.day.own == 0) & (raised.building.day.shared == 0)
        room = raised.building.room.reshape(len(raised.building.zone), world.days, PERIODS_A_DAY)
        assert (room[:, :, closed] == ABSENT).all()


@pytest.mark.parametrize("kind", KINDS)
def test_nodes_log_what_the_contacts_say(kind):
    world = World(5, 3, 3, kind)
    contacts = world.contacts()
    expected = zone_minutes(contacts, days(contacts))
    found = {zone: log for raised in world.buildings() for zone, log in zone_logs(raised).items()}
    assert found.keys() == expected.keys()
    for zone, log in found.items():
        assert [slot for slot, _ in log] == [slot for slot, _ in expected[zone]]
        assert [minutes for _, minutes in log] == pytest.approx([minutes for _, minutes in expected[zone]])


def test_federated_data_have_a_site_a_zone_and_never_train_on_a_later_day():
    data = federate(World(6, 23, 3))
    assert (data.task, len(data.sites)) == ("crowding", 23)
    assert [site.name for site in data.sites] == [f"school/class-{n + 1}" for n in range(23)]
    for site in data.sites:
        assert max(slot for slot, _ in site.training) < 2 * 48 <= min(slot for slot, _ in site.held_out)


def test_equal_worlds_are_equal_federated_data_and_others_are_not():
    assert federate(World(8, 4, 2)) == federate(World(8, 4, 2))
    assert federate(World(8, 4, 2)) != federate(World(9, 4, 2))


def test_the_first_buildings_of_a_large_world_do_not_wait_for_the_last():
    first = next(World(1, 1_000_000, 2).buildings())
    assert first.building.zones == 10


def test_one_day_leaves_nothing_to_test_on():
    with pytest.raises(TooFewDays, match="a world of 1 day"):
        federate(World(1, 2, 1))


def test_schools_are_closed_at_the_weekend_and_wards_are_not():
    school, ward = (next(World(2, 1, 7, kind).buildings()).episodes for kind in ("school", "ward"))
    assert set(np.unique(school.day)) == {0, 1, 2, 3, 4}
    assert set(np.unique(ward.day)) == set(range(7))


def test_classes_meet_in_the_yard_alone():
    [raised] = World(3, 4, 2).buildings()
    zone, episodes = raised.building.zone, raised.episodes
    across = episodes.where(zone[episodes.a] != zone[episodes.b])
    assert len(across) > 100
    assert (raised.building.room[across.a, across.start // PERIOD_WINDOWS] == raised.building.zones).all()


def test_nurses_meet_nurses_far_more_than_patients_meet_patients():
    [raised] = World(4, 1, 4, "ward").buildings()
    role, episodes = raised.building.role, raised.episodes
    nurses, patients = ((role[episodes.a] == r) & (role[episodes.b] == r) for r in (0, 1))
    assert nurses.sum() > 20 * patients.sum()


def test_pairs_meet_again_the_next_day_more_than_chance_would_have_it():
    [raised] = World(5, 1, 2, "high-school").buildings()
    first, second = (
        {*zip(one.a.tolist(), one.b.tolist(), strict=True)}
        for one in (raised.episodes.where(raised.episodes.day == day) for day in (0, 1))
    )
    pairs = len(raised.building.zone) * (len(raised.building.zone) - 1) / 2
    assert len(first & second) / len(second) > 1.3 * len(first) / pairs


# Columns of contacts.

rows = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 6), st.integers(0, 3), st.integers(4, 7)), max_size=30)


@given(rows)
def test_merged_episodes_cover_the_same_windows_and_never_touch(rows):
    columns = [np.array([row[n] for row in rows], np.int64) for n in range(4)]
    merged = Episodes.merged(*columns)
    covered = {(w, a, b) for start, length, a, b in rows for w in range(start, start + length)}
    listed = list(zip(*(column.tolist() for column in merged.windows()), strict=True))
    assert set(listed) == covered
    assert len(listed) == len(covered)
    pair = merged.a * 100 + merged.b
    gap = merged.start[1:] - (merged.start + merged.length)[:-1]
    assert (gap[pair[1:] == pair[:-1]] > 0).all()


def test_columns_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=r"one length, got \[1, 1, 1, 2\]"):
        Episodes(ints(0), ints(1), ints(0), ints(1, 2))
    with pytest.raises(ValueError, match="a below b"):
        Episodes(ints(0), ints(1), ints(1), ints(1))
    with pytest.raises(ValueError, match="lasts one window or more"):
        Episodes(ints(0), ints(0), ints(0), ints(1))
    with pytest.raises(ValueError, match="too many for one table"):
        Episodes.merged(ints(0, 2**40), ints(1, 1), ints(0, 0), ints(1, 2**24))


# Bursts.


@given(st.floats(-0.9, 5), st.floats(1, 5), st.integers(1, 300))
@settings(max_examples=30)
def test_draws_follow_the_law_to_the_resolution_of_its_table(shift, exponent, longest):
    law = ShiftedPower(shift, exponent, longest)
    drawn = law.draw(np.random.default_rng(1), 20_000)
    assert drawn.min() >= 1
    assert drawn.max() <= longest
    shares = np.bincount(drawn, minlength=longest + 1)[1:] / 20_000
    assert np.abs(np.cumsum(shares) - np.cumsum(law.mass())).max() < 0.02


@given(st.floats(0, 1.0))
@settings(max_examples=10)
def test_spreads_have_mean_one(deviation):
    assert spread(np.random.default_rng(2), deviation, (200_000,)).mean() == pytest.approx(1, abs=0.02)


def test_contacts_of_an_encounter_follow_each_other_with_gaps():
    law = ShiftedPower(1.0, 2.5, 20)
    bursts = Bursts(law, law, law, 0.0, 0.0, 0.0, 0.0)
    encounter, start, length = bursts.unfold(ints(100, 5000, 5000), np.random.default_rng(3))
    assert set(encounter) == {0, 1, 2}
    for n, begins in enumerate((100, 5000, 5000)):
        mine = encounter == n
        assert start[mine][0] == begins
        assert (np.diff(start[mine]) > length[mine][:-1]).all()


@pytest.mark.parametrize("bad", [(-1.0, 2.0, 5), (0.0, 0.0, 5), (0.0, 2.0, 0)])
def test_a_law_that_cannot_be_is_refused(bad):
    with pytest.raises(ValueError, match="shift > -1, exponent > 0 and longest >= 1"):
        ShiftedPower(*bad)


def test_a_negative_spread_is_refused():
    law = ShiftedPower(1.0, 2.5, 20)
    with pytest.raises(ValueError, match="never negative"):
        Bursts(law, law, law, -0.1, 0.0, 0.0, 0.0)


def test_a_place_with_lopsided_rates_is_refused():
    school = PLACES["school"]
    fields = {name: getattr(school, name) for name in Place.__slots__}
    with pytest.raises(ValueError, match="symmetrical"):
        Place(**fields | {"within": ((1.0, 2.0), (3.0, 0.0))})


def test_a_day_has_a_fixed_number_of_periods():
    with pytest.raises(ValueError, match="288 periods, got 3"):
        Day(np.ones(3), np.ones(PERIODS_A_DAY), np.full(PERIODS_A_DAY, ABSENT))


def test_sizes_of_other_zones_are_refused():
    with pytest.raises(ValueError, match=r"sizes are to be of 2 zones and 2 roles, got \(1, 2\)"):
        Building.raised(PLACES["school"], 2, 1, np.random.default_rng(1), np.ones((1, 2), np.int64))


def test_a_contact_ends_when_one_of_the_two_leaves():
    place = PLACES["school"]
    building = Building.raised(place, 1, 1, np.random.default_rng(1))
    room = building.room.copy()
    room[:, :] = 0
    room[1, 1:] = ABSENT
    alone = Building(place, building.zone, building.role, room, building.day, 1, 1)
    kept = alone._possible(ints(10, 20), ints(60, 1), ints(0, 0), ints(1, 1))
    assert (kept.start.tolist(), kept.length.tolist()) == ([10], [PERIOD_WINDOWS - 10])
    late = alone._possible(ints(WINDOWS_A_DAY - 2), ints(10), ints(0), ints(2))
    assert late.length.tolist() == [2]
