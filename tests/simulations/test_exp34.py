"""Reading experiment 34: what is in it, and what is said where it is not there."""

import shutil
import sqlite3

import numpy as np
import pytest

from simulations.datasets.exp34 import SCENES, BadExp34, load_exp34


@pytest.fixture
def exp34(shared_data):
    return shared_data / "exp34"


def test_the_real_scenes_have_as_many_frames_as_were_published(exp34):
    scenes = load_exp34(exp34)
    assert [scene.name for scene in scenes] == list(SCENES)
    assert sum(map(len, scenes)) == 34_835
    assert sum(int(np.isfinite(scene.distance_m).sum()) for scene in scenes) == 20_719
    assert all((np.diff(scene.at_s) >= 0).all() for scene in scenes)


def test_a_missing_scene_is_named_with_its_source(tmp_path):
    with pytest.raises(BadExp34, match=r"scenario01-lunch\.sqlite.*DP-3T/bt-measurements"):
        load_exp34(tmp_path)


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        (None, "file is not a database"),
        ("CREATE TABLE other (a)", "no such table"),
        ("CREATE TABLE results (db_id, receiver_id, transmitter_id, timestamp, rssi)", "no such column"),
        (
            "CREATE TABLE results (db_id, receiver_id, transmitter_id, timestamp, rssi, ground_truth_distance)",
            "holds no frame",
        ),
        (
            "CREATE TABLE results (db_id, receiver_id, transmitter_id, timestamp, rssi, ground_truth_distance);"
            "INSERT INTO results VALUES (1, '1', '2', 5.0, 40, 1.0)",
            "outside",
        ),
        (
            "CREATE TABLE results (db_id, receiver_id, transmitter_id, timestamp, rssi, ground_truth_distance);"
            "INSERT INTO results VALUES (1, '1', '2', 'noon', -60, 1.0)",
            "not a number",
        ),
    ],
)
def test_a_file_that_is_no_scene_is_named(tmp_path, sql, named):
    file = tmp_path / "scenario01-lunch.sqlite"
    if sql is None:
        file.write_bytes(b"not a database, but long enough to be taken for one" * 40)
    else:
        connection = sqlite3.connect(file)
        connection.executescript(sql)
        connection.close()
    with pytest.raises(BadExp34, match=rf"scenario01-lunch\.sqlite.*{named}"):
        load_exp34(tmp_path)


def test_distances_that_cameras_did_not_see_are_not_a_number(tmp_path):
    for number, name in enumerate(SCENES, 1):
        connection = sqlite3.connect(tmp_path / f"scenario{number:02d}-{name}.sqlite")
        connection.executescript(
            "CREATE TABLE results (db_id, receiver_id, transmitter_id, timestamp, rssi, ground_truth_distance);"
            "INSERT INTO results VALUES (1, '1', '2', 5.0, -60, NULL), (2, '1', '2', 4.0, -61, 1.5), "
            "(3, '1', '2', 6.0, -62, 1000.0)"
        )
        connection.close()
    first = load_exp34(tmp_path)[0]
    assert first.at_s.tolist() == [4.0, 5.0, 6.0]
    assert first.distance_m[0] == 1.5
    assert np.isnan(first.distance_m[1:]).all()


def test_reading_leaves_the_folder_as_it_was(exp34, tmp_path):
    copy = shutil.copytree(exp34, tmp_path / "exp34")
    load_exp34(copy)
    assert sorted(file.name for file in copy.iterdir()) == sorted(file.name for file in exp34.iterdir())
