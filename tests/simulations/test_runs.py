"""A run: the same bytes for the same settings, whatever happened on the way, and columns that say what was."""

import math
import multiprocessing
import random
from dataclasses import replace

import numpy as np
import pytest
from small_runs import NODES, contents, experiment, rows, scene, simulated

from aggregator.records.tensors import from_safetensors
from edge.learning.dpsgd import DpSgdPlan
from edge.learning.plain import PlainPlan, train_plainly
from edge.learning.tasks.crowding import TASK
from privacy.accounting.composition import epsilon
from simulations.baselines import federate
from simulations.engine.local import PrivateTraining
from simulations.runs import runner
from simulations.runs.data import liars
from simulations.runs.experiment import AttackersTable, BadExperiment
from simulations.runs.folder import RunFolder
from simulations.runs.runner import Order, carry_out
from simulations.runs.series import RunFailed, carry_out_all
from simulations.runs.simulation import Simulation
from simulations.world.pretraining import model_with

STATEFUL = ["FedAvg", "FedAvgM", "FedAdam", "FedMedian"]
SUM = {"bound": 4.0, "min_cohort": 3}


def order(folder, settings, **more):
    return Order(settings, RunFolder(folder / settings.run_name), **more)


def model(simulation):
    return {name: array.numpy() for name, array in from_safetensors(simulation.model).items()}


def vector(state):
    return np.concatenate([value.ravel() for value in state.values()])


# --- the same bytes --------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes_and_another_one_another_model(tmp_path):
    for place, seed in (("a", 1), ("b", 1), ("c", 2)):
        carry_out(order(tmp_path / place, experiment(seed=seed, availability={"share": 0.7})))
    a, b, c = (contents(next((tmp_path / place).iterdir())) for place in "abc")
    assert a == b
    assert a.keys() == {"experiment.toml", "run.json", "rounds.parquet", "sites.parquet", "model.safetensors"}
    assert a["model.safetensors"] != c["model.safetensors"]


@pytest.mark.slow
def test_workers_change_nothing():
    settings = experiment(2, strategy={"name": "FedMedian"}, availability={"share": 0.8}, secure_sum=SUM)
    one, two = (simulated(settings, nodes=120, workers=workers) for workers in (1, 2))
    assert one.model == two.model
    assert str(one.tables.rounds) == str(two.tables.rounds)  # as text, for NaN is no NaN's equal
    assert str(one.tables.sites) == str(two.tables.sites)


@pytest.mark.slow
def test_runs_at_once_give_what_they_give_one_after_the_other(tmp_path):
    settings = [experiment(seed=seed, strategy={"name": "FedAvgM"}) for seed in (1, 2, 3)]
    told = []
    for place, workers in (("at-once", 2), ("in-turn", 1)):
        done = carry_out_all([order(tmp_path / place, one) for one in settings], workers, told.append)
        assert set(done.values()) == {"done"}
    assert len(told) == 2 * 3 * (1 + 3)
    for one in settings:
        at_once, in_turn = (contents(tmp_path / place / one.run_name) for place in ("at-once", "in-turn"))
        assert at_once == in_turn


@pytest.mark.parametrize("name", STATEFUL)
def test_a_run_that_was_stopped_ends_with_the_bytes_of_one_that_was_not(tmp_path, name):
    settings = experiment(6, strategy={"name": name}, availability={"share": 0.8}, secure_sum=SUM)
    carry_out(order(tmp_path / "whole", settings))
    again, asked = order(tmp_path / "stopped", settings), iter([False, True, True, False, True, False])
    statuses = [carry_out(again, stopped=lambda: next(asked)) for _ in range(3)]
    assert statuses == ["stopped", "stopped", "stopped"]
    assert again.folder.checkpoint is not None
    assert carry_out(again) == "done"
    whole, stopped = (tmp_path / place / settings.run_name for place in ("whole", "stopped"))
    assert contents(whole) == contents(stopped)
    assert [row["round"] for row in rows(stopped, "timings")] == [1, 2, 3, 4, 5, 6]


class Killed(BaseException):
    """What no handler of errors sees, as a SIGKILL."""


