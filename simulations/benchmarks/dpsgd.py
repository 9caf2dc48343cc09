"""What differential privacy costs a step of SGD: ours beside plain SGD and the ways of Opacus, step by step in turn.

The model is the small perceptron that nodes would train (32-64-64-1 on 4,096 examples, lots of 256, one thread). Each
way draws its lots by Poisson sampling and does the same number of steps in turn with the others, so that a noisy
machine troubles all alike. What is compared is the mean of a turn, for ours draws its noise for several steps at once.
"""

from __future__ import annotations

import platform
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version

import torch
from opacus import PrivacyEngine
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader, TensorDataset

from edge.learning.dpsgd import DpSgdPlan, train
from simulations.benchmarks.table import Column, Outcome, Target

FEATURES, WIDTH, EXAMPLES, BATCH = 32, 64, 4096, 256
TURNS, STEPS = 25, 40
TARGET = 1.6
CLIP, NOISE, RATE = 1.0, 1.0, 0.1

Turn = Callable[[], None]


def run_dpsgd(turns: int = TURNS) -> Outcome:
    """Time every way, `turns` times `STEPS` steps each."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x = torch.randn(EXAMPLES, FEATURES)
    y = (x[:, 0] + 0.5 * torch.randn(EXAMPLES) > 0).float()
    ways: dict[str, Turn] = {"plain SGD": _plain(x, y), "ours": _ours(x, y)}
    for mode in ("ghost", "ew", "hooks", "functorch"):
        ways[f"Opacus, {mode}"] = _opacus(x, y, mode)
    times: dict[str, list[float]] = {name: [] for name in ways}
    try:
        for turn in ways.values():
            turn()
        for _ in range(turns):
            for name, turn in ways.items():
                begun = time.perf_counter()
                turn()
                times[name].append((time.perf_counter() - begun) / STEPS)
    finally:
        torch.set_num_threads(threads)
    medians = {name: statistics.median(found) for name, found in times.items()}
    plain = medians["plain SGD"]
    rows = [{"way": name, "us": 1e6 * median, "ratio": median / plain} for name, median in medians.items()]
    return Outcome(
        "a step of DP-SGD",
        [Column("way", "way"), Column("us", "µs a step"), Column("ratio", "x plain", ".2f")],
        rows,
        [Target("our step over a plain one", medians["ours"] / plain, TARGET, "x")],
        {
            "torch": version("torch"),
            "opacus": version("opacus"),
            "machine": platform.machine(),
            "batch": BATCH,
            "turns": turns,
        },
        [f"Medians of {turns} turns of {STEPS} steps, the ways in turn. Noise of ours is from AES-256-CTR."],
    )


def _model() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(FEATURES, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1), nn.Flatten(0)
    )


def _plain(x: Tensor, y: Tensor) -> Turn:
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    lots = _lots(x, y)

    def turn() -> None:
        for _ in range(STEPS):
            inputs, targets = next(lots)
            optimizer.zero_grad()
            torch.autograd.backward(binary_cross_entropy_with_logits(model(inputs), targets))
            optimizer.step()

    return turn


def _ours(x: Tensor, y: Tensor) -> Turn:
    model = _model()
    plan = DpSgdPlan(NOISE, CLIP, STEPS, RATE, sampling_rate=BATCH / EXAMPLES, lot_size=BATCH)

    def loss(prediction: Tensor, targets: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(prediction, targets, reduction="none")

    def turn() -> None:
        train(model, x, y, loss, plan, 1)

    return turn


def _opacus(x: Tensor, y: Tensor, mode: str) -> Turn:
    model = _model()
    criterion = nn.BCEWithLogitsLoss()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that its noise is not secure: with its secure mode it would be slower still
        made = PrivacyEngine().make_private(
            module=model,
            optimizer=torch.optim.SGD(model.parameters(), lr=RATE),
            data_loader=DataLoader(TensorDataset(x, y), batch_size=BATCH),
            noise_multiplier=NOISE,
            max_grad_norm=CLIP,
            poisson_sampling=False,
            grad_sample_mode=mode,
            criterion=criterion,
        )
    private, optimizer = made[0], made[1]
    loss = made[2] if mode == "ghost" else criterion
    lots = _lots(x, y)

    def turn() -> None:
        for _ in range(STEPS):
            inputs, targets = next(lots)
            optimizer.zero_grad()
            loss(private(inputs.requires_grad_()), targets).backward()
            optimizer.step()

    return turn


def _lots(x: Tensor, y: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Poisson samples of the examples, for ever."""
    while True:
        lot = torch.nonzero(torch.rand(len(x)) < BATCH / EXAMPLES).squeeze(1)
        yield x.index_select(0, lot), y.index_select(0, lot)
