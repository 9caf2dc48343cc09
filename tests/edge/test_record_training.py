"""Distributed DP-SGD by the node's own app: the task's unit, noise that nodes share, and a real secure sum."""

import dataclasses
import math

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord
from summed_nodes import NODES, SETTINGS, asked_alone, sites_in, start, summed_round

from edge.learning.dpsgd import DpSgdPlan, train
from edge.learning.shared import SHARED_NOISE, Protection
from edge.learning.site import Refused
from edge.learning.tasks.proximity import TASK
from privacy.accounting.composition import epsilon
from privacy.accounting.events import SharedGaussian
from privacy.boundary.flower import CENTRE, enter_run
from privacy.boundary.messages import Refusal
from privacy.catalogue.use import Use
from simulations.summed import SummedFederation
from simulations.world.pretraining import model_with

CONFIG = {
    "task": "proximity",
    "mechanism": "shared-noise",
    "unit": "record",
    "noise-multiplier": 1.0,
    "clip-norm": 0.5,
    "learning-rate": 2.0,
    "lot-size": 25,
}
HARDLY_ANY = {"noise-multiplier": 1e-5}
Z_FOR_NOISE = 8.0


@pytest.fixture(autouse=True)
def _in_a_run():
    enter_run(1, CENTRE)


@pytest.fixture
def sites(tmp_path):
    return sites_in(tmp_path)


@pytest.fixture
def federation(tmp_path):
    federation = SummedFederation(tmp_path, NODES, NODES)
    yield federation
    federation.close()


def flat(arrays):
    return np.concatenate([arrays[name].numpy().ravel() for name in arrays]).astype(np.float64)


def mean_clipped_step(sites, base):
    """What plain DP-SGD without noise makes of the same sites, averaged."""
    plan = DpSgdPlan(0.0, clip_norm=0.5, learning_rate=2.0, lot_size=25)
    states = []
    for site in sites:
        examples = TASK.examples(TASK.read(site.connection, -math.inf, math.inf))
        model = model_with(TASK, {name: array.numpy() for name, array in base.items()})
        states.append(train(model, examples.x, examples.y, TASK.loss, plan, TASK.unit_examples).state)
    return np.concatenate([np.mean([state[name] for state in states], axis=0).ravel() for name in base])


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("weight_bound", [1.0, 4.0])
def test_the_decoded_sum_is_the_mean_of_clipped_sums(tmp_path, federation, order, weight_bound):
    """Whatever order the arrays are in, and however the sum weighs."""
    sites = sites_in(tmp_path, epsilon=1e15)
    base = start(0.25)
    base = ArrayRecord({name: base[name] for name in list(base)[::order]})
    settings = dataclasses.replace(SETTINGS, weight_bound=weight_bound)
    arrays, _ = summed_round(federation, sites, CONFIG | HARDLY_ANY, arrays=base, settings=settings)
    assert flat(arrays) == pytest.approx(mean_clipped_step(sites, base)[: len(flat(arrays))], abs=2e-5)
    assert np.abs(flat(arrays) - flat(base)).max() > 1e-3


def test_the_sum_s_noise_is_the_promised_one(federation, sites):
    plain = mean_clipped_step(sites, start())
    drawn = [
        flat(summed_round(federation, sites, CONFIG | {"noise-multiplier": Z_FOR_NOISE}, number)[0]) - plain
        for number in range(1, 9)
    ]
    sensitivity = TASK.unit_examples * 0.5 * 2.0 / 25
    promised = Protection(SHARED_NOISE, "record", Z_FOR_NOISE, NODES).sum_multiplier(NODES) * sensitivity / NODES
    # 32 values: six standard deviations of their spread are 0.75 of it. `test_shared_noise` has 20,000.
    assert np.std(drawn) == pytest.approx(promised, rel=0.75)
    assert abs(np.mean(drawn)) < 6 * promised / np.sqrt(32)


def test_the_ledger_is_charged_for_the_task_s_own_unit_and_no_other(federation, sites):
    _, metrics = summed_round(federation, sites, CONFIG)
    for site in sites:
        (entry,) = site.ledger.entries()
        (event,) = entry.events
        assert isinstance(event, SharedGaussian)
        assert (event.unit, event.contributors) == (TASK.unit, 4)
        assert event.noise_std * 2 / event.sensitivity == pytest.approx(1.0, rel=1e-5)
        assert site.ledger.by_unit()[TASK.unit] == pytest.approx(epsilon([event], 1e-6))
        assert site.ledger.by_unit().get("site", 0.0) == 0.0
        use = Use.decode(entry.purpose)
        assert [mechanism.value for mechanism in use.mechanisms] == ["shared-noise"]
        assert use.objections() == []
    assert set(metrics) == {"epsilon"}


def test_a_node_says_no_when_its_budget_is_spent(federation, tmp_path):
    sites = sites_in(tmp_path, epsilon=16.0)
    summed_round(federation, sites, CONFIG)
    with pytest.raises(Refused) as no:
        summed_round(federation, sites, CONFIG, 2)
    assert no.value.refusal is Refusal.BUDGET_SPENT


def test_without_a_sum_it_is_refused_and_nothing_is_charged(sites):
    with pytest.raises(Refused, match="alone, this noise is too little") as no:
        asked_alone(sites[0], CONFIG)
    assert no.value.refusal is Refusal.BAD_TASK
    assert sites[0].ledger.entries() == []


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"unit": "person"}, "unit 'person' is not known"),
        ({"unit": "site", "mechanism": "dp-sgd"}, "'dp-sgd' with unit 'site' is not known"),
        ({"mechanism": "laplace"}, "mechanism 'laplace'"),
        ({"noise-multiplier": 0.0}, "noise-multiplier"),
        ({"noise-multiplier": float("nan")}, "noise-multiplier"),
        ({"clip-norm": 0.0}, "clip-norm"),
        ({"clip-norm": 1e-6}, "below one step"),
        ({"clip-norm": 1e6}, "does not fit the sum's code"),
        ({"learning-rate": -1.0}, "learning-rate"),
        ({"lot-size": 0}, "lot-size"),
        ({"steps": 2}, "no steps"),
        ({"sampling-rate": 0.5}, "no sampling-rate"),
    ],
)
def test_plans_that_make_no_sense_are_refused_before_anything_is_charged(federation, sites, wrong, why):
    with pytest.raises(Refused, match=why) as no:
        summed_round(federation, sites, CONFIG | wrong)
    assert no.value.refusal is Refusal.BAD_TASK
    assert all(site.ledger.entries() == [] for site in sites)


@pytest.mark.parametrize(
    ("missing", "says"),
    [("noise-multiplier", "needs a noise-multiplier"), ("lot-size", "lot-size is missing: give it")],
)
def test_a_table_that_leaves_out_what_has_no_default_is_refused(federation, sites, missing, says):
    with pytest.raises(Refused, match=says):
        summed_round(federation, sites, {k: v for k, v in CONFIG.items() if k != missing})
    assert sites[0].ledger.entries() == []


def test_a_model_that_is_not_finite_is_refused(federation, sites):
    broken = ArrayRecord({name: Array(array.numpy() * np.float32(np.nan)) for name, array in start().items()})
    with pytest.raises(Refused) as no:
        summed_round(federation, sites, CONFIG, arrays=broken)
    assert no.value.refusal is Refusal.BAD_MODEL
    assert sites[0].ledger.entries() == []
