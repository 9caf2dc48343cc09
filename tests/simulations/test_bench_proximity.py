"""The benchmark's own parts: figures against their definitions, and that what is held out stays out."""

import dataclasses

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from edge.learning.tasks.proximity import TASK
from privacy.accounting.composition import epsilon
from simulations.benchmarks.cli import app
from simulations.benchmarks.proximity import AtLeast
from simulations.benchmarks.proximity_figures import (
    Judged,
    auc,
    balanced_threshold,
    calibration_error,
    gain,
    judge,
    ndcf,
)
from simulations.benchmarks.proximity_models import DELTA, PLAIN, RECIPES, ROUNDS, Scenes, Setting, federated, fit
from simulations.benchmarks.proximity_nist import held_out_device
from simulations.datasets.exp34 import Scene, load_exp34
from simulations.datasets.nist import Stretch
from simulations.datasets.proximity import UNIT_WINDOWS, sessions
from simulations.datasets.windows import scene_windows, stretch_windows

PAIRS = st.lists(st.tuples(st.booleans(), st.integers(0, 10)), min_size=2, max_size=40)


def arrays(pairs):
    near, said = zip(*pairs, strict=True)
    assume(0 < sum(near) < len(near))
    return np.array(near, float), np.array(said) / 10


def scene(name, seed, phones=8, minutes=20, spread=3.0):
    """People who stand at random places of a room and whose phones fade by the law of distances."""
    rng = np.random.default_rng(seed)
    at = rng.uniform(0, spread, (phones, 2))
    rows = []
    for receiver in range(phones):
        for start in range(receiver, 60 * minutes, 200):
            for sender in range(phones):
                metres = max(np.linalg.norm(at[receiver] - at[sender]), 0.3)
                level = -83 - 6 * np.log(metres) + (receiver % 3) * 2 - (sender % 4) * 2
                if sender != receiver:
                    for _ in range(rng.binomial(12, 1 / (1 + np.exp(-(level + 92) / 4)))):
                        rows.append(
                            (receiver, sender, 1e9 + start + rng.uniform(0, 4), round(rng.normal(level, 4)), metres)
                        )
    receivers, senders, times, levels, metres = map(np.array, zip(*sorted(rows, key=lambda row: row[2]), strict=True))
    return Scene(name, receivers, senders, times, levels, metres)


@pytest.fixture(scope="module")
def scenes():
    return Scenes(
        {name: scene_windows(scene(name, seed)) for seed, name in enumerate(("hall", "train", "yard", "room"))}
    )


@given(PAIRS)
def test_auc_is_the_share_of_pairs_in_the_right_order(pairs):
    near, said = arrays(pairs)
    ordered = [(p > q) + 0.5 * (p == q) for p in said[near == 1] for q in said[near == 0]]
    assert auc(near, said) == pytest.approx(np.mean(ordered))


@given(PAIRS, st.data())
def test_a_weight_counts_as_so_many_windows(pairs, data):
    near, said = arrays(pairs)
    times = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(near), max_size=len(near))))
    assume((times * near).sum() > 0 and (times * (1 - near)).sum() > 0)
    repeated = (np.repeat(near, times), np.repeat(said, times))
    assert auc(near, said, times * 1.0) == pytest.approx(auc(*repeated))
    assert ndcf(near, said, 0.5, times * 1.0) == pytest.approx(ndcf(*repeated, 0.5))
    assert calibration_error(near, said, times * 1.0) == pytest.approx(calibration_error(*repeated))


def test_the_cost_is_misses_and_false_alarms_of_their_classes():
    near, said = np.array([1, 1, 1, 1, 0, 0]), np.array([0.9, 0.5, 0.2, 0.1, 0.6, 0.1])
    assert ndcf(near, said, 0.5) == 0.5 + 0.5


def test_calibration_is_perfect_where_it_is_so_as_often_as_is_said():
    said = np.repeat([0.25, 0.75], 100)
    near = np.concatenate([np.arange(100) < 25, np.arange(100) < 75]).astype(float)
    assert calibration_error(near, said) == pytest.approx(0)
    assert calibration_error(1 - near, said) == pytest.approx(0.5)


