"""What the strategy around a strategy hands on: sums over groups, exact, whoever stays away."""

import time
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import (
    FedAdagrad,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedMedian,
    FedProx,
    FedTrimmedAvg,
    FedYogi,
    Krum,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.cohort import CohortTooSmall
from aggregator.strategies.averaging import TailAverage
from aggregator.strategies.draws import MemoryBook
from aggregator.strategies.secure_sum import NodesBarred, SecureSum, SumSettings, UnevenTasks
from aggregator.strategies.state import restore, snapshot
from aggregator.strategies.streaming import Streaming
from aggregator.summing import HelperSilent
from privacy.boundary.flower import CENTRE, config_records, enter_run, set_message_id
from privacy.identity.certificates import node_party
from privacy.secure_sum.exchange import DrawShare, Part, SumRefusal, SumShare
from privacy.secure_sum.terms import SEED, SHARE, TERMS, SumTerms
from simulations.summed import FIRST_NODE, SummedFederation

NODES = 12
BASE = {"w": np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3), "b": np.zeros(2, np.float32)}
SETTINGS = SumSettings("helper", bound=4.0, weight_bound=100.0)
LINEAR = {
    "FedAvg": FedAvg,
    "FedProx": lambda **more: FedProx(proximal_mu=0.1, **more),
    "FedAvgM": lambda **more: FedAvgM(server_learning_rate=0.5, server_momentum=0.9, **more),
    "FedAdam": lambda **more: FedAdam(eta=0.3, tau=0.01, **more),
    "FedAdagrad": lambda **more: FedAdagrad(eta=0.3, tau=0.01, **more),
    "FedYogi": lambda **more: FedYogi(eta=0.3, tau=0.01, **more),
    "TailAverage": lambda **more: TailAverage(rounds=2, tail=2, **more),
}
FEW = {"min_available_nodes": 2, "min_train_nodes": 2, "min_evaluate_nodes": 2}


@pytest.fixture(autouse=True)
def run():
    enter_run(1, CENTRE)


@pytest.fixture
def federation(tmp_path):
    federation = SummedFederation(tmp_path, NODES, 3)
    yield federation
    federation.close()


class Grid:
    """What strategies ask of a grid when they choose nodes."""

    def __init__(self, nodes):
        self.nodes = nodes

    def get_node_ids(self):
        return list(self.nodes)


def record(values):
    return ArrayRecord({name: Array(value) for name, value in values.items()})


def learnt(node):
    """What node number `node` makes of the base, its weight and its metrics."""
    rng = np.random.default_rng(node)
    arrays = {name: value + rng.normal(0, 0.5, value.shape).astype(np.float32) for name, value in BASE.items()}
    return arrays, {
        "num-examples": float(rng.integers(1, 100)),
        "loss": float(rng.normal()),
        "acc": float(rng.random()),
    }


def app(message, _context):
    arrays, metrics = learnt(message.metadata.dst_node_id)
    content = RecordDict({"metrics": MetricRecord(metrics)})
    if message.metadata.message_type == "train":
        content["arrays"] = record(arrays)
    return Message(content, reply_to=message)


def strategy(federation, inner=None, sums=SETTINGS, book=None):
    told = []
    made = SecureSum(inner or Streaming(FedAvg(**FEW)), sums, federation, book, on_group=told.append)
    return made, told


def tasks(made, number=1, nodes=NODES, part="train"):
    configure = made.configure_train if part == "train" else made.configure_evaluate
    messages = list(configure(number, record(BASE), ConfigRecord(), Grid(range(FIRST_NODE, FIRST_NODE + nodes))))
    for place, message in enumerate(messages):
        set_message_id(message, f"{number:016x}{place:016x}")
    return messages


def weighted(nodes):
    """The mean that nobody may see the parts of."""
    every = [learnt(node) for node in nodes]
    weights = np.array([metrics["num-examples"] for _, metrics in every])
    arrays = {name: np.average([one[name] for one, _ in every], axis=0, weights=weights) for name in BASE}
    metrics = {name: np.average([one[name] for _, one in every], weights=weights) for name in ("loss", "acc")}
    return arrays, metrics


def arrays_of(result):
    return {name: array.numpy() for name, array in result.items()}


