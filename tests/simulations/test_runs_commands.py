"""`jaga-sim run` as it is typed: what it says, and how it ends."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
import tomli_w
from small_runs import contents, rows
from typer.testing import CliRunner

from simulations.cli import app
from simulations.runs.folder import RunFolder

DOUBLES = Path(__file__).parents[1] / "doubles"
SMALL = {
    "experiment": {"name": "small", "rounds": 2},
    "data": {"source": "small_runs:data"},
    "task": {"start": "fresh"},
    "evaluation": {"central": False},
}
SOON_S, LONG = 150.0, 100_000
"""Seconds to wait for what comes within a few; rounds that nobody waits for."""


@pytest.fixture
def file(tmp_path):
    """Writes an experiment file, over that of a small one."""

    def write(**tables):
        both = {name: {**SMALL.get(name, {}), **tables.get(name, {})} for name in SMALL | tables}
        (tmp_path / "small.toml").write_text(tomli_w.dumps(both))
        return tmp_path / "small.toml"

    return write


@pytest.fixture
def run(tmp_path):
    """Types the command, in this process; the result has `stdout`, `stderr` and `exit_code`."""

    def typed(*words):
        environment = {"COLUMNS": "240"}
        return CliRunner(env=environment).invoke(app, ["run", *map(str, words), "--out", str(tmp_path / "runs")])

    return typed


def folders(tmp_path):
    return RunFolder.find([tmp_path / "runs"])


# --- what is done ----------------------------------------------------------------------------------------------------


def test_a_run_leaves_its_folder_and_says_where_it_ended(file, run, tmp_path):
    done = run(file(), "--workers", 1)
    assert done.exit_code == 0, done.output
    (folder,) = folders(tmp_path)
    assert folder.info.status == "done"
    digest = folder.path.name.removeprefix("small-")
    last = folder.rows("rounds")[-1]
    line = next(line for line in done.stdout.splitlines() if digest in line)
    assert f"{last['error']:.3f}" in line
    assert f"{last['epsilon']:.2f}" in line
    assert "jaga-sim report" in done.stdout


def test_what_is_set_wins_over_the_file_and_a_list_is_a_sweep(file, run, tmp_path):
    done = run(file(), "--workers", 1, "--set", "privacy.epsilon=[2, 4]", "--set", "experiment.rounds=1")
    assert done.exit_code == 0, done.output
    settings = [folder.info.settings for folder in folders(tmp_path)]
    assert sorted(one["privacy.epsilon"] for one in settings) == [2, 4]
    assert {one["experiment.rounds"] for one in settings} == {1}
    assert {tuple(folder.info.swept) for folder in folders(tmp_path)} == {("privacy.epsilon",)}
    assert "epsilon 2" in done.stdout
    assert "epsilon 4" in done.stdout


def test_what_is_there_is_not_done_twice_unless_asked_and_resume_leaves_it_as_it_is(file, run, tmp_path):
    run(file(), "--workers", 1)
    (folder,) = folders(tmp_path)
    before = contents(folder.path)
    again = run(file(), "--workers", 1)
    assert again.exit_code == 3
    assert "is there already" in again.stderr
    assert "--resume" in again.stderr
    resumed = run(file(), "--workers", 1, "--resume")
    assert resumed.exit_code == 0
    assert folder.path.name.removeprefix("small-") in resumed.stdout
    assert contents(folder.path) == before


def test_resume_does_what_is_left_of_a_sweep(file, run, tmp_path):
    run(file(experiment={"seeds": [1]}), "--workers", 1)
    done = run(file(experiment={"seeds": [1, 2]}), "--workers", 1, "--resume")
    assert done.exit_code == 0, done.output
    assert sorted(folder.info.seed for folder in folders(tmp_path)) == [1, 2]


def test_the_list_shows_each_experiment_that_comes_along_with_what_it_is(run, tmp_path):
    shown = run("--list")
    assert shown.exit_code == 0
    for name, about in (("quick", "A generated town of 20 sites"), ("epsilon", "The Lyon school under four budgets")):
        assert re.search(rf"^{name}\s+{about}", shown.stdout, re.MULTILINE)
    assert not folders(tmp_path)


# --- what cannot be done ---------------------------------------------------------------------------------------------


def test_without_an_experiment_those_that_there_are_are_named(run):
    shown = run()
    assert shown.exit_code == 3
    assert "quick" in shown.stdout
    assert "name an experiment" in shown.stderr


@pytest.mark.parametrize(
    ("tables", "words", "says"),
    [
        ({"privacy": {"epsilom": 4.0}}, (), r"small\.toml: privacy\.epsilom: extra inputs are not permitted"),
        ({"privacy": {"epsilon": -1.0}, "train": {"steps": 0}}, (), r"train\.steps: .*\(got 0\); privacy\.epsilon: "),
        ({"privcay": {"epsilon": 4.0}}, (), r"privcay: extra inputs"),
        ({"experiment": {"rounds": "ten"}}, (), r"experiment\.rounds: .*\(got 'ten'\)"),
        ({"experiment": {"seed": 1, "seeds": [1, 2]}}, (), r"say seed or seeds, not both"),
        ({"privacy": {"epsilon": []}}, (), r"privacy\.epsilon: the list is empty"),
        ({"strategy": {"name": "FedAvgg"}}, (), r"strategy\.name: .*did you mean FedAvg"),
        ({"strategy": {"name": "FedAdam", "options": {"etta": 1}}}, (), r"no option 'etta': did you mean eta"),
        ({"strategy": {"name": "FedProx", "options": {"proximal_mu": 0.1}}}, (), r"options\.proximal_mu: 0\.1 is for"),
        ({"task": {"name": "crowdng"}}, (), r"task\.name: no task is called 'crowdng' \(installed: crowding"),
        ({"task": {"start": "none.safetensors"}}, (), r"task\.start: none\.safetensors"),
        ({"data": {"source": "lyon-scool"}}, (), r"data\.source: .*lyon-school"),
        ({"data": {"source": "small_runs:nothing"}}, (), r"data\.source: small_runs:nothing cannot be used: Attrib"),
        ({}, ("--set", "privacy.epsilon"), r"--set privacy\.epsilon: write table\.key=value"),
        ({}, ("--set", "privacy.epsilom=4"), r"privacy\.epsilom: extra inputs"),
        ({}, ("--set", "rounds=4"), r"--set rounds=4: write table\.key=value"),
    ],
)  # fmt: skip
def test_a_wrong_key_or_value_is_named_and_nothing_is_written(file, run, tmp_path, tables, words, says):
    done = run(file(**tables), "--workers", 1, *words)
    assert done.exit_code == 3, done.output
    assert re.search(says, done.stderr), done.stderr
    assert "Traceback" not in done.output
    assert not (tmp_path / "runs").exists()


def test_an_experiment_that_is_not_there_is_answered_with_those_that_are(run, tmp_path):
    done = run("quik")
    assert done.exit_code == 3
    assert "quik: no such file" in done.stderr
    assert "quick" in done.stderr
    (tmp_path / "broken.toml").write_text("[experiment")
    assert "not TOML" in run(tmp_path / "broken.toml").stderr


BROKEN = """
from flwr.serverapp.strategy import FedAvg

