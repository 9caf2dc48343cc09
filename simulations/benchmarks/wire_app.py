"""The app that both wires carry: a client that adds one to the model, and a server that averages and keeps time.

Neither half knows which wire it runs on. The server notes each round in a file, so that what else was measured at the
same time can be laid beside it.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg, Strategy

from simulations.benchmarks.procfs import forget_peak, loopback_bytes, peak_resident_bytes, resident_bytes

WARM_UP_PARAMS = 10
ROUND_TIMEOUT_S = 600.0

client = ClientApp()
server = ServerApp()


@client.train()
def train(message: Message, _context: Context) -> Message:
    (weights,) = message.content.array_records["arrays"].to_numpy_ndarrays()
    arrays = ArrayRecord({"w": Array(weights + np.float32(1.0))})
    return Message(RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": 1})}), reply_to=message)


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment between two rounds, as the server saw it.

    Attributes:
        at_s: seconds since the epoch.
        clock_s: seconds on a clock that nobody sets.
        loopback: bytes over the loopback interface so far.
        resident, peak: memory of the server's process, bytes.
    """

    at_s: float
    clock_s: float
    loopback: int
    resident: int
    peak: int

    @classmethod
    def now(cls) -> Mark:
        return cls(time.time(), time.perf_counter(), loopback_bytes(), resident_bytes(), peak_resident_bytes())


@dataclass(frozen=True, slots=True)
class Diary:
    """What the server noted.

    Attributes:
        marks: before the first round of the full model, and after each one.
        right: whether the model came out as it must, every element equal to the number of rounds.
    """

    marks: list[Mark]
    right: bool

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)), "utf-8")

    @classmethod
    def read(cls, path: Path) -> Diary:
        noted = json.loads(path.read_text("utf-8"))
        return cls([Mark(**mark) for mark in noted["marks"]], noted["right"])


def averaging(nodes: int) -> FedAvg:
    """FedAvg over all nodes, which trains and does not evaluate."""
    return FedAvg(fraction_train=1.0, fraction_evaluate=0.0, min_train_nodes=nodes, min_available_nodes=nodes)


def run_rounds(grid: Grid, strategy: Callable[[], Strategy], params: int, rounds: int) -> Diary:
    """One round of a tiny model, so that everything is loaded and started, then `rounds` rounds of the full one.

    Memory is counted from when the model is there and no round has begun.
    """
    warm_up = ArrayRecord({"w": Array(np.zeros(WARM_UP_PARAMS, np.float32))})
    strategy().start(grid=grid, initial_arrays=warm_up, num_rounds=1, timeout=ROUND_TIMEOUT_S)
    marks: list[Mark] = []

    def note(server_round: int, _arrays: ArrayRecord) -> MetricRecord | None:
        if not server_round:
            gc.collect()
            forget_peak()
        marks.append(Mark.now())
        return None

    first = ArrayRecord({"w": Array(np.zeros(params, np.float32))})
    result = strategy().start(
        grid=grid, initial_arrays=first, num_rounds=rounds, timeout=ROUND_TIMEOUT_S, evaluate_fn=note
    )
    (last,) = result.arrays.to_numpy_ndarrays()
    right = last.shape == (params,) and bool(np.allclose(last, rounds, rtol=1e-4))
    return Diary(marks, right)


@server.main()
def main(grid: Grid, context: Context) -> None:
    """As Flower's deployment runs it; ours has its own start, which makes the same call."""
    nodes, params, rounds = (int(context.run_config[name]) for name in ("nodes", "params", "rounds"))
    run_rounds(grid, lambda: averaging(nodes), params, rounds).write(Path(str(context.run_config["diary"])))
