"""What nodes that share noise add up, by brute force over the removal of units, and how much noise a run needs."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edge.learning.dpsgd import DpSgdPlan, train
from edge.learning.shared import DP_SGD, SHARED_NOISE, Protection, RecordPlan, summed_pieces
from edge.learning.tasks.crowding import TASK
from edge.learning.tasks.units import RECORD
from privacy.accounting.composition import epsilon
from privacy.accounting.events import SITE, SampledGaussian
from privacy.secure_sum.fixed_point import FixedPoint

CODE = FixedPoint(bound=8.0, bits=32, most=11)
PROTECTION = Protection(SHARED_NOISE, RECORD, 4.0, 11)
LOGS = st.dictionaries(st.integers(20, 40), st.floats(0, 500, width=32), min_size=1, max_size=14)
PLANS = st.builds(RecordPlan, st.integers(8, 100), st.floats(0.05, 2), st.floats(0.1, 2))


def crowding(seed):
    model = TASK.model()
    start = np.random.default_rng(seed).normal(size=(1, TASK.features)).astype(np.float32)
    model.load_state_dict({"linear.weight": torch.from_numpy(start)})
    return model


def total(log, seed, plan):
    examples, model = TASK.examples(list(log.items())), crowding(seed)
    noise = plan.noise(PROTECTION, TASK.unit, TASK.unit_examples)
    return summed_pieces(model, examples.x, examples.y, TASK.loss, plan, noise, CODE, ["linear.weight"]).total


@given(LOGS, st.integers(0, 2**32 - 1), PLANS)
@settings(deadline=None, max_examples=25)
def test_whichever_unit_is_removed_moves_the_sum_by_no_more_than_the_ledger_is_charged(log, seed, plan):
    """In whole steps, and exactly: there is no rounding to allow for."""
    noise = plan.noise(PROTECTION, TASK.unit, TASK.unit_examples)
    whole = total(log, seed, plan)
    for gone in log:
        less = total({slot: minutes for slot, minutes in log.items() if slot != gone}, seed, plan)
        moved = sum(int(step) ** 2 for step in whole - less)
        assert moved <= noise.sensitivity(CODE) ** 2
    in_units = noise.sensitivity(CODE) * CODE.step
    assert in_units <= TASK.unit_examples * plan.clip_norm * plan.learning_rate / plan.lot_size
    assert noise.event(CODE, TASK.features).unit == "slot"


@given(LOGS, st.integers(0, 2**32 - 1), PLANS)
@settings(deadline=None, max_examples=30)
def test_the_sum_is_one_step_of_dp_sgd_without_noise(log, seed, plan):
    examples = TASK.examples(list(log.items()))
    same = DpSgdPlan(0.0, plan.clip_norm, learning_rate=plan.learning_rate, lot_size=plan.lot_size)
    before = crowding(seed).linear.weight.detach().numpy()[0]
    after = train(crowding(seed), examples.x, examples.y, TASK.loss, same, TASK.unit_examples).state["linear.weight"][0]
    assert total(log, seed, plan) * CODE.step == pytest.approx(after - before, abs=2e-5, rel=1e-4)


@given(st.integers(0, 10), st.integers(0, 10), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=20)
def test_what_an_example_adds_does_not_hang_on_the_others(some, more, seed):
    """To the last step, of a model with several layers too, in which batches round otherwise."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))
    x, y = torch.randn(some + more, 3), torch.randn(some + more)
    plan, names = RecordPlan(16), list(model.state_dict())
    noise = plan.noise(PROTECTION, "slot", 2)

    def added(rows):
        def loss(prediction, target):
            return (prediction.squeeze(1) - target).square()

        return summed_pieces(model, x[rows], y[rows], loss, plan, noise, CODE, names).total

    np.testing.assert_array_equal(added(slice(None)), added(slice(some)) + added(slice(some, None)))


def test_arrays_stand_in_the_order_that_the_sum_has():
    torch.manual_seed(1)
    model, x, y = nn.Linear(3, 1), torch.randn(5, 3), torch.randn(5)
    plan = RecordPlan(16)
    noise = plan.noise(PROTECTION, "slot", 2)

    def loss(prediction, target):
        return (prediction.squeeze(1) - target).square()

    one, other = (
        summed_pieces(model, x, y, loss, plan, noise, CODE, names).total
        for names in (["weight", "bias"], ["bias", "weight"])
    )
    np.testing.assert_array_equal(one, np.roll(other, -1))


