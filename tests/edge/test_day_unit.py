"""Everything of one day at a node as the unit: by brute force, whatever a day holds moves no more than is charged."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.learning.clipping import SLACK, clipped_sum
from edge.learning.dpsgd import DpSgdPlan, noised_metrics, train
from edge.learning.shared import DP_SGD, SHARED_NOISE, Protection, RecordPlan, summed_pieces
from edge.learning.tasks.crowding import TASK
from edge.learning.tasks.proximity import TASK as PROXIMITY
from edge.learning.tasks.task import Examples
from edge.learning.tasks.units import MOST_EXAMPLES, RECORD, UnknownUnit, pieces_of, unit_of
from privacy.accounting.events import DAY, SITE
from privacy.secure_sum.fixed_point import FixedPoint

CODE = FixedPoint(bound=8.0, bits=32, most=11)
PLAN = RecordPlan(34, 0.5, 1.0)
MINUTES = st.floats(0, 5000, width=32)
DAYS = st.dictionaries(st.integers(0, 47), MINUTES, max_size=20)
LOGS = st.dictionaries(st.integers(100, 104), DAYS, min_size=1, max_size=4)


def logged(days):
    return [(48 * day + slot, minutes) for day, slots in days.items() for slot, minutes in slots.items()]


def crowding(seed):
    model = TASK.model()
    start = np.random.default_rng(seed).normal(size=(1, TASK.features)).astype(np.float32)
    model.load_state_dict({"linear.weight": torch.from_numpy(start)})
    return model


def by_day(days):
    found = pieces_of(TASK, TASK.examples(logged(days)), DAY)
    return found.examples, found.groups


def in_steps(days, seed):
    """The coded sum of a node that shares its noise, and the most that a day adds to it."""
    unit = unit_of(TASK, DAY)
    noise = PLAN.noise(Protection(SHARED_NOISE, DAY, 4.0, 11), unit.name, unit.pieces, day_units=unit.day_units)
    examples, groups = by_day(days)
    summed = summed_pieces(
        crowding(seed), examples.x, examples.y, TASK.loss, PLAN, noise, CODE, ["linear.weight"], groups
    )
    return summed.total, noise


def in_float64(days, seed):
    examples, groups = by_day(days)
    with clipped_sum(crowding(seed), TASK.loss, PLAN.clip_norm) as gradients:
        return gradients(examples.x, examples.y, np.array(groups, np.int64))[0]


@given(LOGS, DAYS, st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_whatever_a_day_holds_moves_the_coded_sum_by_no_more_than_is_charged(days, other, seed):
    whole, noise = in_steps(days, seed)
    bound = noise.sensitivity(CODE)
    assert bound * CODE.step <= PLAN.clip_norm * PLAN.rate
    for day in days:
        removed, _ = in_steps({d: slots for d, slots in days.items() if d != day}, seed)
        replaced, _ = in_steps({**days, day: other}, seed)
        assert sum(int(step) ** 2 for step in whole - removed) <= bound**2
        assert sum(int(step) ** 2 for step in whole - replaced) <= (2 * bound) ** 2


@given(LOGS, DAYS, st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_whatever_a_day_holds_moves_the_sum_of_dp_sgd_by_no_more_than_its_noise_is_scaled_to(days, other, seed):
    whole = in_float64(days, seed)
    for day in days:
        removed = in_float64({d: slots for d, slots in days.items() if d != day}, seed)
        assert float((whole - removed).norm()) <= PLAN.clip_norm * (1 + SLACK)
        assert float((whole - in_float64({**days, day: other}, seed)).norm()) <= 2 * PLAN.clip_norm * (1 + SLACK)


@given(LOGS, st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=20)
def test_the_coded_sum_of_days_is_one_step_of_dp_sgd_by_day_without_noise(days, seed):
    examples, groups = by_day(days)
    same = DpSgdPlan(0.0, PLAN.clip_norm, learning_rate=PLAN.learning_rate, lot_size=PLAN.lot_size)
    before = crowding(seed).linear.weight.detach().numpy()[0]
    after = train(crowding(seed), examples.x, examples.y, TASK.loss, same, 1, groups).state["linear.weight"][0]
    assert in_steps(days, seed)[0] * CODE.step == pytest.approx(after - before, abs=2e-5, rel=1e-4)


@given(LOGS, st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=15)
def test_a_day_adds_the_same_steps_whatever_the_other_days_hold(days, seed):
    alone = sum(in_steps({day: slots}, seed)[0] for day, slots in days.items())
    np.testing.assert_array_equal(alone, in_steps(days, seed)[0])


def test_a_day_enters_a_sampled_step_as_a_whole_or_not_at_all():
    days = {day: {slot: 40.0 * day % 90 + slot for slot in range(16, 30)} for day in (100, 101, 102)}
    examples, groups = by_day(days)
    plan = DpSgdPlan(0.0, 1e6, learning_rate=1.0, lot_size=1, sampling_rate=0.5)
    start = crowding(1).linear.weight.detach().numpy()

    def moved(chosen):
        rows = [row for row, group in enumerate(groups) if group in chosen]
        whole = DpSgdPlan(0.0, 1e6, learning_rate=1.0, lot_size=1)
        return train(crowding(1), examples.x[rows], examples.y[rows], TASK.loss, whole, 1).state["linear.weight"]

    subsets = [{d for n, d in enumerate(days) if choice >> n & 1} for choice in range(8)]
    possible = np.stack([moved(subset) if subset else start for subset in subsets])
    seen = set()
    for _ in range(120):
        got = train(crowding(1), examples.x, examples.y, TASK.loss, plan, 1, groups).state["linear.weight"]
        apart = np.abs(possible - got).max((1, 2))
        assert apart.min() < 1e-3
        seen.add(int(apart.argmin()))
    assert len(seen) == 8


@given(st.dictionaries(st.integers(0, 4), st.lists(st.floats(0, 200), min_size=1), min_size=1), st.lists(st.floats(0)))
def test_a_day_moves_noised_metrics_by_no_more_than_they_are_noised_for(errors, other):
    def pair(days):
        rows = [(day, error) for day, of_day in days.items() for error in of_day]
        found = noised_metrics([e for _, e in rows], 120.0, 0.0, 1, [day for day, _ in rows])
        return np.array([found.error_sum / 60.0 - found.count, found.count])

    for day in errors:
        removed = {d: of_day for d, of_day in errors.items() if d != day}
        assert np.linalg.norm(pair(errors) - pair(removed)) <= math.sqrt(2) + 1e-9
        replaced = {**errors, day: other} if other else removed
        assert np.linalg.norm(pair(errors) - pair(replaced)) <= 2 * math.sqrt(2) + 1e-9


def test_noise_is_scaled_to_one_day():
    plan = DpSgdPlan(2.0, 0.5)
    assert train(crowding(1), torch.zeros(0, 13), torch.zeros(0), TASK.loss, plan, 1, ()).noise_std == pytest.approx(1)
    assert noised_metrics([], 120.0, 3.0, 1, []).noise_std == pytest.approx(3 * math.sqrt(2))


@pytest.mark.parametrize(
    ("task", "unit", "name", "pieces", "day_units"),
    [
        (TASK, RECORD, "slot", 2, 23.5),
        (TASK, DAY, "day", 1, 1.0),
        (TASK, SITE, "site", 1, 1.0),
        (PROXIMITY, RECORD, "session", 10, 0.0),
        (PROXIMITY, SITE, "site", 1, 1.0),
    ],
)
def test_events_say_what_a_day_moves(task, unit, name, pieces, day_units):
    asked = unit_of(task, unit)
    assert (asked.name, asked.pieces, asked.day_units) == (name, pieces, day_units)
    plan = DpSgdPlan(2.0)
    for event in (*plan.events(pieces, name, day_units), *plan.metrics_events(name, day_units)):
        assert (event.unit, event.day_units) == (name, day_units)
    noise = PLAN.noise(Protection(SHARED_NOISE, unit, 4.0, 11), name, pieces, day_units=day_units)
    assert noise.event(CODE, 13).day_units == day_units
    for event in Protection(SHARED_NOISE, unit, 4.0, 11).events(pieces, name, day_units):
        assert (event.unit, event.day_units) == (name, day_units)


@given(LOGS, DAYS, st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=15)
def test_a_day_of_slots_moves_a_sum_by_no_more_than_an_event_says(days, other, seed):
    """Against the unit `slot`: all 47 examples of a day, each added or removed."""
    unit = unit_of(TASK, RECORD)
    model = crowding(seed)

    def total(log):
        examples = TASK.examples(logged(log))
        with clipped_sum(model, TASK.loss, 0.5) as gradients:
            return gradients(examples.x, examples.y)[0]

    for day in days:
        removed = total({d: slots for d, slots in days.items() if d != day})
        assert float((total(days) - removed).norm()) <= unit.day_units * unit.pieces * 0.5 * (1 + 1e-5)


@pytest.mark.parametrize("mechanism", [DP_SGD, SHARED_NOISE])
def test_a_run_may_ask_for_the_day(mechanism):
    assert Protection.of({"mechanism": mechanism, "unit": "day", "noise-multiplier": 2.0}, 3).unit == DAY


def test_a_node_trains_on_the_newest_days_however_many_are_stored():
    days = {day: {slot: float(slot) for slot in range(48)} for day in range(100, 140)}
    for unit in (DAY, RECORD, SITE):
        kept = pieces_of(TASK, TASK.examples(logged(days)), unit)
        assert len(kept.examples) == TASK.most_examples == 752
        assert {slot // 48 for slot in kept.examples.units} == set(range(124, 140))
        other = pieces_of(TASK, TASK.examples(logged({**days, 130: dict.fromkeys(range(48), 9.0)})), unit)
        assert other.examples.units == kept.examples.units


def test_a_day_that_is_gone_lets_one_other_day_in():
    days = {day: {slot: float(slot) for slot in range(10, 20)} for day in range(100, 140)}
    with_it = set(by_day(days)[1])
    without = set(by_day({day: slots for day, slots in days.items() if day != 130})[1])
    assert (with_it - without, without - with_it) == ({130}, {123})


class Plain:
    """A task of another package that says no more than it must."""

    name, unit, unit_examples = "plain", "row", 3


def test_a_task_that_says_nothing_of_days_is_bounded_and_does_not_offer_them():
    many = Examples(torch.zeros(MOST_EXAMPLES + 5, 1), torch.zeros(MOST_EXAMPLES + 5), tuple(range(MOST_EXAMPLES + 5)))
    assert pieces_of(Plain(), many, RECORD).examples.units[0] == 5
    assert unit_of(Plain(), RECORD).day_units == MOST_EXAMPLES / 3
    for task in (Plain(), PROXIMITY):
        with pytest.raises(UnknownUnit, match="does not offer the unit 'day'; it offers record, site"):
            pieces_of(task, many, DAY)
