"""`python -m edge.sensing`: started by the node, with one line of settings on standard input.

Exit status: 0 done or stopped, 2 bad settings or scanner, 3 the store, 4 the node that read the events is gone.
"""

from __future__ import annotations

import os
import sys

import msgspec

from edge.sensing.process import Emit, Field, Sensing, SignalStop
from edge.sensing.settings import read_settings
from edge.store.errors import StoreError

BAD_SETTINGS, BAD_STORE, NO_PARENT = 2, 3, 4


def emit(event: dict[str, Field]) -> None:
    """One event, one line, at once."""
    sys.stdout.buffer.write(msgspec.json.encode(event) + b"\n")
    sys.stdout.buffer.flush()


def main(emit: Emit = emit) -> int:
    stop = SignalStop()
    try:
        try:
            Sensing(read_settings(sys.stdin.buffer.readline()), emit, stop).run()
        except (StoreError, ValueError) as error:
            emit({"event": "failed", "error": type(error).__name__, "reason": str(error)})
            return BAD_STORE if isinstance(error, StoreError) else BAD_SETTINGS
    except BrokenPipeError:
        # Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NO_PARENT
    return 0


if __name__ == "__main__":
    sys.exit(main())
