"""Where people live, and where they stand."""

from collections import Counter

import numpy as np
import pytest

from simulations.runs.data import open_scene
from simulations.runs.experiment import DataTable, TaskTable
from simulations.world.federate import federate
from simulations.world.generator import World
from simulations.world.positions import WALK_M_S, FloorPlan, heard, walk
from simulations.world.radio import WALL
from simulations.world.seats import FACING_M
from simulations.world.timetables import ABSENT, PERIOD_WINDOWS
from simulations.world.town import ADULT, CHILD, Town

TOWN = Town(3, classes=4, secondary_classes=2, wards=1, days=6, departments=3)


@pytest.fixture(scope="module")
def settled():
    return TOWN.settled()


def test_equal_towns_are_equal_and_others_are_not(settled):
    again, other = TOWN.settled(), Town(4, 4, 2, 1, 6, 3).settled()
    assert np.array_equal(settled.home, again.home)
    for name, layer in settled.layers.items():
        assert np.array_equal(layer.start, again.layers[name].start)
    assert len(other.home) != len(settled.home) or not np.array_equal(other.home, settled.home)


def test_everybody_has_a_home_and_no_child_lives_without_an_adult(settled):
    assert settled.home.min() >= 0
    children = np.bincount(settled.home, settled.age == CHILD)
    adults = np.bincount(settled.home, settled.age == ADULT)
    assert (adults[children > 0] > 0).all()
    assert 3 < len(settled.home) / len(adults) < 4.5
    assert {"pupil", "teacher", "NUR", "PAT", "MED", "ADM", "employee", "other"} == set(settled.role)


def test_people_of_one_household_meet_and_only_they_do(settled):
    homes = settled.layers["household"]
    assert (settled.home[homes.a] == settled.home[homes.b]).all()


def test_nobody_is_at_home_and_at_school_in_one_window(settled):
    def seen(layer):
        window, a, b = settled.layers[layer].windows()
        return np.unique(np.concatenate([a, b]) * 100_000 + np.concatenate([window, window]))

    at_home = seen("household")
    for layer in ("school", "high-school", "ward", "workplace"):
        assert not len(np.intersect1d(at_home, seen(layer)))


def test_minutes_of_a_pair_and_day_are_those_of_its_contacts(settled):
    day, a, b, minutes = settled.minutes("school")
    assert minutes.sum() == pytest.approx(settled.layers["school"].length.sum() / 3)
    assert len({*zip(day.tolist(), a.tolist(), b.tolist(), strict=True)}) == len(day)
    assert set(day.tolist()) == {0, 1, 2, 3, 4}
    with pytest.raises(KeyError):
        settled.minutes("market")


@pytest.mark.parametrize(
    ("sizes", "complaint"),
    [
        ({"classes": 0, "secondary_classes": 0, "wards": 0}, "needs a class, a ward or a department"),
        ({"classes": -1}, "needs a class, a ward or a department"),
        ({"days": 0}, "and 0 days"),
        ({"seed": -1}, "seed -1 is negative"),
    ],
)
def test_a_town_that_cannot_be_is_refused(sizes, complaint):
    with pytest.raises(ValueError, match=complaint):
        Town(**{"seed": 1} | sizes)


def test_nodes_of_a_town_hang_in_its_classes_and_wards_and_never_in_a_household():
    data = federate(Town.of_sites(1, 10, 2))
    assert Counter(site.name.split("/")[0] for site in data.sites) == {"school": 6, "high-school": 3, "ward": 1}


def test_an_experiment_learns_from_a_town():
    scene = open_scene(DataTable(kind="town", sites=10, days=2), TaskTable(start="fresh"))
    assert len(scene.training) == len(scene.held_out) == 10
    assert all(map(len, scene.training))


# Positions.

FIRST, WINDOWS = 10 * 180, 360


@pytest.fixture(scope="module")
def morning():
    [raised] = World(2, 4, 1).buildings()
    return raised, walk(raised.building, raised.episodes, FIRST, WINDOWS, np.random.default_rng(1))


def rooms(raised):
    return raised.building.room[:, (FIRST + np.arange(WINDOWS)) // PERIOD_WINDOWS].T


def test_nobody_walks_faster_than_people_do(morning):
    _, at = morning
    step = np.linalg.norm(np.diff(at, axis=0), axis=2)
    assert np.nanmax(step) <= WALK_M_S * 20 + 1e-3


def test_those_in_contact_are_within_reach_of_each_other(morning):
    raised, at = morning
    window, a, b = raised.episodes.windows()
    here = (window >= FIRST) & (window < FIRST + WINDOWS)
    apart = np.linalg.norm(at[window[here] - FIRST, a[here]] - at[window[here] - FIRST, b[here]], axis=1)
    # The rest are on their way from one room to another.
    assert (apart <= FACING_M[1] + 1e-3).mean() > 0.99


def test_people_are_in_the_room_where_they_are_and_the_absent_nowhere(morning):
    raised, at = morning
    room, plan = rooms(raised), FloorPlan(raised.building.zones)
    assert np.array_equal(np.isnan(at[..., 0]), room == ABSENT)
    corner, size = (of(room.astype(np.int64)) for of in (plan.corner, plan.size))
    inside = ((at >= corner - 1e-3) & (at <= corner + size + 1e-3)).all(axis=2)
    assert inside[room != ABSENT].mean() > 0.98


def test_rooms_do_not_overlap():
    plan = FloorPlan(10)
    corner, size = (of(np.arange(11)) for of in (plan.corner, plan.size))
    for i in range(11):
        for j in range(i):
            apart = (corner[i] + size[i] <= corner[j]) | (corner[j] + size[j] <= corner[i])
            assert apart.any()


def test_a_node_hears_those_of_its_room_louder_than_those_behind_walls(morning):
    raised, at = morning
    room = rooms(raised)
    level = heard(at, room, 1, FloorPlan(raised.building.zones), WALL, np.random.default_rng(2))
    own, others = level[room == 1], level[(room != 1) & (room != ABSENT)]
    assert np.nanmean(own) > np.nanmean(others) + 8
    assert np.isnan(level[room == ABSENT]).all()


def test_windows_outside_of_the_days_are_refused(morning):
    raised, _ = morning
    with pytest.raises(ValueError, match="windows 4300 to 4399 are not within 0 to 4319"):
        walk(raised.building, raised.episodes, 4300, 100, np.random.default_rng(1))
