"""The node's other processes, seen from inside: one line of settings comes in, events go out, line by line.

Exit status: 0 done or stopped, 2 bad settings or input, 3 the store, 4 the node that read the events is gone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping

import msgspec

from edge.store.errors import StoreError
from privacy.tracebacks import place_of

BAD_INPUT, BAD_STORE, NO_PARENT = 2, 3, 4

Emit = Callable[[Mapping[str, str | int | float | bool | None]], None]


def emit(event: Mapping[str, str | int | float | bool | None]) -> None:
    """One event, one line, at once."""
    sys.stdout.buffer.write(msgspec.json.encode(event) + b"\n")
    sys.stdout.buffer.flush()


def run(work: Callable[[bytes, Emit], None], emit: Emit = emit) -> int:
    """Do `work` with the line of settings; expected trouble becomes the event "failed".

    Its reason may hold a record: it is for the node's page, and not for the log (`edge.logged_events`).

    Returns:
        The exit status.
    """
    try:
        try:
            work(sys.stdin.buffer.readline(), emit)
        except BrokenPipeError:
            raise
        except (StoreError, ValueError, OSError) as error:
            at = place_of(error)
            emit({"event": "failed", "error": type(error).__name__, "at": at, "reason": str(error)})
            return BAD_STORE if isinstance(error, StoreError) else BAD_INPUT
    except BrokenPipeError:
        # Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NO_PARENT
    return 0