@pytest.mark.parametrize(("mechanism", "unit"), [(DP_SGD, RECORD), (SHARED_NOISE, RECORD), (SHARED_NOISE, SITE)])
@pytest.mark.parametrize("asked", [1.0, 4.0, 8.0])
def test_a_run_costs_what_was_asked_for_and_hardly_less(mechanism, unit, asked):
    protection = Protection.within(mechanism, unit, asked, 1e-6, 40, 11)
    spent = epsilon(protection.events(2, "slot") * 40, 1e-6)
    assert 0.99 * asked <= spent <= asked
    assert {event.unit for event in protection.events(2, "slot")} == {SITE if unit == SITE else "slot"}


def test_a_node_is_charged_what_the_plan_of_the_run_was_made_for():
    protection = Protection.within(SHARED_NOISE, RECORD, 4.0, 1e-6, 40, 11)
    event = RecordPlan(learning_rate=2.0, lot_size=17).noise(protection, "slot", 2).event(CODE, TASK.features)
    assert epsilon([event] * 40, 1e-6) == pytest.approx(4.0, rel=0.011)
    assert epsilon([event] * 40, 1e-6) <= 4.0 * (1 + 1e-5)


def test_metrics_of_nodes_cost_their_part():
    with_them = Protection.within(DP_SGD, RECORD, 4.0, 1e-6, 10, 1, metrics=10)
    events = with_them.events(2) * 10 + [SampledGaussian(2 * with_them.noise_multiplier, 1.0, 1)] * 10
    assert 0.99 * 4 <= epsilon(events, 1e-6) <= 4
    assert with_them.noise_multiplier > Protection.within(DP_SGD, RECORD, 4.0, 1e-6, 10, 1).noise_multiplier
    with pytest.raises(ValueError, match="report none"):
        Protection.within(SHARED_NOISE, RECORD, 4.0, 1e-6, 10, 11, metrics=10)


@given(st.integers(2, 200), st.integers(0, 200))
def test_a_sum_over_a_whole_cohort_has_the_noise_even_without_a_third_of_it(cohort, more):
    protection = Protection(SHARED_NOISE, RECORD, 4.0, cohort)
    honest = cohort - cohort // 3
    assert protection.sum_multiplier(honest) == pytest.approx(4.0)
    assert 4.0 <= protection.sum_multiplier(cohort) <= 4.0 * math.sqrt(1.5) + 1e-9
    assert protection.sum_multiplier(cohort + more) <= Protection(DP_SGD, RECORD, 4.0, cohort).sum_multiplier(
        cohort + more
    )


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"mechanism": "laplace"}, "mechanism 'laplace'"),
        ({"unit": "person"}, "unit 'person'"),
        ({"mechanism": DP_SGD, "unit": SITE}, "'dp-sgd' with unit 'site'"),
        ({"noise_multiplier": math.inf}, "noise_multiplier"),
        ({"noise_multiplier": -1.0}, "noise_multiplier"),
        ({"cohort": 1}, "at least 2"),
    ],
)
def test_a_protection_that_is_none_is_refused(wrong, why):
    right = {"mechanism": SHARED_NOISE, "unit": RECORD, "noise_multiplier": 1.0, "cohort": 3}
    with pytest.raises(ValueError, match=why):
        Protection(**right | wrong)


def test_a_table_that_names_no_mechanism_is_local_dp_sgd_and_one_that_names_no_unit_is_as_before():
    assert Protection.of({"noise-multiplier": 2.0}, 3) == Protection(DP_SGD, RECORD, 2.0, 3)
    shared = {"mechanism": "shared-noise", "noise-multiplier": 2.0}
    assert Protection.of(shared, 3).unit == SITE
    assert Protection.of({**shared, "unit": "record"}, 3).unit == RECORD


@pytest.mark.parametrize(
    ("wrong", "why"),
    [({"clip_norm": 0.0}, "clip_norm"), ({"learning_rate": math.nan}, "rate"), ({"lot_size": 0}, "lot")],
)
def test_a_plan_that_makes_no_sense_is_refused(wrong, why):
    with pytest.raises(ValueError, match=why):
        RecordPlan(**{"lot_size": 16} | wrong)
