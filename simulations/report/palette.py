"""How lines look: told apart by colour, marker and dash together, so that print without colour loses nothing.

The first three colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/), the green darkened. All have a
contrast of three to one with paper, and the first six stay apart for colour-blind readers (the tests measure both). On
a dark page each has a lighter twin.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

PAPER, DARK_PAPER = "#ffffff", "#182422"
INK, SOFT, FAINT, BASELINE = "#1c2727", "#52605f", "#d9d6cc", "#7b5a58"


@dataclass(frozen=True, slots=True)
class Look:
    """A line's looks; `dash` as matplotlib takes it, in units of the line's width."""

    colour: str
    marker: str
    dash: tuple[float, tuple[float, ...]]


LOOKS = (
    Look("#0072b2", "o", (0, ())),
    Look("#d55e00", "s", (0, (4, 1.2))),
    Look("#00956c", "^", (0, (1.2, 1.2))),
    Look("#7a2f66", "D", (0, (6, 1.2, 1.2, 1.2))),
    Look("#4a1f10", "v", (0, (2.5, 1, 2.5, 2.5))),
    Look("#3333d6", "P", (0, (8, 2))),
    Look("#8f6b00", "X", (0, (1.2, 2.4))),
    Look("#4f6f94", "<", (0, (5, 1, 1.2, 1, 1.2, 1))),
)

DARK = MappingProxyType(
    {
        INK: "#e8ece8",
        SOFT: "#a5b3b0",
        FAINT: "#31413e",
        BASELINE: "#d3a9a4",
        "#0072b2": "#5db9f0",
        "#d55e00": "#ff9a52",
        "#00956c": "#4fcba3",
        "#7a2f66": "#c75fb0",
        "#4a1f10": "#fff3dc",
        "#3333d6": "#7a78ff",
        "#8f6b00": "#e0b93d",
        "#4f6f94": "#9fbbe0",
    }
)
"""What stands for each colour of a figure on a dark page."""
