"""The nodes of a demo: a folder, a certificate and a `jaga-node run` process each, as on a Pi."""

from __future__ import annotations

import secrets
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import msgspec
import tomli_w

from edge.store.database import Database
from privacy.accounting.ledger import Budget, PrivacyLedger
from privacy.boundary.audit import AuditLog, AuditRow
from privacy.identity.authority import CertificateAuthority, Identity
from privacy.identity.certificates import Role, node_party
from privacy.identity.keys import write_private
from simulations import tether
from simulations.demo.scene import Scene

DAY_S = 86400.0
LOG_TAIL = 8
SPEED = 10.0
"""Of this machine over a Raspberry Pi Zero 2 W; every answer of a node waits for a time that follows from it."""


class NodeFailed(RuntimeError):
    """A node's process ended, or did not come as far as it should; quotes its log."""


@dataclass(frozen=True, slots=True)
class NodeBooks:
    """A node's own books, read after it has stopped.

    Attributes:
        epsilon: of its worst record, at the budget's delta.
        sightings: rows in its store.
        audit: everything that left it.
    """

    epsilon: float
    sightings: int
    audit: tuple[AuditRow, ...]


@dataclass(slots=True)
class Site:
    """One node of the demo.

    Attributes:
        zone: the class or ward it listens to.
        sensed: set when its replay is done and stored.
    """

    zone: str
    folder: Path
    identity: Identity
    budget: Budget
    sensed: threading.Event = field(default_factory=threading.Event)
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start `jaga-node run`; it ends with this process at the latest."""
        command = [sys.executable, "-c", "from edge.cli import main; main()", "--log", "json", "run", "node.toml"]
        self._process = tether.spawn(command, cwd=self.folder, stderr=subprocess.PIPE)
        threading.Thread(target=self._follow, args=(self._process.stderr,), daemon=True).start()

    def check(self) -> None:
        """Whether it still runs.

        Raises:
            NodeFailed: it ended.
        """
        if self._process is not None and self._process.poll() is not None:
            tail = "\n  ".join(self.log.read_text("utf-8").splitlines()[-LOG_TAIL:])
            raise NodeFailed(f"node {self.zone} ended with status {self._process.returncode}:\n  {tail}")

    def stop(self, timeout_s: float = 20.0) -> None:
        """Stop it as systemd would."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def books(self) -> NodeBooks:
        """Open the encrypted store with the node's key, verify both hash chains, and read what they say.

        Raises:
            BrokenChain: somebody tampered with them.
        """
        key = bytes.fromhex((self.folder / "store.key").read_text("ascii"))
        connection = Database(self.folder / "node.db", key).connect()
        try:
            ledger, audit = PrivacyLedger(connection, self.budget), AuditLog(connection)
            ledger.verify()
            audit.verify()
            sightings = int(connection.execute("SELECT count(*) FROM sightings").fetchone()[0])
            return NodeBooks(ledger.epsilon(), sightings, tuple(audit.rows()))
        finally:
            connection.close()

    @property
    def log(self) -> Path:
        return self.folder / "node.log"

    def _follow(self, lines: IO[bytes]) -> None:
        with self.log.open("ab") as log:
            for line in lines:
                log.write(line)
                log.flush()
                try:
                    event = msgspec.json.decode(line, type=dict[str, object]).get("event")
                except msgspec.DecodeError:
                    continue
                if event == "sensing done":
                    self.sensed.set()


def provision(
    folder: Path,
    scene: Scene,
    authority: CertificateAuthority,
    broker_url: str,
    budget: Budget,
    seed: int,
    helper_key: str | None,
) -> Sequence[Site]:
    """Make a folder for each node: keys, certificate, store key, configuration.

    Args:
        helper_key: nodes answer under a secure sum with this helper alone; None for a federation without one.
    """
    sums = {"secure_sum": "allowed"} if helper_key is None else {"secure_sum": "required", "helper_key": helper_key}
    sites = []
    for zone in scene.federation.zones:
        identity = authority.enrol(node_party(secrets.randbits(63) + 1), Role.NODE)
        home = folder / identity.party
        identity.save(home / "credentials")
        write_private(home / "store.key", secrets.token_hex(32).encode())
        scanner = {
            "kind": "replay",
            "contacts": str(scene.contacts.resolve()),
            "zone": zone,
            "seed": seed,
            "until_s": float(scene.federation.training_until_s),
        }
        if scene.metadata is not None:
            scanner["metadata"] = str(scene.metadata.resolve())
        config = {
            "name": zone,
            "link": {"broker": broker_url},
            "sensing": {"scanner": scanner},
            "learning": {"speed": SPEED},
            "privacy": {
                "epsilon": budget.epsilon,
                "delta": budget.delta,
                "record_lifetime_days": budget.record_lifetime_s / DAY_S,
                **sums,
            },
        }
        write_private(home / "node.toml", tomli_w.dumps(config).encode())
        sites.append(Site(zone, home, identity, budget))
    return sites
