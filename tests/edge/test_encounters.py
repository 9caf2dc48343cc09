"""Who met whom, from columns of sightings."""

import itertools
import time
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.tracing.attenuation import AttenuationWeights
from edge.tracing.encounters import MOST_TOGETHER, NEAR_FROM, Encounter, Nearness
from edge.tracing.heard import WINDOWS_A_PERIOD, Heard
from edge.tracing.rooms import Receiver, Rooms
from edge.tracing.tally import Tally

LABELS = ("anggrek", "bakung", "cempaka")
STRANGER = len(LABELS)
NEAR, MIDDLE, FAR = 50.0, 70.0, 90.0
"""Attenuations with the weights 1, 0.5 and 0, dB."""

PERSON, ZONE = Nearness("person"), Nearness("zone")


def heard(rows, labels=LABELS):
    """From rows (window, subject, attenuation in dB[, receiver])."""
    rows = sorted(((*row, 0)[:4] for row in rows), key=lambda row: row[0])
    windows, subjects, lost, receivers = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Heard(
        labels,
        np.array(windows, np.int64),
        np.array(receivers, np.uint8),
        np.array(subjects, np.int64),
        -24.0 - np.array(lost, np.float64),
        np.full(len(rows), -24.0),
    )


def met(nearness, *parts, day=0):
    return nearness.encounters(day, parts[0].labels, parts)


def minutes(found):
    return {(pair.a, pair.b): pytest.approx(pair.minutes) for pair in found.pairs}


def test_short_contacts_of_a_whole_day_add_up():
    one_window_an_hour = [(hour * 180, 0, NEAR) for hour in range(24)]
    [pair] = met(PERSON, heard(one_window_an_hour), day=7).pairs
    assert pair == Encounter(7, "", "anggrek", pytest.approx(8.0), 24)


def test_a_minute_counts_by_its_attenuation():
    rows = [(0, 0, NEAR), (1, 0, MIDDLE), (2, 0, FAR), (0, 1, FAR)]
    assert minutes(met(PERSON, heard(rows))) == {("", "anggrek"): 0.5}


def test_in_a_zone_a_minute_counts_by_the_further_of_the_two():
    rows = [(0, 0, NEAR), (0, 1, NEAR), (1, 0, NEAR), (1, 1, MIDDLE), (2, 0, NEAR), (2, 1, FAR)]
    assert minutes(met(ZONE, heard(rows))) == {("anggrek", "bakung"): 0.5}


def test_two_who_were_near_the_node_at_different_times_did_not_meet():
    assert met(ZONE, heard([(0, 0, NEAR), (1, 1, NEAR)])).pairs == ()


def test_a_tag_that_changes_its_identifier_within_a_window_counts_once():
    twice = [(0, 0, NEAR), (0, 0, NEAR)]
    assert minutes(met(PERSON, heard(twice))) == {("", "anggrek"): 1 / 3}


def test_one_who_wears_the_node_and_a_tag_does_not_meet_themselves():
    worn = Nearness("person", wearer="anggrek")
    assert minutes(met(worn, heard([(0, 0, NEAR), (0, 1, NEAR)]))) == {("anggrek", "bakung"): 1 / 3}


def test_a_stranger_is_one_subject_for_ten_minutes_only():
    all_hour = [(window, STRANGER, NEAR) for window in range(6 * WINDOWS_A_PERIOD)]
    found = met(PERSON, heard(all_hour))
    assert found.pairs == ()
    [with_strangers] = found.strangers
    assert with_strangers.tokens == 6, "a phone whose identifier never changes is not followed either"
    assert (with_strangers.minutes, with_strangers.longest_minutes) == (pytest.approx(60), pytest.approx(10))


def test_of_strangers_among_themselves_only_a_sum_comes_out():
    found = met(ZONE, heard([(0, STRANGER, NEAR), (0, STRANGER + 1, NEAR), (0, STRANGER + 2, NEAR)]))
    assert (found.pairs, found.strangers) == ((), ())
    assert found.strangers_minutes == pytest.approx(3 / 3)


