"""`jaga-sim bench engine`: our engine beside others, on one task, turn by turn in one run.

The task: every node has 64 examples of 32 features, and trains a perceptron 32-64-64-1 for one epoch in batches of 16.
After their first round all that do the same must have the same model, or nothing is compared.
"""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import binary_cross_entropy_with_logits

from edge.learning.dpsgd import DpSgdPlan
from edge.learning.plain import PlainPlan
from edge.learning.tasks.task import Examples
from simulations.benchmarks.table import Column, Outcome, Target
from simulations.engine.cohort import CohortExamples
from simulations.engine.engine import Engine
from simulations.engine.local import LocalTraining, PlainTraining, PrivateTraining

FEATURES, WIDTH, EXAMPLES, BATCH, RATE = 32, 64, 64, 16, 0.1
PRIVATE = DpSgdPlan(1.0, 1.0, EXAMPLES // BATCH, RATE, sampling_rate=BATCH / EXAMPLES, lot_size=BATCH)
OVER_PFL, OVER_FLOWER, OVER_OPACUS = 40, 200, 20
MOST_MEMORY = 2e9
MOST_SLOPE = 1.2
"""Seconds a node at the most nodes, over those at a tenth of them."""
SAME = 1e-4

Arrays = dict[str, NDArray[np.float32]]
Round = Callable[[int], float]
"""Does so many rounds, and says how many seconds they took."""


class PeerFailed(RuntimeError):
    """A peer did not start, or did not compute what ours does."""


class Perceptron(nn.Module):
    """[n, 32] -> [n]."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(FEATURES, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x).squeeze(-1)
        return logits


@dataclass(frozen=True, slots=True)
class BenchTask:
    """The task that everybody is given."""

    name: str = "benchmark"
    unit: str = "example"
    unit_examples: int = 1
    error_bound: float = 1.0

    @property
    def sources(self) -> Mapping[str, tuple[str, ...]]:
        return {}

    def model(self) -> nn.Module:
        return Perceptron()

    def loss(self, prediction: Tensor, y: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(prediction, y, reduction="none")

    def read(self, connection: object, after: float, until: float) -> object:
        raise NotImplementedError("the benchmark's examples are made, not read")

    def examples(self, records: int) -> Examples:
        """Those of node number `records`."""
        x = torch.randn(EXAMPLES, FEATURES, generator=torch.Generator().manual_seed(records))
        return Examples(x, (x[:, 0] > 0).float(), tuple(range(EXAMPLES)))

    def forecast(self, prediction: Tensor) -> Tensor:
        return prediction.sigmoid()

    def error(self, forecast: Tensor, y: Tensor) -> Tensor:
        return (forecast - y).abs()

    def baseline(self, x: Tensor) -> Tensor:
        return torch.full((len(x),), 0.5)


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What is measured.

    Attributes:
        nodes: of the comparison.
        turns: of each way, in turn with the others.
        most_nodes: of the largest round of ours.
        peers: Python of an environment with pfl and Flower's simulation; None: without them.
        workers: of our engine.
    """

    nodes: int = 100
    turns: int = 5
    most_nodes: int = 10_000
    peers: Path | None = None
    workers: int = 2
    opacus_nodes: int = 20

    def __post_init__(self) -> None:
        if min(self.nodes, self.turns, self.workers, self.opacus_nodes) < 1 or self.most_nodes < 10:
            raise ValueError("a benchmark needs at least 1 node, turn and worker, and 10 nodes for the largest round")


@dataclass(slots=True)
class Way:
    """One way to train a cohort.

    Attributes:
        rounds: how many of a turn, so that a turn of each takes about as long.
        nodes: of one round.
        seconds: of one round, each turn.
    """

    name: str
    run: Round
    rounds: int
    nodes: int
    seconds: list[float] = field(default_factory=list)

    def turn(self) -> None:
        self.seconds.append(self.run(self.rounds) / self.rounds)

    @property
    def rate(self) -> float:
        """Nodes a second, of the median turn."""
        return self.nodes / statistics.median(self.seconds)

    @property
    def range(self) -> str:
        """Nodes a second, of the slowest and the quickest turn."""
        return f"{self.nodes / max(self.seconds):,.0f} to {self.nodes / min(self.seconds):,.0f}"


def run_engine(settings: EngineSettings, folder: Path, say: Callable[[str], None]) -> Outcome:
    """Measure everything.

    Raises:
        PeerFailed: see there.
    """
    task, threads = BenchTask(), torch.get_num_threads()
    torch.manual_seed(0)
    start = {name: value.numpy().copy() for name, value in task.model().state_dict().items()}
    cohort = CohortExamples.of([task.examples(node) for node in range(settings.nodes)])
    np.savez(folder / "start.npz", **dict[str, Any](start))
    with ExitStack() as stack:
        engine = stack.enter_context(Engine(task, cohort, workers=settings.workers))
        plain, private = PlainTraining(PlainPlan(1, BATCH, RATE, shuffled=False)), PrivateTraining(PRIVATE)
        after = engine.mean(start, plain, (0,))
        ways = [
            Way("Jaga", partial(_ours, engine, start, plain), 200, settings.nodes),
            Way("Jaga, DP-SGD", partial(_ours, engine, start, private), 50, settings.nodes),
            Way("torch.func.vmap", partial(_vmapped, start, cohort), 50, settings.nodes),
            Way(
                "loop over Opacus, DP-SGD",
                partial(_opacus, start, cohort, settings.opacus_nodes),
                5,
                settings.opacus_nodes,
            ),
        ]
        _same("torch.func.vmap", _vmap_round(start, cohort), after)
        for name, module, rounds in (("pfl", "pfl_peer", 3), ("Flower simulation", "flower_peer", 1)):
            if settings.peers is not None:
                say(f"starting {name}")
                peer = stack.enter_context(_peer(settings.peers, module, settings.nodes, folder))
                _same(name, _read(folder / f"{module}.npz"), after)
                ways.append(Way(name, peer, rounds, settings.nodes))
        for number in range(settings.turns + 1):
            say("warming up" if number == 0 else f"turn {number} of {settings.turns}")
            for way in ways:
                way.turn()
    for way in ways:
        del way.seconds[0]
    torch.set_num_threads(threads)
    say(f"{settings.most_nodes} nodes")
    large = [_large(nodes, settings.workers) for nodes in (settings.most_nodes // 10, settings.most_nodes)]
    return _outcome(settings, {way.name: way for way in ways}, large)


def _outcome(settings: EngineSettings, ways: Mapping[str, Way], large: list[dict[str, float]]) -> Outcome:
    ours, private = ways["Jaga"], ways["Jaga, DP-SGD"]
    rows: list[dict[str, object]] = [
        {
            "way": way.name,
            "nodes": way.nodes,
            "rate": way.rate,
            "range": way.range,
            "times": ours.rate / way.rate,
            "memory": None,
            "seconds": way.seconds,
        }
        for way in ways.values()
    ]
    rows += [
        {
            "way": "Jaga",
            "nodes": one["nodes"],
            "rate": one["nodes"] / one["seconds"],
            "range": None,
            "times": None,
            "memory": one["memory"],
        }
        for one in large
    ]
    opacus = ways["loop over Opacus, DP-SGD"]
    targets = [
        Target(
            f"ms a node under DP-SGD, 1/{OVER_OPACUS} of a loop over Opacus",
            1e3 / private.rate,
            1e3 / opacus.rate / OVER_OPACUS,
            "ms",
        ),
        Target(
            f"memory of a round of {settings.most_nodes:,} nodes", large[1]["memory"] / 1e6, MOST_MEMORY / 1e6, "MB"
        ),
        Target(
            f"seconds a node at {settings.most_nodes:,} nodes, over those at a tenth of them",
            large[1]["seconds"] / large[1]["nodes"] / (large[0]["seconds"] / large[0]["nodes"]),
            MOST_SLOPE,
            "x",
        ),
    ]
    for name, times in (("pfl", OVER_PFL), ("Flower simulation", OVER_FLOWER)):
        if name in ways:
            targets.append(
                Target(f"ms a node, 1/{times} of {name}'s", 1e3 / ours.rate, 1e3 / ways[name].rate / times, "ms")
            )
    notes = [
        f"Medians of {settings.turns} turns, the ways in turn. All that do the same had the same model after a round."
    ]
    if settings.peers is None:
        notes.append("Without pfl and Flower's simulation: `make peers` installs them, --peers names their Python.")
    return Outcome(
        "a cohort trained",
        [
            Column("way", "way"),
            Column("nodes", "nodes"),
            Column("rate", "nodes a second"),
            Column("range", "turns"),
            Column("times", "Jaga is x", ",.1f"),
            Column("memory", "MB", ",.0f", 1e6),
        ],
        rows,
        targets,
        {
            "torch": version("torch"),
            "opacus": version("opacus"),
            "machine": platform.machine(),
            "workers": settings.workers,
        },
        notes,
    )


def _ours(engine: Engine, start: Arrays, training: LocalTraining, rounds: int) -> float:
    begun, state = time.perf_counter(), start
    for number in range(rounds):
        state = engine.mean(state, training, (number,))
    return time.perf_counter() - begun


def _vmapped(start: Arrays, cohort: CohortExamples, rounds: int) -> float:
    begun, state = time.perf_counter(), start
    for _ in range(rounds):
        state = _vmap_round(state, cohort)
    return time.perf_counter() - begun


def _vmap_round(start: Arrays, cohort: CohortExamples) -> Arrays:
    """As one would write it with torch.func, on both cores."""
    model, task = Perceptron(), BenchTask()

    def loss(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return task.loss(functional_call(model, parameters, (x,)), y).mean()

    gradients = vmap(grad(loss))
    state = {name: torch.from_numpy(value).repeat(len(cohort), *[1] * value.ndim) for name, value in start.items()}
    for begun in range(0, EXAMPLES, BATCH):
        batch = slice(begun, begun + BATCH)
        moved = gradients(state, cohort.x[:, batch], cohort.y[:, batch])
        state = {name: value - RATE * moved[name] for name, value in state.items()}
    return {name: value.mean(0).numpy() for name, value in state.items()}


def _opacus(start: Arrays, cohort: CohortExamples, nodes: int, rounds: int) -> float:
    """A loop over nodes, each with Opacus' quickest way for small models; made once and not anew for each node."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model, task = Perceptron(), BenchTask()
    private = GradSampleModule(model)
    optimizer = DPOptimizer(
        torch.optim.SGD(private.parameters(), lr=RATE),
        noise_multiplier=PRIVATE.noise_multiplier,
        max_grad_norm=PRIVATE.clip_norm,
        expected_batch_size=BATCH,
    )
    state = {name: torch.from_numpy(value) for name, value in start.items()}
    begun = time.perf_counter()
    for _ in range(rounds):
        for node in range(nodes):
            model.load_state_dict(state)
            for _ in range(PRIVATE.steps):
                lot = torch.nonzero(torch.rand(EXAMPLES) < PRIVATE.sampling_rate).squeeze(1)
                optimizer.zero_grad()
                x = cohort.x[node].index_select(0, lot).requires_grad_()
                torch.autograd.backward(task.loss(private(x), cohort.y[node].index_select(0, lot)).mean())
                optimizer.step()
    seconds = time.perf_counter() - begun
    torch.set_num_threads(threads)
    return seconds


@contextmanager
def _peer(python: Path, module: str, nodes: int, folder: Path) -> Iterator[Round]:
    """A peer's process; see `simulations.benchmarks.peers`."""
    script, log = Path(__file__).parent / "peers" / f"{module}.py", folder / f"{module}.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [str(python), str(script), str(nodes), str(folder / "start.npz"), str(folder / f"{module}.npz")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        raise PeerFailed(f"{module} has no pipes")

    def answer() -> str:
        line = stdout.readline().strip()
        if not line:
            raise PeerFailed(f"{module} ended; its last words: {log.read_text('utf-8', 'replace')[-500:].strip()}")
        return line

    def run(rounds: int) -> float:
        stdin.write(f"{rounds}\n")
        stdin.flush()
        return float(answer())

    try:
        if (first := answer()) != "ready":
            raise PeerFailed(f"{module} said {first!r} and not that it is ready")
        yield run
    finally:
        stdin.close()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _read(path: Path) -> Arrays:
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _same(name: str, found: Arrays, ours: Arrays) -> None:
    apart = max(float(np.abs(found[key] - ours[key]).max()) for key in ours)
    if not apart < SAME:
        raise PeerFailed(f"after one round {name} has another model than ours: {apart:.2g} apart, at most {SAME:g}")


def _large(nodes: int, workers: int) -> dict[str, float]:
    """One large round of ours in a process of its own: seconds, and peak memory of the whole process, bytes."""
    code = f"from simulations.benchmarks.engine import large_round; large_round({nodes}, {workers})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    seconds, memory = map(float, done.stdout.split())
    return {"nodes": nodes, "seconds": seconds, "memory": memory}


def _peak(workers: int) -> int:
    """Bytes: this process', one of the workers, and, once they have ended, the largest other's for each of them."""
    own, other = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return 1024 * (own + other * (workers - 1))


def large_round(nodes: int, workers: int) -> None:
    """Print the seconds of a round, the quickest of three, and the processes' peak memory in bytes."""
    task, times = BenchTask(), []
    start = {name: value.numpy().copy() for name, value in task.model().state_dict().items()}
    x = torch.randn(nodes, EXAMPLES, FEATURES, generator=torch.Generator().manual_seed(0))
    cohort = CohortExamples(x, (x[:, :, 0] > 0).float(), torch.ones(nodes, EXAMPLES, dtype=torch.bool))
    with Engine(task, cohort, workers=workers) as engine:
        for _ in range(4):
            times.append(_ours(engine, start, PlainTraining(PlainPlan(1, BATCH, RATE)), 1))
    print(min(times[1:]), _peak(workers))  # noqa: T201  (read by the parent)
