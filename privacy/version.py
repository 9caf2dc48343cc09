"""Which software this is, as its parties tell each other."""

from __future__ import annotations

from importlib.metadata import version

SOFTWARE = f"jaga {version('jaga')}"
