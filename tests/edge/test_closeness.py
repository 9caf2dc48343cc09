"""Closeness: a probability that moves the way it must, and a file that is checked."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.proximity.calibration import ReferenceCurve
from edge.proximity.closeness import BadCloseness, Closeness
from edge.proximity.features import ALONE, FEATURES, Levels, features, standings
from edge.proximity.stats import Stats

MODEL = Closeness((0.7, 0.3, 0.5), -0.1, 0.5, ReferenceCurve(-83.0, 5.4))
LOUD = st.floats(-120, 0)


def stats(level: int, frames: int = 10, listened: int = 1) -> Stats:
    return Stats.of_frames([level] * frames, 1, listened)


@given(st.integers(-120, 10), st.integers(1, 40))
def test_louder_is_never_less_probable(level, frames):
    assert MODEL.probability(stats(level + 1, frames)) >= MODEL.probability(stats(level, frames))


@given(st.integers(-100, -40), st.integers(1, 40))
def test_more_frames_heard_are_never_less_probable(level, frames):
    assert MODEL.probability(stats(level, frames + 1)) >= MODEL.probability(stats(level, frames))


@given(st.integers(-100, -50), st.integers(-20, 20))
def test_a_correction_is_as_good_as_another_rssi(level, db):
    corrected = MODEL.probability(stats(level), correction_db=float(db))
    assert corrected == pytest.approx(MODEL.probability(stats(level + db)))


@given(st.lists(st.tuples(st.integers(-110, -30), st.integers(1, 20), st.floats(0, 1)), min_size=1, max_size=20))
def test_many_at_once_are_judged_as_one_by_one(seen):
    rows = np.array([features(stats(level, frames), standing=place) for level, frames, place in seen])
    one_by_one = [MODEL.probability(stats(level, frames), standing=place) for level, frames, place in seen]
    assert MODEL.probabilities(rows).tolist() == pytest.approx(one_by_one)


def test_the_same_frames_in_more_listening_are_less_probable():
    assert MODEL.probability(stats(-80, 10, listened=2)) < MODEL.probability(stats(-80, 10))


def test_a_node_that_scans_all_the_time_expects_more_frames_than_a_phone():
    heard = stats(-80, 40, listened=7)
    assert MODEL.probability(heard, frames_per_window=70) < MODEL.probability(heard)


def test_features_outside_of_everything_stay_finite():
    for level in (-127, 20):
        for frames in (1, 10**6):
            one = features(Stats.of_frames([level], 1, 1)) if frames == 1 else features(stats(level, 1000, 1000))
            assert np.isfinite(one).all()


@given(st.lists(LOUD, min_size=1, max_size=30))
def test_standing_keeps_the_order_of_loudness_and_stays_within_0_and_1(loudest):
    found = standings(loudest)
    assert ((found > 0) & (found < 1)).all()
    assert (np.diff(found[np.argsort(loudest)]) >= -1e-12).all()


@given(st.lists(LOUD, min_size=1, max_size=30), LOUD)
def test_standing_does_not_change_where_a_receiver_hears_all_of_them_less(loudest, less):
    assert standings(np.array(loudest) + less).tolist() == pytest.approx(standings(loudest).tolist(), abs=1e-6)


def test_whoever_is_alone_stands_in_the_middle():
    assert standings([-60.0]).tolist() == [ALONE]


def test_a_model_survives_its_file(tmp_path):
    MODEL.write(tmp_path / "model.json")
    assert Closeness.load(tmp_path / "model.json") == MODEL


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"schema": 2}, "schema"),
        ({"features": ["loudness"]}, "features"),
        ({"weights": [1.0, 2.0]}, "2 weights"),
        ({"weights": [-1.0, 0.1, 0.1]}, "further"),
        ({"weights": ["x", 1, 1]}, "could not convert"),
        ({"intercept": float("nan")}, "finite"),
        ({"threshold": 1.0}, "probability"),
        ({"frames_per_window": 0}, "frames_per_window"),
        ({"curve": {"level_dbm": -80, "fall_db": -3}}, "falls"),
        ({"curve": {"level_dbm": -80}}, "fall_db"),
    ],
)
def test_a_file_that_is_no_model_is_named_with_what_is_wrong(tmp_path, wrong, named):
    file = tmp_path / "model.json"
    MODEL.write(file)
    file.write_text(json.dumps(json.loads(file.read_text()) | wrong))
    with pytest.raises(BadCloseness, match=rf"(?s)model\.json.*{named}"):
        Closeness.load(file)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"{}"])
def test_garbage_and_nothing_are_no_model(tmp_path, content):
    (tmp_path / "model.json").write_bytes(content)
    with pytest.raises(BadCloseness, match="no closeness model"):
        Closeness.load(tmp_path / "model.json")
    with pytest.raises(BadCloseness, match="no closeness model"):
        Closeness.load(tmp_path / "missing.json")


def test_the_packaged_model_says_what_it_is_and_what_it_cannot_do():
    model = Closeness.default()
    assert len(model.weights) == len(FEATURES)
    assert "experiment 34" in model.card["data"]
    assert "AUC, mean over scenes" in model.card["figures, each scene held out in turn (95 %)"]
    assert any("calibrated first" in limit for limit in model.card["limits"])


def test_the_packaged_model_knows_near_from_far_on_its_own_curve():
    model = Closeness.default()
    near, far = (stats(round(model.curve.at(metres)), 12) for metres in (0.5, 8.0))
    assert model.probability(near) > model.threshold > model.probability(far)


def test_judging_needs_no_torch():
    code = (
        "import sys; from edge.proximity.closeness import Closeness; Closeness.default(); "
        "sys.exit(any(m in sys.modules for m in ('torch', 'flwr', 'opacus')))"
    )
    environment = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


@given(st.lists(st.integers(-127, 20), min_size=1, max_size=60))
def test_a_histogram_of_levels_gives_the_same_standings(loudest):
    levels = Levels()
    for level in loudest:
        levels.add(level)
    assert [levels.standing(level) for level in loudest] == pytest.approx(standings(loudest).tolist())
