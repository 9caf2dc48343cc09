"""What an experiment learns from: sites' records, made into examples side by side."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from edge.learning.tasks.task import Examples, Task, UnknownTask, load_task
from simulations.datasets.catalogue import BadData, load
from simulations.datasets.federated import FederatedData
from simulations.engine.bench import State
from simulations.runs.experiment import WORLD, AttackersTable, BadExperiment, DataTable, TaskTable
from simulations.runs.fault import told_with_place
from simulations.world.federate import federate
from simulations.world.generator import World
from simulations.world.pretraining import pretrain_public_model
from simulations.world.town import Town


@dataclass(frozen=True, slots=True)
class Scene:
    """Task, data and first model of an experiment.

    Attributes:
        names: of the sites that learn.
        training: their examples.
        tested: names of the sites whose held-out examples the model is judged on; as a rule the same.
        held_out: those examples.
        start: the model that the first round begins with.
    """

    task: Task
    data: str
    names: tuple[str, ...]
    training: tuple[Examples, ...]
    tested: tuple[str, ...]
    held_out: tuple[Examples, ...]
    start: State

    def lying(self, nodes: NDArray[np.bool_]) -> tuple[Examples, ...]:
        """The training examples, where those of some nodes have each observation mirrored between the node's own
        largest and smallest."""
        return tuple(_mirrored(one) if lies else one for one, lies in zip(self.training, nodes, strict=True))


def open_scene(data: DataTable, chosen: TaskTable) -> Scene:
    """Read everything.

    Raises:
        BadExperiment: a value of these two tables is none that can be used, naming its key.
    """
    learnt_from = _load(data, "source")
    judged_on = learnt_from if data.test_on is None else _load(data, "test_on")
    try:
        task = load_task(chosen.name or learnt_from.task)
    except UnknownTask as why:
        raise BadExperiment(f"task.name: {why}") from why
    try:
        training = tuple(task.examples(site.training) for site in learnt_from.sites)
        held_out = tuple(task.examples(site.held_out) for site in judged_on.sites)
    except Exception as why:
        said = told_with_place(why)
        raise BadExperiment(f"task.name: {task.name} cannot use the records of {learnt_from.name}: {said}") from why
    if not any(map(len, held_out)):
        raise BadExperiment(f"data.source: {judged_on.name} has no held-out example for {task.name}")
    tested = tuple(site.name for site in judged_on.sites)
    names = tuple(site.name for site in learnt_from.sites)
    return Scene(task, learnt_from.name, names, training, tested, held_out, _start(task, chosen.start))


def liars(attackers: AttackersTable, nodes: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Who lies, bool [nodes]."""
    lying = np.zeros(nodes, bool)
    lying[rng.choice(nodes, round(attackers.share * nodes), replace=False)] = True
    return lying


def _load(data: DataTable, key: str) -> FederatedData:
    source: str = getattr(data, key)
    try:
        if source == WORLD:
            return federate(_world(data))
        if ":" in source:
            return _own(source)
        return load(source, data.folder)
    except BadData as why:
        raise BadExperiment(f"data.{key}: {why}, or write world") from why
    except Exception as why:  # whatever somebody's own function does
        raise BadExperiment(f"data.{key}: {source} cannot be used: {told_with_place(why)}") from why


def _world(data: DataTable) -> World | Town:
    if data.kind == "town":
        return Town.of_sites(data.world_seed, data.sites, data.days)
    return World(data.world_seed, data.sites, data.days, data.kind)


def _own(source: str) -> FederatedData:
    module, _, name = source.partition(":")
    made = getattr(import_module(module), name)()
    if not isinstance(made, FederatedData):
        raise TypeError(f"it gave {type(made).__name__}, and FederatedData is expected")
    return made


def _start(task: Task, start: str) -> State:
    fresh = {name: value.numpy().copy() for name, value in task.model().state_dict().items()}
    if start == "fresh":
        return fresh
    if start == "public":
        try:
            return dict(_public(task.name))
        except Exception as why:
            raise BadExperiment(
                f"task.start: the records of generated worlds are none of {task.name}'s: write fresh, or a file"
            ) from why
    try:
        state: State = load_file(Path(start))
    except (OSError, SafetensorError) as why:
        raise BadExperiment(f"task.start: {start}: {why}; write fresh, public, or a file of safetensors") from why
    found, needed = _layout(state), _layout(fresh)
    if found != needed:
        raise BadExperiment(f"task.start: {start} holds {found}, and the model of {task.name} is {needed}")
    return {name: state[name] for name in fresh}


def _layout(state: State) -> str:
    return ", ".join(f"{name} {value.dtype}{list(value.shape)}" for name, value in sorted(state.items())) or "none"


@lru_cache
def _public(task: str) -> State:
    """It is the same in all runs, and takes seconds."""
    return pretrain_public_model(load_task(task), 0)


def _mirrored(examples: Examples) -> Examples:
    if not len(examples):
        return examples
    return replace(examples, y=torch.add(examples.y.min(), examples.y.max()) - examples.y)