@pytest.mark.parametrize("dies_at", range(1, 15))
def test_a_run_that_dies_at_any_write_goes_on_to_the_same_bytes(tmp_path, monkeypatch, dies_at):
    monkeypatch.setattr(runner, "SAVED_EVERY_S", 0.0)
    settings = experiment(2, strategy={"name": "FedAdam"})
    put, written = RunFolder._put, 0

    def dying(folder, name, data):
        nonlocal written
        written += 1
        if written == dies_at:
            raise Killed
        put(folder, name, data)

    one = order(tmp_path / "killed", settings)
    monkeypatch.setattr(RunFolder, "_put", dying)
    with pytest.raises(Killed):
        carry_out(one)
    monkeypatch.setattr(RunFolder, "_put", put)
    assert carry_out(one) == "done"
    carry_out(order(tmp_path / "whole", settings))
    assert contents(one.folder.path) == contents(tmp_path / "whole" / settings.run_name)
    assert [row["round"] for row in rows(one.folder.path, "timings")] == [1, 2]


def test_a_run_that_fails_says_why_in_its_folder_and_can_go_on(tmp_path, monkeypatch):
    settings, real, calls = experiment(3), Simulation._next, []

    def failing(simulation):
        calls.append(simulation.round)
        if len(calls) == 2:
            raise MemoryError("no room")
        return real(simulation)

    one = order(tmp_path, settings)
    monkeypatch.setattr(Simulation, "_next", failing)
    with pytest.raises(MemoryError):
        carry_out(one)
    assert (one.folder.info.status, one.folder.info.note) == ("failed", "MemoryError: no room")
    assert carry_out(one) == "done"
    assert one.folder.info.note == ""


@pytest.mark.slow
def test_a_run_whose_worker_is_killed_says_so_and_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "WORTH_A_WORKER", 1)
    settings = experiment(3, data={"source": "small_runs:many"})
    whole, killed = order(tmp_path / "whole", settings), order(tmp_path / "killed", settings)
    carry_out(whole)

    def kill(told):
        if told.row["round"] == 1:
            for child in multiprocessing.active_children():
                child.kill()
                child.join()

    with pytest.raises(RunFailed, match=rf"{settings.run_name}: WorkerDied: a worker of the engine died"):
        carry_out_all([killed], 2, kill)
    assert killed.folder.info.status == "failed"
    assert carry_out_all([killed], 2, lambda _: None) == {killed.folder.path: "done"}
    assert contents(killed.folder.path) == contents(whole.folder.path)


def test_settings_that_cannot_be_used_write_nothing(tmp_path):
    one = order(tmp_path, experiment(strategy={"name": "FedAvgg"}))
    with pytest.raises(BadExperiment, match="did you mean FedAvg"):
        carry_out(one)
    assert not one.folder.path.exists()


# --- the same numbers as nodes ---------------------------------------------------------------------------------------


COARSE = {"bound": 1e4, "bits": 16}


@pytest.mark.parametrize("secure_sum", [{}, {"secure_sum": SUM}], ids=["apart", "summed"])
def test_a_round_without_noise_is_the_mean_of_what_nodes_learn_one_by_one(secure_sum):
    plain = {"mechanism": "none"}
    train = {"epochs": 2, "batch-size": 99, "learning-rate": 0.2}  # one batch, so that no order matters
    with Simulation(experiment(1, privacy=plain, train=train, **secure_sum), scene()) as simulation:
        (row,) = simulation.rounds()
        found = model(simulation)
    small, plan = scene(), PlainPlan(2, 99, 0.2)
    each = [train_plainly(model_with(TASK, dict(small.start)), n.x, n.y, TASK.loss, plan) for n in small.training]
    for name, value in found.items():
        np.testing.assert_allclose(value, np.mean([one[name] for one in each], axis=0), atol=1e-5)
    assert (row["asked"], row["answered"], row["replies"]) == (NODES, NODES, 1)
    assert math.isnan(row["epsilon"])


def test_rounds_of_dp_sgd_without_noise_are_those_of_the_baseline():
    settings = experiment(3, train={"steps": 2, "learning-rate": 0.3, "clip-norm": 0.7, "lot-size": 9})
    with Simulation(settings, scene()) as simulation:
        plan = replace(simulation.mechanism.training.plan, noise_multiplier=0.0)
        simulation.mechanism = replace(simulation.mechanism, training=PrivateTraining(plan))
        list(simulation.rounds())
        found = model(simulation)
    small = scene()
    for name, value in federate(TASK, small.training, dict(small.start), plan, 3).items():
        np.testing.assert_allclose(found[name], value, atol=1e-5)