@given(st.floats(-2, 2), st.floats(0.1, 0.9))
@settings(deadline=None, max_examples=20)
def test_the_threshold_is_where_both_classes_are_as_likely_whatever_their_share(middle, share):
    rng = np.random.default_rng(0)
    near = (rng.uniform(size=20_000) < share).astype(float)
    logit = rng.normal(middle + np.where(near == 1, 0.5, -0.5), 1.0)
    found = balanced_threshold([near], [1 / (1 + np.exp(-logit))])
    assert np.log(found / (1 - found)) == pytest.approx(middle, abs=0.06)


def test_intervals_are_as_wide_as_theory_says_where_windows_are_independent():
    rng = np.random.default_rng(1)
    near = rng.integers(0, 2, 400).astype(float)
    said = np.clip(rng.normal(0.5 + 0.1 * (near - 0.5), 0.15), 0, 1)
    found = judge([Judged(near, said, 0.5, tuple(map(str, range(400))))], redraw_places=False, draws=500).auc
    assert found.low < found.value < found.high
    # An AUC near 1/2 has a variance of about (n + m + 1) / 12 n m: Mann and Whitney's.
    by_hand = 2 * 1.96 * np.sqrt(401 / 12 / 200 / 200)
    assert found.high - found.low == pytest.approx(by_hand, rel=0.25)


