"""Core dumps: a copy of a process's memory, keys and records included, that the kernel writes when the process dies."""

from __future__ import annotations

import ctypes
import resource
import sys

PR_SET_DUMPABLE = 4
"""linux/prctl.h"""


def forbid_core_dumps() -> None:
    """Have the kernel write no core file of this process, nor hand one to a collector such as systemd-coredump.

    The limit of zero bytes is inherited by every child. A collector that core files are piped to is not bound by it; it
    gets nothing of a process that is not dumpable. That is reset by `exec`, so each of our processes calls this.
    A process that is not dumpable can be neither traced nor read through /proc by other processes of its user.

    Raises:
        OSError: the kernel refuses.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "the kernel refused PR_SET_DUMPABLE")
