"""Damage to a store: whichever byte was changed, the check finds it, and `privacy verify` says so."""

import random
import secrets
import shutil

import pytest
from typer.testing import CliRunner

from edge.cli import app
from edge.commands.terminal import TAMPERED
from edge.store.anchor import Anchor
from edge.store.database import Database
from edge.store.errors import CorruptStore, StoreError
from edge.store.sighting import Sighting
from edge.store.sightings import Sightings
from edge.store.write_ahead_log import FRAME, HEAD, damage
from privacy.accounting.events import SampledGaussian
from privacy.accounting.ledger import Budget, PrivacyLedger
from privacy.boundary.audit import AuditLog

PAGE_BYTES = 4096
CHEAP = [SampledGaussian(50.0, 1.0, 1)]


def rows(number, window):
    return [Sighting(secrets.token_bytes(16), window + i // 50, 1, -60, 3600, -60, -60) for i in range(number)]


@pytest.fixture
def home(tmp_path):
    """A store as a power cut leaves it: with free pages, and a write-ahead log."""
    key = secrets.token_bytes(32)
    used = tmp_path / "used"
    used.mkdir()
    connection = Database(used / "node.db", key).connect()
    AuditLog(connection)
    ledger = PrivacyLedger(connection, Budget(8.0, 1e-6, 15 * 86400.0))
    ledger.spend(ledger.reserve(b"m" * 16, "x", CHEAP))
    Anchor(used / "books.anchor").write(connection)
    Sightings(connection).add(rows(6000, 100), 1000.0)
    connection.execute("DELETE FROM sightings WHERE window_index < 150")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert connection.execute("PRAGMA freelist_count").fetchone()[0] > 10
    for window in (1000, 1001, 1002):
        Sightings(connection).add(rows(100, window), 2000.0)
    folder = tmp_path / "node"
    shutil.copytree(used, folder)
    connection.close()
    (folder / "store.key").write_text(key.hex())
    (folder / "node.toml").write_text('name = "SDN 1"\n')
    return folder


def fresh(home, folder):
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(home, folder)
    return folder


def flip(path, at):
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ random.Random(at).randint(1, 255)]))


def verified(home, *arguments):
    return CliRunner().invoke(app, ["privacy", "verify", str(home / "node.toml"), *arguments], env={"COLUMNS": "200"})


@pytest.mark.parametrize("name", ["node.db", "node.db-wal"])
def test_a_changed_byte_anywhere_is_found(home, tmp_path, name):
    size = (home / name).stat().st_size
    places = [*random.Random(7).sample(range(size), 60), 0, 5, 16, 20, 24, 31, size - 1]
    if name == "node.db-wal":  # each field of the first frame's head and of the last one's
        last = size - FRAME.size - PAGE_BYTES
        places += [start + field for start in (HEAD.size, last) for field in range(0, FRAME.size, 4)]
    for at in places:
        folder = fresh(home, tmp_path / "damaged")
        flip(folder / name, at)
        with pytest.raises(StoreError):
            Database(folder / "node.db", bytes.fromhex((home / "store.key").read_text())).check()


def test_verify_finds_forty_of_forty_changed_bytes(home, tmp_path):
    sizes = {name: (home / name).stat().st_size for name in ("node.db", "node.db-wal")}
    drawn = random.Random(40)
    for _ in range(40):
        at = drawn.randrange(sum(sizes.values()))
        name, at = ("node.db", at) if at < sizes["node.db"] else ("node.db-wal", at - sizes["node.db"])
        folder = fresh(home, tmp_path / "damaged")
        flip(folder / name, at)
        result = verified(folder)
        assert result.exit_code in {TAMPERED, 5}, (name, at, result.output)


def test_an_undamaged_store_is_called_whole_and_keeps_what_its_log_held(home):
    assert damage(home / "node.db-wal") is None
    result = verified(home)
    assert result.exit_code == 0, result.output
    key = bytes.fromhex((home / "store.key").read_text())
    connection = Database(home / "node.db", key).connect()
    assert connection.execute("SELECT count(*) FROM sightings WHERE window_index >= 1000").fetchone() == (300,)
    connection.close()


def test_what_an_earlier_use_of_the_log_left_behind_does_not_matter(home, tmp_path):
    key = bytes.fromhex((home / "store.key").read_text())
    connection = Database(home / "node.db", key).connect()
    connection.execute("PRAGMA wal_checkpoint(FULL)")
    connection.execute("INSERT INTO meta VALUES ('x', x'00')")  # the log begins anew, over the old one
    folder = fresh(home, tmp_path / "copy")
    connection.close()
    size = (folder / "node.db-wal").stat().st_size
    flip(folder / "node.db-wal", size - 100)
    assert damage(folder / "node.db-wal") is None
    flip(folder / "node.db-wal", HEAD.size + FRAME.size + 100)
    assert "frame 1" in damage(folder / "node.db-wal")


def test_verify_finds_a_store_that_was_put_back(home, tmp_path):
    backup = fresh(home, tmp_path / "backup")
    key = bytes.fromhex((home / "store.key").read_text())
    connection = Database(home / "node.db", key).connect()
    ledger = PrivacyLedger(connection, Budget(8.0, 1e-6, 15 * 86400.0))
    ledger.spend(ledger.reserve(b"n" * 16, "x", CHEAP))
    Anchor(home / "books.anchor").write(connection)
    connection.close()
    assert verified(home).exit_code == 0
    shutil.copy(home / "books.anchor", backup)
    result = verified(backup)
    assert result.exit_code == TAMPERED
    assert "old copy" in result.output


def test_verify_writes_no_anchor(home):
    key = bytes.fromhex((home / "store.key").read_text())
    connection = Database(home / "node.db", key).connect()
    connection.execute("DELETE FROM meta")
    connection.close()
    (home / "books.anchor").unlink()
    assert verified(home).exit_code == 0
    assert not (home / "books.anchor").exists()


def test_the_check_names_the_log(home):
    flip(home / "node.db-wal", HEAD.size + 200)
    with pytest.raises(CorruptStore, match="write-ahead log: frame 1"):
        Database(home / "node.db", bytes.fromhex((home / "store.key").read_text())).check()
