"""The gap is measured on real runs, whose folders are not made twice; the mean of a tail is that of its models."""

import math

import numpy as np
import pytest
from safetensors.numpy import load

from simulations.experiments import gap
from simulations.experiments.gap import (
    APPROACHES,
    CLIP_NORM,
    EPSILON,
    HELD_OUT,
    LOCAL,
    SHARED,
    TUNING,
    Approach,
    Asked,
    Ends,
    Line,
    Signal,
)
from simulations.runs.data import open_scene
from simulations.runs.experiment import Experiment
from simulations.runs.simulation import Simulation

SHORT = Approach("short", "shared-noise", 2, "TailAverage", rates=((EPSILON, 2.0),))


@pytest.fixture
def data(shared_data, public_model, monkeypatch):
    """The real sets; the public start model is made once."""
    monkeypatch.setenv("JAGA_DATA", str(shared_data))
    monkeypatch.setattr("simulations.runs.data.pretrain_public_model", lambda task, seed: public_model)


@pytest.mark.parametrize("approach", APPROACHES, ids=lambda approach: approach.name)
def test_every_line_is_an_experiment_that_can_be_run(approach):
    names = {Experiment.of(Asked(data, approach, EPSILON).tables(1)).run_name for data in (*HELD_OUT, *TUNING)}
    assert len(names) == len(HELD_OUT) + len(TUNING)


@pytest.mark.parametrize("approach", [LOCAL, SHARED], ids=lambda approach: approach.mechanism)
@pytest.mark.parametrize("epsilon", gap.EPSILONS)
def test_what_the_figure_shows_has_a_rate_at_every_epsilon(approach, epsilon):
    settings = Experiment.of(Asked("lyon-ward", approach, epsilon).tables(1))
    assert settings.train.lot_size == 564 / 4
    assert (settings.privacy.epsilon, settings.privacy.delta, settings.privacy.unit) == (epsilon, 1e-6, "record")


def test_nothing_of_a_tuning_set_is_held_out():
    assert not set(HELD_OUT) & set(TUNING)


def test_the_share_of_the_gap_is_0_at_persistence_and_1_at_central():
    ends = Ends(10.0, 9.0, 8.0)
    assert [ends.closed(error) for error in (10.0, 9.0, 8.0, 11.0)] == [0.0, 0.5, 1.0, -0.5]
    line = Line(Asked("lyon-ward", SHARED, EPSILON), (9.0, 8.0, 10.0), ends)
    assert line.closed == (0.5, 0.0, 1.0)
    assert line.held == "1 of 3"


def test_runs_are_carried_out_once_and_read_back(data, tmp_path):
    asked = [Asked("thiers-2011", SHORT, EPSILON)]
    (line,) = gap.measure(asked, 2, tmp_path)
    made = {folder.name: folder.stat().st_mtime_ns for folder in tmp_path.glob("*/rounds.parquet")}
    (again,) = gap.measure(asked, 2, tmp_path)
    assert again == line
    assert made == {folder.name: folder.stat().st_mtime_ns for folder in tmp_path.glob("*/rounds.parquet")}
    assert len(list(tmp_path.iterdir())) == 2
    settings = Experiment.of(asked[0].tables(2))
    with Simulation(settings, open_scene(settings.data, settings.task)) as simulation:
        (*_, last) = simulation.rounds()
    assert line.errors[1] == last["error"] != line.errors[0]
    assert line.ends.persistence > line.ends.start > line.ends.central
    assert last["epsilon"] == pytest.approx(EPSILON, rel=0.01)
    assert last["epsilon"] <= EPSILON


def test_a_simulated_run_ends_with_the_mean_of_its_tail(data):
    tables = Asked("thiers-2011", SHARED, EPSILON).tables(1)
    tables["experiment"]["rounds"] = rounds = 5
    runs = {}
    for name in ("FedAvg", "TailAverage"):
        settings = Experiment.of(tables | {"strategy": {"name": name}})
        with Simulation(settings, open_scene(settings.data, settings.task)) as simulation:
            runs[name] = [load(simulation.model)["linear.weight"] for _ in simulation.rounds()]
    for number in range(rounds - 1):
        np.testing.assert_array_equal(runs["FedAvg"][number], runs["TailAverage"][number])
    np.testing.assert_allclose(runs["TailAverage"][-1], np.mean(runs["FedAvg"][2:], axis=0), atol=1e-6)


def test_the_figure_is_the_same_bytes_for_the_same_runs(tmp_path):
    ends = Ends(10.0, 9.0, 8.0)
    lines = [
        Line(Asked(data, approach, epsilon), (10 - math.log2(epsilon), 9.5), ends)
        for data in HELD_OUT
        for approach in (LOCAL, SHARED)
        for epsilon in gap.EPSILONS
    ]
    for name in ("one.svg", "two.svg"):
        gap.draw_figure(lines, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_there_is_more_to_learn_from_more_days_under_the_same_noise(data):
    two_days, five_days = Signal.of("thiers-2011"), Signal.of("invs-workplace")
    assert (two_days.examples, five_days.examples) == (256, 495)
    assert 0 < two_days.gradient <= 256 * CLIP_NORM
    assert two_days.gradient < five_days.gradient
    # Four nodes count on three of them, five on four: the sum has sqrt(4/3) and sqrt(5/4) of the same noise.
    assert two_days.noise / five_days.noise == pytest.approx(math.sqrt(4 / 3 / (5 / 4)), rel=1e-2)
