"""`jaga-central run` as a process of its own, over a real broker: what it tells, and how it ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from learning_double import after, first_model, halfway_app
from small_federation import SOON_S, SmallFederation

from aggregator.events import EventKind, RoundEvent
from aggregator.records.database import Records
from aggregator.records.models import Models
from aggregator.records.tensors import to_safetensors
from simulations.broker import mosquitto_program

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(mosquitto_program() is None, reason="Mosquitto is not installed"),
]

MEANS = {21: 2.0, 22: 6.0}
EXAMPLES = {21: 1, 22: 1}
RUN = """
[run]
name = "first"
task = "halfway"
model = "zeros"
rounds = 2

[cohort]
min_nodes = 2
deadline_s = {deadline_s}

[evaluate]

[wire]
encoding = "exact"
"""


@pytest.fixture
def federation(tmp_path) -> Iterator[SmallFederation]:
    federation = SmallFederation(tmp_path)
    (tmp_path / "central.toml").write_text(f'broker = "{federation.url}"\n')
    (tmp_path / "run.toml").write_text(RUN.format(deadline_s=60))
    records = Records(f"sqlite:///{tmp_path / 'central.db'}")
    Models(records).add("zeros", to_safetensors(first_model()), {})
    for node_id in MEANS:
        federation.enrolled(records, node_id, f"site {node_id}")
    records.close()
    yield federation
    federation.close()


def start(folder: Path, *words: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "aggregator.cli", *words]
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def finish(process: subprocess.Popen, status: int) -> tuple[str, str]:
    output, errors = process.communicate(timeout=90)
    assert process.returncode == status, errors
    assert "Traceback" not in errors
    return output, errors


def next_event(process: subprocess.Popen, kind: EventKind) -> RoundEvent:
    for line in process.stdout:
        event = RoundEvent.from_json(line)
        if event.kind is kind:
            return event
    raise AssertionError(f"no {kind}: {process.stderr.read()}")


def with_nodes(federation: SmallFederation) -> None:
    for node_id, mean in MEANS.items():
        federation.node(node_id, halfway_app(), config={"mean": mean, "examples": EXAMPLES[node_id]})


def test_a_run_tells_its_rounds_as_json_and_its_records_tell_them_again(federation):
    with_nodes(federation)
    output, _ = finish(start(federation.folder, "run", "run.toml", "--events", "json"), 0)
    events = [RoundEvent.from_json(line) for line in output.splitlines()]
    finished = [event for event in events if event.kind is EventKind.ROUND_FINISHED]
    assert [event.round for event in finished] == [1, 2]
    assert finished[1].details["train"]["rounds-seen"] == 2
    assert {part["node"] for part in finished[1].details["nodes"]["train"]} == {"site 21", "site 22"}
    assert events[-1].kind is EventKind.RUN_FINISHED
    records = Records(f"sqlite:///{federation.folder / 'central.db'}")
    weights = Models(records).arrays(events[-1].details["model"])["w"].numpy()
    assert weights.flat[0] == pytest.approx(after(2, MEANS, EXAMPLES))
    shown, _ = finish(start(federation.folder, "runs", "show", "first"), 0)
    assert "site 21" in shown
    assert "finished" in finish(start(federation.folder, "runs", "list"), 0)[0]


def test_a_run_with_the_mean_of_its_tail_ends_with_that_of_both_rounds(federation):
    with_nodes(federation)
    tail = '[strategy]\nname = "TailAverage"\noptions = { tail = 2 }\n'
    (federation.folder / "run.toml").write_text(RUN.format(deadline_s=60) + tail)
    output, _ = finish(start(federation.folder, "run", "run.toml", "--events", "json"), 0)
    model = RoundEvent.from_json(output.splitlines()[-1]).details["model"]
    weights = Models(Records(f"sqlite:///{federation.folder / 'central.db'}")).arrays(model)["w"].numpy()
    both = [after(number, MEANS, EXAMPLES) for number in (1, 2)]
    assert weights.flat[0] == pytest.approx(sum(both) / 2) != both[1]


def test_a_run_that_is_finished_is_not_done_again(federation):
    with_nodes(federation)
    finish(start(federation.folder, "run", "run.toml"), 0)
    finish(start(federation.folder, "run", "run.toml"), 0)
    assert {node.trained for node in federation.nodes.values()} == {2}


def test_too_few_nodes_by_the_deadline_is_status_5_and_names_them(federation):
    (federation.folder / "run.toml").write_text(RUN.format(deadline_s=1.5))
    federation.node(21, halfway_app(), config={"mean": 1.0, "examples": 1})
    _, errors = finish(start(federation.folder, "run", "run.toml"), 5)
    assert "missing: site 22" in errors
    assert "waits for site 22" in errors
    assert "stopped" in finish(start(federation.folder, "runs", "list"), 0)[0]


def test_a_second_coordinator_is_status_6_and_names_the_first(federation):
    first = start(federation.folder, "run", "run.toml", "--events", "json")
    next_event(first, EventKind.WAITING)
    _, errors = finish(start(federation.folder, "run", "run.toml"), 6)
    assert f"-{first.pid}-" in errors
    first.kill()
    first.wait(SOON_S)


def test_a_broker_that_is_not_there_is_status_4(federation):
    federation.broker.stop()
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import aggregator.commands.runs as r; r.CONNECT_S = 1.0; from aggregator.cli import main; main()",
            "run",
            "run.toml",
        ],
        cwd=federation.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    _, errors = finish(process, 4)
    assert "is it running, and is the address right?" in errors


def test_a_run_that_is_interrupted_says_that_it_can_go_on_and_does(federation):
    first = start(federation.folder, "run", "run.toml", "--events", "json")
    next_event(first, EventKind.WAITING)
    first.send_signal(signal.SIGTERM)
    _, errors = finish(first, 130)
    assert "start it again to go on" in errors
    with_nodes(federation)
    output, _ = finish(start(federation.folder, "run", "run.toml", "--events", "json"), 0)
    assert json.loads(output.splitlines()[0])["details"]["resumed"] is True


def test_a_node_that_is_revoked_takes_part_no_more(federation):
    with_nodes(federation)
    (federation.folder / "run.toml").write_text(RUN.format(deadline_s=2))
    finish(start(federation.folder, "nodes", "revoke", "site 22"), 0)
    _, errors = finish(start(federation.folder, "run", "run.toml"), 5)
    assert "there after 2 s: site 21" in errors


def test_the_centre_imports_neither_torch_nor_what_nodes_keep_records_with(federation):
    with_nodes(federation)
    program = (
        "import sys\n"
        "from aggregator.cli import app\n"
        "try:\n    app()\nexcept SystemExit as end:\n"
        "    bad = {'torch', 'opacus', 'sqlcipher3', 'edge'} & set(sys.modules)\n"
        "    sys.exit(end.code or (f'imported {bad}' if bad else 0))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, "run", "run.toml"],
        cwd=federation.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    finish(process, 0)
