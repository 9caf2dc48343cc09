"""The engine against the node's own code, and against the textbook."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edge.learning.dpsgd import DpSgdPlan, train
from edge.learning.plain import PlainPlan
from edge.learning.tasks.crowding import TASK as CROWDING
from edge.learning.tasks.task import Examples
from simulations.engine.batched import ModelOfNodes, NotBatchable
from simulations.engine.bench import model_of_many
from simulations.engine.cohort import CohortExamples
from simulations.engine.engine import Engine
from simulations.engine.local import PlainTraining, PrivateTraining
from simulations.engine.vmapped import VmappedModel


class Perceptron(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1, bias=False))

    def forward(self, x):
        return self.inner(x).squeeze(-1)


class Scaled(Perceptron):
    """A parameter outside of linear layers."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([0.7]))

    def forward(self, x):
        return super().forward(x) * self.scale


class Centred(Perceptron):
    """Takes the mean over examples away: with another number of them in a pass it would be another model."""

    def forward(self, x):
        return super().forward(x - x.mean(0))


class SmallTask:
    name = "small"
    unit_examples = 2
    error_bound = 1.0

    def __init__(self, kind=Perceptron):
        self._kind = kind

    def model(self):
        torch.manual_seed(4)
        return self._kind()

    def loss(self, prediction, y):
        return nn.functional.smooth_l1_loss(prediction, y, reduction="none")


def node(seed, n):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, generator=generator)
    return Examples(x, x[:, 0] - x[:, 1].square(), tuple(range(n)))


def start_of(task):
    return {name: value.numpy().copy() for name, value in task.model().state_dict().items()}


def plan(**options):
    return DpSgdPlan(**{"noise_multiplier": 0.0, "clip_norm": 0.4, "steps": 3, "learning_rate": 0.5} | options)


@pytest.mark.parametrize("kind", [Perceptron, Scaled])
@given(sizes=st.lists(st.integers(0, 9), min_size=1, max_size=6), at_once=st.integers(1, 4))
@settings(deadline=None, max_examples=25)
def test_every_node_of_a_cohort_learns_what_it_would_learn_alone(kind, sizes, at_once):
    task, nodes = SmallTask(kind), [node(seed, n) for seed, n in enumerate(sizes)]
    start = start_of(task)
    with Engine(task, CohortExamples.of(nodes), workers=1, nodes_at_once=at_once) as engine:
        together = engine.each(start, PrivateTraining(plan()), (1,))
    for place, one in enumerate(nodes):
        alone = train(task.model(), one.x, one.y, task.loss, plan(), task.unit_examples).state
        for name, value in alone.items():
            np.testing.assert_allclose(together[name][place], value, atol=1e-5)


@pytest.mark.parametrize("kind", [Perceptron, Scaled])
@given(nodes=st.lists(st.lists(st.integers(7, 10), max_size=9), min_size=1, max_size=5), clip_norm=st.floats(0.05, 3))
@settings(deadline=None, max_examples=20)
def test_every_node_clips_its_days_as_it_would_alone(kind, nodes, clip_norm):
    task, asked = SmallTask(kind), plan(clip_norm=clip_norm)
    examples = [node(seed, len(days)) for seed, days in enumerate(nodes)]
    with Engine(task, CohortExamples.of(examples, nodes), workers=1, nodes_at_once=2) as engine:
        together = engine.each(start_of(task), PrivateTraining(asked), (1,))
    for place, (one, days) in enumerate(zip(examples, nodes, strict=True)):
        alone = train(task.model(), one.x, one.y, task.loss, asked, 1, days).state
        for name, value in alone.items():
            np.testing.assert_allclose(together[name][place], value, atol=2e-5)


