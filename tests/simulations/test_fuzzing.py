"""Pieces of the fuzzer: mutations, neighbouring stores, comparison, search, and attacks that are known by name."""

import random
import secrets
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from edge.learning.tasks.task import load_task
from edge.store.database import Database
from edge.store.sightings import Sightings
from privacy.boundary import flower
from simulations.attacks.fuzzing import clip_audit, oracle
from simulations.attacks.fuzzing.canaries import canaries, careless_traceback, found_in
from simulations.attacks.fuzzing.command import smallest, told
from simulations.attacks.fuzzing.comparison import SURE, p_value, slower
from simulations.attacks.fuzzing.mutation import LONG, Mutation, any_mutation, literal, value_of
from simulations.attacks.fuzzing.observation import Observation, quiet
from simulations.attacks.fuzzing.pair import KEY
from simulations.attacks.fuzzing.search import Difference, Search, knobs, shrunk
from simulations.attacks.fuzzing.stores import make_store, minutes_of, neighbours, site_log
from simulations.attacks.fuzzing.tasks import BASES, FuzzTask, Leader, Unsendable, any_task
from simulations.cli import app

NOON = 20_000.5 * 86400


@pytest.fixture(scope="module")
def leader(tmp_path_factory):
    return Leader(tmp_path_factory.mktemp("leader"))


