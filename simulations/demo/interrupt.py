"""Ctrl-C that is heard."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

AGAIN_S = 1.0


@contextmanager
def ctrl_c_is_heard(again_s: float = AGAIN_S) -> Iterator[None]:
    """Ctrl-C raises `KeyboardInterrupt`, and again every so many seconds while nothing comes of it.

    Python raises it wherever the main thread happens to be. Where that is a call back from a library that is not
    Python, the library may drop it, and the program would go on. While the interrupt is on its way out, and cleans up
    behind itself, it is not raised again. For the main thread alone.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.setitimer(signal.ITIMER_REAL, again_s)
        if not _on_its_way(sys.exc_info()[1]):
            raise KeyboardInterrupt

    earlier = {one: signal.signal(one, interrupt) for one in (signal.SIGINT, signal.SIGALRM)}
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for one, handler in earlier.items():
            signal.signal(one, handler)


def _on_its_way(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None
