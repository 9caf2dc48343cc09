from itertools import pairwise
from statistics import median

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.sensing.contacts import days, read_contacts
from edge.store.slots import SLOT_S, WINDOW_S
from simulations.baselines import evaluate, persistence
from simulations.datasets.sociopatterns import federation
from simulations.world.generator import World, write_contacts
from simulations.world.pretraining import pretrain_public_model
from simulations.world.timetables import SLOTS_A_DAY

KINDS = ("school", "high-school", "ward", "workplace")
SCHOOL = World(seed=7, zones=3, days=2)
WARD = World(seed=7, zones=3, days=2, kind="ward")


def durations(contacts):
    """Seconds of every unbroken contact."""
    times = {}
    for contact in contacts:
        times.setdefault((contact.a, contact.b), []).append(contact.t)
    for seen in times.values():
        length = WINDOW_S
        for before, after in pairwise(seen):
            if after - before == WINDOW_S:
                length += WINDOW_S
            else:
                yield length
                length = WINDOW_S
        yield length


@given(st.integers(0, 2**32), st.integers(1, 3), st.integers(1, 2), st.sampled_from(KINDS))
@settings(deadline=None, max_examples=8)
def test_every_contact_is_possible_and_comes_once(seed, zones, length, kind):
    contacts = World(seed, zones, length, kind).contacts()
    assert [c.t for c in contacts] == sorted(c.t for c in contacts)
    assert len({(c.t, frozenset((c.a, c.b))) for c in contacts}) == len(contacts)
    assert all(c.t % WINDOW_S == 0 and 0 <= c.t < length * 86400 for c in contacts)
    zone_of = {}
    for c in contacts:
        assert zone_of.setdefault(c.a, c.zone_a) == c.zone_a
        assert zone_of.setdefault(c.b, c.zone_b) == c.zone_b


def test_equal_worlds_have_equal_contacts_and_others_have_not():
    assert SCHOOL.contacts() == World(seed=7, zones=3, days=2).contacts()
    assert SCHOOL.contacts() != World(seed=8, zones=3, days=2).contacts()


def test_a_world_comes_back_from_its_file(tmp_path):
    write_contacts(SCHOOL.contacts(), tmp_path / "world.dat")
    assert read_contacts(tmp_path / "world.dat") == SCHOOL.contacts()


def test_a_school_is_closed_at_night_and_a_ward_is_not():
    school, ward = days(SCHOOL.contacts()), days(WARD.contacts())
    assert [day.day for day in school] == [day.day for day in ward] == [0, 1]
    assert all(7 <= day.opens_s / 3600 % 24 < day.closes_s / 3600 % 24 <= 18 for day in school)
    assert all(day.closes_s - day.opens_s > 20 * 3600 for day in ward)


@pytest.mark.parametrize("world", [SCHOOL, WARD])
def test_contacts_are_mostly_short_and_some_are_long(world):
    lengths = list(durations(world.contacts()))
    assert median(lengths) <= 2 * WINDOW_S
    assert max(lengths) >= 10 * 60
    assert max(lengths) <= 3 * SLOT_S


@pytest.mark.parametrize("world", [SCHOOL, WARD])
def test_most_contacts_stay_in_the_zone_and_some_do_not(world):
    contacts = world.contacts()
    assert 0.02 < sum(c.zone_a != c.zone_b for c in contacts) / len(contacts) < 0.5


def test_crowding_lasts_and_fades():
    """Lively half hours follow each other, more than the timetable that all zones share explains."""
    site = federation("school", World(seed=3, zones=8, days=4).contacts())
    table = np.sqrt([[minutes for _, minutes in site.minutes[zone]] for zone in site.zones])
    own = table - table.mean(axis=0) - (table - table.mean(axis=0)).mean(axis=1, keepdims=True)
    assert np.corrcoef(own[:, :-1].ravel(), own[:, 1:].ravel())[0, 1] > 0.3


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"zones": 0}, "got 0 and 4"),
        ({"days": 0}, "got 5 and 0"),
        ({"kind": "market"}, "'market' is unknown: choose one of school, high-school, ward, workplace"),
        ({"seed": -1}, "seed -1 is negative"),
    ],
)
def test_a_world_that_cannot_be_is_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        World(**{"seed": 1} | options)


def test_equal_seeds_make_equal_public_models(task, public_model):
    again = pretrain_public_model(task, seed=0)
    assert all(np.array_equal(again[name], public_model[name]) for name in public_model)


def test_a_public_model_knows_no_hour_but_how_crowding_fades(task, public_model):
    last_slot, *clock = public_model["linear.weight"][0]
    assert np.ptp(clock) < 0.02
    fading = last_slot / task.model().state_dict()["linear.weight"][0, 0].item()
    assert 0.6 < fading < 1


@pytest.mark.parametrize("seed", [101, 102, 103])
def test_a_public_model_beats_persistence_in_a_school_it_has_not_seen(task, public_model, seed):
    site = federation("school", World(seed).contacts())
    assert evaluate(task, public_model, site).mean < persistence(task, site).mean


def test_a_day_has_as_many_slots_as_the_store_thinks():
    assert SLOTS_A_DAY * SLOT_S == 86400
