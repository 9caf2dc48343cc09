"""Corrections from known distances, and what is stored of them."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.proximity.calibration import Prior, Reading, ReferenceCurve, TooFewReadings, estimate
from edge.proximity.session import Session, Step
from edge.proximity.stats import Stats
from edge.store.calibration import Calibrations, StoredCorrections

CURVE = ReferenceCurve(-83.0, 5.4)
DISTANCES = (0.5, 1.0, 2.0, 3.0, 4.0)
WEAK = Prior(1e-6, 1e-6)
offset = st.floats(-40, 40)


def readings(receivers, transmitters, curve=CURVE, places=("",)):
    return [
        Reading(receiver, transmitter, distance, curve.at(distance) + more + louder, place)
        for place in places
        for receiver, more in receivers.items()
        for transmitter, louder in transmitters.items()
        for distance in DISTANCES
    ]


def session(number: int = 0) -> Session:
    steps = [
        Step(d, blocked, Stats.of_frames([-60 - number, -64], 1, 2)) for d in DISTANCES for blocked in (False, True)
    ]
    return Session("hci0", f"tag-{number}", 100.0 * number, tuple(steps))


@given(offset, offset)
def test_a_correction_takes_away_what_adapter_and_tag_add_together(more, louder):
    found = estimate(readings({"hci0": more}, {"tag": louder}), WEAK, CURVE)
    assert found.of("hci0", "tag") == pytest.approx(-(more + louder), abs=1e-3)


@given(st.lists(offset, min_size=2, max_size=6), st.lists(offset, min_size=2, max_size=6))
@settings(deadline=None)
def test_without_a_curve_it_is_found_with_the_rest_and_differences_are_right(more, louder):
    receivers, transmitters = ({f"{n}": db for n, db in enumerate(some)} for some in (more, louder))
    found = estimate(readings(receivers, transmitters, places=("hall", "yard")), WEAK)
    assert found.curve.fall_db == pytest.approx(CURVE.fall_db, rel=1e-3)
    for offsets, true in ((found.receivers, receivers), (found.transmitters, transmitters)):
        assert offsets["1"] - offsets["0"] == pytest.approx(true["0"] - true["1"], abs=1e-2)


def test_corrections_survive_noise_and_few_readings_are_drawn_to_nothing():
    rng = random.Random(5)
    true = {f"r{n}": rng.gauss(0, 5) for n in range(10)}
    heard = [
        Reading(name, "t", d, CURVE.at(d) + more + rng.gauss(0, 6))
        for name, more in true.items()
        for d in DISTANCES * 8
    ]
    found = estimate(heard, Prior(1.0, 1e6), CURVE)
    assert max(abs(found.receivers[name] + more) for name, more in true.items()) < 4
    one = estimate(heard[:1], Prior(9.0, 1e6), CURVE)
    assert abs(one.receivers["r0"]) == pytest.approx(abs(heard[0].rssi_dbm - CURVE.at(DISTANCES[0])) / 10, rel=1e-3)


def test_unknown_names_are_not_corrected():
    assert estimate(readings({"hci0": 3.0}, {"tag": 0.0}), WEAK, CURVE).of("hci9", "other") == 0.0


def test_nothing_or_one_distance_or_a_signal_that_does_not_fall_is_too_little():
    with pytest.raises(TooFewReadings, match="no reading"):
        estimate([])
    with pytest.raises(TooFewReadings, match="one distance"):
        estimate([Reading("r", "t", 1.0, -80.0)] * 3)
    with pytest.raises(TooFewReadings, match="not louder"):
        estimate([Reading("r", "t", d, -80.0 + d) for d in DISTANCES])


@pytest.mark.parametrize("wrong", [(math.nan, -60.0), (-1.0, -60.0), (1.0, math.inf)])
def test_a_reading_is_of_numbers(wrong):
    with pytest.raises(ValueError, match="is none"):
        Reading("r", "t", *wrong)


def test_stored_sessions_come_back_as_they_were(connection):
    store = Calibrations(connection)
    for number in range(3):
        store.add(session(number))
    assert store.sessions() == [session(number) for number in range(3)]


def test_old_sessions_go_with_their_steps_and_corrections_stay(connection):
    store = Calibrations(connection)
    for number in range(3):
        store.add(session(number))
    StoredCorrections(connection).set({"hci0": -33.0}, {}, 1.0)
    assert store.purge(200.0) == 2
    assert store.sessions() == [session(2)]
    assert connection.execute("SELECT count(*) FROM calibration_steps").fetchone() == (10,)
    assert StoredCorrections(connection).of("hci0") == -33.0


def test_a_session_that_cannot_be_stored_leaves_nothing(connection):
    twice = session(0)
    object.__setattr__(twice, "steps", twice.steps + twice.steps[:1])
    with pytest.raises(Exception, match=r"UNIQUE|constraint"):
        Calibrations(connection).add(twice)
    assert Calibrations(connection).sessions() == []


def test_a_session_has_each_place_and_posture_once():
    with pytest.raises(ValueError, match="each place once"):
        Session("hci0", "tag", 0.0, session().steps + session().steps[:1])
    with pytest.raises(ValueError, match="names"):
        Session("", "tag", 0.0, session().steps)


def test_an_adapter_that_was_never_calibrated_has_no_correction(connection):
    corrections = StoredCorrections(connection)
    corrections.set({}, {"tag-1": 2.0}, 1.0)
    assert corrections.of("hci0", "tag-1") is None
    assert corrections.frames_per_window("hci0") is None
    corrections.set({"hci0": -33.0}, {}, 2.0, {"hci0": 71.5})
    assert corrections.of("hci0", "tag-1") == -31.0
    assert corrections.of("hci0", "a stranger") == -33.0
    assert corrections.frames_per_window("hci0") == 71.5
    corrections.forget_transmitter("tag-1")
    assert corrections.of("hci0", "tag-1") == -33.0


def test_a_correction_is_a_finite_number(connection):
    with pytest.raises(ValueError, match="hci0"):
        StoredCorrections(connection).set({"hci0": math.nan}, {}, 1.0)
