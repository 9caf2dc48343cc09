"""Records for the centre's tests: SQLite in a file, and a throwaway PostgreSQL where one is installed."""

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from learning_double import first_model

from aggregator.records.database import Records
from aggregator.records.models import Models
from aggregator.records.tensors import to_safetensors

SOON_S = 30.0


def postgresql_programs() -> Path | None:
    """Debian keeps them off everybody's PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent if found else None


def unprivileged() -> str | None:
    """PostgreSQL refuses to run as root."""
    if os.getuid():
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in names), None)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a server's `postgres` database, reached over a socket in a folder of its own."""
    programs, user = postgresql_programs(), unprivileged()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    if not os.getuid() and user is None:
        pytest.skip("this is root, which PostgreSQL refuses, and there is no other user to run it as")
    folder = Path(tempfile.mkdtemp(prefix="jaga-pg"))
    owner = user or pwd.getpwuid(os.getuid()).pw_name
    shutil.chown(folder, owner)
    subprocess.run(
        [programs / "initdb", "-D", folder / "data", "-U", "jaga", "-A", "trust", "--no-sync"],
        user=user,
        check=True,
        capture_output=True,
        cwd=folder,
    )
    server = subprocess.Popen(
        [programs / "postgres", "-D", folder / "data", "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"],
        user=user,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + SOON_S
        ready = [programs / "pg_isready", "-q", "-h", folder, "-U", "jaga"]
        while subprocess.run(ready, check=False).returncode:
            assert server.poll() is None, "PostgreSQL ended at its start"
            assert time.monotonic() < deadline, "PostgreSQL does not get ready"
        yield f"postgresql://jaga@/postgres?host={folder}"
    finally:
        server.terminate()
        server.wait(SOON_S)
        shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.system)])
def records_url(request, tmp_path) -> str:
    """Empty records of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'central.db'}"
    import psycopg

    server = request.getfixturevalue("postgresql")
    name = f"jaga_{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return server.replace("/postgres?", f"/{name}?")


@pytest.fixture
def records(records_url) -> Iterator[Records]:
    records = Records(records_url)
    yield records
    records.close()


@pytest.fixture
def model(records) -> str:
    """The hash of a first model, called `zeros`."""
    return Models(records).add("zeros", to_safetensors(first_model()), {"task": "halfway"})
