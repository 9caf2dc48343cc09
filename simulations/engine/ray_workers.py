"""Workers on a Ray cluster: an actor each, and the examples once on every machine, in memory that its actors share.

What an actor trains it trains as a process of this machine would, so the same seed gives the same bytes. The cluster is
somebody's who has started it (`ray start --head`): whether Ray reports its use was decided there; here it is off.
"""

from __future__ import annotations

import logging
import os
import platform
import socket
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from types import ModuleType
from typing import Any

import torch

from edge.learning.tasks.task import Task
from privacy.logs import configure_process
from simulations.engine.bench import Bench, Reduced_co, Round
from simulations.engine.cohort import CohortExamples
from simulations.engine.workers import Lot, WorkerDied

START_S, LISTENS_S = 120.0, 5.0
MUST_AGREE = ("jaga", "torch", "numpy")


class BadCluster(RuntimeError):
    """There is no Ray cluster, or it cannot train what we can; the message says what to do."""


@dataclass(frozen=True, slots=True)
class RayCluster:
    """Workers of one thread each on a cluster that runs already.

    Attributes:
        address: HOST:PORT of its head; `auto` finds the one that runs here, or that RAY_ADDRESS names.
        workers: None: as many as the cluster has processors.
        restarts: how many times a worker that died is started again, and its lot done again.
    """

    address: str = "auto"
    workers: int | None = None
    restarts: int = 3

    def __post_init__(self) -> None:
        if (self.workers is not None and self.workers < 1) or self.restarts < 0:
            raise ValueError(f"workers ({self.workers}) must be at least 1, restarts ({self.restarts}) at least 0")

    def start(self, task: Task, examples: CohortExamples) -> RayWorkers:
        """Connect, and start the actors; takes seconds.

        Raises:
            BadCluster: see there.
        """
        ray = _ray()
        connected = not ray.is_initialized()
        if connected:
            _connect(ray, self.address)
        try:
            return RayWorkers(ray, task, examples, self._count(ray), self.restarts, connected)
        except BaseException:
            if connected:
                ray.shutdown()
            raise

    def _count(self, ray: ModuleType) -> int:
        processors = int(ray.cluster_resources().get("CPU", 0))
        count = processors if self.workers is None else self.workers
        if not 1 <= count <= processors:
            raise BadCluster(f"{max(count, 1)} workers need as many processors, the cluster has {processors}")
        return count


class RayWorkers:
    """See `RayCluster`.

    Args:
        connected: whether the connection is this object's own, to be ended with it.

    Raises:
        BadCluster: the actors cannot be started, or have other versions than this process.
    """

    def __init__(
        self, ray: ModuleType, task: Task, examples: CohortExamples, count: int, restarts: int, connected: bool
    ) -> None:
        self.count = count
        self._ray, self._connected = ray, connected
        actor = ray.remote(Actor).options(
            num_cpus=1, scheduling_strategy="SPREAD", max_restarts=restarts, max_task_retries=restarts
        )
        parts = [ray.put(part.numpy()) for part in (examples.x, examples.y, examples.present)]
        self._federation = ray.put(Federation(task, parts))
        self._actors = [actor.remote() for _ in range(count)]
        try:
            found = ray.get([actor.ready.remote(self._federation) for actor in self._actors], timeout=START_S)
        except ray.exceptions.GetTimeoutError as why:
            self._end()
            raise BadCluster(f"{count} workers did not start in {START_S:g} s: is the cluster busy?") from why
        except ray.exceptions.RayError as why:
            self._end()
            raise BadCluster(f"a worker does not start: is Jaga installed on all machines? {why}") from why
        for theirs in found:
            if theirs != (ours := versions()):
                self._end()
                raise BadCluster(f"a machine of the cluster has {_told(theirs)}, this one {_told(ours)}: make them one")

    def run(self, asked: Round[Reduced_co], lots: Sequence[Lot]) -> Iterator[list[Reduced_co]]:
        """See `workers.Workers`."""
        shared = self._ray.put(asked)
        waiting, free = deque(enumerate(lots)), deque(self._actors)
        busy, done = dict[Any, tuple[int, Any]](), dict[int, list[Reduced_co]]()
        try:
            for number in range(len(lots)):
                while number not in done:
                    while waiting and free:
                        place, lot = waiting.popleft()
                        actor = free.popleft()
                        busy[actor.lot.remote(self._federation, shared, lot)] = place, actor
                    (ready, *_), _ = self._ray.wait(list(busy))
                    place, actor = busy.pop(ready)
                    free.append(actor)
                    done[place] = self._result(ready)
                yield done.pop(number)
        finally:  # the next round does not wait behind this one
            if busy:
                self._ray.wait(list(busy), num_returns=len(busy))

    def close(self) -> None:
        """See `workers.Workers`; the cluster stays as it was."""
        self._end()
        if self._connected:
            self._ray.shutdown()

    def _result(self, reference: Any) -> Any:
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as why:
            if isinstance(why.cause, self._ray.exceptions.RayError):
                what = str(why.cause).splitlines()[0]
                raise BadCluster(f"a worker cannot load its work: is your code on all machines? {what}") from why
            raise why.cause from why
        except self._ray.exceptions.RayError as why:
            raise WorkerDied(f"a worker of the cluster died, and could not be started again: {why}") from why

    def _end(self) -> None:
        for actor in self._actors:
            self._ray.kill(actor)