def test_errors_are_those_of_the_model_over_all_and_by_site():
    small, done = scene(), simulated(experiment(2))
    learnt = model_with(TASK, model(done))
    apart = [(TASK.forecast(learnt(site.x)).detach() - site.y).abs().numpy() for site in small.held_out]
    last = done.tables.rounds[-1]
    assert last["error"] == pytest.approx(np.concatenate(apart).mean(), rel=1e-5)
    by_site = {row["site"]: row["error"] for row in done.tables.sites if row["round"] == 2}
    assert by_site == pytest.approx({n: a.mean() for n, a in zip(small.names, apart, strict=True)}, rel=1e-5)
    # A fresh model is persistence.
    assert done.tables.rounds[0]["error"] == pytest.approx(last["baseline_error"], rel=1e-5)


def test_models_are_judged_every_so_many_rounds_and_after_the_last_one():
    done = simulated(experiment(5, evaluation={"every": 2, "central": False}))
    assert [row["round"] for row in done.tables.rounds if "error" in row] == [0, 2, 4, 5]


# --- what the columns promise ----------------------------------------------------------------------------------------


def test_epsilon_is_the_accountant_s_for_the_node_that_took_part_most_often():
    settings = experiment(6, availability={"share": 0.5}, privacy={"epsilon": 2.0, "delta": 1e-5})
    done = simulated(settings)
    plan: DpSgdPlan = done.mechanism.training.plan
    most = int(done._taken_part.max())
    assert 1 < most < 6 or most == 6
    events = plan.events(TASK.unit_examples, TASK.unit) + plan.metrics_events(TASK.unit)
    last = done.tables.rounds[-1]
    assert last["epsilon"] == pytest.approx(epsilon(list(events) * most, 1e-5), rel=1e-9)
    assert last["epsilon"] <= 2.0
    assert [r["epsilon"] for r in done.tables.rounds] == sorted(r["epsilon"] for r in done.tables.rounds)


def test_who_is_always_there_spends_the_whole_budget_and_no_more():
    last = simulated(experiment(4, privacy={"epsilon": 3.0})).tables.rounds[-1]
    assert 2.9 < last["epsilon"] <= 3.0


def test_the_noise_told_is_the_noise_that_is_there():
    settings = experiment(1, privacy={"epsilon": 1.0})
    told = simulated(settings).tables.rounds[-1]["noise_std"]
    small = scene()
    quiet = DpSgdPlan(noise_multiplier=0.0)
    with Simulation(settings, small) as one:
        quiet = replace(one.mechanism.training.plan, noise_multiplier=0.0)
    middle = vector(federate(TASK, small.training, dict(small.start), quiet, 1))
    apart = [vector(model(simulated(experiment(1, seed=s, privacy={"epsilon": 1.0})))) - middle for s in range(25)]
    values = np.concatenate(apart)
    assert np.std(values) == pytest.approx(told, rel=5 / math.sqrt(2 * len(values)))


def test_the_share_of_nodes_that_is_there_is_the_one_that_was_asked_for():
    share = 0.6
    done = simulated(
        experiment(20, availability={"share": share}, evaluation={"every": 20, "central": False}), nodes=50
    )
    there = [row["answered"] for row in done.tables.rounds[1:]]
    assert len(set(there)) > 1
    assert np.mean(there) == pytest.approx(50 * share, abs=5 * math.sqrt(50 * share * (1 - share) / 20))
    row = done.tables.rounds[1]
    assert row["asked"] == 50
    sizes = row["down_bytes"] / row["asked"], row["up_bytes"] / row["answered"]
    assert min(sizes) > 13 * 4  # a model's floats at least


