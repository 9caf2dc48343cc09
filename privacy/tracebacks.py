"""Text of an exception for a log: never with local variables, and on a node without messages too."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

DEEPEST = 20
"""Frames printed of one exception, the innermost ones."""


def error_of(exc_info: object) -> BaseException | None:
    """The exception that an `exc_info` of a log call means, in any of its forms."""
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return exc_info[1] if len(exc_info) == 3 and isinstance(exc_info[1], BaseException) else None
    return sys.exc_info()[1] if exc_info else None


def with_messages(error: BaseException) -> str:
    """The usual traceback."""
    return "".join(traceback.format_exception(error)).rstrip("\n")


def locations(error: BaseException) -> str:
    """The type of each exception of the chain, and where it passed: `file:line in function`, innermost last.

    An exception's message, arguments and notes can hold a record, and are not in it; nor is a line of source.
    """
    return "\n".join(_lines(error, set()))


def _lines(error: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(error))
    before, words = (
        (error.__cause__, "which caused")
        if error.__cause__ is not None
        else (None if error.__suppress_context__ else error.__context__, "and then")
    )
    if before is not None and id(before) not in seen:
        yield from _lines(before, seen)
        yield words
    kind = type(error)
    yield kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    # Not `extract_tb`, which looks up lines of source.
    frames = list(traceback.walk_tb(error.__traceback__))
    if len(frames) > DEEPEST:
        yield f"  ({len(frames) - DEEPEST} frames)"
    for frame, line in frames[-DEEPEST:]:
        yield f"  {frame.f_code.co_filename}:{line} in {frame.f_code.co_qualname}"
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            if id(part) not in seen:
                yield from (f"  {line}" for line in _lines(part, seen))


def place_of(error: BaseException) -> str:
    """Where an exception was raised: `file:line in function`, without the file's folder."""
    frames = list(traceback.walk_tb(error.__traceback__))
    if not frames:
        return ""
    frame, line = frames[-1]
    return f"{Path(frame.f_code.co_filename).name}:{line} in {frame.f_code.co_qualname}"
