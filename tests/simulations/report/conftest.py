"""Real run folders with small, made-up tables: what a report reads."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulations.report.report import Written, write_report
from simulations.runs.folder import RunFolder, RunInfo

SITES = ("class 1A", "class 1B", "class 2A", "class 2B", "class 3A", "teachers")
BASELINE, CENTRAL = 7.2, 5.1


def rounds_of(epsilon: float, seed: int, rounds: int, lag: float) -> list[dict[str, Any]]:
    """Errors that fall with rounds and with epsilon; invented, and equal for equal arguments."""
    rng = np.random.default_rng([seed, int(epsilon * 100)])
    floor = CENTRAL + 0.1 + lag + 0.8 / epsilon**0.6
    errors = [6.9, *(floor + (6.9 - floor) * np.exp(-at / 3) + rng.normal(0, 0.06) for at in range(1, rounds + 1))]
    return [
        {
            "round": at,
            "asked": 6 if at else None,
            "answered": 6 if at else None,
            "error": error,
            "baseline_error": BASELINE,
            "start_error": errors[0],
            "central_error": CENTRAL,
            "epsilon": epsilon * (at / rounds) ** 0.5,
            "up_bytes": 6 * 84 if at else None,
            "down_bytes": 6 * 2052 if at else None,
        }
        for at, error in enumerate(errors)
    ]


def sites_of(error: float, seed: int, at: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng([seed, 7])
    return [
        {
            "round": at,
            "site": site,
            "examples": 34,
            "error": BASELINE * scale * error / BASELINE * rng.normal(1, 0.12),
            "baseline_error": BASELINE * scale,
        }
        for site, scale in zip(SITES, (0.4, 0.7, 0.9, 1.1, 1.3, 1.6), strict=True)
    ]


def curves_of(peak: float) -> list[dict[str, Any]]:
    return [
        {"curve": name, "day": float(day), "mean": mean, "low": 0.7 * mean, "high": 1.4 * mean}
        for name, height, top in (("no measures", 2.1 * peak, 26), ("classes alternate", peak, 34))
        for day in range(60)
        for mean in [height * float(np.exp(-(((day - top) / 9) ** 2)))]
    ]


class Writer:
    """Writes runs through the writer that `jaga-sim run` uses."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def __call__(
        self,
        epsilon: float = 4.0,
        seed: int = 1,
        strategy: str = "FedAvg",
        *,
        mechanism: str = "dp-sgd",
        rounds: int = 6,
        rounds_done: int | None = None,
        name: str = "lyon",
        status: str = "done",
        note: str = "",
        curves: bool = False,
        data: str = "lyon-school",
        task: str = "crowding",
        more: dict[str, Any] | None = None,
    ) -> RunFolder:
        """`more`: further settings, which the sweep varies, too."""
        others = "".join(f"-{value}" for value in (more or {}).values())
        folder = RunFolder(self.home / f"{name}-{strategy}-{mechanism}-{epsilon:g}{others}-{seed}")
        settings = {
            "experiment.name": name,
            "experiment.rounds": rounds,
            "experiment.seed": seed,
            "data.source": data,
            "task.start": "public",
            "strategy.name": strategy,
            "privacy.mechanism": mechanism,
            "privacy.epsilon": epsilon,
            "privacy.delta": 1e-6,
            "privacy.unit": "record",
            **(more or {}),
        }
        done = rounds if rounds_done is None else rounds_done
        table = rounds_of(epsilon, seed, rounds, 0.0 if strategy == "FedAvg" else 0.15)[: done + 1]
        swept = ["privacy.epsilon", "strategy.name", "privacy.mechanism", *(more or {})]
        learnt = {"name": data, "sites": 6, "examples": 204, "held_out": 204, "task": task}
        versions = {"jaga": "0.1.0", "torch": "2.13.0"}
        folder.write_settings({"experiment": {"name": name, "seed": seed}})
        folder.write_table("rounds", table)
        folder.write_table("sites", sites_of(table[-1]["error"], seed, done))
        if curves:
            folder.write_table("curves", curves_of(100 + epsilon))
        folder.write_table("timings", [{"round": at, "seconds": 0.1 * at} for at in range(1, done + 1)])
        folder.write_info(RunInfo(name, settings, swept, seed, versions, learnt, status, done, note))
        return folder


@pytest.fixture
def make_run(tmp_path: Path) -> Writer:
    """Into `runs`, beside nothing else."""
    return Writer(tmp_path / "runs")


@pytest.fixture
def bare_run(make_run: Writer) -> RunFolder:
    """A run that has just begun: it gives no figure, so a report on it takes no time."""
    folder = make_run(status="running", rounds_done=0)
    folder.write_table("rounds", [{"round": 0}])
    folder.write_table("sites", [])
    return folder


@pytest.fixture(scope="session")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three budgets and none, two strategies, two seeds, curves of one run, and a run that stopped. Read only."""
    make = Writer(tmp_path_factory.mktemp("sweep") / "runs")
    for strategy in ("FedAvg", "FedMedian"):
        for epsilon in (1.0, 4.0, 8.0):
            for seed in (1, 2):
                make(epsilon, seed, strategy, curves=epsilon == 4)
    make(8.0, 1, mechanism="none")
    make(4.0, 3, "FedMedian", status="stopped", note="the <power> went", rounds_done=3)
    return make.home


@pytest.fixture(scope="session")
def written(sweep: Path, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """A report on all of them. Read only."""
    return write_report([sweep], tmp_path_factory.mktemp("report"))
