"""bluepy-helper, the program inside bluepy 1.3.0 that scans, and its line protocol.

bluepy's own Python is left aside: it polls the pipe but reads through a buffer, so lines that are in the buffer already
are waited for until the next one comes, and the tail of a scan is lost. It also decodes device addresses, leaves the
program behind after an error, and waits for ever where it stalls.

Fields of a line are joined by 0x1E; `$` marks a symbol, `'` a string, `h` a hexadecimal number, `b` bytes
(bluepy-helper.c). A frame heard is

    rsp=$scan addr=b... type=h1 rssi=h3C flag=h0 d=b02011A...

where `rssi` is 256 minus the unsigned byte of the report (passive scan) or minus the signed one in 32 bits (active).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import importlib.util
import os
import re
import subprocess
from collections import deque
from pathlib import Path
from typing import IO, cast

from edge.sensing.scanners.errors import HelperDied, HelperMissing

PIPE_BYTES = 1 << 20
"""Asked of the kernel for the pipe: some 7,000 frames, while this process is busy."""

GATHER_S = 0.02
"""Lines are read this long, seconds, after the first came: one wake-up for many frames."""

QUIT_S = 1.0
LONGEST_LINE = 4096

# The address is matched and not captured: nothing in this process ever holds one as a value.
FRAME = re.compile(
    rb"rsp=\$scan\x1eaddr=b[0-9A-F]{12}\x1etype=h[0-9A-F]+\x1erssi=h([0-9A-F]{1,8})\x1eflag=h[0-9A-F]+"
    rb"(?:\x1ed=b((?:[0-9A-F]{2})*))?"
)


def frame_of(line: bytes) -> tuple[bytes, int] | None:
    """Advertising data and RSSI (dBm) of a line that says that a frame was heard; None for every other line."""
    match = FRAME.fullmatch(line)
    if match is None:
        return None
    rssi_dbm = ((128 - int(match[1], 16)) & 0xFF) - 128
    return bytes.fromhex((match[2] or b"").decode()), rssi_dbm


def fields_of(line: bytes) -> dict[str, str] | None:
    """Fields of an answer, without their type marks; None where the line is none."""
    fields: dict[str, str] = {}
    for field in line.decode("ascii", "replace").split("\x1e"):
        tag, equals, value = field.partition("=")
        if not equals:
            return None
        fields[tag] = value[1:]
    return fields if fields.get("rsp") else None


def installed_helper() -> Path:
    """Where bluepy put its helper.

    Raises:
        HelperMissing: bluepy is not installed.
    """
    found = importlib.util.find_spec("bluepy")
    if found is None or found.origin is None:
        raise HelperMissing("bluepy is not installed: pip install 'jaga[node]', on Linux")
    return Path(found.origin).with_name("bluepy-helper")


class Helper:
    """One running bluepy-helper. Whatever happens, `close` ends it and reaps it.

    Raises:
        HelperMissing: it cannot be run.
    """

    def __init__(self, executable: Path, index: int) -> None:
        try:
            # Signals blocked here stay blocked in the child, so it is asked on its line and killed, never terminated.
            self._process = subprocess.Popen(
                [str(executable), str(index)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
            )
        except OSError as why:
            raise HelperMissing(
                f"{executable} cannot be run ({why.strerror}): pip install --force-reinstall bluepy"
            ) from why
        self._stdin, self._stdout = cast("IO[bytes]", self._process.stdin), cast("IO[bytes]", self._process.stdout)
        self._out = self._stdout.fileno()
        os.set_blocking(self._out, False)
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._out, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._partial = b""
        self.lines: deque[bytes] = deque()

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, command: str) -> None:
        """Send a command. Where the helper is dead, reading says so, after its last lines."""
        with contextlib.suppress(BrokenPipeError):
            self._stdin.write(command.encode() + b"\n")

    async def read(self, timeout_s: float) -> bool:
        """Add what it says to `lines`; False where it said nothing in time.

        Raises:
            HelperDied: it ended, and `lines` had all of what it said.
        """
        if not await self._readable(timeout_s):
            return False
        await asyncio.sleep(GATHER_S)
        with contextlib.suppress(BlockingIOError):
            chunk = os.read(self._out, PIPE_BYTES)
            if not chunk:
                raise HelperDied(f"bluepy-helper ended by itself, exit status {self._reap()}; it is started again")
            *whole, self._partial = (self._partial + chunk).split(b"\n")
            if len(self._partial) > LONGEST_LINE:
                whole, self._partial = [*whole, self._partial], b""
            self.lines.extend(whole)
        return True

    def close(self) -> None:
        """End the scan and the helper; returns when it is gone."""
        self.tell("pasvend\nquit")
        with contextlib.suppress(OSError):
            self._stdin.close()
        self._reap()
        self._stdout.close()

    def _reap(self) -> int:
        try:
            return self._process.wait(QUIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    async def _readable(self, timeout_s: float) -> bool:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(self._out, ready.set)
        try:
            await asyncio.wait_for(ready.wait(), timeout_s)
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(self._out)
        return True
