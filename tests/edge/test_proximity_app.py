"""The node's own Flower app with the task `proximity`: what it learns from, what it pays, what it sends."""

import random
import time

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict

from edge.learning.app import app_for
from edge.learning.dpsgd import DpSgdPlan
from edge.learning.site import Refused, Site
from edge.learning.tasks.proximity import TASK
from edge.proximity.closeness import Closeness
from edge.proximity.session import Session, Step
from edge.proximity.stats import Stats
from edge.store.calibration import Calibrations
from privacy.accounting.composition import epsilon
from privacy.accounting.ledger import Budget, PrivacyLedger
from privacy.boundary.flower import CENTRE, enter_run, set_message_id
from privacy.boundary.messages import Refusal

RUN, DELTA, DAY_S = 7, 1e-6, 86_400.0
CONFIG = {
    "task": "proximity",
    "noise-multiplier": 2.0,
    "metrics-noise-multiplier": 4.0,
    "learning-rate": 1.0,
    "lot-size": 300,
    "clip-norm": 1.0,
}


@pytest.fixture(autouse=True)
def _in_a_run() -> None:
    enter_run(RUN, CENTRE)


@pytest.fixture
def site(connection):
    rng, curve = random.Random(0), Closeness.default().curve
    for number in range(40):
        steps = []
        for metres in (0.5, 1.0, 2.0, 3.0, 4.0):
            level = round(curve.at(metres) + 30 + rng.gauss(0, 3))
            steps.append(Step(metres, False, Stats.of_frames([level] * 20, 1, 1)))
        Calibrations(connection).add(Session("hci0", "tag", float(number), tuple(steps)), time.time())
    return Site(connection, PrivacyLedger(connection, Budget(8.0, DELTA, 14 * DAY_S)))


def asked(site, kind, state, config=CONFIG, number=1):
    arrays = ArrayRecord({name: Array(values) for name, values in state.items()})
    message = Message(RecordDict({"arrays": arrays, "config": ConfigRecord(config)}), 5, kind)
    set_message_id(message, f"{number:032x}")
    return app_for(site)(message, Context(RUN, 5, {}, RecordDict(), {})).content


def fresh():
    return {name: values.numpy().copy() for name, values in TASK.model().state_dict().items()}


def test_a_round_trains_on_stored_walks_and_pays_before_it_begins(site):
    content = asked(site, "train", fresh())
    moved = {name: array.numpy() for name, array in content["arrays"].items()}
    assert set(moved) == set(fresh())
    assert any(np.abs(values).sum() > 0 for values in moved.values())
    plan = DpSgdPlan(2.0, metrics_noise_multiplier=4.0)
    paid = epsilon(plan.events(TASK.unit_examples) + plan.metrics_events(), DELTA)
    assert content["metrics"]["epsilon"] == pytest.approx(paid, rel=1e-6)
    assert site.ledger.epsilon() == pytest.approx(paid, rel=1e-6)
    assert set(content["metrics"]) == {"num-examples", "error-sum", "error-count", "epsilon"}
    assert content["metrics"]["num-examples"] == 1.0


def test_what_is_told_of_a_models_error_is_near_the_truth(site):
    config = CONFIG | {"metrics-noise-multiplier": 0.9}
    # By replacement that is noise .45, epsilon 12.52: more than the usual budget.
    generous = Site(site.connection, PrivacyLedger(site.connection, Budget(13.0, DELTA, 14 * DAY_S)))
    metrics = asked(generous, "evaluate", fresh(), config)["metrics"]
    # A fresh model says 1/2 of everything: a square of 1/4, on 200 examples.
    # Noise: 0.9 * 10 * sqrt(2), and half of that.
    assert metrics["error-count"] == pytest.approx(200, abs=6 * 12.8)
    assert metrics["error-sum"] == pytest.approx(50, abs=6 * 9)


def test_arrays_of_another_task_are_refused(site):
    with pytest.raises(Refused) as why:
        asked(site, "train", {"linear.weight": np.zeros((1, 13), np.float32)})
    assert why.value.refusal is Refusal.BAD_MODEL


def test_a_node_that_was_never_calibrated_answers_with_noise_alone(connection):
    empty = Site(connection, PrivacyLedger(connection, Budget(8.0, DELTA, 14 * DAY_S)))
    moved = asked(empty, "train", fresh())["arrays"]
    assert any(np.abs(array.numpy()).sum() > 0 for array in moved.values())