def test_a_day_without_anybody_has_no_encounters():
    for nearness in (PERSON, ZONE):
        found = met(nearness, heard([]))
        assert (found.pairs, found.strangers, found.strangers_minutes) == ((), (), 0)


ROWS = st.lists(
    st.tuples(st.integers(0, 100), st.integers(0, STRANGER + 2), st.sampled_from([NEAR, MIDDLE, FAR, 60.0, 73.0])),
    max_size=60,
)


def weights_by_hand(rows):
    weight = AttenuationWeights().weight
    nearest = defaultdict(float)
    for window, subject, lost in rows:
        nearest[window, subject] = max(nearest[window, subject], weight(lost))
    return nearest


@given(ROWS)
def test_a_wearers_minutes_are_those_counted_by_hand(rows):
    by_hand, strangers = defaultdict(float), 0.0
    for (_, subject), weight in weights_by_hand(rows).items():
        if subject < STRANGER and weight:
            by_hand["", LABELS[subject]] += weight / 3
        elif weight:
            strangers += weight / 3
    found = met(PERSON, heard(rows))
    assert minutes(found) == by_hand
    assert sum(one.minutes for one in found.strangers) == pytest.approx(strangers)


@given(ROWS)
def test_a_zones_minutes_are_those_counted_by_hand(rows):
    by_hand, unlinked = defaultdict(float), 0.0
    nearest = weights_by_hand(rows)
    for (window, a), (other_window, b) in itertools.combinations(sorted(nearest), 2):
        weight = min(nearest[window, a], nearest[other_window, b])
        if window != other_window or not weight:
            continue
        if b < STRANGER:
            by_hand[LABELS[a], LABELS[b]] += weight / 3
        elif a >= STRANGER:
            unlinked += weight / 3
    found = met(ZONE, heard(rows))
    assert minutes(found) == by_hand
    assert found.strangers_minutes == pytest.approx(unlinked)


@given(ROWS, ROWS)
@settings(max_examples=30)
def test_minutes_of_two_stretches_add_up(morning, evening):
    later = [(window + 2000, subject, lost) for window, subject, lost in evening]
    both = minutes(met(ZONE, heard([*morning, *later])))
    assert minutes(met(ZONE, heard(morning), heard(later))) == both
    sums = defaultdict(float)
    for part in (morning, later):
        for pair in met(ZONE, heard(part)).pairs:
            sums[pair.a, pair.b] += pair.minutes
    assert both == sums


def test_receivers_of_one_room_hear_one_tag_once():
    one_room = Nearness("zone", Rooms.of([Receiver(0, "aula"), Receiver(1, "aula")], home="aula"))
    rows = [(0, 0, NEAR, 0), (0, 0, NEAR, 1), (0, 1, NEAR, 1)]
    assert minutes(met(one_room, heard(rows))) == {("anggrek", "bakung"): 1 / 3}


def test_two_in_different_rooms_do_not_meet():
    rooms = Nearness("zone", Rooms.of([Receiver(0, "kelas 1"), Receiver(1, "kelas 2")], home="kelas 1"))
    assert met(rooms, heard([(0, 0, NEAR, 0), (0, 1, NEAR, 1)])).pairs == ()


def test_a_tag_heard_through_the_wall_is_in_the_room_where_it_is_louder():
    rooms = Rooms.of([Receiver(0, "kelas 1"), Receiver(1, "kelas 2")], [("kelas 1", "kelas 2")], "kelas 1")
    rows = [(0, 0, NEAR, 0), (0, 0, MIDDLE, 1), (0, 1, NEAR, 1), (0, 2, NEAR, 0)]
    found = met(Nearness("zone", rooms), heard(rows))
    assert minutes(found) == {("anggrek", "cempaka"): 1 / 3}
    assert found.left_out.relays == 0