@given(gone=st.sets(st.integers(0, NODES - 1), max_size=NODES // 2), order=st.randoms())
@settings(deadline=None, max_examples=15)
def test_whoever_stays_away_the_mean_is_that_of_all_who_answered(tmp_path_factory, gone, order):
    federation = SummedFederation(tmp_path_factory.mktemp("sum"), NODES, 3)
    made, told = strategy(federation)
    asked = [task for place, task in enumerate(tasks(made)) if place not in gone]
    order.shuffle(asked)
    result, metrics = made.aggregate_train(1, [federation.answer(task, app) for task in asked])
    arrays, numbers = weighted([task.metadata.dst_node_id for task in asked])
    for name, value in arrays_of(result).items():
        np.testing.assert_allclose(value, arrays[name], atol=1e-6)
    assert {name: metrics[name] for name in ("loss", "acc")} == pytest.approx(numbers, abs=1e-6)
    assert [one.refusal for one in told] == [None]
    federation.close()


@pytest.mark.parametrize("name", LINEAR)
def test_a_linear_strategy_gives_what_it_gives_without_masks_over_rounds(federation, name):
    made, _ = strategy(federation, Streaming(LINEAR[name](**FEW)))
    plain = LINEAR[name](**FEW)
    for number in (1, 2):
        list(plain.configure_train(number, record(BASE), ConfigRecord(), Grid(range(2, 14))))
        asked = tasks(made, number)
        result, _ = made.aggregate_train(number, [federation.answer(task, app) for task in asked])
        clear = [app(task, None) for task in asked]
        expected, _ = plain.aggregate_train(number, clear)
        for key, value in arrays_of(result).items():
            np.testing.assert_allclose(value, expected[key].numpy(), atol=2e-5)


@pytest.mark.parametrize(
    "inner",
    [FedMedian(**FEW), FedTrimmedAvg(beta=0.3, **FEW), Krum(num_malicious_nodes=1, **FEW)],
    ids=lambda one: type(one).__name__,
)
def test_a_strategy_that_takes_replies_apart_is_given_each_group_s_mean(federation, inner):
    made, told = strategy(federation, inner)
    given_to = []
    aggregate = inner.aggregate_train

    def watched(number, replies):
        given_to.extend(float(reply.content["arrays"]["b"].numpy()[0]) for reply in replies)
        return aggregate(number, replies)

    inner.aggregate_train = watched
    asked = tasks(made)
    groups = {}
    for task in asked:
        groups.setdefault(config_records(task.content)[TERMS]["group"], []).append(task.metadata.dst_node_id)
    assert sorted(map(len, groups.values())) == [3, 3, 3, 3]
    made.aggregate_train(1, [federation.answer(task, app) for task in asked])
    assert sorted(given_to) == pytest.approx(sorted(weighted(nodes)[0]["b"][0] for nodes in groups.values()), abs=1e-6)
    assert sorted(sorted(one.nodes) for one in told) == sorted(sorted(nodes) for nodes in groups.values())


def test_groups_are_drawn_anew_and_none_is_too_small(federation):
    made, _ = strategy(federation, FedMedian(**FEW))
    drawn = set()
    for number in range(1, 6):
        groups = {}
        for task in tasks(made, number, nodes=11):
            groups.setdefault(config_records(task.content)[TERMS]["group"], []).append(task.metadata.dst_node_id)
        assert min(map(len, groups.values())) >= 3
        drawn.add(tuple(sorted(tuple(sorted(nodes)) for nodes in groups.values())))
    assert len(drawn) > 1


def test_a_group_that_shrank_goes_into_another(federation):
    made, told = strategy(federation, FedMedian(**FEW))
    asked = tasks(made)
    of = {task.metadata.dst_node_id: config_records(task.content)[TERMS]["group"] for task in asked}
    stays = [task for task in asked if of[task.metadata.dst_node_id] != 0] + [
        next(task for task in asked if of[task.metadata.dst_node_id] == 0)
    ]
    made.aggregate_train(1, [federation.answer(task, app) for task in stays])
    assert sorted(len(one.nodes) for one in told) == [3, 3, 4]
    assert all(one.refusal is None for one in told)


def test_evaluation_is_summed_too_and_apart_from_training(federation):
    made, _ = strategy(federation)
    made.aggregate_train(1, [federation.answer(task, app) for task in tasks(made)])
    asked = tasks(made, part="evaluate")
    metrics = made.aggregate_evaluate(1, [federation.answer(task, app) for task in asked])
    _, numbers = weighted([task.metadata.dst_node_id for task in asked])
    assert metrics["loss"] == pytest.approx(numbers["loss"], abs=1e-6)
    assert [request.part for request in federation.requests] == [Part.TRAIN, Part.EVALUATE]
    assert federation.requests[1].elements == 0


def test_a_node_that_was_not_approved_is_not_asked_and_no_group_is_lost_by_it(federation):
    stranger = federation.join()
    made, told = strategy(federation, FedMedian(**FEW))
    asked = tasks(made, nodes=NODES + 1)
    assert len(asked) == NODES
    assert stranger.party not in {node_party(task.metadata.dst_node_id) for task in asked}
    made.aggregate_train(1, [federation.answer(task, app) for task in asked])
    (lost,) = (one for one in told if one.refusal is not None)
    assert lost.refusal == SumRefusal.NOT_APPROVED.value
    assert [node_party(node) for node in lost.because_of] == [stranger.party]


def test_a_node_whose_approval_is_withdrawn_meanwhile_loses_its_group_and_no_other(federation):
    made, told = strategy(federation, FedMedian(**FEW))
    asked = tasks(made)
    federation.records.withdraw(node_party(FIRST_NODE))
    made.aggregate_train(1, [federation.answer(task, app) for task in asked])
    (lost,) = (one for one in told if one.refusal is not None)
    assert lost.refusal == SumRefusal.NOT_APPROVED.value
    assert lost.because_of == (FIRST_NODE,)
    assert len(told) == 4
    assert FIRST_NODE not in {task.metadata.dst_node_id for task in tasks(made, 2)}


def group_of(task):
    return config_records(task.content)[TERMS]["group"]


def spoil(reply, **changes):
    """A reply with other arrays, or another seed, in its share."""
    share, terms = reply.content[SHARE], reply.content[TERMS]
    for name, value in changes.items():
        if name in share:
            share[name] = Array(value)
        elif value is None:
            del terms[name]
        else:
            terms[name] = value
    return reply


@pytest.mark.parametrize(
    "changes",
    [
        {"elements": np.zeros(7, np.uint32)},
        {"elements": np.zeros(8, np.uint64)},
        {"elements": np.zeros((2, 4), np.uint32)},
        {"scalars": np.zeros(2, np.uint64)},
        {"scalars": np.zeros(3, np.uint32)},
        {SEED: b"short"},
        {SEED: None},
        {"metrics": ["loss", "acc"]},
        {"metrics": ["acc"]},
    ],
    ids=str,
)
def test_a_share_of_another_length_ring_or_form_is_left_out_and_the_rest_is_summed(federation, changes):
    made, told = strategy(federation)
    asked = tasks(made)
    replies = [
        spoil(federation.answer(asked[0], app), **changes),
        *(federation.answer(task, app) for task in asked[1:]),
    ]
    result, _ = made.aggregate_train(1, replies)
    arrays, _ = weighted([task.metadata.dst_node_id for task in asked[1:]])
    np.testing.assert_allclose(result["w"].numpy(), arrays["w"], atol=1e-6)
    assert asked[0].metadata.dst_node_id not in told[0].nodes


def test_metrics_of_one_s_own_are_left_out(federation):
    made, _ = strategy(federation)
    asked = tasks(made)

    def other(message, context):
        reply = app(message, context)
        reply.content["metrics"]["secret"] = 1.0
        return reply

    result, metrics = made.aggregate_train(
        1, [federation.answer(asked[0], other), *(federation.answer(task, app) for task in asked[1:])]
    )
    arrays, _ = weighted([task.metadata.dst_node_id for task in asked[1:]])
    np.testing.assert_allclose(result["w"].numpy(), arrays["w"], atol=1e-6)
    assert "secret" not in metrics


@pytest.mark.parametrize("weight", [-90.0, 5e3], ids=["below zero", "of fifty nodes"])
def test_a_node_that_lies_about_its_weight_loses_its_group_and_no_other(federation, weight):
    made, told = strategy(federation, FedMedian(**FEW))
    asked = tasks(made)
    replies = [federation.answer(task, app) for task in asked]
    scalars = replies[0].content[SHARE]["scalars"].numpy().copy()
    of_group = [one.metadata.dst_node_id for one in asked if group_of(one) == group_of(asked[0])]
    honest = sum(learnt(node)[1]["num-examples"] for node in of_group)
    code = SETTINGS.plan(NODES).weight_code
    scalars[:1] += np.array([round((weight - honest) / code.step)], np.int64).view(np.uint64)
    result, _ = made.aggregate_train(1, [spoil(replies[0], scalars=scalars), *replies[1:]])
    assert result is not None
    (lost,) = (one for one in told if one.refusal is not None)
    assert sorted(lost.nodes) == sorted(of_group)
    assert "its weight is" in lost.refusal
    assert len(told) == 4


def test_the_same_reply_twice_counts_once(federation):
    made, told = strategy(federation)
    asked = tasks(made)
    replies = [federation.answer(task, app) for task in asked]
    made.aggregate_train(1, [*replies, replies[0]])
    assert len(told[0].nodes) == NODES


def test_a_seed_that_was_used_before_is_refused(federation):
    made, told = strategy(federation)
    first = [federation.answer(task, app) for task in tasks(made)]
    made.aggregate_train(1, first)
    again = tasks(made, 1)  # a leader that runs round 1 twice
    old = {reply.metadata.src_node_id: reply for reply in first}
    with pytest.raises(CohortTooSmall, match="could be summed"):
        made.aggregate_train(1, [old[task.metadata.dst_node_id] for task in again][:8])
    assert told[-1].refusal == SumRefusal.COUNTED.value


class Book(MemoryBook):
    def __init__(self):
        super().__init__()
        self.rows = {}

    def closed(self, number, part):
        return self.rows.get((number, part), [])

    def close(self, number, part, groups):
        assert (number, part) not in self.rows
        self.rows[number, part] = [list(nodes) for nodes in groups]


def test_after_a_crash_the_very_same_sets_are_asked_for_whoever_came_late(federation):
    book = Book()
    made, _ = strategy(federation, FedMedian(**FEW), book=book)
    asked = tasks(made)
    replies = [federation.answer(task, app) for task in asked]
    before, _ = made.aggregate_train(1, replies[1:])  # and the process dies before its result is on disk
    restarted, told = strategy(federation, FedMedian(**FEW), book=book)
    tasks(restarted)
    restarted.asked(asked)
    after, _ = restarted.aggregate_train(1, replies)
    assert all(one.refusal is None for one in told)
    np.testing.assert_array_equal(before["w"].numpy(), after["w"].numpy())
    assert {frozenset(request.seeds) for request in federation.requests[: len(told)]} == {
        frozenset(request.seeds) for request in federation.requests[len(told) :]
    }


def test_a_closed_set_of_which_one_does_not_come_again_is_lost_and_the_others_are_not(federation):
    book = Book()
    made, _ = strategy(federation, FedMedian(**FEW), book=book)
    asked = tasks(made)
    replies = [federation.answer(task, app) for task in asked]
    made.aggregate_train(1, replies)
    restarted, told = strategy(federation, FedMedian(**FEW), book=book)
    tasks(restarted)
    restarted.asked(asked)
    restarted.aggregate_train(1, replies[1:])
    assert sorted(one.refusal is None for one in told) == [False, True, True, True]


def test_a_sum_that_one_node_spoils_is_made_of_the_others_when_they_answer_again(federation):
    book = Book()
    spoiler = federation.join(approved=True)
    made, told = strategy(federation, book=book)
    asked = tasks(made, nodes=NODES + 1)
    federation.records.withdraw(spoiler.party)
    replies = [federation.answer(task, app) for task in asked]
    for _ in range(2):  # the second time in another process, which knows nothing of the first but the book
        with pytest.raises(NodesBarred, match="no group of round 1"):
            made.aggregate_train(1, replies)
        result, _ = made.aggregate_train(1, replies)
        honest = [task.metadata.dst_node_id for task in asked if node_party(task.metadata.dst_node_id) != spoiler.party]
        np.testing.assert_allclose(result["w"].numpy(), weighted(honest)[0]["w"], atol=1e-6)
        assert sorted(told[-1].nodes) == sorted(honest)
        made, told = strategy(federation, book=book)
        tasks(made, nodes=NODES + 1)
        made.asked(asked)


def test_a_sum_that_is_too_small_without_those_who_spoil_it_is_asked_for_once_more_at_most(federation):
    spoilers = [federation.join(approved=True) for _ in range(2)]
    made, _ = strategy(federation, book=Book())
    asked = tasks(made, nodes=NODES + 2)
    for spoiler in spoilers:
        federation.records.withdraw(spoiler.party)
    few = [task for task in asked if node_party(task.metadata.dst_node_id) in {one.party for one in spoilers}]
    few += [task for task in asked if task not in few][:2]
    replies = [federation.answer(task, app) for task in few]
    with pytest.raises(NodesBarred):
        made.aggregate_train(1, replies)
    with pytest.raises(CohortTooSmall) as last:
        made.aggregate_train(1, replies)
    assert not isinstance(last.value, NodesBarred)


class Wrong:
    """A helper that draws as it should, and answers something else."""

    def __init__(self, share, federation):
        self.share, self.draw, self.sum_name = share, federation.draw, federation.sum_name

    def ask(self, request):
        if isinstance(self.share, Exception):
            raise self.share
        return self.share


@pytest.mark.parametrize(
    "share",
    [
        SumShare(b"", b""),
        SumShare(bytes(8 * 4), bytes(8)),
        SumShare(bytes(31), bytes(24)),
        SumShare(refusal=SumRefusal.TOO_FEW),
    ],
)
def test_a_helper_that_answers_wrongly_loses_the_round_with_a_reason(federation, share):
    made = SecureSum(Streaming(FedAvg(**FEW)), SETTINGS, Wrong(share, federation))
    with pytest.raises(CohortTooSmall, match="could be summed"):
        made.aggregate_train(1, [federation.answer(task, app) for task in tasks(made)])


def test_a_helper_that_never_answers_is_named(federation):
    made = SecureSum(Streaming(FedAvg(**FEW)), SETTINGS, Wrong(HelperSilent("the helper gave no answer"), federation))
    with pytest.raises(HelperSilent):
        made.aggregate_train(1, [federation.answer(task, app) for task in tasks(made)])


def groups_of(tasks):
    return {task.metadata.dst_node_id: group_of(task) for task in tasks}


class Dying:
    """A helper whose answer to a draw is lost, as many times as told."""

    def __init__(self, federation, lost):
        self.lost, self.ask, self.sum_name = lost, federation.ask, federation.sum_name
        self.asked, self._draw = [], federation.draw

    def draw(self, request):
        self.asked.append(request)
        share = self._draw(request)
        if len(self.asked) <= self.lost:
            raise HelperSilent("the helper gave no answer")
        return share


@pytest.mark.parametrize("lost", [0, 1, 3])
def test_a_leader_that_starts_again_has_the_same_groups_wherever_it_was_killed(federation, lost):
    book, helper = Book(), Dying(federation, lost)
    for _ in range(lost):  # killed while it asks: the helper has drawn, and its answer is lost
        with pytest.raises(HelperSilent):
            tasks(SecureSum(FedMedian(**FEW), SETTINGS, helper, book))
    first = groups_of(tasks(SecureSum(FedMedian(**FEW), SETTINGS, helper, book)))
    assert len({request.commitment for request in helper.asked}) == 1
    asked = len(helper.asked)
    restarted = SecureSum(FedMedian(**FEW), SETTINGS, helper, book)
    again = tasks(restarted)
    assert groups_of(again) == first
    assert len(helper.asked) == asked
    result, _ = restarted.aggregate_train(1, [federation.answer(task, app) for task in again])
    assert result is not None


def test_nodes_that_come_after_the_draw_wait_for_the_next_round_and_those_that_left_are_absent(federation):
    federation.join(approved=True)
    book = Book()
    first = groups_of(tasks(strategy(federation, FedMedian(**FEW), book=book)[0]))
    made, told = strategy(federation, FedMedian(**FEW), book=book)
    again = [task for task in tasks(made, nodes=NODES + 1) if task.metadata.dst_node_id != FIRST_NODE]
    made.asked(again)
    assert groups_of(again) == {node: group for node, group in first.items() if node != FIRST_NODE}
    made.aggregate_train(1, [federation.answer(task, app) for task in again])
    assert [one.refusal for one in told] == [None] * 3
    assert federation.requests[-1].absent == [node_party(FIRST_NODE)]


def test_the_leader_and_the_helper_each_change_the_groups(federation):
    drawn = {
        tuple(sorted(groups_of(tasks(strategy(federation, FedMedian(**FEW))[0], number)).items()))
        for number in range(1, 5)
    }
    assert len(drawn) > 1


def test_a_round_whose_time_is_over_is_drawn_anew_with_new_tasks(federation, monkeypatch):
    book = Book()
    made, _ = strategy(federation, FedMedian(**FEW), replace(SETTINGS, lifetime_s=1.0), book)
    asked = tasks(made)
    assert made.renewed(1, Part.TRAIN, asked) is None
    old = SumTerms.of(config_records(asked[0].content)[TERMS]).draw
    time.sleep(max(0.0, old.expires_at - time.time()) + 0.01)
    made, told = strategy(federation, FedMedian(**FEW), SETTINGS, book)
    renewed = made.renewed(1, Part.TRAIN, asked)
    for place, message in enumerate(renewed):
        set_message_id(message, f"{99:016x}{place:016x}")
    made.asked(renewed)
    assert SumTerms.of(config_records(renewed[0].content)[TERMS]).draw.nonce != old.nonce
    made._base = BASE
    result, _ = made.aggregate_train(1, [federation.answer(task, app) for task in renewed])
    assert result is not None
    assert [one.refusal for one in told] == [None] * 4


@pytest.mark.parametrize("refusal", [SumRefusal.DRAWN, SumRefusal.UNUSED, SumRefusal.TOO_FEW])
def test_a_helper_that_draws_nothing_stops_the_run_with_its_reason(federation, refusal):
    helper = Wrong(None, federation)
    helper.draw = lambda request: DrawShare(refusal=refusal)
    with pytest.raises(CohortTooSmall, match=refusal.value):
        tasks(SecureSum(Streaming(FedAvg(**FEW)), SETTINGS, helper))


def test_a_draw_for_another_commitment_is_none(federation):
    helper = Wrong(None, federation)
    helper.draw = lambda request: federation.draw(msgspec.structs.replace(request, commitment=bytes(32)))
    with pytest.raises(CohortTooSmall, match="its answer is for another draw"):
        tasks(SecureSum(Streaming(FedAvg(**FEW)), SETTINGS, helper))


def test_a_strategy_that_weighs_by_a_measurement_is_refused_before_anything_is_sent(federation):
    with pytest.raises(UnevenTasks, match="weighs replies by 'loss'"):
        tasks(strategy(federation, Streaming(FedAvg(**FEW, weighted_by_key="loss")))[0])


def test_fewer_nodes_than_the_least_cohort_are_not_even_asked(federation):
    made, _ = strategy(federation)
    federation_of_two = tasks
    with pytest.raises(CohortTooSmall, match="at least 3 nodes, and 2"):
        federation_of_two(made, nodes=2)


def test_error_replies_reach_the_inner_strategy_and_nobody_answering_is_no_error(federation):
    made, told = strategy(federation)
    task = tasks(made)[0]
    result, _ = made.aggregate_train(1, [Message(Error(0, "privacy budget spent"), reply_to=task)])
    assert result is None
    assert not told


def test_a_run_with_it_can_resume(federation):
    made, _ = strategy(federation, Streaming(FedAdam(**FEW)))
    made.aggregate_train(1, [federation.answer(task, app) for task in tasks(made)])
    other, _ = strategy(federation, Streaming(FedAdam(**FEW)))
    restore(other, snapshot(made))
    first, second = made.inner.inner, other.inner.inner
    for name, value in first.m_t.items():
        np.testing.assert_array_equal(value, second.m_t[name])


@pytest.mark.parametrize("wrong", [{"min_cohort": 1}, {"min_cohort": 4, "group_size": 3}])
def test_settings_that_hide_nobody_are_refused(wrong):
    with pytest.raises(ValueError, match="min_cohort"):
        SumSettings("helper", bound=1.0, **wrong)
