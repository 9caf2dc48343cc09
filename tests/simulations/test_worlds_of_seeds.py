"""Every seed has a world of its own, and runs that share their data come together."""

from pathlib import Path

import pytest

from simulations.runs.data import open_scene
from simulations.runs.experiment import DataTable, Experiment, TaskTable
from simulations.runs.series import orders
from simulations.runs.sweep import Sweep


def world_seeds(sweep: Sweep) -> list[int]:
    return [one.data.world_seed for one in sweep.experiments]


def test_each_seed_has_a_world_of_its_own():
    assert world_seeds(Sweep.of({"experiment": {"name": "w", "rounds": 1, "seeds": [1, 2]}})) == [1, 2]


def test_a_world_that_is_named_stays():
    tables = {"experiment": {"name": "w", "rounds": 1, "seeds": [1, 2]}, "data": {"world_seed": 7}}
    assert world_seeds(Sweep.of(tables)) == [7, 7]


def test_a_run_can_be_had_again_from_its_own_settings():
    one = Experiment.of({"experiment": {"name": "w", "rounds": 1, "seed": 5}})
    assert Experiment.of(one.tables()) == one


def test_a_data_set_has_no_world():
    seeds = {"name": "w", "rounds": 1, "seeds": [1, 2]}
    assert world_seeds(Sweep.of({"experiment": seeds, "data": {"source": "lyon-ward"}})) == [0, 0]


def test_runs_of_one_world_come_together(tmp_path: Path):
    tables = {"experiment": {"name": "w", "rounds": 1, "seeds": [1, 2]}, "privacy": {"epsilon": [1.0, 2.0]}}
    worlds = [order.experiment.data.world_seed for order in orders(Sweep.of(tables), tmp_path, resume=False)]
    assert worlds == [1, 1, 2, 2]


@pytest.mark.slow
def test_the_public_start_is_the_same_every_time_and_nobodys_to_change():
    data = DataTable(sites=1, days=2)
    first = open_scene(data, TaskTable())
    before = {name: value.copy() for name, value in first.start.items()}
    again = open_scene(data, TaskTable())
    assert all((again.start[name] == value).all() for name, value in before.items())
    assert first.start is not again.start
