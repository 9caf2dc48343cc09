"""Folders and wrappers for `bluepy_helper_double`."""

import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

DOUBLE = Path(__file__).with_name("bluepy_helper_double.py")


@dataclass(frozen=True)
class StandInHelper:
    """A stand-in helper, ready to be started: its folder, and a kernel's list of adapters beside it."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, frames: list[dict], lives: list[list]) -> "StandInHelper":
        folder.mkdir()
        (folder / "frames.jsonl").write_text("".join(json.dumps(f) + "\n" for f in frames))
        (folder / "lives.json").write_text(json.dumps(lives))
        helper = cls(folder)
        command = shlex.join([sys.executable, "-S", str(DOUBLE), str(folder)])
        helper.executable.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        helper.executable.chmod(0o755)
        helper.plug_in("hci0")
        return helper

    @property
    def executable(self) -> Path:
        return self.folder / "bluepy-helper"

    @property
    def sysfs(self) -> Path:
        return self.folder / "bluetooth"

    @property
    def sent(self) -> int:
        """Frames that went out so far, over all starts."""
        sent = self.folder / "sent"
        return int(sent.read_text() or 0) if sent.exists() else 0

    @property
    def pids(self) -> list[int]:
        """The processes it was, in order."""
        pids = self.folder / "pids"
        return [int(pid) for pid in pids.read_text().split()] if pids.exists() else []

    def plug_in(self, adapter: str) -> None:
        (self.sysfs / adapter).mkdir(parents=True, exist_ok=True)

    def unplug(self, adapter: str) -> None:
        (self.sysfs / adapter).rmdir()


def recorded(shared_data: Path) -> list[dict]:
    """The 447 real frames."""
    lines = (shared_data / "adverts" / "dp3t_gaen_frames_sample.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def made() -> list[dict]:
    """A few frames, where real ones are not needed."""
    body = "03036ffd17166ffd" + "00" * 19
    return [{"addr": "00:11:22:33:44:55", "addr_type": 1, "rssi": -60, "ad": f"{body}{n:02x}"} for n in range(16)]


def children_left(pids: list[int]) -> list[int]:
    """Those of the processes that /proc still knows, zombies too."""
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]
