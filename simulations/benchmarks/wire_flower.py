"""Flower's own deployment, as its documentation starts it: a SuperLink, SuperNodes, and `flwr run`. Without TLS."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from simulations import tether
from simulations.benchmarks.procfs import family, resident_bytes
from simulations.benchmarks.wire_app import Diary
from simulations.benchmarks.wire_measurement import (
    WARM_UP_ROUNDS,
    Measurement,
    Point,
    RoundsWentWrong,
    loopback_of,
    seconds_of,
)
from simulations.broker import HOST, free_port

RUN_TIMEOUT_S = 1800.0
START_TIMEOUT_S = 60.0
STOP_S = 20.0
SAMPLE_S = 0.2
LOG_LINES_QUOTED = 12
PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "wirebench"
version = "1.0.0"
description = "adds one"
license = "Apache-2.0"
dependencies = ["flwr"]
[tool.hatch.build.targets.wheel]
packages = ["."]
[tool.flwr.app]
publisher = "bench"
[tool.flwr.app.components]
serverapp = "wirebench.apps:server"
clientapp = "wirebench.apps:client"
[tool.flwr.app.config]
nodes = {nodes}
params = {params}
rounds = {rounds}
diary = "{diary}"
"""
APPS = '"""The benchmark\'s apps, where a Flower app bundle looks for them."""\n\n' + (
    'from simulations.benchmarks.wire_app import client, server\n\n__all__ = ["client", "server"]\n'
)
FEDERATION = """\
[superlink]
default = "bench"

[superlink.bench]
address = "{address}"
insecure = true
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """Resident memory at one moment: of the server's processes together, and of the largest node side."""

    at_s: float
    server: int
    node: int


class FlowerDeployment:
    """A SuperLink and SuperNodes, which any number of runs can use one after the other."""

    def __init__(self, folder: Path, link: int, nodes: list[int]) -> None:
        self._folder = folder
        self._link = link
        self._nodes = nodes

    def run(self, point: Point, rounds: int) -> Measurement:
        """Rounds over all nodes of this deployment.

        Raises:
            RoundsWentWrong: quoting the end of what `flwr run` said.
        """
        app = self._folder / f"app-{point.params}"
        diary_file = app / "diary.json"
        (app / "wirebench").mkdir(parents=True)
        (app / "wirebench" / "__init__.py").write_text("", "utf-8")
        (app / "wirebench" / "apps.py").write_text(APPS, "utf-8")
        (app / "pyproject.toml").write_text(
            PYPROJECT.format(nodes=point.nodes, params=point.params, rounds=rounds + WARM_UP_ROUNDS, diary=diary_file),
            "utf-8",
        )
        log = self._folder / "run.log"
        samples: list[Sample] = []
        with log.open("wb") as out, self._sampling(samples):
            command = [_program("flwr"), "run", str(app), "bench", "--stream"]
            process = tether.spawn(command, stdout=out, stderr=out, cwd=self._folder, env=_environment(self._folder))
            _await(diary_file, process)
        if not diary_file.exists():
            raise RoundsWentWrong(f"Flower's run came to no end; the end of {log}:\n  {_end_of(log)}")
        diary = Diary.read(diary_file)
        begin = diary.marks[0].at_s
        before = [sample.server for sample in samples if sample.at_s <= begin]
        during = [sample for sample in samples if begin < sample.at_s <= diary.marks[-1].at_s]
        if not before or not during:
            raise RoundsWentWrong(f"the rounds were over before memory could be read ({len(samples)} samples)")
        return Measurement(
            system="flower",
            point=point,
            seconds=seconds_of(diary),
            loopback=loopback_of(diary),
            link=None,
            centre=max(sample.server for sample in during) - before[-1],
            broker=None,
            node=max(sample.node for sample in during),
        )

    @contextmanager
    def _sampling(self, samples: list[Sample]) -> Iterator[None]:
        """Read memory again and again: Flower starts processes for each task, and no peak outlives its process."""
        done = threading.Event()

        def sample() -> None:
            while not done.wait(SAMPLE_S):
                nodes = [sum(map(resident_bytes, family(pid))) for pid in self._nodes]
                samples.append(Sample(time.time(), sum(map(resident_bytes, family(self._link))), max(nodes)))

        thread = threading.Thread(target=sample, name="memory", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


@contextmanager
def flower_deployment(folder: Path, nodes: int) -> Iterator[FlowerDeployment]:
    """A SuperLink and `nodes` SuperNodes in `folder`; all of it ends with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    address = f"{HOST}:{port}"
    (folder / "config.toml").write_text(FEDERATION.format(address=address), "utf-8")
    environment = _environment(folder)
    with ExitStack() as running:

        def start(name: str, command: list[str]) -> subprocess.Popen[bytes]:
            with (folder / f"{name}.log").open("wb") as log:
                process = tether.spawn(command, stdout=log, stderr=log, cwd=folder, env=environment)
            running.callback(_stop, process)
            return process

        link = start(
            "superlink",
            [
                _program("flower-superlink"),
                "--insecure",
                "--disable-runtime-dependency-installation",
                "--host",
                HOST,
                "--port",
                str(port),
            ],
        )
        _await_listening(port, link, folder / "superlink.log")
        started = [
            start(
                f"supernode-{number}",
                [
                    _program("flower-supernode"),
                    "--insecure",
                    "--superlink",
                    address,
                    "--port",
                    str(free_port()),
                    "--node-config",
                    f"partition-id={number}",
                ],
            )
            for number in range(nodes)
        ]
        yield FlowerDeployment(folder, link.pid, [node.pid for node in started])


def _program(name: str) -> str:
    """A script of this environment, on the path or not.

    Raises:
        FileNotFoundError: it is not installed.
    """
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"{name} is not installed here: `pip install 'jaga[sim]'`, or leave Flower out")
    return found


def _environment(folder: Path) -> dict[str, str]:
    """This process's own, with Flower's home in `folder` and its telemetry off."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**os.environ, "PATH": path, "FLWR_HOME": str(folder), "FLWR_TELEMETRY_ENABLED": "0"}


def _await(file: Path, process: subprocess.Popen[bytes]) -> None:
    """Until `file` is there, or the process that was to bring it about has failed."""
    deadline = time.monotonic() + RUN_TIMEOUT_S
    while not file.exists() and time.monotonic() < deadline:
        try:
            if process.wait(SAMPLE_S):
                return
        except subprocess.TimeoutExpired:
            continue
    _stop(process)


def _await_listening(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection((HOST, port), SAMPLE_S).close()
        except OSError:
            with suppress(subprocess.TimeoutExpired):  # a pause that a SuperLink which gives up cuts short
                process.wait(SAMPLE_S)
        else:
            return
    raise RoundsWentWrong(f"Flower's SuperLink does not listen on port {port}; the end of {log}:\n  {_end_of(log)}")


def _end_of(log: Path) -> str:
    return "\n  ".join(log.read_text("utf-8", "replace").splitlines()[-LOG_LINES_QUOTED:])


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
