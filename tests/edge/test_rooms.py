"""Relays, and nearness in a room, on rooms whose truth is known."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.tracing.encounters import STRETCH_WINDOWS, Nearness
from edge.tracing.heard import WINDOWS_A_PERIOD, Heard
from edge.tracing.nearness import PathLoss, RoomMap
from edge.tracing.rooms import Receiver, Rooms, UnknownReceiver

CORNERS = tuple(Receiver(n, "kelas", x, y) for n, (x, y) in enumerate([(0, 0), (8, 0), (0, 6), (8, 6)]))
"""Four receivers in the corners of a classroom of 8 by 6 metres."""


def rssi_at(places, receivers, rng, *, exponent=2.2, shadowing_db=5.0, spread_db=6.0):
    """Mean RSSI over two minutes [tags, receivers], of tags at `places` [tags, 2], worn each in its own way."""
    ears = np.array([[one.x_m, one.y_m] for one in receivers])
    apart = np.maximum(np.linalg.norm(places[:, None] - ears[None], axis=2), 0.3)
    power = -60 + rng.normal(0, spread_db, (len(places), 1))
    return power - 10 * exponent * np.log10(apart) + rng.normal(0, shadowing_db, apart.shape)


def scattered(rng, tags):
    return rng.uniform([0, 0], [8, 6], (tags, 2))


def pairs(places, table):
    """Truth (within 2 m) and value of each pair."""
    a, b = np.triu_indices(len(places), 1)
    return np.linalg.norm(places[a] - places[b], axis=1) <= 2, table[a, b]


def auc(truth, value):
    ranks = np.argsort(np.argsort(value, kind="stable"), kind="stable") + 1
    positives = truth.sum()
    return (ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * (~truth).sum())


def centroid_nearness(levels, receivers):
    """The simpler way, to compare with: minus the distance between centroids weighted by received amplitude."""
    ears = np.array([[one.x_m, one.y_m] for one in receivers])
    weight = 10 ** (levels / 20)
    at = weight @ ears / weight.sum(axis=1, keepdims=True)
    return -np.linalg.norm(at[:, None] - at[None], axis=2)


def evaluated(seed, receivers=CORNERS, **radio):
    """(truth, probability, centroid's value) over fifty rooms of thirty tags."""
    rng = np.random.default_rng(seed)
    room = RoomMap(receivers)
    found = []
    for _ in range(50):
        places = scattered(rng, 30)
        levels = rssi_at(places, receivers, rng, **radio)
        truth, probability = pairs(places, room.near(room.clouds(levels)))
        found.append((truth, probability, pairs(places, centroid_nearness(levels, receivers))[1]))
    return [np.concatenate(column) for column in zip(*found, strict=True)]


def test_without_noise_those_within_two_metres_are_told_from_the_others():
    truth, probability, _ = evaluated(1, shadowing_db=0.0, spread_db=0.0)
    assert auc(truth, probability) > 0.97


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_probabilities_of_a_room_with_shadowing_are_calibrated(seed):
    truth, probability, _ = evaluated(seed)
    edges = np.quantile(probability, [0, 0.5, 0.75, 0.9, 0.97, 1])
    for low, high in itertools.pairwise(edges):
        inside = (probability >= low) & (probability <= high)
        assert truth[inside].mean() == pytest.approx(probability[inside].mean(), abs=0.1)


@pytest.mark.parametrize("radio", [{}, {"exponent": 1.7}, {"exponent": 3.0}, {"shadowing_db": 8.0}])
def test_a_cloud_ranks_pairs_better_than_a_centroid_even_where_the_room_is_not_as_assumed(radio):
    truth, probability, centroid = evaluated(4, **radio)
    assert auc(truth, probability) > auc(truth, centroid)
    assert auc(truth, probability) > 0.65


def test_how_loud_a_tag_is_as_a_whole_says_little_and_the_differences_say_the_rest():
    room = RoomMap(CORNERS, PathLoss(power_spread_db=1000))
    levels = rssi_at(np.array([[2.0, 3.0]]), CORNERS, np.random.default_rng(5), shadowing_db=0.0, spread_db=0.0)
    assert np.allclose(room.clouds(levels), room.clouds(levels - 25), atol=1e-3)


def test_ten_minutes_on_one_place_tell_more_than_two():
    rng = np.random.default_rng(7)
    room = RoomMap(CORNERS)
    singles, tracks = [], []
    for _ in range(30):
        places = scattered(rng, 30)
        levels = np.stack([rssi_at(places, CORNERS, rng) for _ in range(5)])
        truth, single = pairs(places, room.near(room.clouds(levels[2])))
        singles.append((truth, single))
        tracks.append((truth, pairs(places, room.near(room.tracks(levels)[2]))[1]))
    alone, together = (auc(*map(np.concatenate, zip(*found, strict=True))) for found in (singles, tracks))
    assert together > alone + 0.03


@given(st.lists(st.lists(st.one_of(st.just(np.nan), st.floats(-110, -20)), min_size=4, max_size=4), min_size=1))
def test_whatever_was_heard_clouds_and_nearness_are_probabilities(levels):
    room = RoomMap(CORNERS)
    clouds = room.clouds(np.array(levels))
    assert clouds.sum(axis=1) == pytest.approx(1, abs=1e-4)
    near = room.near(clouds)
    assert ((near >= 0) & (near <= 1)).all()
    assert np.allclose(near, near.T, atol=1e-6)


def test_with_one_receiver_nobody_is_found_near_anybody():
    one = RoomMap(CORNERS[:1])
    levels = np.array([[-75.0], [-75.0], [-85.0]])
    assert one.near(one.clouds(levels)).max() < 0.5
    everywhere = RoomMap(CORNERS)
    unheard = np.full((2, 4), np.nan)
    assert everywhere.near(everywhere.clouds(unheard)) == pytest.approx(everywhere.by_chance, abs=1e-3)


def columns(levels_of_window, labels):
    """Heard, of one level [tags, receivers] for each window."""
    windows, subjects, receivers, rssi = [], [], [], []
    for window, levels in enumerate(levels_of_window):
        for (subject, receiver), level in np.ndenumerate(levels):
            windows.append(window)
            subjects.append(subject)
            receivers.append(receiver)
            rssi.append(level)
    return Heard(
        labels,
        np.array(windows),
        np.array(receivers, np.uint8),
        np.array(subjects),
        np.array(rssi, float),
        np.full(len(windows), -24.0),
    )


def test_two_who_sit_together_for_half_an_hour_are_found_and_one_across_the_room_is_not():
    rng = np.random.default_rng(6)
    places = np.array([[1.0, 1.0], [1.6, 1.2], [7.0, 5.0]])
    stretches = 3 * WINDOWS_A_PERIOD // STRETCH_WINDOWS
    levels = [rssi_at(places, CORNERS, rng) for _ in range(stretches)]
    heard = columns([level for level in levels for _ in range(STRETCH_WINDOWS)], ("anggrek", "bakung", "cempaka"))
    nearness = Nearness("room", Rooms.of(CORNERS, home="kelas"))
    found = {(pair.a, pair.b): pair for pair in nearness.encounters(0, heard.labels, [heard]).pairs}
    together = found["anggrek", "bakung"]
    assert 10 < together.minutes <= 30, "weighted by a probability, it is always less than what was"
    assert 0.5 <= together.probability <= 1
    others = [pair.minutes for names, pair in found.items() if names != ("anggrek", "bakung")]
    assert sum(others) < together.minutes / 5


NEXT_DOOR = Rooms.of(
    [Receiver(0, "kelas 1"), Receiver(1, "kelas 1"), Receiver(2, "kelas 2"), Receiver(3, "kelas 3")],
    [("kelas 1", "kelas 2"), ("kelas 3", "kelas 2")],
    "kelas 1",
)


@pytest.mark.parametrize(
    ("receivers", "relay"),
    [
        ([0], False),
        ([0, 1], False),
        ([0, 2], False),
        ([2, 3], False),
        ([0, 3], True),
        ([0, 1, 2, 3], True),
        ([], False),
    ],
)
def test_a_relay_is_a_tag_in_two_rooms_that_are_not_next_to_each_other(receivers, relay):
    assert NEXT_DOOR.relayed(receivers) is relay


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=40))
def test_many_at_once_are_judged_as_one_by_one(rows):
    groups = np.array([group for group, _ in rows], np.int64)
    receivers = np.array([receiver for _, receiver in rows], np.uint8)
    alone = {group: NEXT_DOOR.relayed(r for g, r in rows if g == group) for group, _ in rows}
    assert NEXT_DOOR.relays(groups, receivers).tolist() == [alone[group] for group, _ in rows]


def test_a_receiver_that_is_not_listed_is_at_home():
    assert NEXT_DOOR.names[NEXT_DOOR.rooms_at(np.array([200], np.uint8))[0]] == "kelas 1"


def test_adjacency_is_read_both_ways_round():
    assert {("kelas 1", "kelas 2"), ("kelas 2", "kelas 1")} <= NEXT_DOOR.adjacent_pairs


def test_rooms_that_contradict_themselves_are_refused():
    with pytest.raises(ValueError, match="each number once"):
        Rooms.of([Receiver(1, "a"), Receiver(1, "b")])
    with pytest.raises(UnknownReceiver, match="gudang have no receiver"):
        Rooms.of([Receiver(1, "a")], [("a", "gudang")])
    with pytest.raises(ValueError, match=r"not within 0\.\.255"):
        Receiver(256, "a")
