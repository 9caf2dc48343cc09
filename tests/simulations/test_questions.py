"""Questions are read as they were asked: seed by seed, over all seeds, with a figure each."""

from pathlib import Path

import numpy as np
import pytest
import torch
from typer import Typer
from typer.testing import CliRunner

from simulations.experiments.questions import QUESTIONS, find, main, paired, table
from simulations.report.drawing import LeftOut
from simulations.report.runs import EPSILON, MECHANISM, Run, Setting
from simulations.runs.examples import examples
from simulations.runs.sweep import Sweep

NOISE = QUESTIONS["noise"]


def run(mechanism: str, epsilon: float, seed: int, error: float) -> Run:
    """Of a baseline of 10 and central training of 0: the gap closed is 1 - error / 10."""
    settings: dict[str, Setting] = {MECHANISM: mechanism, EPSILON: epsilon, "experiment.seed": seed}
    columns = {"round": 1.0, "error": error, "baseline_error": 10.0, "central_error": 0.0}
    rounds = {name: np.array([value]) for name, value in columns.items()}
    folder = f"{mechanism}-{epsilon:g}-{seed}"
    return Run(folder, "noise", seed, settings, (MECHANISM, EPSILON), {}, {}, "done", 1, rounds)


RUNS = [
    run("dp-sgd", 4.0, 1, 8.0), run("dp-sgd", 4.0, 2, 7.0), run("dp-sgd", 4.0, 3, 6.0),
    run("shared-noise", 4.0, 1, 6.0), run("shared-noise", 4.0, 2, 6.0), run("shared-noise", 4.0, 3, 5.0),
    run("dp-sgd", 1.0, 1, 8.0), run("dp-sgd", 1.0, 2, 8.0),
    run("shared-noise", 1.0, 1, 9.0), run("shared-noise", 1.0, 2, 7.0),
]  # fmt: skip


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_every_question_is_an_experiment_that_comes_along_with_three_seeds_or_more(question):
    assert question.name in examples()
    sweep = Sweep.read(question.name)
    settings = [one.flat() for one in sweep.experiments]
    assert len({one["experiment.seed"] for one in settings}) >= 3
    assert question.across in sweep.swept
    for key, value in question.than:
        assert key in sweep.swept
        assert value in {one[key] for one in settings}


def test_a_run_is_compared_with_the_one_of_its_seed_that_differs_in_one_setting_alone():
    pairs = paired(RUNS, RUNS, MECHANISM, "dp-sgd")
    assert len(pairs) == 5
    for one, other in pairs:
        assert (one.settings[MECHANISM], other.settings[MECHANISM]) == ("shared-noise", "dp-sgd")
        assert (one.seed, one.settings[EPSILON]) == (other.seed, other.settings[EPSILON])


def test_a_run_without_a_partner_is_compared_with_none():
    assert paired(RUNS[3:6], RUNS[:2], MECHANISM, "dp-sgd") == [(RUNS[3], RUNS[0]), (RUNS[4], RUNS[1])]


def test_values_and_differences_are_those_of_the_runs_and_a_difference_both_ways_is_not_clear():
    found = {one.label.replace("\u00a0", " "): one for one in find(NOISE, RUNS)}
    assert found["shared-noise, ε 4"].values == pytest.approx((0.4, 0.4, 0.5))
    against = {label: one.against[0] for label, one in found.items()}
    assert against["shared-noise, ε 4"].differences == pytest.approx((0.1, 0.1, 0.2))
    assert against["shared-noise, ε 1"].differences == pytest.approx((-0.1, 0.1))
    assert {label for label, one in against.items() if one.clear} == {"shared-noise, ε 4"}
    assert against["dp-sgd, ε 4"].differences == ()


def test_runs_that_are_not_done_answer_nothing():
    failed = Run("f", "noise", 1, RUNS[0].settings, (MECHANISM,), {}, {}, "failed", 0, RUNS[0].rounds)
    assert find(NOISE, [failed]) == []


def test_the_table_has_medians_ranges_and_whether_all_seeds_agree():
    shown = table(NOISE, find(NOISE, RUNS))
    cells = [list(column.cells) for column in shown.columns]
    row = {label: [column[place] for column in cells[1:]] for place, label in enumerate(cells[0])}
    assert row["shared-noise, ε\u00a04"] == ["40.0%", "40.0% to 50.0%", "3", "+10.0% (+10.0% to +20.0%)", "yes"]
    assert row["shared-noise, ε\u00a01"][-1] == "no"
    assert row["dp-sgd, ε\u00a04"] == ["30.0%", "20.0% to 40.0%", "3", "", ""]


def test_a_question_whose_runs_vary_nothing_says_so_in_the_place_of_a_figure():
    assert isinstance(NOISE.plot(RUNS[:3]), LeftOut)


def test_a_question_that_nobody_knows_is_named(tmp_path):
    result = command(tmp_path, "weather")
    assert result.exit_code == 2
    assert "no question weather" in " ".join(result.output.split())


@pytest.mark.slow
def test_questions_are_answered_from_data_of_ones_own_and_answered_again_without_a_run(tmp_path: Path):
    small = [
        *("--set", "experiment.rounds=1", "--set", "experiment.seeds=[1,2]", "--set", "task.start=fresh"),
        *("--set", 'data.source=["world"]', "--set", "data.sites=[2,3]", "--set", "data.days=2"),
    ]
    first = command(tmp_path, "sites", *small)
    assert first.exit_code == 0, first.output
    assert (tmp_path / "figures" / "question-sites.svg").read_bytes().startswith(b"<?xml")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.parquet")}
    assert len(before) == 3 * 16
    again = command(tmp_path, "sites", *small)
    assert "sites 3" in again.output
    assert {path: path.stat().st_mtime_ns for path in before} == before


def command(folder: Path, *arguments: str):
    app = Typer()
    app.command()(main)
    threads = torch.get_num_threads()
    places = ("--out", str(folder / "runs"), "--figures", str(folder / "figures"), "--workers", "1")
    result = CliRunner().invoke(app, [*arguments, *places], env={"COLUMNS": "160"})
    torch.set_num_threads(threads)
    return result
