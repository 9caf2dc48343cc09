"""Worn nodes find exactly what the data have over a perfect radio; the radio with errors is the one measured."""

import math
from dataclasses import replace

import numpy as np
import pytest
from radios import PERFECT

from edge.sensing.contacts import Contact
from edge.sensing.sightings import Sighting
from edge.store.slots import WINDOW_S
from edge.tracing.attenuation import TX_POWER_DBM
from edge.tracing.encounters import Nearness
from edge.tracing.heard import Heard
from edge.tracing.nearness import PathLoss
from privacy.tokens.tags import identifiers
from simulations.experiments.encounters import bucket, enrolled, heard_by_all, through_worn_nodes, worn_with_errors
from simulations.experiments.fixed_nodes import in_rooms, in_zones
from simulations.experiments.pair_days import Score, long_ones, true_minutes
from simulations.world.generator import World
from simulations.world.radio import WORN
from simulations.world.seats import Pairs, people_of, slots


@pytest.fixture(scope="module")
def school():
    return World(seed=3, zones=2, days=1).contacts()


def test_a_school_of_our_own_goes_through_worn_nodes_without_losing_a_minute(school, tmp_path):
    found, truth = through_worn_nodes(school, tmp_path), true_minutes(school)
    assert found.keys() == truth.keys()
    assert found == pytest.approx(truth, abs=1e-3)


def test_no_unbroken_quarter_hour_is_needed():
    hourly = [Contact(hour * 3600 + 20 * n, "a", "b", "z", "z") for hour in range(9) for n in range(5)]
    assert long_ones(true_minutes(hourly)) == {(0, "a", "b")}
    assert long_ones(true_minutes(hourly[:-1])) == set()


def all_pairs(contacts, seed=0):
    return [slot.pairs(np.random.default_rng(seed)) for slot in slots(contacts, np.random.default_rng(seed))]


def test_every_contact_is_kept_and_others_of_the_room_are_in_reach_too(school):
    pairs = all_pairs(school)
    people, zones = people_of(school)
    contacts = {(c.t // WINDOW_S, *sorted((c.a, c.b))) for c in school}
    seen = [
        (int(w), people[a], people[b])
        for one in pairs
        for w, a, b, contact in zip(one.window, one.a, one.b, one.in_contact, strict=True)
        if contact
    ]
    assert len(seen) == len(contacts)
    assert set(seen) == contacts
    apart = np.concatenate([one.distance_m[~one.in_contact] for one in pairs])
    together = np.concatenate([one.distance_m[one.in_contact] for one in pairs])
    assert len(apart) > 20 * len(together)
    assert together.max() <= 1.5
    assert 2 < np.median(apart) < 6
    assert all(
        zones[people[a]] == zones[people[b]]
        for one in pairs
        for a, b in {*zip(one.a[~one.in_contact].tolist(), one.b[~one.in_contact].tolist(), strict=True)}
    )


def test_columns_of_the_experiment_are_what_a_store_would_hold(connection_of_one, school):
    """The errors go straight into columns; the same rows through sightings and register give the same table."""
    people, _ = people_of(school)
    register = enrolled(people)
    known = register.known(0, 86400)
    radio = replace(PERFECT, power_dbm=-85.0, link_db=4.0, window_db=4.0, missed=0.2)
    for wearer, heard in list(heard_by_all(all_pairs(school), radio, people, np.random.default_rng(5)))[:1]:
        shown = {person: identifiers(tag.secret, 0) for person, tag in enumerate(register.tags)}
        rows = [
            Sighting(shown[s][w * WINDOW_S // 600], w, 1, r, r * r, r, r)
            for w, s, r in zip(
                heard.windows.tolist(), heard.subjects.tolist(), heard.rssi_dbm.astype(int).tolist(), strict=True
            )
        ]
        stored = Heard.of(connection_of_one(rows), known, tx_power_dbm=TX_POWER_DBM)
        nearness = Nearness("person", wearer=wearer)
        assert nearness.encounters(0, people, [stored]) == nearness.encounters(0, people, [heard])


@pytest.fixture
def connection_of_one(tmp_path):
    """Stores rows in a fresh store and reads them back."""
    from edge.store.database import Database
    from edge.store.sightings import Sightings

    def through(rows):
        database = Database(tmp_path / f"{len(list(tmp_path.iterdir()))}.db", bytes(32))
        connection = database.connect()
        Sightings(connection).add(rows, 0)
        found = list(Sightings(connection).between(0, 86400))
        connection.close()
        return found

    return through


def test_with_errors_more_is_found_than_was_and_not_all_of_what_was(school):
    ways = [bucket(63.0)]
    [contact, near] = worn_with_errors(school, WORN, ways, seed=1).scores("school", ways, 1)
    assert contact.found > contact.true > 0, "those who sit near each other are found although they never faced"
    assert contact.precision < near.precision
    assert 0.3 < contact.recall <= 1


def test_without_errors_a_radio_that_hears_the_whole_room_takes_everybody_for_a_contact(school):
    ways = [bucket(63.0)]
    [contact, _] = worn_with_errors(school, PERFECT, ways, seed=1).scores("school", ways, 1)
    assert contact.recall == 1
    assert contact.precision < 0.5


def test_fixed_nodes_find_more_than_were_in_contact(school):
    zone = in_zones("school", school)
    assert zone.found > zone.true
    assert zone.precision < 1
    room = in_rooms("school", school, 1, PathLoss())
    assert 0 <= room.right <= min(room.found, room.true)


def test_precision_and_recall_are_what_they_say():
    score = Score("d", "w", "contact", 0, found=10, right=4, true=8)
    assert (score.precision, score.recall, score.f1) == (0.4, 0.5, pytest.approx(8 / 18))
    assert math.isnan(Score("d", "w", "contact", 0, 0, 0, 0).precision)


def test_pairs_are_columns_of_one_length(school):
    for one in all_pairs(school):
        assert isinstance(one, Pairs)
        assert len({len(one.window), len(one.a), len(one.b), len(one.distance_m), len(one.in_contact)}) == 1
        assert (one.a < one.b).all()
