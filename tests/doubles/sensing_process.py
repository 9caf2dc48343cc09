"""A real sensing process, started and read by a test."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.store.database import Database


class SensingProcess:
    def __init__(self, folder: Path, scanner: dict, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "edge.sensing"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PATH": os.environ["PATH"], **environment},
        )
        database = Database(folder / "node.db", bytes(32))
        settings = {"database": str(database.path), "key": database.key.reveal().hex(), "scanner": scanner}
        self._process.stdin.write(json.dumps(settings) + "\n")
        self._process.stdin.close()

    def until(self, event: str) -> dict:
        """Read events up to the first of that name."""
        for line in self._process.stdout:
            one = json.loads(line)
            if one["event"] == event:
                return one
        raise AssertionError(f"no {event} before the end")

    @property
    def peak_mb(self) -> float:
        """Most memory it ever had resident, MB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024

    def stop(self) -> dict:
        """Ask it to stop; its last event."""
        self._process.send_signal(signal.SIGTERM)
        stopped = self.until("stopped")
        assert self._process.wait(5) == 0
        return stopped

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()


@contextmanager
def sensing(folder: Path, scanner: dict, **environment: str) -> Iterator[SensingProcess]:
    process = SensingProcess(folder, scanner, **environment)
    try:
        yield process
    finally:
        process.kill()