@dataclass(frozen=True, slots=True)
class Federation:
    """What every worker has.

    Attributes:
        examples: references to x, y and present of `CohortExamples`.
    """

    task: Task
    examples: list[Any]


class Actor:
    """One worker, on a machine of the cluster.

    It is given the federation with every lot, for one that was started again has none yet; Ray keeps no argument of
    an actor's start.
    """

    def __init__(self) -> None:
        configure_process(messages=True)
        torch.set_num_threads(1)
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nor is it written to
        self._bench: Bench | None = None

    def ready(self, federation: Federation) -> dict[str, str]:
        """The versions of this machine, once it could train."""
        self._at(federation)
        return versions()

    def lot(self, federation: Federation, asked: Round[Reduced_co], lot: Lot) -> list[Reduced_co]:
        return self._at(federation).lot(asked, lot)

    def _at(self, federation: Federation) -> Bench:
        if self._bench is None:
            parts = _ray().get(federation.examples)
            self._bench = Bench(federation.task, CohortExamples(*map(torch.from_numpy, parts)))
        return self._bench


def versions() -> dict[str, str]:
    """Of what the numbers depend on, in this process."""
    return {"python": platform.python_version()} | {name: version(name) for name in MUST_AGREE}


def _told(found: dict[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in found.items())


def _ray() -> ModuleType:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray  # noqa: PLC0415  (heavy, and not everybody has it)
    except ImportError as why:
        raise BadCluster("Ray is not installed: `pip install 'jaga[cluster]'` brings the version that fits") from why
    module: ModuleType = ray
    return module


def _connect(ray: ModuleType, address: str) -> None:
    at = os.environ.get("RAY_ADDRESS") or address if address == "auto" else address
    if at == "auto":
        at = _found(ray)
    _listens(at)
    try:
        ray.init(address=at, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError) as why:
        raise BadCluster(f"the Ray cluster at {at!r} does not take us: {why}") from why


def _found(ray: ModuleType) -> str:
    """Where `ray.init` would look; what is there may have ended since."""
    try:
        found: str = ray._private.services.canonicalize_bootstrap_address("auto")
    except ConnectionError as why:
        raise BadCluster(
            "no Ray cluster runs here: start one with `ray start --head`, or give the HOST:PORT of its head"
        ) from why
    return found


def _listens(address: str) -> None:
    """Ray itself would ask for five minutes, and then end this process."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise BadCluster(f"the address of a Ray cluster is HOST:PORT or auto, got {address!r}")
    try:
        socket.create_connection((host, int(port)), LISTENS_S).close()
    except (OSError, OverflowError) as why:
        raise BadCluster(f"no Ray cluster at {address!r} ({why}): start one with `ray start --head`") from why
