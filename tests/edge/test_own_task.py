"""The tutorial's own task: what it promises of privacy, and a node's app that trains it from the node's own store."""

import math
import sys
import time

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.learning.app import app_for
from edge.learning.dpsgd import DpSgdPlan
from edge.learning.site import Refused, Site
from edge.learning.tasks.task import load_task
from edge.store.listening import Listening
from edge.store.reading import reading_only
from edge.store.sighting import Sighting
from edge.store.sightings import Sightings
from edge.store.slots import SLOT_S, WINDOWS_PER_SLOT
from privacy.accounting.composition import epsilon
from privacy.accounting.ledger import Budget, PrivacyLedger
from privacy.boundary.flower import CENTRE, enter_run, set_message_id
from privacy.boundary.messages import Refusal

RUN, DELTA, DAY_S = 7, 1e-6, 86_400.0
LOGS = st.dictionaries(st.integers(40, 55), st.integers(0, 900).map(lambda windows: windows / 3), max_size=16)


@pytest.fixture(scope="module")
def task(own_package):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(own_package)
        yield load_task("crowded")
        sys.modules.pop("own_task")


@settings(deadline=None)
@given(log=LOGS.filter(bool), data=st.data())
def test_a_slot_taken_away_takes_no_more_examples_along_than_was_promised_and_changes_no_other(task, log, data):
    def rows(log):
        found = task.examples(list(log.items()))
        return {s: (*x, y) for s, x, y in zip(found.units, found.x.tolist(), found.y.tolist(), strict=True)}

    gone = data.draw(st.sampled_from(sorted(log)))
    before, after = rows(log), rows({slot: minutes for slot, minutes in log.items() if slot != gone})
    assert after.items() <= before.items()
    assert len(before) - len(after) <= task.unit_examples


def test_one_example_in_numbers(task):
    found = task.examples([(36, 30.0), (37, 240.0)])
    assert found.units == (37,)
    assert found.y.tolist() == [1.0]
    assert found.x[0, 0] == pytest.approx(0.5)
    assert task.baseline(found.x).tolist() == [0.0]
    assert task.error(task.baseline(found.x), found.y).tolist() == [1.0]
    assert task.error(task.forecast(torch.zeros(1)), found.y).tolist() == pytest.approx([0.25])


def test_nothing_that_was_logged_gives_no_examples_of_the_usual_shape(task):
    found = task.examples([])
    assert list(found.x.shape) == [0, 3]
    assert task.model()(found.x).shape == found.y.shape


# --- on a node -------------------------------------------------------------------------------------------------------


@pytest.fixture
def site(connection):
    """Twenty half hours, crowded ones and quiet ones in turn: six people for all of the time, or one."""
    for slot in range(20):
        people = 6 if slot % 2 else 1
        heard = [
            Sighting(bytes([person]) * 16, slot * WINDOWS_PER_SLOT + window, 3, -150, 7500, -50, -50)
            for person in range(people)
            for window in range(WINDOWS_PER_SLOT)
        ]
        Sightings(connection).add(heard, logged_at=time.time())
        Listening(connection).add(slot * SLOT_S, (slot + 1) * SLOT_S, logged_at=time.time())
    return Site(connection, PrivacyLedger(connection, Budget(8.0, DELTA, 14 * DAY_S)))


def asked(site, kind, state, number=1, **config):
    enter_run(RUN, CENTRE)
    arrays = ArrayRecord({name: Array(values) for name, values in state.items()})
    settings = {"noise-multiplier": 3.0, "metrics-noise-multiplier": 6.0, "lot-size": 10, **config}
    message = Message(RecordDict({"arrays": arrays, "config": ConfigRecord(settings)}), 5, kind)
    set_message_id(message, f"{number:032x}")
    return app_for(site)(message, Context(RUN, 5, {}, RecordDict(), {})).content


def fresh(task):
    return {name: np.zeros(tuple(values.shape), np.float32) for name, values in task.model().state_dict().items()}


def test_it_reads_what_a_node_has_stored_and_no_column_that_it_does_not_declare(task, site):
    with reading_only(site.connection, task.sources):
        records = task.read(site.connection, -math.inf, math.inf)
    assert records == [(slot, 180.0 if slot % 2 else 30.0) for slot in range(20)]
    assert task.examples(records).y.tolist() == [float(slot % 2) for slot in range(1, 20)]


def test_a_node_s_own_app_trains_it_by_name_and_pays_before_it_begins(task, site):
    content = asked(site, "train", fresh(task), task="crowded")
    moved = {name: array.numpy() for name, array in content["arrays"].items()}
    assert set(moved) == {"0.weight", "0.bias"}
    assert all(np.abs(values).sum() > 0 for values in moved.values())
    plan = DpSgdPlan(3.0, metrics_noise_multiplier=6.0)
    paid = epsilon(plan.events(task.unit_examples, "slot") + plan.metrics_events("slot"), DELTA)
    assert content["metrics"]["epsilon"] == pytest.approx(paid, rel=1e-6)
    assert site.ledger.epsilon() == pytest.approx(paid, rel=1e-6)
    (entry,) = site.ledger.entries()
    assert "train crowded" in entry.purpose


def test_with_hardly_any_noise_a_node_learns_what_its_room_is_like(task, site):
    config = {"noise-multiplier": 1e-3, "metrics-noise-multiplier": 0.5, "learning-rate": 1.0, "clip-norm": 5.0}
    free = Site(site.connection, PrivacyLedger(site.connection, Budget(1e9, DELTA, 14 * DAY_S)))
    state = fresh(task)
    for number in range(1, 30):
        content = asked(free, "train", state, number, task="crowded", **config)
        state = {name: array.numpy() for name, array in content["arrays"].items()}
    assert state["0.weight"][0, 0] < -1  # after a crowded half hour comes a quiet one


def test_a_node_on_which_it_is_not_installed_says_no(task, own_package, site, monkeypatch):
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place != str(own_package)])
    with pytest.raises(Refused) as why:
        asked(site, "train", fresh(task), task="crowded")
    assert why.value.refusal is Refusal.UNKNOWN_TASK
    assert site.ledger.entries() == []
