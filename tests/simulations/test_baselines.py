import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edge.learning.dpsgd import DpSgdPlan, train
from edge.sensing.contacts import Contact
from simulations.baselines import (
    HeldOutError,
    evaluate,
    held_out_examples,
    persistence,
    train_centrally,
    train_privately,
    training_examples,
)
from simulations.datasets.sociopatterns import federation, load_federation
from simulations.experiments.crowding import Setting, measure
from simulations.world.generator import World
from simulations.world.pretraining import model_with

DAY_S, SLOT_S = 86400, 1800


def meeting(slot, windows, day):
    """Ann and Bob of one class are together for so many windows of a slot: twice as many minutes over three."""
    return [Contact(day * DAY_S + slot * SLOT_S + 20 * w, "ann", "bob", "3A", "3A") for w in range(windows)]


@pytest.fixture(scope="module")
def school():
    return federation("school", World(seed=12, zones=3, days=2).contacts())


def fresh(task):
    return {name: values.numpy() for name, values in task.model().state_dict().items()}


def test_persistence_in_numbers(task):
    day = [*meeting(16, 3, day=0), *meeting(17, 6, day=0), *meeting(18, 30, day=0)]
    later = [*meeting(16, 3, day=1), *meeting(17, 6, day=1), *meeting(18, 30, day=1)]
    error = persistence(task, federation("pair", day + later))
    # 2, 4 and 20 minutes: the second slot is missed by 2, the third by 16; the first has none before it.
    assert (error.minutes, error.slots) == (pytest.approx(18, rel=1e-5), 2)


def test_a_fresh_model_is_persistence(task, school):
    assert evaluate(task, fresh(task), school).mean == pytest.approx(persistence(task, school).mean, rel=1e-5)


def test_only_slots_inside_later_opening_hours_are_counted(task, school):
    opened = {s for d in school.open_days[1:] for s in range(d.opens_s // SLOT_S, d.closes_s // SLOT_S)}
    first = school.open_days[1].opens_s // SLOT_S
    assert set(held_out_examples(task, school).units) == opened - {first}
    assert persistence(task, school).slots == 3 * (len(opened) - 1)


def test_central_training_fits_the_training_days_better_than_its_start(task, school, public_model):
    examples = training_examples(task, school)

    def loss(state):
        return float(task.loss(model_with(task, state)(examples.x), examples.y).mean().detach())

    assert loss(train_centrally(task, school, public_model)) < loss(public_model)


def test_a_private_round_is_the_plain_mean_of_what_the_nodes_reply(task, school, public_model):
    plan = replace(DpSgdPlan(noise_multiplier=0.0), learning_rate=0.3)
    replies = []
    for zone in school.zones:
        examples = task.examples(school.training(zone))
        model = model_with(task, public_model)
        replies.append(train(model, examples.x, examples.y, task.loss, plan, task.unit_examples).state)
    after = train_privately(task, school, public_model, plan, rounds=1)
    for name, values in after.items():
        assert values == pytest.approx(np.mean([reply[name] for reply in replies], axis=0), abs=1e-6)
        assert not np.array_equal(values, public_model[name])


def test_no_baseline_changes_the_start_model(task, school, public_model):
    before = {name: values.copy() for name, values in public_model.items()}
    train_centrally(task, school, public_model)
    train_privately(task, school, public_model, DpSgdPlan(1.0), rounds=2)
    evaluate(task, public_model, school)
    assert all(np.array_equal(public_model[name], values) for name, values in before.items())


@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 1000)), min_size=1))
def test_errors_of_nodes_add_up_to_the_mean_over_all_slots(parts):
    whole = sum((HeldOutError(*part) for part in parts[1:]), HeldOutError(*parts[0]))
    slots = sum(n for _, n in parts)
    assert whole.slots == slots
    assert math.isnan(whole.mean) if not slots else whole.mean == pytest.approx(sum(m for m, _ in parts) / slots)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["primaryschool.csv", "hospital_lyon_contacts.dat"])
def test_on_real_later_days_every_private_model_beats_persistence_and_their_mean_the_public_start(
    task, public_model, sociopatterns, name
):
    torch.set_num_threads(1)
    site = load_federation(sociopatterns / name)
    # 18.4 for what a slot holds is 8 for a slot that is added or removed: the noise that this has always been about.
    figures = measure(task, site, public_model, Setting(epsilon=18.4, delta=1e-6, rounds=10, draws=20))
    assert figures.private_worst < figures.persistence
    assert figures.private_mean < figures.start
    assert figures.central < figures.persistence