@pytest.mark.parametrize("rate", [1.0, 0.6])
def test_noise_and_sampling_of_days_have_the_distribution_of_a_node_s_own(rate):
    task, one, days = SmallTask(), node(3, 20), [n // 5 for n in range(20)]
    asked, draws, start = plan(noise_multiplier=0.4, steps=2, sampling_rate=rate), 1500, start_of(SmallTask())
    with Engine(task, CohortExamples.of([one] * draws, [days] * draws), workers=1) as engine:
        many = engine.each(start, PrivateTraining(asked), (5,))
    own = [train(task.model(), one.x, one.y, task.loss, asked, 1, days).state for _ in range(draws // 3)]
    for name, values in many.items():
        theirs = np.stack([state[name] for state in own])
        spread = theirs.std(0)
        assert np.abs(values.mean(0) - theirs.mean(0)).max() < 6 * spread.max() / math.sqrt(draws // 3)
        np.testing.assert_allclose(values.std(0), spread, rtol=6 / math.sqrt(2 * (draws // 3)))


def test_a_cohort_by_day_is_what_each_node_trains_on():
    logs = [
        [(48 * day + slot, 3.0 * slot) for day in range(50, 50 + days) for slot in range(20, 30)] for days in (2, 20)
    ]
    examples = [CROWDING.examples(log) for log in logs]
    cohort = CohortExamples.of_unit(CROWDING, examples, "day")
    assert cohort.present.sum(1).tolist() == [2 * 9, 16 * 9]
    assert [int(cohort.pieces[n].max()) + 1 for n in range(2)] == [2, 16]
    assert CohortExamples.of_unit(CROWDING, examples, "record").pieces is None


def test_a_model_with_other_parameters_is_mapped_and_one_that_mixes_examples_is_too():
    assert isinstance(model_of_many(SmallTask()), ModelOfNodes)
    assert isinstance(model_of_many(SmallTask(Scaled)), VmappedModel)
    with pytest.raises(NotBatchable, match=r"no chain|does something else"):
        ModelOfNodes(Centred())


def test_plain_training_is_torch_s_own_sgd_node_by_node():
    task, sizes = SmallTask(), [7, 4, 12]
    nodes, start = [node(seed, n) for seed, n in enumerate(sizes)], start_of(SmallTask())
    training = PlainTraining(PlainPlan(epochs=2, batch_size=4, learning_rate=0.3, shuffled=False))
    with Engine(task, CohortExamples.of(nodes), workers=1) as engine:
        together = engine.each(start, training, (1,))
    for place, one in enumerate(nodes):
        model = task.model()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
        for _ in range(2):
            for begun in range(0, len(one), 4):
                optimizer.zero_grad()
                task.loss(model(one.x[begun : begun + 4]), one.y[begun : begun + 4]).mean().backward()
                optimizer.step()
        for name, value in model.state_dict().items():
            np.testing.assert_allclose(together[name][place], value.numpy(), atol=1e-5)


@pytest.mark.parametrize("rate", [1.0, 0.7, 0.2])
def test_noise_and_sampling_have_the_distribution_of_a_node_s_own(rate):
    task, one = SmallTask(), node(3, 20)
    asked, draws, start = plan(noise_multiplier=0.4, steps=2, sampling_rate=rate), 1500, start_of(SmallTask())
    with Engine(task, CohortExamples.of([one] * draws), workers=1) as engine:
        many = engine.each(start, PrivateTraining(asked), (5,))
    own = [train(task.model(), one.x, one.y, task.loss, asked, task.unit_examples).state for _ in range(draws // 3)]
    for name, values in many.items():
        theirs = np.stack([state[name] for state in own])
        spread = theirs.std(0)
        # Means stray by the spread over the root of the draws, spreads by 1 over the root of twice the draws.
        assert np.abs(values.mean(0) - theirs.mean(0)).max() < 6 * spread.max() / math.sqrt(draws // 3)
        np.testing.assert_allclose(values.std(0), spread, rtol=6 / math.sqrt(2 * (draws // 3)))


def test_the_same_seed_gives_the_same_bytes_whatever_the_number_of_workers():
    nodes = [CROWDING.examples([(slot, 3.0 * slot % 50 + n) for slot in range(20, 32)]) for n in range(40)]
    task, cohort = CROWDING, CohortExamples.of(nodes)
    training, start = PrivateTraining(plan(noise_multiplier=1.0, sampling_rate=0.5)), start_of(CROWDING)
    means = []
    for workers, seed in ((1, 1), (2, 1), (2, 2)):
        with Engine(task, cohort, workers=workers, nodes_at_once=7) as engine:
            means.append(b"".join(v.tobytes() for v in engine.mean(start, training, (seed,)).values()))
    assert means[0] == means[1] != means[2]


def test_an_error_in_a_worker_comes_back_and_the_engine_goes_on():
    cohort = CohortExamples.of([CROWDING.examples([(slot, 3.0) for slot in range(20, 30)])] * 8)
    start = start_of(CROWDING)
    with Engine(CROWDING, cohort, workers=2, nodes_at_once=2) as engine:
        with pytest.raises(KeyError):
            engine.mean({"other": start["linear.weight"]}, PrivateTraining(plan()), (1,))
        assert engine.mean(start, PrivateTraining(plan()), (1,)).keys() == start.keys()


def test_a_mean_is_weighted():
    task, nodes, start = SmallTask(), [node(1, 5), node(2, 5)], start_of(SmallTask())
    with Engine(task, CohortExamples.of(nodes), workers=1) as engine:
        each = engine.each(start, PlainTraining(PlainPlan(shuffled=False)), (0,))
        mean = engine.mean(start, PlainTraining(PlainPlan(shuffled=False)), (0,), weights=np.array([3.0, 1.0]))
    for name, value in mean.items():
        np.testing.assert_allclose(value, (3 * each[name][0] + each[name][1]) / 4, atol=1e-6)


@pytest.mark.parametrize("kind", [Perceptron, Scaled])
def test_an_example_whose_gradient_is_not_finite_counts_for_nothing(kind):
    task, good = SmallTask(kind), node(1, 5)
    bad = Examples(
        torch.cat([good.x, torch.tensor([[math.inf, 0.0, 0.0]])]), torch.cat([good.y, torch.ones(1)]), (*good.units, 9)
    )
    start = start_of(task)
    with Engine(task, CohortExamples.of([good, bad]), workers=1) as engine:
        both = engine.each(start, PrivateTraining(plan()), (1,))
    for values in both.values():
        np.testing.assert_allclose(values[0], values[1], atol=1e-6)


def test_some_nodes_learn_what_they_learn_among_all():
    task, start = SmallTask(), start_of(SmallTask())
    with Engine(task, CohortExamples.of([node(seed, 6) for seed in range(9)]), workers=1, nodes_at_once=4) as engine:
        everybody = engine.each(start, PrivateTraining(plan()), (1,))
        some = engine.each(start, PrivateTraining(plan()), (1,), np.array([7, 2, 3, 8, 0]))
    for name, values in some.items():
        np.testing.assert_allclose(values, everybody[name][[7, 2, 3, 8, 0]], atol=1e-6)


def test_a_cohort_says_what_does_not_go_together():
    with pytest.raises(ValueError, match=r"\[2, 3\] features"):
        CohortExamples.of([node(1, 2), Examples(torch.zeros(1, 2), torch.zeros(1), (0,))])
    with pytest.raises(ValueError, match="at least one node"):
        CohortExamples.of([])
