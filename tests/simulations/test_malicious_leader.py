"""The fuzzer against real trainer processes: it finds what is broken on purpose, and nothing in ours."""

import random

import pytest

from simulations.attacks.fuzzing.careless import APP
from simulations.attacks.fuzzing.pair import Pair
from simulations.attacks.fuzzing.search import TIME, Search
from simulations.attacks.fuzzing.stores import neighbours
from simulations.attacks.fuzzing.tasks import FuzzTask, Leader
from simulations.attacks.malicious_leader import ALONE

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(900)]


def pair_of(folder, name, **options):
    return Pair(folder / "pair", next(one for one in neighbours(1) if one.name == name), **options)


def test_an_app_that_refuses_writes_and_takes_its_time_by_its_records_is_found_out(tmp_path):
    with pair_of(tmp_path, ALONE, app=APP) as pair:
        search = Search(pair, Leader(tmp_path), random.Random(1))
        search.run(40, patient=False)
        search.time_task(FuzzTask("site"))
    found = {one.field: one for one in search.tally.differences}
    assert {"refusal", "log", TIME} <= found.keys()
    smallest = min(
        (one.task for one in search.tally.differences if one.field == "refusal"), key=lambda task: len(task.mutations)
    )
    assert [one.name for one in smallest.mutations] == ["learning-rate"]


@pytest.mark.parametrize("name", ["a slot holds something else", ALONE])
def test_neighbouring_stores_answer_hundreds_of_odd_tasks_alike(tmp_path, name):
    with pair_of(tmp_path, name) as pair:
        search = Search(pair, Leader(tmp_path), random.Random(2))
        assert search.reads_records()
        tally = search.run(250, patient=False)
    assert tally.sees
    assert [(one.field, str(one.task), one.a, one.b) for one in tally.differences] == []
