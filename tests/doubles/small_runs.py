"""A few sites of two days, for tests of experiments: `data.source = "small_runs:data"`."""

import random
from pathlib import Path

from edge.learning.tasks.crowding import TASK
from simulations.datasets.federated import FederatedData, SiteData
from simulations.runs.data import Scene
from simulations.runs.experiment import Experiment
from simulations.runs.folder import RunFolder
from simulations.runs.simulation import Simulation

NODES = 12


def day(rng, number, level):
    """Half hours from 8 to 14 o'clock, and how many minutes each had."""
    return [(48 * number + slot, round(level * rng.random() * (slot - 13), 1)) for slot in range(16, 28)]


def data(nodes=NODES):
    rng = random.Random(4)
    sites = [SiteData(f"site-{n}", day(rng, 0, 5 + n), day(rng, 1, 5 + n)) for n in range(nodes)]
    return FederatedData("small", "crowding", tuple(sites))


def many():
    """Enough for more than one piece of the engine."""
    return data(120)


def scene(nodes=NODES):
    small = data(nodes)
    names = tuple(site.name for site in small.sites)
    training, held_out = (
        tuple(TASK.examples(records) for records in column)
        for column in ([site.training for site in small.sites], [site.held_out for site in small.sites])
    )
    start = {name: value.numpy().copy() for name, value in TASK.model().state_dict().items()}
    return Scene(TASK, "small", names, training, names, held_out, start)


def experiment(rounds=3, seed=1, **tables):
    """Settings of a run over `scene`."""
    head = {"name": "small", "rounds": rounds, "seed": seed}
    own = {"data": {"source": "small_runs:data"}, "task": {"start": "fresh"}, "evaluation": {"central": False}}
    return Experiment.of({"experiment": head, **own, **tables})


def simulated(settings, *, nodes=NODES, **more):
    """A run in memory, done; returns it."""
    with Simulation(settings, scene(nodes), **more) as simulation:
        list(simulation.rounds())
        return simulation


def contents(folder: Path):
    """Every file of a run's folder but the one that may differ."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != "timings.parquet"}


def rows(folder: Path, name="rounds"):
    return RunFolder(folder).rows(name)
