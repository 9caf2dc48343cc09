"""What is told of an error in somebody's own task, data or strategy: one line, with the places it came from."""

from __future__ import annotations

from pathlib import Path
from traceback import extract_tb

MOST_PLACES = 4


def told_with_place(error: BaseException) -> str:
    """Type, message, and where it was raised, innermost first: `KeyError: 'w' (own_task.py:31 < data.py:66)`."""
    frames = extract_tb(error.__traceback__)[-MOST_PLACES:]
    places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
    return f"{type(error).__name__}: {error}" + (f" ({places})" if places else "")
