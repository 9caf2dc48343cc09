"""Carries one run out, in its folder: what is done is saved, and what was stopped goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import msgspec
import torch

from aggregator.strategies.state import UnsavableStrategy
from simulations.engine.workers import Backend
from simulations.runs.data import Scene, open_scene
from simulations.runs.experiment import DataTable, Experiment, TaskTable
from simulations.runs.folder import BadRunFolder, RunFolder, RunInfo, Status
from simulations.runs.simulation import Row, Simulation

SAVED_EVERY_S = 10.0
WORTH_A_WORKER = 500
"""Nodes: with fewer, a further process of the engine costs more seconds than it saves."""
VERSIONS = ("jaga", "flwr", "torch", "numpy", "opacus", "dp-accounting")


@dataclass(frozen=True, slots=True)
class Order:
    """One run to carry out.

    Attributes:
        swept: dotted keys that the sweep varies.
        workers: where nodes train; a number is processes of this machine.
    """

    experiment: Experiment
    folder: RunFolder
    swept: tuple[str, ...] = ()
    workers: int | Backend = 1


def carry_out(
    order: Order,
    on_round: Callable[[Row], None] = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Status:
    """Do what is left of a run.

    Args:
        on_round: told of every row of `rounds`, also of those that were done before.
        stopped: asked after every round; True saves and ends.

    Raises:
        BadExperiment: settings that cannot be used; nothing is written then.
        BadCluster: there is no such Ray cluster as `workers` says; nothing is written then.
    """
    torch.set_num_threads(1)  # sums over several threads round otherwise, and the engine has processes
    settings, folder = order.experiment, order.folder
    scene = _scene(settings.data, settings.task)
    workers = order.workers
    if isinstance(workers, int):
        workers = min(workers, 1 + len(scene.training) // WORTH_A_WORKER)
    with Simulation(settings, scene, workers=workers, checkpoint=folder.checkpoint) as simulation:
        folder.write_settings(settings.tables())
        simulation.tables.timings = [row for row in folder.rows("timings") if row["round"] <= simulation.round]
        for row in simulation.tables.rounds:
            on_round(row)
        info = _info(order, scene)
        saved = time.monotonic()
        _save(folder, simulation, _as_it_is(info, "running", simulation))
        try:
            for row in simulation.rounds():
                on_round(row)
                if stopped():
                    break
                if time.monotonic() - saved > SAVED_EVERY_S:
                    _save(folder, simulation, _as_it_is(info, "running", simulation))
                    saved = time.monotonic()
            status: Status = "done" if simulation.done else "stopped"
            _save(folder, simulation, _as_it_is(info, status, simulation))
        except Exception as why:
            with suppress(OSError, BadRunFolder):  # what is there stays; the first error is the one to tell
                note = f"{type(why).__name__}: {why}"
                folder.write_info(msgspec.structs.replace(folder.info, status="failed", note=note))
            raise
        return status


def _as_it_is(info: RunInfo, status: Status, simulation: Simulation) -> RunInfo:
    """The same run, as far as it is."""
    return msgspec.structs.replace(info, status=status, rounds_done=simulation.round)


def _save(folder: RunFolder, simulation: Simulation, info: RunInfo) -> None:
    """The checkpoint comes last but for what says that it is there: a crash in between repeats rounds, to the same
    result."""
    for name, rows in (
        ("rounds", simulation.tables.rounds),
        ("sites", simulation.tables.sites),
        ("timings", simulation.tables.timings),
    ):
        folder.write_table(name, rows)
    folder.write_model(simulation.model)
    if info.status == "done":
        folder.write_checkpoint(None)
    else:
        try:
            folder.write_checkpoint(simulation.checkpoint())
        except UnsavableStrategy as why:
            info = msgspec.structs.replace(info, note=f"it cannot go on after a stop: {why}")
    folder.write_info(info)


def _info(order: Order, scene: Scene) -> RunInfo:
    settings = order.experiment
    data: dict[str, Any] = {
        "name": scene.data,
        "sites": len(scene.names),
        "examples": sum(map(len, scene.training)),
        "held_out": sum(map(len, scene.held_out)),
        "task": scene.task.name,
    }
    versions = {name: version(name) for name in VERSIONS}
    swept, seed = list(order.swept), settings.experiment.seed
    return RunInfo(settings.experiment.name, settings.flat(), swept, seed, versions, data, "running", 0)


@lru_cache(maxsize=2)
def _scene(data: DataTable, task: TaskTable) -> Scene:
    """Runs of a sweep share it."""
    return open_scene(data, task)
