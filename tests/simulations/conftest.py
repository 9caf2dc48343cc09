"""What the tests of data sets and baselines share."""

import pytest

from edge.learning.tasks.task import Task, load_task
from simulations.world.pretraining import State, pretrain_public_model


@pytest.fixture(scope="session")
def task() -> Task:
    return load_task("crowding")


@pytest.fixture(scope="session")
def public_model(task: Task) -> State:
    return pretrain_public_model(task, seed=0)
