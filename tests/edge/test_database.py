import subprocess
import sys
from itertools import pairwise

import pytest

from edge.store.connection import transaction
from edge.store.database import Database, key_id
from edge.store.errors import CorruptStore, MissingStore, NewerSchema, StoreError, StoreFull, StoreUnavailable, WrongKey
from edge.store.meta import Meta
from edge.store.migration import Migration, known, migrate

PAGE = 4096


def fill(connection, ends_with):
    """A transaction of a hundred values, which succeeds, or ends with an error."""
    with transaction(connection):
        for i in range(100):
            Meta(connection).set(f"name {i}", bytes([i]) * 3000)
        if ends_with:
            raise ends_with


@pytest.fixture
def filled(database):
    """A closed store with about a hundred pages of blobs."""
    connection = database.connect()
    fill(connection, ends_with=None)
    connection.close()
    return database


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(content)


def read_all(database):
    connection = database.connect()
    try:
        return connection.execute("SELECT name, value FROM meta").fetchall()
    finally:
        connection.close()


def test_what_is_written_is_read_after_opening_again(filled):
    assert dict(read_all(filled))["name 7"] == b"\x07" * 3000


def test_nothing_of_it_is_readable_without_the_key(filled, plaintext):
    assert b"name 7" in plaintext(filled)
    assert b"name 7" not in filled.path.read_bytes()
    assert filled.key.reveal() not in filled.path.read_bytes() + filled.key_id_path.read_bytes()


def test_only_the_owner_may_open_the_file(filled):
    connection = filled.connect()
    Meta(connection).set("name", b"value")
    files = [filled.path, *filled.path.parent.glob("node.db-*")]
    assert len(files) == 3
    assert {f.stat().st_mode & 0o777 for f in files} == {0o600}
    connection.close()


def test_a_connection_is_as_durable_as_promised(connection):
    settings = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1, "busy_timeout": 10_000}
    assert {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in settings} == settings


def test_the_key_is_not_shown(database):
    assert database.key.reveal().hex() not in repr(database)
    assert repr(database.key.reveal()) not in repr(database)


def test_a_wrong_key_is_named_and_the_store_untouched(filled):
    before = filled.path.read_bytes()
    wrong = Database(filled.path, b"w" * 32)
    with pytest.raises(WrongKey, match=f"made with key {key_id(filled.key)}, the key given is {key_id(wrong.key)}"):
        wrong.connect()
    assert filled.path.read_bytes() == before
    assert len(read_all(filled)) == 100


def test_a_wrong_key_without_the_sidecar_says_what_it_cannot_know(filled):
    filled.key_id_path.unlink()
    with pytest.raises(WrongKey, match=r"node\.db\.keyid.* is missing: try the right key first"):
        Database(filled.path, b"w" * 32).connect()
    assert not filled.key_id_path.exists()


def test_a_lost_sidecar_is_made_again_with_the_right_key(filled):
    filled.key_id_path.unlink()
    assert len(read_all(filled)) == 100
    assert filled.key_id_path.read_text().strip() == key_id(filled.key)


def test_a_key_of_the_wrong_length_is_refused(tmp_path):
    with pytest.raises(WrongKey, match="32 bytes, this one has 31"):
        Database(tmp_path / "node.db", b"k" * 31)


@pytest.mark.parametrize("at", [0, 100, PAGE - 1], ids=["the salt", "the content", "the authentication code"])
def test_a_damaged_first_page_is_no_wrong_key(filled, at):
    flip(filled.path, at)
    with pytest.raises(CorruptStore, match=r"damaged .*restore the store from its last backup"):
        filled.connect()


def test_a_damaged_page_in_the_middle_is_found_when_it_is_read_and_by_a_check(filled):
    flip(filled.path, PAGE * 60 + 50)
    with pytest.raises(CorruptStore, match=r"damaged .*backup"):
        read_all(filled)
    with pytest.raises(CorruptStore, match="HMAC verification failed for page 61"):
        filled.check()


def test_a_check_of_a_sound_store_finds_nothing(filled):
    filled.check()


@pytest.mark.parametrize("bytes_left", [0, 100, PAGE, PAGE * 50, PAGE * 50 + 77])
def test_a_truncated_file_is_damage_and_never_a_first_start(filled, bytes_left):
    content = filled.path.read_bytes()
    filled.path.write_bytes(content[:bytes_left])
    with pytest.raises(CorruptStore, match=r"damaged .*backup"):
        filled.connect()