class Broken(FedAvg):
    def aggregate_train(self, server_round, replies):
        return self.no_such_thing
"""


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.timeout(400)
def test_an_error_in_a_strategy_of_one_s_own_is_told_with_its_line(file, run, tmp_path, monkeypatch, workers):
    (tmp_path / "broken_strategy.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(tmp_path)
    two = file(strategy={"name": "broken_strategy:Broken"}, experiment={"seeds": [1, 2]})
    done = run(two, "--workers", workers)
    assert done.exit_code == 5, done.output
    assert re.search(r"run small-\w+: AttributeError: .*no_such_thing.* \(broken_strategy\.py:6 < ", done.stderr)
    assert "Traceback" not in done.output
    assert "failed" in {folder.info.status for folder in folders(tmp_path)}


def test_an_error_in_data_of_one_s_own_is_told_with_its_line(file, run, tmp_path, monkeypatch):
    (tmp_path / "broken_data.py").write_text("def school():\n    return {}['pupils']\n")
    monkeypatch.syspath_prepend(tmp_path)
    done = run(file(data={"source": "broken_data:school"}), "--workers", 1)
    assert done.exit_code == 3, done.output
    assert "data.source: broken_data:school cannot be used: KeyError: 'pupils' (broken_data.py:2 < " in done.stderr


def test_an_out_that_cannot_be_written_is_status_5(file, run, tmp_path):
    (tmp_path / "runs").write_text("a file, and no folder")
    done = run(file(), "--workers", 1)
    assert done.exit_code == 5, done.output
    assert "runs" in done.stderr
    assert "Traceback" not in done.output


# --- as a process, interrupted ---------------------------------------------------------------------------------------

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (DOUBLES.parents[1], DOUBLES)))}


def program(tmp_path, file, *words):
    return [sys.executable, "-m", "simulations.cli", "run", str(file), "--out", str(tmp_path / "runs"), *words]


def wait_for_a_run(tmp_path, process):
    """Until a run has begun: its first checkpoint is there."""
    until = time.monotonic() + SOON_S
    while not list(tmp_path.glob("runs/*/checkpoint")):
        assert process.poll() is None, "it ended before it began"
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.system
@pytest.mark.timeout(400)
def test_ctrl_c_saves_and_says_how_to_go_on_and_what_goes_on_ends_as_if_nothing_had_been(file, run, tmp_path):
    many = file(experiment={"rounds": 120}, evaluation={"every": 60}, strategy={"name": "FedAvgM"})
    command = program(tmp_path, many, "--workers", "1")
    process = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    wait_for_a_run(tmp_path, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=SOON_S)
    assert process.returncode == 130, errors
    assert "stopped, not done: 1 of 1 run(s); the same command with --resume goes on" in errors
    assert "Traceback" not in errors
    (folder,) = folders(tmp_path)
    assert folder.info.status == "stopped"
    assert 0 < folder.info.rounds_done < 120
    assert len(rows(folder.path)) == folder.info.rounds_done + 1
    assert run(many, "--workers", 1, "--resume").exit_code == 0
    assert folder.info.status == "done"
    resumed = contents(folder.path)
    folder.path.rename(tmp_path / "resumed")
    assert run(many, "--workers", 1).exit_code == 0
    assert contents(folder.path) == resumed


@pytest.mark.system
@pytest.mark.timeout(400)
def test_in_a_terminal_errors_are_drawn_by_round_and_ctrl_c_stops_all_runs_at_once(file, tmp_path):
    many = file(experiment={"rounds": LONG, "seeds": [1, 2]})
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, 120))
    process = subprocess.Popen(
        ["setsid", "--ctty", *program(tmp_path, many, "--workers", "2", "--live")],  # else Ctrl-C interrupts nobody
        env={**ENVIRONMENT, "TERM": "xterm-256color"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = Terminal(ours)
    try:
        shown.wait_for("mean held-out error by round")
        shown.wait_for("2 runs")
        for run_name in {folder.path.name for folder in folders(tmp_path)}:
            shown.wait_for(run_name[-12:])  # the chart's legend
        os.write(ours, b"\x03")
        shown.wait_for("stopped, not done: 2 of 2 run(s)")
        assert process.wait(SOON_S) == 130
    finally:
        process.kill()
        os.close(ours)
    assert "Traceback" not in shown.text
    assert {folder.info.status for folder in folders(tmp_path)} == {"stopped"}


class Terminal:
    """What a program writes to a terminal, as far as it was read, without colours and movements of the cursor."""

    def __init__(self, descriptor):
        self._descriptor, self.text = descriptor, ""

    def wait_for(self, text):
        until = time.monotonic() + SOON_S
        while text not in self.text:
            assert time.monotonic() < until, f"no {text!r} in {self.text[-2000:]}"
            if select.select([self._descriptor], [], [], 1.0)[0]:
                read = os.read(self._descriptor, 65536).decode(errors="replace")
                self.text += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", read)
