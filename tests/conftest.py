"""What the tests of every package share."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

OWN = Path(__file__).parents[1] / "docs" / "tutorial" / "own"

for name in ("COLUMNS", "LINES", "FORCE_COLOR"):
    os.environ.pop(name, None)  # Rich reads them once, at the import of a command: a test says itself how wide it is

os.environ["JAGA_AUTHORITY_PASSPHRASE"] = "correct horse battery staple"  # of every authority that a command makes


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


@pytest.fixture(scope="session")
def own_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tutorial's package as pip installs it: a folder for `sys.path` or PYTHONPATH, entry points and all."""
    folder = tmp_path_factory.mktemp("own")
    shutil.copytree(OWN, folder / "source", ignore=shutil.ignore_patterns("*.egg-info", "build", "__pycache__"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
    alone = ["--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, *alone, "--target", folder / "site", folder / "source"], check=True, timeout=100)
    return folder / "site"