def test_a_lost_file_is_never_a_first_start(filled):
    filled.path.unlink()
    with pytest.raises(MissingStore, match=r"is gone.*restore it from its backup"):
        filled.connect()
    assert not filled.path.exists()


def test_a_newer_schema_is_left_alone(filled):
    connection = filled.connect()
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    newest = len(known())
    with pytest.raises(NewerSchema, match=f"has schema 99, this program knows up to {newest}: install the version"):
        filled.connect()


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StoreUnavailable, match="check that its folder exists"):
        Database(tmp_path / "absent" / "node.db", b"k" * 32).connect()


def test_a_store_held_by_another_is_named(database, connection):
    other = database.connect()
    other.execute("PRAGMA busy_timeout = 1")
    with transaction(connection), pytest.raises(StoreUnavailable, match="held by another process"):
        Meta(other).set("name", b"value")
    other.close()


def test_a_full_store_is_named_and_takes_nothing_of_a_transaction(connection):
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    meta = Meta(connection)
    with pytest.raises(StoreFull, match=r"no room to write store .*make room"):
        fill(connection, ends_with=None)
    assert not connection.in_transaction
    assert meta.get("name 0") is None
    meta.set("small", b"fits")


def test_every_failure_of_the_store_is_a_store_error():
    for error in (WrongKey, CorruptStore, MissingStore, StoreFull, NewerSchema, StoreUnavailable):
        assert issubclass(error, StoreError)


def test_other_errors_stay_what_they_are(connection):
    with pytest.raises(Exception, match="no such table") as raised:
        connection.execute("SELECT * FROM absent")
    assert not isinstance(raised.value, StoreError)


def test_a_transaction_that_fails_leaves_nothing(connection):
    with pytest.raises(KeyError):
        fill(connection, ends_with=KeyError)
    assert Meta(connection).get("name 0") is None


def test_an_inner_transaction_commits_with_the_outer_one_only(database, connection):
    reader = database.connect()
    with Database.transaction(connection):
        with Database.transaction(connection):
            Meta(connection).set("name", b"value")
        assert Meta(reader).get("name") is None
    assert Meta(reader).get("name") == b"value"
    reader.close()


def test_an_inner_transaction_that_fails_takes_only_its_own_writes_with_it(connection):
    meta = Meta(connection)
    with transaction(connection):
        meta.set("outer", b"1")
        with pytest.raises(KeyError):
            fill(connection, ends_with=KeyError)
    assert (meta.get("outer"), meta.get("name 0")) == (b"1", None)


def test_migrations_are_numbered_without_gaps(tmp_path):
    assert all(b.number - a.number == 1 for a, b in pairwise(known()))
    (tmp_path / "0001_a.sql").write_text("SELECT 1;")
    (tmp_path / "0003_c.sql").write_text("SELECT 1;")
    with pytest.raises(ValueError, match=r"numbered \[1, 3\]"):
        known(tmp_path)


def test_a_migration_that_fails_is_undone_as_a_whole(connection):
    newest = len(known())
    good = Migration(newest + 1, "CREATE TABLE good (x);")
    bad = Migration(newest + 2, "CREATE TABLE half (x);\nINSERT INTO absent VALUES (1);")
    with pytest.raises(Exception, match="no such table: absent"):
        migrate(connection, [*known(), good, bad])
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    assert "good" in tables
    assert "half" not in tables
    assert connection.execute("PRAGMA user_version").fetchone()[0] == newest + 1


def test_a_semicolon_inside_a_statement_does_not_end_it(connection):
    trigger = (
        "CREATE TRIGGER t AFTER INSERT ON meta BEGIN\n  DELETE FROM inbox; -- one; two\n  DELETE FROM outbox;\nEND;\n"
    )
    assert list(Migration(1, trigger + "SELECT ';';").statements()) == [trigger, "SELECT ';';"]


@pytest.mark.system
def test_processes_that_start_at_once_make_one_store(database):
    program = """
import sys
from pathlib import Path
from edge.store.database import Database
from edge.store.meta import Meta
connection = Database(Path(sys.argv[1]), bytes.fromhex(sys.argv[2])).connect()
sys.stdout.write(Meta(connection).get_or_make("client", sys.argv[3].encode).decode())
"""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, database.path, database.key.reveal().hex(), str(i)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for i in range(4)
    ]
    answers = [process.communicate()[0].strip() for process in started]
    assert [process.returncode for process in started] == [0] * 4
    assert len(set(answers)) == 1
    assert sorted(p.name for p in database.path.parent.iterdir()) == ["node.db", "node.db.keyid"]
