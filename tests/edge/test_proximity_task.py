"""Task `proximity`: what one session can do to what is learnt, and that something is learnt."""

import math
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.learning.dpsgd import DpSgdPlan, train
from edge.learning.tasks.proximity import TASK, UNIT_EXAMPLES, Observation, observations
from edge.learning.tasks.task import load_task
from edge.proximity.calibration import ReferenceCurve
from edge.proximity.closeness import NEAR_M, Closeness
from edge.proximity.features import FEATURES
from edge.proximity.session import Session, Step
from edge.proximity.stats import Stats
from edge.store.calibration import Calibrations

CURVE = ReferenceCurve(-83.0, 5.4)
PLACES = [(distance, blocked) for blocked in (False, True) for distance in (0.5, 1.0, 2.0, 3.0, 4.0)]

seen = st.builds(Observation, st.tuples(*[st.floats(-5, 5, width=32)] * len(FEATURES)), st.booleans())
units = st.lists(st.lists(seen, max_size=15), min_size=1, max_size=8)


def rows(examples):
    return [(*x, y) for x, y in zip(examples.x.tolist(), examples.y.tolist(), strict=True)]


def walk(rng: random.Random, added_db: float, curve: ReferenceCurve = CURVE) -> Session:
    """A walk before a radio that hears `added_db` more than the reference."""
    steps = []
    for distance, blocked in PLACES:
        mean = curve.at(distance) + added_db + rng.gauss(0, 3) - (3 if blocked else -3)
        levels = [max(-127, min(20, round(rng.gauss(mean, 4)))) for _ in range(60)]
        steps.append(Step(distance, blocked, Stats.of_frames(levels, 2, 2)))
    return Session("hci0", "tag-1", 0.0, tuple(steps))


@given(units, st.data())
def test_a_session_that_is_removed_takes_its_own_examples_and_changes_no_other(records, data):
    gone = data.draw(st.integers(0, len(records) - 1))
    with_it = TASK.examples(records)
    without = rows(TASK.examples([unit for number, unit in enumerate(records) if number != gone]))
    kept = [row for row, unit in zip(rows(with_it), with_it.units, strict=True) if unit != gone]
    assert kept == without
    assert sum(unit == gone for unit in with_it.units) <= TASK.unit_examples == UNIT_EXAMPLES


@given(units, st.floats(0.05, 2), st.data())
@settings(deadline=None, max_examples=40)
def test_one_session_moves_the_sum_by_no_more_than_its_examples_times_the_clip(records, clip, data):
    gone = data.draw(st.integers(0, len(records) - 1))
    plan = DpSgdPlan(noise_multiplier=0.0, clip_norm=clip, learning_rate=1.0, lot_size=1)

    def moved(some):
        examples = TASK.examples(some)
        state = train(TASK.model(), examples.x, examples.y, TASK.loss, plan, TASK.unit_examples).state
        return np.concatenate([values.ravel() for values in state.values()])

    without = [unit for number, unit in enumerate(records) if number != gone]
    assert np.linalg.norm(moved(records) - moved(without)) <= TASK.unit_examples * clip + 1e-4


def test_what_a_stored_session_says_does_not_depend_on_the_others(connection):
    rng = random.Random(1)
    store = Calibrations(connection)
    sessions = [walk(rng, added) for added in (30.0, 25.0, 36.0)]
    for session in sessions:
        store.add(session)
    alone = [observations(session, Closeness.default().curve) for session in sessions]
    assert TASK.read(connection, -math.inf, math.inf) == alone


@pytest.mark.parametrize("added", [-10.0, 0.0, 33.0])
def test_a_radio_that_hears_more_is_brought_to_the_reference_by_its_own_session(added):
    level = [seen.features[0] for seen in observations(walk(random.Random(2), added), CURVE)]
    same = [seen.features[0] for seen in observations(walk(random.Random(2), 0.0), CURVE)]
    # Drawn to 0 by the prior: of a walk's ten steps a hundredth of the offset stays.
    assert level == pytest.approx(same, abs=0.02 * abs(added) / 8 + 0.05)


def test_sessions_with_walks_are_learnt_from(connection):
    rng = random.Random(3)
    for _ in range(30):
        Calibrations(connection).add(walk(rng, rng.gauss(30, 4), Closeness.default().curve))
    examples = TASK.examples(TASK.read(connection, -math.inf, math.inf))
    assert len(examples) == 300
    model = TASK.model()
    plan = DpSgdPlan(noise_multiplier=0.1, clip_norm=1.0, learning_rate=0.5, lot_size=300, steps=60)
    train(model, examples.x, examples.y, TASK.loss, plan, TASK.unit_examples)
    with torch.no_grad():
        right = ((TASK.forecast(model(examples.x)) > 0.5) == (examples.y == 1)).float().mean()
        loss = TASK.loss(model(examples.x), examples.y).mean()
    assert right > 0.75
    assert loss < math.log(2) * 0.9


def test_near_is_up_to_two_metres_and_no_further():
    said = {(step.distance_m, seen.near) for step, seen in _with_steps(walk(random.Random(0), 0.0))}
    assert said == {(0.5, True), (1.0, True), (NEAR_M, True), (3.0, False), (4.0, False)}


def _with_steps(session):
    return zip(session.steps, observations(session, CURVE), strict=True)


def test_a_fresh_model_knows_nothing():
    x = torch.randn(7, len(FEATURES))
    assert TASK.forecast(TASK.model()(x)).tolist() == [0.5] * 7


def test_the_baseline_says_near_from_the_reference_level_of_two_metres_on():
    level = Closeness.default().curve.at(NEAR_M)
    x = torch.tensor([[(level + above + 88.0) / 8.0, 0.0, 0.0] for above in (-1.0, 1.0)])
    assert TASK.baseline(x).tolist() == [0.0, 1.0]


def test_a_node_without_sessions_has_no_example(connection):
    assert TASK.examples(TASK.read(connection, -math.inf, math.inf)).x.shape == (0, len(FEATURES))


def test_an_observation_has_every_feature():
    with pytest.raises(ValueError, match="loudness"):
        Observation((1.0,), near=True)


def test_the_entry_point_names_this_task():
    assert load_task("proximity") is TASK
