"""The centre of a demo: a folder with records and a model, and a `jaga-central run` process that is followed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tomli_w
from flwr.app import ArrayRecord

from aggregator.events import RoundEvent
from aggregator.records.database import Records
from aggregator.records.history import History, RoundSummary
from aggregator.records.models import Models
from aggregator.records.nodes import Nodes
from edge.learning.dpsgd import DpSgdPlan
from edge.learning.tasks.task import Task
from privacy.identity.keys import write_private
from simulations import tether
from simulations.demo.sites import Site
from simulations.handover import StartModel, train_table
from simulations.world.pretraining import State

RUN = "demo"
LOG_TAIL = 8


class CentreFailed(RuntimeError):
    """The centre's process ended badly; quotes what it said."""


@dataclass(frozen=True, slots=True)
class CentreRun:
    """What the centre asks of the nodes.

    Attributes:
        min_cohort: of the secure sum; None without one.
        sum_bound: largest change of one parameter that is coded.
    """

    task: Task
    plan: DpSgdPlan
    rounds: int
    deadline_s: float
    min_cohort: int | None
    sum_bound: float


@dataclass(frozen=True, slots=True)
class Centre:
    """The centre's folder; its identity is in `folder / "leader"` already."""

    folder: Path

    @property
    def revocations(self) -> Path:
        """The file with the list of revoked certificates that the run publishes: nodes do not train without one."""
        return self.folder / "revocations.pem"

    def prepare(self, broker_url: str, sites: list[Site], start: State, asked: CentreRun) -> None:
        """Enrol the nodes, register the first model, and write `central.toml` and the run file."""
        write_private(self.folder / "central.toml", tomli_w.dumps({"broker": broker_url}).encode())
        records = self._records()
        try:
            for site in sites:
                Nodes(records).enrol(site.zone, site.identity.certificate)
            model = StartModel.of(asked.task, start)
            Models(records).add(model.card["name"], model.data, dict(model.card))
        finally:
            records.close()
        run: dict[str, dict[str, object]] = {
            "run": {
                "name": RUN,
                "task": asked.task.name,
                "model": model.card["name"],
                "rounds": asked.rounds,
                "keep_models": "all",
            },
            "cohort": {"min_nodes": len(sites), "deadline_s": asked.deadline_s},
            "train": {**train_table(asked.plan)},
        }
        if asked.min_cohort is not None:
            run["secure_sum"] = {"bound": asked.sum_bound, "min_cohort": asked.min_cohort}
        (self.folder / "run.toml").write_text(tomli_w.dumps(run), "utf-8")

    def run(self) -> Iterator[RoundEvent]:
        """Run `jaga-central run`, and tell its events as they come.

        Raises:
            CentreFailed: it ended with another status than 0.
        """
        command = [sys.executable, "-c", "from aggregator.cli import main; main()", "run", "run.toml"]
        log = self.folder / "central.log"
        with log.open("ab") as errors:
            process = tether.spawn(
                [*command, "--events", "json"], cwd=self.folder, stdout=subprocess.PIPE, stderr=errors
            )
        try:
            for line in process.stdout or ():
                yield RoundEvent.from_json(line.decode())
            status = process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        if status != 0:
            tail = "\n  ".join(log.read_text("utf-8").splitlines()[-LOG_TAIL:])
            raise CentreFailed(f"the centre ended with status {status}:\n  {tail}")

    def history(self) -> list[tuple[RoundSummary, State]]:
        """Every round with the model that came out of it."""
        records = self._records()
        try:
            history, models = History(records), Models(records)
            rounds = history.rounds(history.run(RUN).run_id)
            return [(entry, _state(models.arrays(entry.result))) for entry in rounds if entry.result is not None]
        finally:
            records.close()

    def _records(self) -> Records:
        return Records(f"sqlite:///{self.folder / 'central.db'}")


def _state(arrays: ArrayRecord) -> State:
    return {name: array.numpy() for name, array in arrays.items()}