def test_a_tag_in_two_rooms_at_once_is_a_relay_and_is_left_out_and_counted():
    rooms = Rooms.of([Receiver(0, "kelas 1"), Receiver(1, "kelas 9")], home="kelas 1")
    rows = [(0, 0, NEAR, 0), (0, 0, NEAR, 1), (0, 1, NEAR, 0), (1, 0, NEAR, 0), (1, 1, NEAR, 0)]
    found = met(Nearness("zone", rooms), heard(rows))
    assert minutes(found) == {("anggrek", "bakung"): 1 / 3}
    assert found.left_out.relays == 1


def test_ten_thousand_at_once_are_bounded_and_those_left_out_are_counted():
    subjects = np.tile(np.arange(10_000), WINDOWS_A_PERIOD)
    windows = np.repeat(np.arange(WINDOWS_A_PERIOD), 10_000)
    labels = tuple(f"tag-{number}" for number in range(2_000))
    lost = np.where(subjects % 5 == 0, NEAR, MIDDLE)
    crowd = Heard(
        labels, windows, np.zeros(len(windows), np.uint8), subjects, -24.0 - lost, np.full(len(windows), -24.0)
    )
    started = time.process_time()
    found = met(ZONE, crowd)
    assert time.process_time() - started < 20
    assert found.left_out.crowded == 10_000 - MOST_TOGETHER
    nearest = {int(pair.a[4:]) for pair in found.pairs} | {int(pair.b[4:]) for pair in found.pairs}
    assert all(number % 5 == 0 for number in nearest), "the loudest pair up"
    assert len(met(PERSON, crowd).pairs) == 2_000, "a wearer meets all of them"


def test_pairs_beyond_the_limit_go_with_the_fewest_minutes_and_are_counted():
    tally = Tally(known=4, most_pairs=3)
    first, second = np.array([0, 0, 0, 1, 1, 2]), np.array([1, 2, 3, 2, 3, 3])
    minutes_each = np.array([1, 2, 3, 4, 5, 6], np.float32)
    tally.add(first, second, minutes_each, np.ones(6, np.int64), minutes_each)
    assert [(a, b, m) for a, b, m, _, _ in tally.pairs()] == [(1, 2, 4), (1, 3, 5), (2, 3, 6)]
    assert tally.left_minutes == 1 + 2 + 3


def test_weights_fall_from_bucket_to_bucket_and_an_end_is_within():
    weights = AttenuationWeights((55, 63, 73), (1.0, 0.8, 0.5, 0.0))
    assert [weights.weight(db) for db in (-3, 55, 55.1, 63, 63.1, 73, 73.1, 200, float("nan"))] == pytest.approx(
        [1, 1, 0.8, 0.8, 0.5, 0.5, 0, 0, 0]
    )


@given(st.lists(st.floats(-50, 150)))
def test_many_weights_at_once_are_those_one_by_one(lost):
    weights = AttenuationWeights()
    assert weights.weights_of(lost).tolist() == [weights.weight(db) for db in lost]


@pytest.mark.parametrize(
    ("thresholds", "weights", "why"),
    [
        ((63, 55, 73), (1, 1, 0.5, 0), "do not rise"),
        ((55, 63, 73), (1, 1, 0.5, -1), "not within"),
        ((55, 63, 73), (0.5, 1, 0.5, 0), "rise with attenuation"),
    ],
)
def test_weights_that_make_no_sense_are_refused(thresholds, weights, why):
    with pytest.raises(ValueError, match=why):
        AttenuationWeights(thresholds, weights)


def test_an_unknown_mode_and_a_room_without_receivers_are_refused():
    with pytest.raises(ValueError, match="choose zone, room or person"):
        Nearness("school")
    with pytest.raises(ValueError, match="needs receivers"):
        Nearness("room")
    assert 0 < NEAR_FROM < 1
