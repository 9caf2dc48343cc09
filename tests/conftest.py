"""What the tests of every package share."""

import os
from pathlib import Path

import pytest

for name in ("COLUMNS", "LINES", "FORCE_COLOR"):
    os.environ.pop(name, None)  # Rich reads them once, at the import of a command: a test says itself how wide it is


@pytest.fixture
def shared_data() -> Path:
    """Real data that others recorded, read in place."""
    beside = Path(__file__).parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("JAGA_SHARED_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}: set JAGA_SHARED_DATA")
    return folder


@pytest.fixture
def sociopatterns() -> Path:
    beside = Path(__file__).parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("JAGA_SHARED_DATA", beside)) / "sociopatterns"
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}: set JAGA_SHARED_DATA (files from sociopatterns.org)")
    return folder