def test_a_fraction_of_nodes_is_asked_and_the_strategy_s_draw_is_seeded():
    settings = experiment(4, strategy={"options": {"fraction_train": 0.5}})
    one, two = simulated(settings), simulated(settings)
    assert [row["asked"] for row in one.tables.rounds[1:]] == [NODES // 2] * 4
    assert one._taken_part.tolist() == two._taken_part.tolist()
    assert max(one._taken_part) > min(one._taken_part)


def test_nodes_that_lie_do_so_in_the_way_they_were_told():
    plain, train = {"mechanism": "none"}, {"batch-size": 99}
    start = vector(scene().start)

    def moved(**attackers):
        settings = experiment(1, privacy=plain, train=train, attackers=attackers)
        return vector(model(simulated(settings))).astype(float) - start

    honest, flipped, scaled = moved(), moved(share=1.0), moved(share=1.0, kind="scale", factor=3.0)
    np.testing.assert_allclose(flipped, -honest, atol=1e-6)
    np.testing.assert_allclose(scaled, 3 * honest, atol=1e-5)
    some = moved(share=0.25, kind="scale", factor=5.0)
    assert not np.allclose(some, honest, atol=1e-4)
    mirrored = moved(share=1.0, kind="label-flip")
    small = scene()
    lies = [replace(one, y=one.y.min() + one.y.max() - one.y) for one in small.training]
    each = [
        vector(train_plainly(model_with(TASK, dict(small.start)), n.x, n.y, TASK.loss, PlainPlan(batch_size=99)))
        for n in lies
    ]
    np.testing.assert_allclose(mirrored, np.mean(each, axis=0) - start, atol=1e-5)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.2, 4), (0.5, 10), (1.0, 20)])
def test_so_many_nodes_lie(share, expected):
    lying = liars(AttackersTable(share=share), 20, np.random.default_rng(3))
    assert lying.sum() == expected


def test_layers_that_stay_at_home_are_judged_site_by_site():
    settings = experiment(1, personal={"layers": " linear.weight ", "epochs": 3})
    done = simulated(settings)
    last = done.tables.rounds[-1]
    own = [row["personal_error"] for row in done.tables.sites if row["round"] == 1]
    weights = [row["examples"] for row in done.tables.sites if row["round"] == 1]
    assert last["personal_error"] == pytest.approx(np.average(own, weights=weights))
    assert last["personal_error"] != last["error"]


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        ({"personal": {"layers": "linear.weight, linear.bias"}}, r"personal\.layers: the model has no linear\.bias"),
        ({"strategy": {"options": {"fraction_train": 0.0}}}, r"strategy\.options\.fraction_train: 0\.0 of the nodes"),
        ({"strategy": {"options": {"fraction_train": 1.5}}}, r"fraction_train: 1\.5"),
        ({"strategy": {"options": {"min_available_nodes": 13}}}, r"waits for 13 nodes \(min_available_nodes\)"),
        ({"strategy": {"options": {"min_train_nodes": 99}}}, r"waits for 99 nodes \(min_train_nodes\)"),
        ({"train": {"epochs": 2}}, r"train\.epochs: mechanism dp-sgd has no such setting; it has clip-norm"),
        ({"train": {"lot-size": 2}, "privacy": {"mechanism": "none"}}, r"train\.lot-size: mechanism none has no such"),
        ({"privacy": {"epsilon": 1e-12, "delta": 1e-12}}, r"privacy\.epsilon: "),
        ({"secure_sum": {"bound": 1.0, "bits": 16}}, r"secure_sum\.bits: 16 bits leave"),
        (
            {"privacy": {"mechanism": "shared-noise"}, "secure_sum": SUM},
            r"train\.lot-size: shared-noise of a record needs it, about how many examples a node has",
        ),
        (
            {"privacy": {"mechanism": "shared-noise"}, "train": {"lot-size": 9}, "secure_sum": COARSE},
            r"secure_sum\.bound: clip norm .* is below one step of the sum's code",
        ),
    ],
)  # fmt: skip
def test_settings_that_do_not_go_together_are_named_before_the_first_round(tables, says):
    with pytest.raises(BadExperiment, match=says):
        Simulation(experiment(**tables), scene(NODES if "bits" not in says else 1200))


def test_sites_that_are_tested_elsewhere_keep_no_layers():
    elsewhere = replace(scene(), tested=tuple(f"other-{n}" for n in range(NODES)))
    with pytest.raises(BadExperiment, match="tested elsewhere"):
        Simulation(experiment(personal={"layers": "linear.weight"}), elsewhere)


def test_a_checkpoint_that_is_damaged_says_what_to_do(tmp_path):
    one = order(tmp_path, experiment(3))
    carry_out(one, stopped=lambda: True)
    one.folder.write_checkpoint(b"\x93nonsense")
    with pytest.raises(BadExperiment, match="checkpoint cannot be read"):
        carry_out(one)


def test_the_chance_of_whoever_called_is_left_alone():
    random.seed(5)
    np.random.seed(6)
    expected = random.random(), np.random.random()
    random.seed(5)
    np.random.seed(6)
    simulated(experiment(2, strategy={"options": {"fraction_train": 0.5}}))
    assert (random.random(), np.random.random()) == expected
