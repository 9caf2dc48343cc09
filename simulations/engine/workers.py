"""Processes that train pieces: each has the task and all examples, and is told by pipe which pieces to do."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, cast

import torch
import torch.multiprocessing  # registers how tensors go to other processes through shared memory

from edge.learning.tasks.task import Task
from simulations.engine.bench import Bench, Round
from simulations.engine.cohort import CohortExamples

GOODBYE_S = 5.0


class WorkerDied(RuntimeError):
    """A worker process ended in the middle of its work."""


class Workers:
    """A pool of such processes.

    Not an executor of the standard library: its queues and threads cost milliseconds a round, as a hundred nodes do.

    Args:
        task: picklable.
    """

    def __init__(self, task: Task, examples: CohortExamples, count: int) -> None:
        context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
        self._ends: list[Connection] = []
        self._processes = []
        for _ in range(count):
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there, task, examples), daemon=True)
            process.start()
            there.close()
            self._ends.append(here)
            self._processes.append(process)

    def run(self, asked: Round[Any], lots: Sequence[Any]) -> Iterator[Any]:
        """What came of each lot, in their order; a worker that is done gets the next one.

        Raises:
            WorkerDied: one of them did.
            Exception: what a lot raised in its worker.
        """
        waiting, busy, done = deque(enumerate(lots)), dict[Connection, int](), dict[int, Any]()
        for end in self._ends:
            if waiting:
                self._send(end, asked, waiting, busy)
        for number in range(len(lots)):
            while number not in done:
                for end in _ready(busy):
                    finished = busy.pop(end)
                    try:
                        good, result = end.recv()
                    except (EOFError, ConnectionError) as why:
                        raise WorkerDied("a worker of the engine died: perhaps there was not memory enough") from why
                    if not good:
                        self._drain(busy)
                        raise result
                    done[finished] = result
                    if waiting:
                        self._send(end, asked, waiting, busy)
            yield done.pop(number)

    def close(self) -> None:
        """End the processes."""
        for end in self._ends:
            end.close()
        for process in self._processes:
            process.join(GOODBYE_S)
            if process.is_alive():
                process.kill()
                process.join()

    def _send(
        self, end: Connection, asked: Round[Any], waiting: deque[tuple[int, Any]], busy: dict[Connection, int]
    ) -> None:
        number, lot = waiting.popleft()
        busy[end] = number
        end.send((asked, lot))

    def _drain(self, busy: dict[Connection, int]) -> None:
        """Let the others finish, so that the next round is not given this one's results."""
        for end in busy:
            end.recv()


def _ready(busy: Iterable[Connection]) -> list[Connection]:
    """Those with an answer; waits for the first."""
    return cast("list[Connection]", wait(list(busy)))


def _serve(end: Connection, task: Task, examples: CohortExamples) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers itself
    torch.set_num_threads(1)
    bench = Bench(task, examples)
    while True:
        try:
            asked, lot = end.recv()
        except (EOFError, ConnectionError):
            return
        try:
            result: Any = bench.lot(asked, lot)
        except Exception as why:
            end.send((False, why))
        else:
            end.send((True, result))
