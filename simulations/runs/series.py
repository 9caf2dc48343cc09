"""All runs of a sweep: one after the other with the engine's workers, or several at once with one process each."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing.synchronize import Event
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

from privacy.logs import configure_process
from simulations.engine.ray_workers import BadCluster
from simulations.engine.workers import Backend
from simulations.runs.experiment import BadExperiment
from simulations.runs.fault import told_with_place
from simulations.runs.folder import RunFolder, Status
from simulations.runs.runner import Order, carry_out
from simulations.runs.simulation import Row
from simulations.runs.sweep import Sweep

GOODBYE_S = 5.0


class Told(NamedTuple):
    """A run's news: a row of its `rounds`."""

    run: str
    row: Row


class RunFailed(RuntimeError):
    """A run ended with an error; the message names its folder."""


def orders(sweep: Sweep, out: Path, *, resume: bool) -> list[Order]:
    """What is left to do.

    Raises:
        BadExperiment: a run's folder is there already, and nobody said that it is to go on.
    """
    left = []
    for experiment in sweep.experiments:
        folder = RunFolder(out / experiment.run_name)
        there = (folder.path / "run.json").exists()
        if there and not resume:
            raise BadExperiment(
                f"{folder.path} is there already, from a run with the same settings: --resume goes on with what is "
                "not done, another --out begins anew"
            )
        if not there or folder.info.status != "done":
            left.append(Order(experiment, folder, sweep.swept))
    return sorted(left, key=_scene)


def _scene(order: Order) -> str:
    """Runs that share their data come one after the other, so that those are made once."""
    return order.experiment.data.model_dump_json() + order.experiment.task.model_dump_json()


def carry_out_all(todo: Sequence[Order], workers: int | Backend, tell: Callable[[Told], None]) -> dict[Path, Status]:
    """Do all; Ctrl-C lets the round in hand finish, saves, and ends.

    Args:
        workers: processes. With fewer runs than that, they share one run's nodes. Of another backend, always so.

    Raises:
        BadExperiment: settings that cannot be used.
        BadCluster: there is no such Ray cluster.
        RunFailed: a run raised something else.
    """
    with _interruptible() as stop:
        if not isinstance(workers, int) or len(todo) < workers or workers == 1:
            found: dict[Path, Status] = {}
            for order in todo:
                if stop.is_set():
                    break
                with _named(order.folder.path.name):
                    whole = replace(order, workers=workers)
                    found[order.folder.path] = carry_out(whole, partial(_told, tell, order), stop.is_set)
            return found
        return _at_once(todo, workers, tell, stop)


def _told(tell: Callable[[Told], None], order: Order, row: Row) -> None:
    tell(Told(order.folder.path.name, row))


def _at_once(todo: Sequence[Order], workers: int, tell: Callable[[Told], None], stop: Event) -> dict[Path, Status]:
    context = multiprocessing.get_context("spawn")
    news = context.Queue()
    teller = Thread(target=_pass_on, args=(news, tell), daemon=True)
    teller.start()
    found: dict[Path, Status] = {}
    try:
        with ProcessPoolExecutor(workers, context, _enter, (news, stop)) as pool:
            running = {pool.submit(_carry_out, order): order for order in todo}
            try:
                for done in as_completed(running):
                    order = running[done]
                    with _named(order.folder.path.name):
                        status = _result(done)
                        if status is not None:
                            found[order.folder.path] = status
            except BaseException:
                stop.set()  # the others save what they have
                pool.shutdown(cancel_futures=True)
                raise
    finally:
        news.put(None)
        teller.join(GOODBYE_S)  # a worker that was killed while it told something may hold the queue for ever
        news.cancel_join_thread()
    return found


_NEWS: Any = None
_STOP: Event | None = None


def _enter(news: Any, stop: Event) -> None:
    global _NEWS, _STOP
    configure_process(messages=True)
    _NEWS, _STOP = news, stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent tells its workers to stop
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that is killed tells nobody: its workers would go on, and write into folders that others resume."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)


def _carry_out(order: Order) -> Status | None:
    """In a worker; None where everything was stopped before this run began."""
    stop, name = _STOP, order.folder.path.name
    if stop is None or stop.is_set():
        return None
    with _named(name):  # here, where the traceback is
        return carry_out(order, lambda row: _NEWS.put(Told(name, row)), stop.is_set)


def _pass_on(news: Any, tell: Callable[[Told], None]) -> None:
    while (told := news.get()) is not None:
        tell(told)


def _result(done: Future[Status | None]) -> Status | None:
    try:
        return done.result()
    except BrokenProcessPool as why:
        raise RunFailed("a worker died: perhaps there was not memory enough; --resume goes on") from why


@contextmanager
def _named(run: str) -> Iterator[None]:
    try:
        yield
    except (BadExperiment, BadCluster, RunFailed, KeyboardInterrupt):
        raise
    except Exception as why:
        raise RunFailed(f"run {run}: {told_with_place(why)}") from why


@contextmanager
def _interruptible() -> Iterator[Event]:
    """An event that the first Ctrl-C sets; the second one ends the program as ever."""
    stop = multiprocessing.get_context("spawn").Event()

    def interrupted(_number: int, _frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
