"""The radio draws what its numbers say; they can be found again in what it draws and in what was measured."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulations.datasets.exp34 import load_exp34
from simulations.datasets.nist import load_nist
from simulations.experiments.world.radio_fit import fit_wall, fit_worn
from simulations.experiments.world.radio_match import worn_rows
from simulations.world.radio import WALL, WORN
from simulations.world.scans import LinkScan, link_scans

N = 40_000
OPEN = replace(WORN, sensitivity_dbm=-127.0, blur_db=0.0, missed=0.0, body_db=0.0)


def windows(radio, distance_m, seed=1, link_db=0.0):
    rng = np.random.default_rng(seed)
    return radio.levels(np.full(N, distance_m), np.full(N, link_db), rng)


@given(st.floats(0.3, 30), st.floats(-10, 10))
@settings(max_examples=20, deadline=None)
def test_without_bodies_and_limits_the_level_is_path_loss_link_and_spread(distance_m, link_db):
    level = windows(OPEN, distance_m, link_db=link_db)
    assert np.isfinite(level).all()
    expected = OPEN.power_dbm - 10 * OPEN.exponent * math.log10(distance_m) + link_db
    assert level.mean() == pytest.approx(expected, abs=0.1)
    assert level.std() == pytest.approx(OPEN.window_db, abs=0.1)


def test_a_body_takes_its_share_of_windows_and_more_of_them_further_away():
    radio = replace(OPEN, body_db=30.0, window_db=1.0)
    for distance_m in (0.5, 1.0, 2.0):
        blocked = windows(radio, distance_m) < radio.mean_dbm(np.array(distance_m)) - 15
        assert blocked.mean() == pytest.approx(1 - math.exp(-distance_m / radio.clear_m), abs=0.01)


def test_half_of_what_is_as_loud_as_the_sensitivity_is_heard_and_a_share_is_missed_anyway():
    radio = replace(OPEN, exponent=0.0, power_dbm=-90.0, sensitivity_dbm=-90.0, window_db=0.0, blur_db=2.0)
    assert np.isfinite(windows(radio, 1.0)).mean() == pytest.approx(0.5, abs=0.01)
    loud = replace(radio, power_dbm=-30.0, missed=0.3)
    assert np.isfinite(windows(loud, 1.0)).mean() == pytest.approx(0.7, abs=0.01)


def test_links_are_the_same_both_ways_and_share_what_stays_with_a_wearer():
    links = WORN.links(400, np.random.default_rng(2))
    assert np.array_equal(links, links.T)
    apart = links[~np.eye(400, dtype=bool)]
    assert apart.std() == pytest.approx(math.hypot(math.sqrt(2) * WORN.wearer_db, WORN.link_db), rel=0.05)
    assert links.mean(axis=1).std() == pytest.approx(WORN.wearer_db, rel=0.15)


def test_a_node_on_a_wall_hears_the_room_and_not_the_street():
    rng = np.random.default_rng(3)
    near, far = (np.isfinite(WALL.levels(np.full(N, d), np.zeros(N), rng)).mean() for d in (5.0, 500.0))
    assert near > 0.99
    assert far < 0.5


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"window_db": -1.0}, "window_db is -1.0 dB"),
        ({"missed": 1.5}, "missed is 1.5"),
        ({"clear_m": 0.0}, "clear_m is 0.0 m"),
        ({"exponent": float("nan")}, "exponent is nan"),
    ],
)
def test_a_radio_that_cannot_be_is_refused(change, complaint):
    with pytest.raises(ValueError, match=complaint):
        replace(WORN, **change)


def of_the_model(radio, links, scans, rng):
    """Scans of links at distances of their own."""
    found = []
    for link in range(links):
        distance_m = np.exp(rng.uniform(np.log(0.5), np.log(6), scans))
        level = radio.levels(distance_m, np.full(scans, rng.normal(0, radio.link_db)), rng)
        found += [
            LinkScan(("made", link, 10_000 + link), float(d), float(v) if np.isfinite(v) else None)
            for d, v in zip(distance_m, level, strict=True)
        ]
    return found


@pytest.mark.slow
def test_a_fit_finds_again_what_was_put_in_though_a_third_is_too_faint_to_be_heard():
    truth = replace(WORN, wearer_db=0.0, exponent=1.8, link_db=4.0)
    scans = of_the_model(truth, links=400, scans=10, rng=np.random.default_rng(4))
    assert sum(scan.rssi_dbm is None for scan in scans) > len(scans) / 4
    again = fit_worn(scans, replace(WORN, wearer_db=0.0))
    assert again.exponent == pytest.approx(truth.exponent, abs=0.4)
    assert again.sensitivity_dbm == pytest.approx(truth.sensitivity_dbm, abs=0.7)
    assert again.missed == pytest.approx(truth.missed, abs=0.05)
    assert math.hypot(again.link_db, math.sqrt(2) * again.wearer_db) == pytest.approx(truth.link_db, abs=0.6)


@pytest.mark.slow
def test_the_numbers_in_the_code_are_those_of_exp34(shared_data):
    again = fit_worn(link_scans(load_exp34(shared_data / "exp34")))
    for name in ("power_dbm", "exponent", "body_db", "clear_m", "wearer_db", "link_db", "window_db", "sensitivity_dbm"):
        assert getattr(again, name) == pytest.approx(getattr(WORN, name), abs=0.1), name


def test_power_and_exponent_of_the_wall_are_those_of_nists_pis(shared_data):
    power, exponent, between, frame = fit_wall(load_nist(shared_data / "nist_rpi"))
    assert (power, exponent) == (pytest.approx(WALL.power_dbm, abs=0.05), pytest.approx(WALL.exponent, abs=0.01))
    assert between < frame


@pytest.mark.slow
def test_levels_of_scenes_that_were_not_fitted_are_nearer_to_ours_than_scenes_are_to_each_other(shared_data):
    rows = worn_rows(load_exp34(shared_data / "exp34"), seed=1)
    assert len(rows) == 6
    assert all(row.ours < row.others for row in rows)
    assert all(abs(row.heard - row.ours_heard) < 0.12 for row in rows)
