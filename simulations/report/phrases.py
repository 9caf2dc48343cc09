"""Numbers in sentences; between a number and its unit stands a space that no line breaks at."""

from __future__ import annotations

import math
from collections.abc import Sequence

MOST_TOLD = 8


def number(value: float) -> str:
    """Three figures that count: `12.3`, `0.0712`, `1,240`; a dash for what is not known."""
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(digits, 6)}f}"


def percentage(share: float) -> str:
    """`41 %`; one digit more under one percent."""
    if not math.isfinite(share):
        return "–"
    return f"{share * 100:.{1 if 0 < abs(share) < 0.01 else 0}f}\u00a0%"


def size(bytes_sent: float) -> str:
    """`1.24 MB`; decimal prefixes."""
    if not math.isfinite(bytes_sent):
        return "–"
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if bytes_sent >= factor:
            return f"{number(bytes_sent / factor)}\u00a0{unit}"
    return f"{bytes_sent:.0f}\u00a0B"


def counted(count: int, noun: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def indonesian(written: str) -> str:
    """The same number as Indonesian writes it: comma for the decimals, point for the thousands."""
    return written.translate(str.maketrans(",.", ".,"))


def told(sentences: Sequence[str]) -> str:
    """Sentences for those who cannot see a figure; the table has the rest of very many."""
    rest = len(sentences) - MOST_TOLD
    return ". ".join(sentences[:MOST_TOLD]) + (f". {counted(rest, 'more line')} in the table." if rest > 0 else ".")
