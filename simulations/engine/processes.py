"""Workers on this machine: this process, and others that are told by pipe which pieces to train."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

import torch
import torch.multiprocessing  # registers how tensors go to other processes through shared memory

from edge.learning.tasks.task import Task
from privacy.logs import configure_process
from simulations.engine.bench import Bench, Reduced_co, Round
from simulations.engine.cohort import CohortExamples
from simulations.engine.workers import Lot, WorkerDied

GOODBYE_S = 5.0


@dataclass(frozen=True, slots=True)
class Processes:
    """So many workers of one thread each, the calling process among them.

    Attributes:
        count: 1 starts no process.
    """

    count: int = 2

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"workers ({self.count}) must be at least 1")

    def start(self, task: Task, examples: CohortExamples) -> LocalWorkers:
        return LocalWorkers(task, examples, self.count)


class LocalWorkers:
    """See `Processes`.

    Not an executor of the standard library: its queues and threads cost milliseconds a round, as a hundred nodes do.
    For the same reason this process trains as well: it has no message to wait for.
    """

    def __init__(self, task: Task, examples: CohortExamples, count: int) -> None:
        self.count = count
        self._bench = Bench(task, examples)
        self._others = [_Other.start(task, examples) for _ in range(count - 1)]

    def run(self, asked: Round[Reduced_co], lots: Sequence[Lot]) -> Iterator[list[Reduced_co]]:
        """See `workers.Workers`."""
        waiting, done = deque(range(len(lots))), dict[int, list[Reduced_co]]()
        try:
            for other in self._others[: len(lots) - 1]:
                other.begin(asked)
            for number in range(len(lots)):
                while number not in done:
                    self._hand_out(waiting, lots)
                    if waiting:
                        mine = waiting.popleft()
                        done[mine] = self._train(asked, lots[mine])
                        finished = [other for other in self._others if other.has_answered()]
                    else:
                        finished = [other for other in self._others if number in other.given]
                    for other in finished:
                        theirs, result = other.answer()
                        done[theirs] = result
                yield done.pop(number)
        finally:  # the next round must not be given this one's results
            for other in self._others:
                other.drop()

    def close(self) -> None:
        """See `workers.Workers`."""
        for other in self._others:
            other.close()

    def _hand_out(self, waiting: deque[int], lots: Sequence[Lot]) -> None:
        """A lot to each that has none; a second one, so that none waits for this process, while there are plenty."""
        for in_hand, left in ((0, 0), (1, self.count)):
            for other in self._others:
                if len(other.given) == in_hand and len(waiting) > left:
                    number = waiting.popleft()
                    other.ask(number, lots[number])

    def _train(self, asked: Round[Reduced_co], lot: Lot) -> list[Reduced_co]:
        with one_thread():
            return self._bench.lot(asked, lot)


@dataclass(slots=True)
class _Other:
    """Another process.

    Attributes:
        given: numbers of the lots that it was given and has not answered, in their order.
    """

    process: SpawnProcess
    end: Connection
    given: deque[int] = field(default_factory=deque)

    @classmethod
    def start(cls, task: Task, examples: CohortExamples) -> _Other:
        context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
        here, there = context.Pipe()
        process = context.Process(target=_serve, args=(there, task, examples), daemon=True)
        process.start()
        there.close()
        return cls(process, here)

    def begin(self, asked: Round[Any]) -> None:
        self._send(asked)

    def ask(self, number: int, lot: Lot) -> None:
        self._send(lot)
        self.given.append(number)

    def has_answered(self) -> bool:
        return bool(self.given) and self.end.poll()

    def answer(self) -> tuple[int, Any]:
        """The number of the oldest lot, and what came of it; waits for it."""
        try:
            good, result = self.end.recv()
        except (EOFError, OSError) as why:
            self.given.clear()
            raise _died() from why
        number = self.given.popleft()
        if not good:
            raise result
        return number, result

    def drop(self) -> None:
        """Let it finish what it was given, and forget that."""
        while self.given:
            try:
                self.answer()
            except Exception:  # noqa: S112  (the first error is on its way already)
                continue

    def close(self) -> None:
        self.end.close()
        self.process.join(GOODBYE_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()

    def _send(self, message: object) -> None:
        try:
            self.end.send(message)
        except OSError as why:
            raise _died() from why


def _died() -> WorkerDied:
    return WorkerDied("a worker of the engine died: perhaps there was not memory enough")


def _serve(end: Connection, task: Task, examples: CohortExamples) -> None:
    """Trains lots until the other end closes; a `Round` says what is done with those after it."""
    configure_process(messages=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers itself
    torch.set_num_threads(1)
    bench = Bench(task, examples)
    asked: Round[Any] | None = None
    while True:
        try:
            message = end.recv()
        except (EOFError, OSError):
            return
        if isinstance(message, Round):
            asked = message
            continue
        try:
            if asked is None:
                raise RuntimeError("a lot came before its round")
            result: Any = bench.lot(asked, message)
        except Exception as why:
            end.send((False, why))
        else:
            end.send((True, result))


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch computes on one thread inside: the others' cores are for the others."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
