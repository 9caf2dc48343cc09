"""Our wire, for real: Mosquitto with mutual TLS, a centre process, and `jaga-node run` once for each node."""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from privacy.boundary.messages import Encoding
from privacy.identity.authority import CertificateAuthority
from privacy.identity.certificates import Role, node_party
from simulations import tether
from simulations.benchmarks.procfs import family, peak_resident_bytes
from simulations.benchmarks.wire_app import Diary
from simulations.benchmarks.wire_centre import CentreSettings
from simulations.benchmarks.wire_measurement import (
    WARM_UP_ROUNDS,
    Measurement,
    Point,
    RoundsWentWrong,
    loopback_of,
    seconds_of,
)
from simulations.broker import Broker, BrokerCredentials, start_broker

FIRST_NODE = 2  # 1 is the server side, in Flower
STOP_S = 30.0
ANSWERED = "task answered"
LOG_LINES_QUOTED = 12
NODE_TOML = """\
name = "bench"
[link]
broker = "{broker}"
[learning]
app = "simulations.benchmarks.wire_app:client"
linger_s = 600.0
[privacy]
allow_unaccounted_apps = true
secure_sum = "allowed"
"""


@dataclass(frozen=True, slots=True)
class BenchNode:
    """One `jaga-node run` and its folder."""

    folder: Path
    process: subprocess.Popen[bytes]

    def peak_bytes(self) -> int:
        """The most that its processes had resident, each at its own worst moment."""
        return sum(peak_resident_bytes(pid) for pid in family(self.process.pid))

    def link_bytes(self, rounds: int) -> int:
        """The most that its link carried from one answer to the next, over the last `rounds` of them."""
        totals = link_totals((self.folder / "log").read_text("utf-8"))
        if len(totals) < rounds + 1:
            raise RoundsWentWrong(f"a node answered {len(totals)} tasks, not {rounds + 1}; see {self.folder / 'log'}")
        return max(after - before for before, after in pairwise(totals[-rounds - 1 :]))


def link_totals(log: str) -> list[int]:
    """Bytes that a node's link had carried, both ways, at each of its answers.

    An answer is noted before it is sent, so from one to the next lies one answer, and the next task with its model.
    """
    lines = (json.loads(line) for line in log.splitlines() if line.startswith("{"))
    return [line["sent"] + line["received"] for line in lines if line.get("event") == ANSWERED]


class Deployment:
    """A broker and nodes, which any number of runs can use one after the other."""

    def __init__(self, folder: Path, broker: Broker, nodes: list[BenchNode]) -> None:
        self._folder = folder
        self._broker = broker
        self._nodes = nodes

    def run(self, point: Point, encoding: Encoding, rounds: int) -> Measurement:
        """Rounds over all nodes of this deployment, from a centre process of their own.

        Raises:
            RoundsWentWrong: quoting the end of the centre's log.
        """
        diary_file = self._folder / f"{encoding.value}-{point.params}.json"
        settings = CentreSettings(
            credentials=str(self._folder / "leader"),
            broker=self._broker.url,
            run_id=secrets.randbits(63),
            encoding=encoding.value,
            nodes=len(self._nodes),
            params=point.params,
            rounds=rounds + WARM_UP_ROUNDS,
            diary=str(diary_file),
        )
        file = settings.write(self._folder / "centre.json")
        log = self._folder / "centre.log"
        with log.open("wb") as out:
            command = [sys.executable, "-m", "simulations.benchmarks.wire_centre", str(file)]
            status = tether.spawn(command, stdout=out, stderr=out).wait()
        if status:
            said = "\n  ".join(log.read_text("utf-8", "replace").splitlines()[-LOG_LINES_QUOTED:])
            raise RoundsWentWrong(f"the centre ended with status {status}; the end of {log}:\n  {said}")
        diary = Diary.read(diary_file)
        return Measurement(
            system=encoding.value,
            point=point,
            seconds=seconds_of(diary),
            loopback=loopback_of(diary),
            link=max(node.link_bytes(rounds) for node in self._nodes),
            centre=diary.marks[-1].peak - diary.marks[0].resident,
            broker=peak_resident_bytes(self._broker.pid),
            node=max(node.peak_bytes() for node in self._nodes),
        )


@contextmanager
def deployment(folder: Path, nodes: int) -> Iterator[Deployment]:
    """A broker and `nodes` started nodes in `folder`; all of it ends with the block."""
    authority = CertificateAuthority.create("bench")
    authority.enrol("broker", Role.BROKER, ["127.0.0.1"]).save(folder / "broker")
    authority.enrol("leader", Role.LEADER).save(folder / "leader")
    (folder / "leader" / "revocations.pem").write_bytes(authority.revocation_list().pem)
    with ExitStack() as running:
        credentials = BrokerCredentials.in_folder(folder / "broker")
        broker = running.enter_context(start_broker("mosquitto", folder / "mosquitto", credentials))
        started = []
        for number in range(FIRST_NODE, FIRST_NODE + nodes):
            node = _start_node(authority, folder / node_party(number), number, broker.url)
            running.callback(_stop, node.process)
            started.append(node)
        running.callback(_ask_to_stop, started)
        yield Deployment(folder, broker, started)


def _start_node(authority: CertificateAuthority, folder: Path, number: int, url: str) -> BenchNode:
    authority.enrol(node_party(number), Role.NODE).save(folder / "credentials")
    (folder / "store.key").write_text(secrets.token_hex(32), "ascii")
    (folder / "node.toml").write_text(NODE_TOML.format(broker=url), "utf-8")
    command = [sys.executable, "-c", "from edge.cli import main; main()", "--log", "json", "run", "node.toml"]
    with (folder / "log").open("wb") as log:
        return BenchNode(folder, tether.spawn(command, cwd=folder, stdout=log, stderr=log))


def _ask_to_stop(nodes: list[BenchNode]) -> None:
    """All at once, so that they end side by side."""
    for node in nodes:
        node.process.send_signal(signal.SIGTERM)


def _stop(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
