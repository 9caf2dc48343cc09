"""The centre's memory does not grow with the number of nodes."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from small_federation import SmallFederation

from simulations.broker import mosquitto_program

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(mosquitto_program() is None, reason="Mosquitto is not installed"),
]

PROGRAM = Path(__file__).parents[1] / "doubles" / "measured_centre.py"
ELEMENTS = 1_000_000
MODEL_BYTES = 4 * ELEMENTS
CODE_BYTES = 2_000_000
"""What is loaded in the first round and is no model: modules, tables of the cryptographic library."""
ROUNDS = 2


def add_one(message: Message) -> Message:
    moved = ArrayRecord({"w": Array(message.content["arrays"]["w"].numpy() + np.float32(1))})
    metrics = MetricRecord({"num-examples": 1})
    return Message(RecordDict({"arrays": moved, "metrics": metrics}), reply_to=message)


@pytest.mark.parametrize("encoding", ["int8", "exact"])
@pytest.mark.parametrize("nodes", [4, 12])
def test_a_streaming_round_takes_four_models_at_most(tmp_path, nodes, encoding):
    federation = SmallFederation(tmp_path)
    try:
        for node_id in range(2, nodes + 2):
            federation.node(node_id, add_one)
        settings = {
            "credentials": str(tmp_path / "leader"),
            "broker": federation.url,
            "nodes": nodes,
            "elements": ELEMENTS,
            "encoding": encoding,
            "rounds": ROUNDS,
        }
        command = [sys.executable, str(PROGRAM), json.dumps(settings)]
        measured = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=100).stdout)
    finally:
        federation.close()
    assert measured["weight"] == pytest.approx(ROUNDS, rel=1e-3)
    assert measured["peak"] <= 4 * MODEL_BYTES + CODE_BYTES, measured
