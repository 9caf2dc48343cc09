"""The experiment on person days, on a small generated world."""

import json

import pytest
from typer import Typer
from typer.testing import CliRunner

from edge.learning.tasks.crowding import TASK
from edge.learning.tasks.proximity import TASK as PROXIMITY
from privacy.accounting.events import DAY
from privacy.secure_sum.fixed_point import FixedPoint
from simulations.experiments.person_day import APPROACHES, Line, Place, main, measure, plan_for
from simulations.runs.experiment import BadExperiment, Experiment
from simulations.runs.mechanisms import mechanism
from simulations.world.federate import federate
from simulations.world.generator import World

START = {name: value.numpy().copy() for name, value in TASK.model().state_dict().items()}


@pytest.fixture(scope="module")
def place():
    return Place.of("small", TASK, federate(World(3, 3, 4, "school")), START)


@pytest.mark.parametrize("approach", APPROACHES, ids=lambda approach: approach.name)
def test_a_run_costs_the_epsilon_that_it_is_measured_at(place, approach):
    line = measure(place, approach, 4.0, 1)
    assert 0.98 * 4 <= line.spent <= 4
    assert line.node_days == 3 * 2
    assert line.quartiles == (line.errors[0],) * 3


def test_noise_moves_the_model_as_far_whatever_the_budget(place):
    for approach in APPROACHES:
        (least, slow), (most, fast) = (plan_for(place, approach, epsilon) for epsilon in (8.0, 1.0))
        assert least < most
        assert least * slow <= most * fast * (1 + 1e-6)


def test_the_figures_can_be_kept_and_drawn(tmp_path):
    kept = tmp_path / "figures.json"
    rows = [
        Line("set", 4, 8, 90, a.name, e, e, 9.0, 0.3, 10.0, 9.8, 8.0, (9.0, 9.5, 8.5))
        for a in APPROACHES
        for e in (1.0, 8.0)
    ]
    kept.write_text(json.dumps([{field: getattr(row, field) for field in Line.__dataclass_fields__} for row in rows]))
    app = Typer()
    app.command()(main)
    outcome = CliRunner().invoke(app, ["--drawn", str(kept), "--svg", str(tmp_path / "figure.svg")])
    assert outcome.exit_code == 0, outcome.output
    assert "shared noise, day" in outcome.output
    assert "node days" in (tmp_path / "figure.svg").read_text()


def test_a_task_without_days_is_named():
    asked = Experiment.of({"experiment": {"name": "x", "rounds": 2}, "privacy": {"unit": "day"}})
    with pytest.raises(BadExperiment, match=r"privacy\.unit: task proximity does not offer the unit 'day'"):
        mechanism(asked, PROXIMITY, 4, None)


def test_a_run_by_day_is_charged_to_the_day():
    shared = {
        "experiment": {"name": "x", "rounds": 2},
        "privacy": {"mechanism": "shared-noise", "unit": "day"},
        "train": {"lot-size": 20},
        "secure_sum": {"bound": 4.0, "min_cohort": 5},
    }
    made = mechanism(Experiment.of(shared), TASK, 13, FixedPoint(4.0, 32, 5))
    own = mechanism(Experiment.of({**shared, "privacy": {"unit": "day"}, "secure_sum": None}), TASK, 13, None)
    assert {(event.unit, event.day_units) for event in (*made.events, *own.events)} == {(DAY, 1.0)}
