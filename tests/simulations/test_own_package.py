"""The tutorial's package: short, installed as any other, and run by `jaga-sim run` by the names it offers."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import tomli_w

from simulations.runs.folder import RunFolder

OWN = Path(__file__).parents[2] / "docs" / "tutorial" / "own"
MOST_LINES = 60


@pytest.mark.parametrize("name", ["own_task.py", "own_strategy.py"])
def test_each_file_has_under_sixty_lines(name):
    assert len((OWN / name).read_text("utf-8").splitlines()) < MOST_LINES


def test_what_the_package_offers_is_what_is_installed(own_package):
    offered = tomllib.loads((OWN / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]
    assert offered == {
        "jaga.tasks": {"crowded": "own_task:TASK"},
        "jaga.strategies": {"bounded": "own_strategy:Bounded"},
    }
    (about,) = own_package.glob("jaga_own-*.dist-info")
    installed = (about / "entry_points.txt").read_text("utf-8")
    assert all(f"{name} = {value}" in installed for group in offered.values() for name, value in group.items())
    for name in ("own_task.py", "own_strategy.py"):
        assert (own_package / name).read_bytes() == (OWN / name).read_bytes()


def run(folder, own_package, experiment, *words):
    """`jaga-sim run` in a process of its own, which finds the package as any program finds what is installed."""
    (folder / "own.toml").write_text(tomli_w.dumps(experiment))
    path = os.pathsep.join(map(str, (own_package, OWN.parents[2])))
    command = [sys.executable, "-m", "simulations.cli", "run", "own.toml", "--workers", "1", *words]
    environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "200"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return RunFolder.find([folder / "runs"])


EXPERIMENT = {
    "experiment": {"name": "own", "rounds": 5},
    "task": {"name": "crowded"},
    "strategy": {"name": "bounded"},
    "privacy": {"epsilon": 8.0},
}


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_its_task_and_strategy_learn_in_a_generated_world_and_hold_out_against_liars(tmp_path, own_package):
    world = {"source": "world", "sites": 20, "world_seed": 1}
    liars = {"share": 0.2, "kind": "scale", "factor": -10.0}
    lied_to = EXPERIMENT | {"data": world, "task": {"name": "crowding"}, "attackers": liars}
    both = run(tmp_path, own_package, lied_to, "--set", "strategy.name=[FedAvg, bounded]")
    error = {one.info.settings["strategy.name"]: one.rows("rounds")[-1]["error"] for one in both}
    start = both[0].rows("rounds")[0]["error"]
    assert error["bounded"] < start < error["FedAvg"]
    (tmp_path / "honest").mkdir()
    (folder,) = run(tmp_path / "honest", own_package, EXPERIMENT | {"data": world})
    assert (folder.info.data["task"], folder.info.settings["strategy.name"]) == ("crowded", "bounded")
    last = folder.rows("rounds")[-1]
    assert last["error"] < last["start_error"] < last["baseline_error"] < 1.0
    assert 0 < last["epsilon"] <= 8.0


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_its_task_and_strategy_run_on_a_real_school(tmp_path, own_package, shared_data):
    (folder,) = run(tmp_path, own_package, EXPERIMENT | {"data": {"source": "lyon-school", "folder": str(shared_data)}})
    assert folder.info.data == {"name": "lyon-school", "sites": 11, "examples": 187, "held_out": 187, "task": "crowded"}
    last = folder.rows("rounds")[-1]
    assert last["error"] < last["baseline_error"]
