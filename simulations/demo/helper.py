"""The helper of a demo: the second organisation's folder, and its `jaga-central helper run` process."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from aggregator.helper.records import HelperRecords
from privacy.identity.keys import write_private
from privacy.secure_sum.seeds import key_digest
from simulations import tether
from simulations.demo.sites import Site

LOG_TAIL = 8


class HelperFailed(RuntimeError):
    """The helper's process ended; quotes what it said."""


@dataclass(slots=True)
class Helper:
    """The helper's folder; its identity is in `folder / "credentials"` already."""

    folder: Path
    _process: subprocess.Popen[bytes] | None = None

    def prepare(self, broker_url: str, sites: list[Site], min_cohort: int) -> None:
        """Approve the sites, by their certificates, and write `helper.toml`."""
        config = {"broker": broker_url, "min_cohort": min_cohort}
        write_private(self.folder / "helper.toml", tomli_w.dumps(config).encode())
        records = HelperRecords(f"sqlite:///{self.folder / 'helper.db'}")
        for site in sites:
            records.approve(site.identity.party, time.time(), key_digest(site.identity.certificate))
        records.close()

    def start(self) -> None:
        """Start it; it ends with this process at the latest."""
        command = [sys.executable, "-c", "from aggregator.cli import main; main()", "--log", "json", "helper", "run"]
        with self.log.open("ab") as log:
            self._process = tether.spawn(command, cwd=self.folder, stdout=log, stderr=log)

    def check(self) -> None:
        """Whether it still runs.

        Raises:
            HelperFailed: it ended.
        """
        if self._process is not None and self._process.poll() is not None:
            tail = "\n  ".join(self.log.read_text("utf-8").splitlines()[-LOG_TAIL:])
            raise HelperFailed(f"the helper ended with status {self._process.returncode}:\n  {tail}")

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

    @property
    def log(self) -> Path:
        return self.folder / "helper.log"
