"""`jaga-node privacy`, as staff type it; and tampering with any byte of the books is found."""

import secrets

import pytest
from typer.testing import CliRunner

from edge.cli import app
from edge.commands.terminal import TAMPERED
from edge.store.books import BookFault, Books, Note
from edge.store.database import Database
from edge.store.receipts import Receipts
from privacy.accounting.events import SampledGaussian
from privacy.accounting.ledger import Budget, PrivacyLedger
from privacy.boundary.audit import AuditLog
from privacy.catalogue.columns import Mechanism
from privacy.catalogue.use import Use
from privacy.identity.authority import CertificateAuthority
from privacy.identity.certificates import Role
from privacy.journal import BrokenChain

USE = Use.of("train crowding", {"sightings": ["frames"]}, [Mechanism.DP_SGD])
NODE = CertificateAuthority.create("ours").enrol("node-00000000000000a7", Role.NODE)
TABLES = ("privacy_ledger", "audit_log", "receipts")


def fill(connection):
    """Books with a few rows each."""
    ledger = PrivacyLedger(connection, Budget(8.0, 1e-6, 14 * 86400.0))
    for number in range(3):
        message = bytes([number]) * 16
        entry = ledger.reserve(message, USE.encode(), [SampledGaussian(9.0, 1.0, 1)])
        if number < 2:
            ledger.spend(entry)
            AuditLog(connection).append(kind="reply", recipient="leader", payload=b"x", entries=[entry], note="update")
        Receipts(connection).issue(NODE, bytes([number]) * 32, {"sightings": number}, 14, 1e9 + number)
    return Books(connection, ledger)


@pytest.fixture
def books(connection):
    return fill(connection)


@pytest.fixture
def config(tmp_path):
    key = secrets.token_hex(32)
    (tmp_path / "store.key").write_text(key)
    (tmp_path / "node.toml").write_text('name = "SDN 1"\n')
    connection = Database(tmp_path / "node.db", bytes.fromhex(key)).connect()
    fill(connection)
    connection.close()
    return tmp_path / "node.toml"


def typed(*arguments):
    return CliRunner().invoke(app, ["privacy", *map(str, arguments)], env={"COLUMNS": "200"})


def test_show_is_what_a_bare_path_means(config):
    for arguments in ((config,), ("show", config)):
        result = typed(*arguments)
        assert result.exit_code == 0, result.output
        assert "of 8 at delta 1e-06" in result.output
        assert "update (train" in result.output


def test_show_says_what_all_that_left_may_tell_of_a_person_in_both_languages(config):
    with config.open("a") as more:
        more.write("[privacy]\nnodes_of_site = 3\n[privacy.units.day]\nepsilon = 7.5\n")
    shown = typed("show", config).output
    assert "a person's day, heard by 3 nodes / terdengar 3 node" in shown.replace(" / satu hari seseorang", "")
    assert "14 hari berturut-turut" in shown
    assert "7.5" in shown


def test_the_record_is_printed_in_both_languages_and_written_to_a_file(tmp_path):
    result = typed("record")
    assert result.exit_code == 0
    assert "siapa yang terdengar" in result.output.lower()
    assert typed("record", "--to", tmp_path / "record.md").exit_code == 0
    assert "## sightings" in (tmp_path / "record.md").read_text("utf-8")


def test_verify_says_how_long_each_book_is_and_a_note_holds_it_to_that(config, tmp_path):
    result = typed("verify", config, "--note", tmp_path / "note.json")
    assert result.exit_code == 0, result.output
    assert all(book in result.output for book in ("ledger", "audit log", "receipts"))
    assert typed("verify", config, "--against", tmp_path / "note.json").exit_code == 0
    (tmp_path / "note.json").write_text("[]")
    assert typed("verify", config, "--against", tmp_path / "note.json").exit_code == TAMPERED


def altered(value):
    """Every way to change one byte, or the number by one."""
    if value is None:
        return [0]
    if isinstance(value, int | float):
        return [value + 1]
    raw = value.encode() if isinstance(value, str) else bytes(value)
    changed = [raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :] for at in range(len(raw))] + [raw + b"0"]
    return [one.decode("utf-8", "replace") if isinstance(value, str) else one for one in changed]


@pytest.mark.parametrize("table", TABLES)
def test_any_changed_byte_of_any_row_is_found(books, table):
    connection = books.connection

    def change(column, value, row):
        # Whoever has the store's key can take the guards away; opening a book puts them back.
        connection.execute(f"DROP TRIGGER IF EXISTS {table}_keeps_rows")
        connection.execute("DROP INDEX IF EXISTS privacy_ledger_spent_once")
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE row = ?", (value, row))

    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    tried = 0
    for row in connection.execute(f"SELECT * FROM {table}").fetchall():
        for column, value in zip(columns[1:], row[1:], strict=True):
            for other in altered(value)[:: 1 if len(str(value)) < 200 else 17]:
                tried += 1
                change(column, other, row[0])
                with pytest.raises(BrokenChain, match=f"row {row[0]} of {table}|row {row[0] + 1} of {table}"):
                    books.verify()
                change(column, value, row[0])
    books.verify()
    assert tried > 100


@pytest.mark.parametrize("table", TABLES)
def test_rows_cut_off_at_the_end_are_found_with_a_note_alone(books, table, tmp_path):
    Note(books.verify()).write(tmp_path / "note")
    books.connection.execute(f"DROP TRIGGER {table}_loses_none")
    books.connection.execute(f"DELETE FROM {table} WHERE row = (SELECT max(row) FROM {table})")
    books.heads()
    with pytest.raises(BookFault, match="cut off"):
        Note.read(tmp_path / "note").check(books.connection)


def test_a_release_that_was_never_paid_is_found(books):
    AuditLog(books.connection).append(kind="reply", recipient="leader", payload=b"x", entries=[4], note="update")
    with pytest.raises(BookFault, match="not spent"):
        books.verify()


def test_other_books_are_told_from_these(books, tmp_path):
    heads = dict(books.verify())
    Note({**heads, "ledger": (heads["ledger"][0], bytes(32))}).write(tmp_path / "note")
    with pytest.raises(BookFault, match="other books"):
        Note.read(tmp_path / "note").check(books.connection)
