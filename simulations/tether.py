"""Child processes that cannot outlive this one, not even when it is killed.

An `atexit` hook does not run after SIGKILL, and a pipe that the child watches needs a child that cooperates. The kernel
can do it for any program: a process asks for a signal on its parent's death (`PR_SET_PDEATHSIG`), and the wish survives
`exec`. This file is both the function that starts a child and, run by it, the few lines that ask and then become the
program.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

PR_SET_PDEATHSIG = 1
"""linux/prctl.h"""

_BIRTHPLACE = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tether")
"""The kernel means the parent *thread*: a child started from a short-lived thread would die with it. All are started
from this one, which lives as long as the process."""


def spawn(
    command: Sequence[str | Path],
    *,
    stdin: int | IO[bytes] | None = subprocess.DEVNULL,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start `command`; the kernel kills it (SIGKILL) when this process ends in whatever way.

    The child's pid is the program's own, so signals reach it. A program that is not found ends with status 127 and a
    line on stderr.
    """
    tethered = [sys.executable, "-I", "-S", __file__, str(os.getpid()), *map(str, command)]
    return _BIRTHPLACE.submit(
        subprocess.Popen, tethered, stdin=stdin, stdout=stdout, stderr=stderr, cwd=cwd, env=env
    ).result()


def become(parent: int, command: list[str]) -> None:
    """Tie this process to `parent`, then turn into `command`. Returns only if `parent` is gone already."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "the kernel refused PR_SET_PDEATHSIG")
    if os.getppid() != parent:  # it died between fork and prctl, and its signal was sent to nobody
        return
    try:
        os.execvp(command[0], command)  # noqa: S606
    except OSError as why:
        sys.stderr.write(f"{command[0]}: {why}\n")
        sys.exit(127)


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2:])