@given(
    st.one_of(
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False),
        st.text(max_size=30),
        st.binary(max_size=30),
        st.lists(st.floats(allow_nan=False), max_size=3),
        st.just("x" * LONG),
    )
)
def test_a_value_survives_being_written_down(value):
    found = value_of(literal(value))
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize("text", ["", "5", "q:5", "f:five", "b:zz"])
def test_what_is_not_a_literal_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011  (Python's own for a wrong number)
        value_of(text)


@given(st.integers(0, 10_000))
@settings(max_examples=50, deadline=None)
def test_a_task_survives_being_written_down_and_comes_again_with_its_seed(seed):
    task = any_task(random.Random(seed))
    assert FuzzTask.of(task.text()) == task == any_task(random.Random(seed))


def test_nearly_every_random_task_is_one_that_a_leader_can_send(leader):
    rng, sent, kinds = random.Random(1), 0, set()
    for _ in range(300):
        task = any_task(rng)
        try:
            request = leader.sendable(task).request
        except Unsendable:
            continue
        sent += 1
        kinds |= {(one.place, one.name) for one in task.mutations}
        if not any(one.name in ("flip", "type") for one in task.mutations):
            flower.message_of(request.flower)
    assert sent > 200
    assert len(kinds) > 40


def test_no_two_requests_have_the_same_message_id(leader):
    assert len({leader.sendable(FuzzTask(base)).message_id for base in BASES}) == len(BASES)


def test_an_impatient_fuzzer_asks_for_no_endless_loops():
    rng = random.Random(1)
    mutations = [any_mutation(rng, patient=False) for _ in range(5000)]
    loops = [value_of(one.value) for one in mutations if one.name in ("steps", "epochs") and one.value[0] == "i"]
    assert loops
    assert max(loops) <= 20


def test_neighbouring_logs_differ_in_what_their_name_says_and_in_nothing_else():
    pairs = {pair.name: pair for pair in neighbours(1, NOON)}
    assert len(pairs) == 5
    for name in ("a slot holds something else", "a slot is not there", "a slot holds a crowd"):
        a, b = pairs[name].a, pairs[name].b
        assert sum(a.get(slot) != b.get(slot) for slot in a.keys() | b.keys()) == 1, name
    gone = pairs["a person was never there"]
    removed = {(slot, who) for slot in gone.a for who in gone.a[slot].keys() - gone.b[slot].keys()}
    assert len({who for _, who in removed}) == 1
    assert len(removed) == len(gone.a)
    alone = pairs["one example, or none"]
    assert (oracle.example_count(alone.a), oracle.example_count(alone.b)) == (1, 0)


def test_a_seed_makes_the_same_site_every_time():
    assert site_log(3, NOON) == site_log(3, NOON) != site_log(4, NOON)


def test_a_node_reads_of_a_store_what_its_log_says(tmp_path):
    log = site_log(1)
    connection = Database(make_store(tmp_path / "node.db", KEY, log), KEY).connect()
    assert dict(Sightings(connection).close_minutes()) == pytest.approx(dict(minutes_of(log)))
    connection.close()


def test_noise_says_nothing_and_what_is_always_so_says_all():
    a, b = [secrets.token_hex(4) for _ in range(12)], [secrets.token_hex(4) for _ in range(12)]
    assert p_value(a, b) == 1
    assert p_value(["refused"] * 12, ["answered"] * 12) < SURE
    assert p_value(["refused"] * 12, ["refused"] * 12) == 1
    assert p_value(["refused", "answered"] * 6, ["answered", "refused"] * 6) == 1
    assert p_value(["refused"] * 6, ["answered"] * 6) > SURE


def test_a_store_is_slower_only_if_no_answer_overlaps():
    assert slower([1.0, 1.2, 1.1], [0.2, 0.3, 0.4])
    assert slower([0.2, 0.3, 0.4], [1.0, 1.2, 1.1])
    assert not slower([1.0, 1.2, 0.3], [0.2, 0.3, 0.4])
    assert not slower([0.02, 0.02], [0.001, 0.002])
    assert not slower([2.0, 2.1], [1.5, 1.6])


def test_times_colours_and_addresses_of_a_log_are_not_compared():
    text = "\x1b[2m2026-11-25T01:26:07.123456Z\x1b[0m [error ] raised <App at 0x7f00deadbeef>"
    assert quiet(text) == "TIME [error ] raised <App at ADDRESS>"


def test_shrinking_leaves_the_mutations_that_matter():
    needed = Mutation("config", "learning-rate", "f:1e+39")
    others = [Mutation("model", "scale", f"f:{n}.0") for n in range(3)]
    task = FuzzTask("site", (others[0], needed, others[1], others[2]))
    assert shrunk(task, lambda smaller: needed in smaller.mutations) == FuzzTask("site", (needed,))
    assert shrunk(task, lambda smaller: False) == task


class TwoStores:
    """Two nodes that refuse a learning rate above a limit of their own, and log noise."""

    name = "two limits"

    def __init__(self, a, b, words=("refused", "refused")):
        self._limits, self._words, self.tasks, self.restarts = (a, b), words, [], 0

    def ask(self, task):
        rates = [value_of(one.value) for one in task.mutations if one.name == "learning-rate" and one.value[0] == "f"]
        return tuple(
            self._seen(word if rates and rates[-1] > limit else "")
            for limit, word in zip(self._limits, self._words, strict=True)
        )

    def restart(self):
        self.restarts += 1

    def _seen(self, refusal):
        return Observation(refusal, "", "frame", "", "", "charge", secrets.token_hex(4), "", 0.01)


def search_of(stores, tasks, seed=1):
    return Search(stores, SimpleNamespace(sendable=lambda task: task), random.Random(seed)).run(tasks)


def test_a_limit_that_depends_on_data_is_found_by_halving_however_near_the_two_are():
    tally = search_of(TwoStores(3.0e7, 3.001e7), 3000)
    (found,) = {one.field for one in tally.differences}
    assert found == "refusal"
    best = min(tally.differences, key=lambda one: len(one.task.mutations))
    assert [one.name for one in best.task.mutations] == ["learning-rate"]
    assert 3.0e7 < value_of(best.task.mutations[0].value) <= 3.001e7


def test_a_limit_that_is_the_same_for_all_and_logs_full_of_noise_are_no_difference():
    tally = search_of(TwoStores(3.0e7, 3.0e7), 1000)
    assert tally.tasks >= 1000
    assert tally.differences == []
    assert tally.refused["refused"] > 0
    assert tally.sees


def test_a_fuzzer_that_gets_no_honest_task_answered_says_that_it_sees_nothing():
    stores = TwoStores(1.0, 1.0)
    stores._seen = lambda _: Observation("no", "", "", "", "", "", "", "", 0.01)
    assert not search_of(stores, 50).sees


def test_the_search_begins_with_tasks_near_overflow():
    mutated = [task for task, *_ in knobs() if task.mutations]
    assert {task.base for task in mutated} == {"site", "dp-sgd", "records"}


def test_the_smallest_task_of_each_kind_is_told_with_the_command_that_repeats_it():
    rate, extra = Mutation("config", "learning-rate", "f:1e+39"), Mutation("model", "scale", "f:2.0")
    large, small = (
        Difference("p", "refusal", FuzzTask("site", mutations), "a", "b") for mutations in ((rate, extra), (rate,))
    )
    (best,) = smallest([large, small])
    assert best is small
    assert small.task.text() in told(best, 7)
    assert "--seed 7" in told(best, 7)


def test_a_half_hour_is_read_to_the_minute_from_a_careless_node_and_not_from_one_that_answers_always():
    log = site_log(1, NOON)
    slots = sorted(log)
    held = {slot: log[slot] for slot in slots[:-1]}
    true, count = dict(minutes_of(log))[slots[-2]], oracle.example_count(held)
    found = oracle.read_half_hour(oracle.careless(lambda: held), lambda: held.update(log), count)
    assert found.minutes == pytest.approx(true, abs=0.01)
    assert found.rounds < 60
    assert oracle.read_half_hour(lambda _: "", lambda: None, count).minutes is None


def test_canaries_are_found_in_a_traceback_with_locals_and_not_in_one_without():
    log = site_log(1, NOON)
    wanted = canaries(KEY, log)
    assert {"the store's key", "a tensor of examples"} <= found_in(careless_traceback(KEY, log), wanted).keys()
    assert found_in("task answered refusal=None seconds=0.131 RuntimeError at plain.py:61", wanted) == {}
    assert found_in(f"key {KEY.hex()}", wanted).keys() == {"the store's key"}
    assert found_in(f"unit {next(iter(log))} failed", wanted).keys() == {"the number of a unit"}


def test_clipping_in_float32_is_too_long_at_the_smallest_norms_and_refused_numbers_are_not_judged():
    task = load_task("crowding")
    examples = task.examples(minutes_of(site_log(1, NOON)))
    assert clip_audit.careless_ratio(task, examples) > 2
    assert clip_audit.careless_ratio(task, examples, 0.5) == pytest.approx(1, abs=1e-6)
    refused = clip_audit.audit_clipping(lambda _: False, task, examples, 30, 1)
    assert (refused.accepted, refused.ratio) == (0, 0.0)

    def usual(asked):
        return all(0.01 < value_of(one.value) < 100 for one in asked.mutations)

    worst = clip_audit.audit_clipping(usual, task, examples, 300, 1)
    assert worst.accepted > 0
    assert 0.1 < worst.ratio < 1 + clip_audit.SLACK


@pytest.mark.parametrize("text", ["{", '{"base": "nothing"}', '{"base": "site", "mutations": [1]}'])
def test_a_task_that_cannot_be_read_is_bad_input(text):
    result = CliRunner().invoke(app, ["attack", "malicious-leader", "--task", text])
    assert result.exit_code == 3
