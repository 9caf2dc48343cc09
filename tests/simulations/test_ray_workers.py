"""The engine on a Ray cluster of two machines, both of them here, beside the engine on this machine's processes."""

import importlib
import os
import shutil
import signal
import socket
import sys
import tempfile

import numpy as np
import pytest
from typer.testing import CliRunner

from edge.learning.dpsgd import DpSgdPlan
from edge.learning.tasks.crowding import TASK
from simulations import cli
from simulations.engine import ray_workers
from simulations.engine.cohort import CohortExamples
from simulations.engine.engine import Engine
from simulations.engine.local import PrivateTraining
from simulations.engine.ray_workers import BadCluster, RayCluster
from simulations.engine.workers import WorkerDied
from simulations.runs.folder import RunFolder
from simulations.runs.runner import Order, carry_out
from simulations.runs.series import carry_out_all

TRAINING = PrivateTraining(DpSgdPlan(noise_multiplier=1.0, steps=3, sampling_rate=0.5))


@pytest.fixture(scope="module")
def cluster():
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    folder = tempfile.mkdtemp(prefix="jaga-ray-")  # Ray's sockets are in it, and a socket's path is short
    one = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80 * 2**20, "temp_dir": folder}
    made = Cluster(initialize_head=True, head_node_args=one, shutdown_at_exit=False)
    try:
        made.add_node(num_cpus=1, object_store_memory=80 * 2**20)
        yield made.address
    finally:
        made.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def cohort():
    return CohortExamples.of(
        [TASK.examples([(slot, 3.0 * slot % 50 + n) for slot in range(20, 32)]) for n in range(40)]
    )


def start():
    return {name: value.numpy().copy() for name, value in TASK.model().state_dict().items()}


def bytes_of(engine, seed=1):
    return b"".join(value.tobytes() for value in engine.mean(start(), TRAINING, (seed,)).values())


