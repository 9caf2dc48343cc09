"""The experiment files that come with the program."""

from __future__ import annotations

from pathlib import Path


def examples() -> dict[str, Path]:
    """The files by name."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*.toml"))}
