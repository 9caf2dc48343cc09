"""The engine on a Ray cluster of two machines, both of them here, beside the engine on this machine's processes."""

import os
import shutil
import signal
import socket
import sys
import tempfile

import numpy as np
import pytest

from edge.learning.dpsgd import DpSgdPlan
from edge.learning.tasks.crowding import TASK
from simulations.engine import ray_workers
from simulations.engine.cohort import CohortExamples
from simulations.engine.engine import Engine
from simulations.engine.local import PrivateTraining
from simulations.engine.ray_workers import BadCluster, RayCluster
from simulations.engine.workers import WorkerDied

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
def test_a_cluster_that_does_not_fit_says_why(cluster, cohort, monkeypatch):
    import ray

    with pytest.raises(BadCluster, match="3 workers need as many processors, the cluster has 2"):
        Engine(TASK, cohort, workers=RayCluster(cluster, 3))
    monkeypatch.setattr(ray_workers, "version", lambda name: f"0.0 of {name}")
    with pytest.raises(BadCluster, match=r"a machine of the cluster has .*torch \d.*this one .*torch 0.0 of torch"):
        Engine(TASK, cohort, workers=RayCluster(cluster))
    assert not ray.is_initialized()


def test_no_cluster_no_ray_and_no_address_are_told_apart(cohort, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(BadCluster, match=f"no Ray cluster at '{address}'.*ray start --head"):
        Engine(TASK, cohort, workers=RayCluster(address))
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(BadCluster, match=f"no Ray cluster at '{address}'"):
        Engine(TASK, cohort, workers=RayCluster())
    with pytest.raises(BadCluster, match="HOST:PORT or auto, got 'elsewhere'"):
        Engine(TASK, cohort, workers=RayCluster("elsewhere"))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BadCluster, match=r"not installed: `pip install 'jaga\[cluster\]'`"):
        Engine(TASK, cohort, workers=RayCluster())
    with pytest.raises(ValueError, match=r"workers \(0\) must be at least 1, restarts"):
        RayCluster(workers=0)
