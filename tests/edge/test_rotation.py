"""A store gets a new key, and a power cut at any step leaves it with exactly one of the two."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from edge.keys import rotation
from edge.keys.sources import KeyFile, KeyUnavailable
from edge.keys.wrapped import StoreKeys, WrappedKey
from edge.store.database import Database, key_id
from edge.store.errors import StoreUnavailable, WrongKey
from edge.store.meta import Meta
from privacy.identity.secret import Secret

OLD = Secret(bytes(range(32)))
STEPS = (
    "before begin",
    "after begin",
    "before rekey",
    "in rekey",
    "after rekey",
    "after sidecar",
    "after forgetting",
)


@pytest.fixture
def home(tmp_path):
    source = KeyFile.make(tmp_path / "source.key")
    wrapped = WrappedKey(tmp_path / "store.key.json")
    wrapped.write(source, source.key(), StoreKeys(OLD))
    connection = Database(tmp_path / "node.db", OLD).connect()
    Meta(connection).set("fact", b"kept" * 50_000)
    connection.close()
    return tmp_path


def finish(home):
    wrapped = WrappedKey(home / "store.key.json")
    return rotation.finish(wrapped, home / "node.db")


def fact(home, key):
    connection = Database(home / "node.db", key).connect()
    try:
        return Meta(connection).get("fact")
    finally:
        connection.close()


def test_after_a_rotation_the_new_key_opens_everything_and_the_old_one_nothing(home):
    wrapped = WrappedKey(home / "store.key.json")
    assert not wrapped.rotating()
    assert finish(home) == OLD
    rotation.begin(wrapped)
    rotation.begin(wrapped)  # asked twice: the same next key
    assert wrapped.rotating()
    new = finish(home)
    assert new != OLD
    assert fact(home, new) == b"kept" * 50_000
    assert (home / "node.db.keyid").read_text().strip() == key_id(new)
    with pytest.raises(WrongKey):
        Database(home / "node.db", OLD).connect()
    assert not wrapped.rotating()
    assert wrapped.open(wrapped.source().key()) == StoreKeys(new)


def test_a_key_is_rotated_before_there_is_a_store_and_the_store_is_made_with_the_new_one(home):
    (home / "node.db").unlink()
    (home / "node.db.keyid").unlink()
    rotation.begin(WrappedKey(home / "store.key.json"))
    new = finish(home)
    assert new != OLD
    assert fact(home, new) is None
    with pytest.raises(WrongKey):
        Database(home / "node.db", OLD).connect()


PROGRAM = """
import os, signal, sys
from pathlib import Path
from edge.keys import rotation
from edge.keys.wrapped import WrappedKey
from edge.store.database import Database
home, step = Path(sys.argv[1]), sys.argv[2]
def die(): os.kill(os.getpid(), signal.SIGKILL)
wrapped = WrappedKey(home / "store.key.json")
if step == "before begin": die()
rotation.begin(wrapped)
if step == "after begin": die()
rekey, note, write = rotation._rekey, Database.note_key, WrappedKey.write
def dying_rekey(*arguments):
    if step == "before rekey": die()
    if step == "in rekey":
        import ctypes, threading
        # In the midst of writing pages: the journal is there, and the file is half new.
        def watch():
            while not (home / "node.db-journal").exists(): pass
            die()
        threading.Thread(target=watch, daemon=True).start()
    rekey(*arguments)
    if step in ("in rekey", "after rekey"): die()
def dying_note(self):
    note(self)
    if step == "after sidecar": die()
rotation._rekey, Database.note_key = dying_rekey, dying_note
rotation.finish(wrapped, home / "node.db")
die()
"""


@pytest.mark.parametrize("step", STEPS)
def test_a_power_cut_at_any_step_leaves_a_store_that_opens_with_what_the_file_holds(home, step):
    died = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), str(home), step], env=os.environ, check=False
    )
    assert died.returncode == -signal.SIGKILL
    assert (step == "in rekey") == (home / "node.db-journal").exists()
    key = finish(home)
    assert (key == OLD) == (step == "before begin")
    assert fact(home, key) == b"kept" * 50_000
    assert finish(home) == key


def test_a_source_that_is_changed_while_another_command_waits_loses_no_key(home):
    wrapped = WrappedKey(home / "store.key.json")
    old, new = wrapped.source(), KeyFile.make(home / "other.key")
    given = old.key()
    rotation.begin(wrapped)
    rotated = finish(home)  # the node was quicker than whoever changes the source
    rotation.rewrap(wrapped, old, given, new, new.key())
    assert wrapped.open() == StoreKeys(rotated)
    with pytest.raises(KeyUnavailable, match="another source meanwhile"):
        rotation.rewrap(wrapped, old, given, new, new.key())
    assert fact(home, finish(home)) == b"kept" * 50_000


def test_commands_wait_for_each_other(home):
    wrapped, order = WrappedKey(home / "store.key.json"), []
    with wrapped.locked():
        other = threading.Thread(target=lambda: (rotation.begin(wrapped), order.append("begun")))
        other.start()
        time.sleep(0.3)
        order.append("released")
    other.join(10)
    assert order == ["released", "begun"]


def test_a_store_that_is_open_elsewhere_waits(home):
    wrapped = WrappedKey(home / "store.key.json")
    other = Database(home / "node.db", OLD).connect()
    rotation.begin(wrapped)
    with pytest.raises(StoreUnavailable):
        finish(home)
    assert Meta(other).get("fact") == b"kept" * 50_000
    other.close()
    assert fact(home, finish(home)) == b"kept" * 50_000


def test_a_store_of_another_backup_is_not_guessed_at(home):
    wrapped = WrappedKey(home / "store.key.json")
    source = wrapped.source()
    wrapped.write(source, source.key(), StoreKeys(Secret(b"x" * 32), Secret(b"y" * 32)))
    with pytest.raises(WrongKey, match="neither key"):
        finish(home)