def test_intervals_are_wider_where_windows_hang_together():
    rng = np.random.default_rng(1)
    near = np.repeat(rng.integers(0, 2, 40), 10).astype(float)
    said = np.clip(np.repeat(rng.normal(0.5, 0.2, 40), 10) + 0.2 * (near - 0.5), 0, 1)
    apart, together = (
        judge([Judged(near, said, 0.5, tuple(str(n // size) for n in range(400)))], redraw_places=False).auc
        for size in (1, 10)
    )
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_a_model_is_no_better_than_itself():
    near, said = np.array([1.0, 0.0, 1.0, 0.0] * 5), np.array([0.9, 0.2, 0.4, 0.6] * 5)
    place = Judged(near, said, 0.5, tuple(map(str, range(20))))
    assert gain([place], [place], draws=20).value == 0
    assert gain([place], [dataclasses.replace(place, probability=1 - said)], draws=20).value == pytest.approx(0.5)


def test_weights_of_a_place_do_not_depend_on_how_many_are_near_there():
    rng = np.random.default_rng(2)
    x = [rng.normal(size=(4000, 3)) for _ in range(2)]
    near = [
        (rng.uniform(size=4000) < 1 / (1 + np.exp(-(rows @ [1.0, 0.5, 0.0] + shift)))).astype(float)
        for rows, shift in zip(x, (-2.0, 2.0), strict=True)
    ]
    assert fit(x, near).weights == pytest.approx([1.0, 0.5, 0.0], abs=0.1)


def test_nothing_of_a_held_out_scene_is_in_its_model(scenes):
    names = frozenset(scenes.places)
    others = names - {"yard"}
    turned = scene_windows(scene("yard", 99, spread=9.0))
    other = Scenes({**scenes.places, "yard": turned})
    for recipe in RECIPES:
        (model, threshold), (again, same) = (s.centrally(recipe, others) for s in (scenes, other))
        assert model.weights.tolist() == again.weights.tolist()
        assert (model.intercept, threshold) == (again.intercept, same)
    assert scenes.chosen(others) == other.chosen(others)


def test_calibration_helps_where_phones_differ(scenes):
    names = frozenset(scenes.places)
    plain, calibrated = (
        np.mean([auc(j.near, j.probability) for j in (scenes.held_out(r, n, names - {n}) for n in sorted(names))])
        for r in (PLAIN, RECIPES[2])
    )
    assert calibrated > plain + 0.01


def test_windows_are_near_by_the_median_of_what_the_cameras_saw():
    nan = float("nan")
    heard = Scene(
        "one",
        np.array([1, 1, 1, 1, 1, 2]),
        np.array([2, 2, 2, 3, 2, 1]),
        np.array([0.0, 1.0, 2.0, 3.0, 160.0, 2.0]),
        np.array([-60, -70, -80, -50, -60, -65]),
        np.array([1.0, 2.0, 9.0, nan, nan, 2.5]),
    )
    place = scene_windows(heard)
    assert [(w.receiver, w.transmitter, w.near, w.stats.frames) for w in place.windows] == [
        ("01", "02", True, 3),
        ("02", "01", False, 1),
    ]
    assert len(set(place.groups)) == 1  # one pair, in both directions
    assert place.features()[0][2] < 0 == place.features()[1][2]  # phone 3 is louder, though nobody saw where it was


def test_two_scans_in_a_window_are_listened_to_twice():
    times = np.array([0.0, 1.0, 100.0])
    heard = Scene("one", np.ones(3, int), np.full(3, 2), times, np.full(3, -60), np.ones(3))
    assert scene_windows(heard).windows[0].stats.windows_listened == 2


def test_a_phone_is_a_node_and_its_window_a_unit(scenes):
    nodes = scenes.units(frozenset({"hall"}))
    windows = scenes.places["hall"].windows
    assert set(nodes) == {window.receiver for window in windows}
    assert sum(len(units) for units in nodes.values()) == len({(w.receiver, w.index) for w in windows})
    assert sum(len(unit) for units in nodes.values() for unit in units) == len(windows)


def test_the_federation_learns_without_privacy_what_a_central_fit_learns(scenes):
    names = frozenset(scenes.places)
    nodes = [TASK.examples(units) for units in scenes.units(names).values()]
    model = federated(TASK, nodes, Setting(lot_size=max(map(len, nodes)), clip_norm=10.0, learning_rate=4.0).plan(0.0))
    near = np.concatenate([scenes.near(name) for name in sorted(names)])
    x = np.vstack([scenes.features(name, frozenset(), None) for name in sorted(names)])
    central = fit([x], [near])
    assert auc(near, model.probabilities(x)) == pytest.approx(auc(near, central.probabilities(x)), abs=0.01)


def test_a_private_run_costs_no_more_than_it_says():
    plan = Setting().within(4.0, TASK.unit_examples)
    spent = epsilon((plan.events(TASK.unit_examples) + plan.metrics_events()) * ROUNDS, DELTA)
    assert 3.9 < spent <= 4.0


def test_a_pis_unit_is_ten_windows_of_one_distance():
    rng = np.random.default_rng(3)
    stretches = [
        Stretch(device, metres, np.arange(0, 4000, 10.0) + 10_000 * metres, rng.integers(-60, -50, 400))
        for device in "AB"
        for metres in (1.0, 3.0)
    ]
    place = stretch_windows([s for s in stretches if s.device == "A"])
    units = [unit for at_distance in sessions(place).values() for unit in at_distance]
    assert {len(unit) for unit in units} <= set(range(1, UNIT_WINDOWS + 1))
    assert all(len({seen.near for seen in unit}) == 1 for unit in units)
    assert sum(map(len, units)) == len(place.windows)
    judged = held_out_device({d: stretch_windows([s for s in stretches if s.device == d]) for d in "AB"})
    assert [len(one.near) for one in judged] == [len(place.windows)] * 2


def test_a_bound_from_below_holds_from_there_on():
    assert AtLeast("auc", 0.76, 0.76).held
    assert not AtLeast("auc", 0.7599, 0.76).held
    assert "MISSED" in str(AtLeast("auc", 0.7, 0.76))


def test_missing_recordings_are_one_line_that_names_their_source(tmp_path):
    result = CliRunner().invoke(app, ["proximity", "--exp34", str(tmp_path), "--nist", str(tmp_path)])
    assert result.exit_code == 3
    assert "DP-3T/bt-measurements" in " ".join(result.output.split())


def test_the_real_windows_are_those_of_the_baseline(shared_data):
    places = [scene_windows(scene) for scene in load_exp34(shared_data / "exp34")]
    assert [len(place.windows) for place in places] == [576, 1094, 382, 373, 916, 241]
    loud = [auc(p.near, np.array([w.stats.rssi_mean for w in p.windows])) for p in places]
    assert np.mean(loud) == pytest.approx(0.721, abs=0.002)
