"""The tutorial's task and strategy on real nodes and at a real centre: the files of the simulation, by their names."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from waiting import wait_until

from aggregator.events import EventKind, RoundEvent
from aggregator.records.database import Records
from aggregator.records.models import Models
from aggregator.records.nodes import Nodes
from edge.learning.dpsgd import DpSgdPlan
from edge.learning.tasks.task import load_task
from privacy.identity.authority import Identity
from simulations.handover import StartModel, run_file
from simulations.world.generator import World, write_contacts

pytestmark = [pytest.mark.system, pytest.mark.timeout(500)]

ROOT = Path(__file__).parents[2]
ROUNDS, NODES = 2, {11: "class-1", 12: "class-2"}
SCANNER = """
[learning]
speed = 20
[privacy.allow]
tasks = ["crowded"]
[sensing.scanner]
kind = "replay"
contacts = "../contacts.csv"
zone = "{zone}"
"""


def centre(folder, *packages):
    """`jaga-central run`, where these folders of packages are installed; the process that is done."""
    command = [sys.executable, "-c", "from aggregator.cli import main; main()", "run", "run.toml", "--events", "json"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, *packages))), "COLUMNS": "500"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_the_same_two_files_learn_on_real_nodes_and_at_a_real_centre(federation, own_package, monkeypatch):
    monkeypatch.syspath_prepend(own_package)
    folder, task = federation.folder, load_task("crowded")
    federation.start_broker()
    write_contacts(World(1, 2, 2).contacts(), folder / "contacts.csv")
    nodes = [
        federation.node(SCANNER.format(zone=zone), node_id=number).start(own_package) for number, zone in NODES.items()
    ]
    start = {name: values.numpy() for name, values in task.model().state_dict().items()}
    model = StartModel.of(task, start)
    records = Records(f"sqlite:///{folder / 'central.db'}")
    Models(records).add(model.card["name"], model.data, model.card)
    for node, zone in zip(nodes, NODES.values(), strict=True):
        Nodes(records).enrol(zone, Identity.load(node.folder / "credentials").certificate)
    (folder / "central.toml").write_text(f'broker = "{federation.broker.url}"\n')
    plan = DpSgdPlan.within(8.0, 1e-6, ROUNDS, task.unit_examples)
    text = run_file(task, plan, name="own", model=model.card["name"], rounds=ROUNDS, min_nodes=len(NODES))
    own = {"strategy": {"name": "bounded", "streaming": False}}
    (folder / "run.toml").write_text(tomli_w.dumps(tomllib.loads(text) | own))

    without = centre(folder)
    assert without.returncode == 3
    assert "no strategy is called 'bounded'" in without.stderr

    for node in nodes:
        wait_until(lambda node=node: "sensing done" in node.log(), timeout_s=150)
    done = centre(folder, own_package)
    assert done.returncode == 0, done.stderr
    events = [RoundEvent.from_json(line) for line in done.stdout.splitlines()]
    finished = [event for event in events if event.kind is EventKind.ROUND_FINISHED]
    assert len(finished) == ROUNDS
    for event in finished:
        assert {part["node"] for part in event.details["nodes"]["train"]} == set(NODES.values())
        assert {part["state"] for part in event.details["nodes"]["train"]} == {"answered"}
    learnt = Models(records).arrays(events[-1].details["model"])
    records.close()
    assert set(learnt) == set(start)
    moved = [float(np.abs(learnt[name].numpy() - values).max()) for name, values in start.items()]
    assert min(moved) > 0
    assert max(moved) < 10
    for node in nodes:
        assert [("train crowded" in entry.purpose) for entry in node.ledger().entries()] == [True] * ROUNDS