class Died:
    """Trains as asked, but the first worker to come ends itself before."""

    def __init__(self, mark):
        self.mark = mark

    def run(self, *given):
        try:
            os.close(os.open(self.mark, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            TRAINING.run(*given)
        else:
            os.kill(os.getpid(), signal.SIGKILL)


class Dies:
    def run(self, *_given):
        os.kill(os.getpid(), signal.SIGKILL)


def machine(_places, _parameters):
    import ray

    return ray.get_runtime_context().get_node_id()


@pytest.mark.system
@pytest.mark.timeout(600)
def test_a_cluster_gives_the_bytes_of_this_machine_and_survives_a_worker_that_is_killed(cluster, cohort, tmp_path):
    import ray

    with Engine(TASK, cohort, workers=1, nodes_at_once=7) as engine:
        here = bytes_of(engine)
    with Engine(TASK, cohort, workers=RayCluster(cluster, 2), nodes_at_once=7) as engine:
        assert bytes_of(engine) == here != bytes_of(engine, seed=2)
        assert len(set(engine.train(start(), TRAINING, (1,), machine))) == 2
        state = engine.mean(start(), Died(str(tmp_path / "killed")), (1,))
        assert b"".join(value.tobytes() for value in state.values()) == here
        assert (tmp_path / "killed").exists()
        with pytest.raises(KeyError):
            engine.mean({"other": np.zeros(3, np.float32)}, TRAINING, (1,))
        assert bytes_of(engine) == here
    with (
        Engine(TASK, cohort, workers=RayCluster(cluster, 1, restarts=0)) as engine,
        pytest.raises(WorkerDied, match="could not be started again"),
    ):
        engine.mean(start(), Dies(), (1,))
    assert not ray.is_initialized()


@pytest.mark.system
@pytest.mark.timeout(600)
def test_a_cluster_that_does_not_fit_says_why(cluster, cohort, tmp_path, monkeypatch):
    import ray

    with pytest.raises(BadCluster, match="3 workers need as many processors, the cluster has 2"):
        Engine(TASK, cohort, workers=RayCluster(cluster, 3))
    with Engine(TASK, cohort, workers=RayCluster(cluster, 1)) as engine:
        (tmp_path / "only_here.py").write_text("def reduce(places, parameters):\n    return 1\n")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(BadCluster, match=r"is your code on all machines.*No module named 'only_here'"):
            list(engine.train(start(), TRAINING, (1,), importlib.import_module("only_here").reduce))
    monkeypatch.setattr(ray_workers, "version", lambda name: f"0.0 of {name}")
    with pytest.raises(BadCluster, match=r"a machine of the cluster has .*torch \d.*this one .*torch 0.0 of torch"):
        Engine(TASK, cohort, workers=RayCluster(cluster))
    assert not ray.is_initialized()


@pytest.mark.system
@pytest.mark.timeout(600)
def test_a_run_on_a_cluster_that_is_interrupted_goes_on_to_the_bytes_of_this_machine(cluster, tmp_path):
    from small_runs import contents, experiment  # not above: a worker that loads this file has no such folder

    settings = experiment(3, data={"source": "small_runs:many"})
    here, there = (Order(settings, RunFolder(tmp_path / name / settings.run_name)) for name in ("here", "there"))
    carry_out(here)

    def interrupt(told):
        if told.row["round"] == 1:
            os.kill(os.getpid(), signal.SIGINT)

    assert carry_out_all([there], RayCluster(cluster), interrupt) == {there.folder.path: "stopped"}
    assert there.folder.info.rounds_done == 1
    assert carry_out_all([there], RayCluster(cluster), lambda _: None) == {there.folder.path: "done"}
    assert contents(there.folder.path) == contents(here.folder.path)


@pytest.mark.system
@pytest.mark.timeout(600)
def test_the_command_trains_on_a_cluster(cluster, tmp_path):
    from small_runs import contents

    asked = ["run", "quick", "--set", "experiment.rounds=1"]
    for name, backend in (("here", ["--workers", "1"]), ("there", ["--backend", "ray", "--ray-address", cluster])):
        done = CliRunner().invoke(cli.app, [*asked, "--out", str(tmp_path / name), *backend])
        assert done.exit_code == 0, done.output
    runs = [sorted((tmp_path / name).iterdir()) for name in ("here", "there")]
    assert [contents(run) for run in runs[0]] == [contents(run) for run in runs[1]]


def test_the_command_says_which_cluster_is_not_there_and_writes_nothing(tmp_path):
    experiment_file = tmp_path / "small.toml"
    experiment_file.write_text(
        '[experiment]\nname="small"\nrounds=1\n[data]\nsource="small_runs:data"\n[task]\nstart="fresh"\n'
    )
    asked = ["run", str(experiment_file), "--out", str(tmp_path / "runs"), "--ray-address", "127.0.0.1:1"]
    done = CliRunner().invoke(cli.app, [*asked, "--backend", "ray"])
    assert (done.exit_code, done.stderr.count("no Ray cluster at '127.0.0.1:1'")) == (3, 1), done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "runs").glob("*/*"))
    alone = CliRunner().invoke(cli.app, asked)
    assert (alone.exit_code, "add --backend ray" in alone.stderr) == (3, True)


def test_no_cluster_no_ray_and_no_address_are_told_apart(cohort, monkeypatch, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(BadCluster, match=f"^no Ray cluster at '{address}'.*ray start --head"):
        Engine(TASK, cohort, workers=RayCluster(address))
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(BadCluster, match=f"^no Ray cluster at '{address}'"):
        Engine(TASK, cohort, workers=RayCluster())
    monkeypatch.delenv("RAY_ADDRESS")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", set)  # of heads that other tests run meanwhile
    for said in ("", "auto"):
        monkeypatch.setenv("RAY_ADDRESS", said)
        with pytest.raises(BadCluster, match=r"^no Ray cluster runs here: start one"):
            Engine(TASK, cohort, workers=RayCluster())
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text(address)  # as a head leaves it that is killed
    with pytest.raises(BadCluster, match=r"^no Ray cluster at .*refused.*ray start --head"):
        Engine(TASK, cohort, workers=RayCluster())
    with pytest.raises(BadCluster, match="HOST:PORT or auto, got 'elsewhere'"):
        Engine(TASK, cohort, workers=RayCluster("elsewhere"))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BadCluster, match=r"not installed: `pip install 'jaga\[cluster\]'`"):
        Engine(TASK, cohort, workers=RayCluster())
    with pytest.raises(ValueError, match=r"workers \(0\) must be at least 1, restarts"):
        RayCluster(workers=0)
