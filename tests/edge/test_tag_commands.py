"""`jaga-node tags`, `encounters` and `erase`, as staff type them."""

import json
import time

import pytest
from typer.testing import CliRunner

from edge.cli import app
from edge.commands.encounters import mode_line
from edge.config import NodeConfig
from edge.sensing.sightings import Sighting
from edge.store.database import Database
from edge.store.sightings import Sightings
from edge.store.site import SiteModes
from edge.store.tags import Tags
from privacy.identity.authority import CertificateAuthority
from privacy.identity.certificates import Role, node_party
from privacy.tokens.tags import identifiers

KEY = bytes(range(32))
SECRET = bytes(range(32, 64))
DAY = 20_000


@pytest.fixture
def node(tmp_path):
    CertificateAuthority.create("ours").enrol(node_party(7), Role.NODE).save(tmp_path / "credentials")
    (tmp_path / "store.key").write_text(KEY.hex())
    (tmp_path / "node.toml").write_text('name = "puskesmas"\n[site]\nmode = "person"\n')
    return tmp_path


@pytest.fixture
def store(node):
    connection = Database(node / "node.db", KEY).connect()
    yield connection
    connection.close()


def typed(node, *words, keys=""):
    result = CliRunner().invoke(app, [str(word) for word in words], input=keys, env={"COLUMNS": "200"})
    return result.exit_code, " ".join(result.output.split())


def heard(store, secret=SECRET, minutes=10, day=DAY):
    shown = identifiers(secret, day)[72]
    first = day * 4320 + 72 * 30
    rows = [Sighting(shown, window, 1, -70, 4900, -70, -70) for window in range(first, first + 3 * minutes)]
    Sightings(store).add(rows, time.time())


def test_a_tag_is_added_listed_exported_and_removed(node, store):
    toml = node / "node.toml"
    assert typed(node, "tags", "add", toml, "tag-07")[0] == 0
    code, shown = typed(node, "tags", "list", toml)
    secret = Tags(store).get("tag-07").secret
    assert code == 0
    assert "tag-07" in shown
    assert secret.hex() not in shown
    code, shown = typed(node, "tags", "export", toml, "tag-07", node / "tag.secret")
    assert "Whoever has this file can follow this tag" in shown
    assert "Siapa pun yang memegang berkas ini" in shown
    assert (node / "tag.secret").read_text() == secret.hex() + "\n"
    assert (node / "tag.secret").stat().st_mode & 0o777 == 0o600
    assert typed(node, "tags", "remove", toml, "tag-07")[0] == 0
    assert list(Tags(store)) == []
    assert typed(node, "tags", "add", toml, "tag-07", "--secret-file", node / "tag.secret")[0] == 0
    assert Tags(store).get("tag-07").secret == secret


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("add", "TOML", "3174012309870001"), "looks like a NIK"),
        (("add", "TOML", "tag-07"), "there is a tag 'tag-07' already"),
        (("remove", "TOML", "tag-70"), "did you mean 'tag-07'?"),
        (("export", "TOML", "tag-07", "TOML"), "is there already"),
        (("add", "TOML", "x", "--secret-file", "TOML"), "no secret of 64 hexadecimal digits"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(node, store, words, why):
    Tags(store).add("tag-07", 0)
    code, shown = typed(node, "tags", *(node / "node.toml" if word == "TOML" else word for word in words))
    assert code == 2
    assert why in shown


def test_encounters_are_shown_with_what_they_mean_in_both_languages(node, store):
    Tags(store).add("tag-07", 0, SECRET)
    SiteModes(store).declare("person", time.time())
    heard(store)
    code, shown = typed(node, "encounters", node / "node.toml")
    assert code == 0
    assert "2024-10-04, person / orang" in shown
    assert "says nothing about others among themselves" in shown
    assert "Node tahu siapa yang berada di dekat pemakainya" in shown
    assert "tag-07" in shown
    assert "10.0" in shown


def test_encounters_of_a_day_come_as_json_too(node, store):
    Tags(store).add("tag-07", 0, SECRET)
    heard(store)
    heard(store, b"s" * 32)
    code, shown = typed(node, "encounters", node / "node.toml", "--day", "2024-10-04", "--json")
    [day] = json.loads(shown)
    assert code == 0
    assert (day["day"], day["date"], day["mode"]) == (DAY, "2024-10-04", "person")
    [pair] = day["pairs"]
    assert (pair["a"], pair["b"], pair["minutes"], pair["windows"]) == ("", "tag-07", pytest.approx(10), 30)
    [stranger] = day["strangers"]
    assert stranger["tokens"] == 1
    assert set(day["words"]) == {"en", "id"}


def test_the_doctor_says_how_the_node_is_used_and_since_when(node, store, capsys):
    config = NodeConfig.load(node / "node.toml")
    mode_line(store, config)
    assert capsys.readouterr().out.strip() == "✓ site mode / mode tempat: person / orang"
    SiteModes(store).declare("zone", 1_800_000_000)
    mode_line(store, config)
    assert "person / orang (from its next start" in capsys.readouterr().out
    SiteModes(store).declare("person", 1_800_000_060)
    mode_line(store, config)
    assert "since / sejak 2027-01-15 08:01 UTC" in capsys.readouterr().out


def test_a_day_that_is_none_and_a_day_without_sightings(node, store):
    assert typed(node, "encounters", node / "node.toml", "--day", "31-03-2026")[0] == 2
    code, shown = typed(node, "encounters", node / "node.toml", "--day", "2026-03-31", "--json")
    assert (code, json.loads(shown)[0]["pairs"]) == (0, [])


def test_a_tag_is_erased_once_somebody_confirms_and_the_receipt_is_verified(node, store):
    toml, file = node / "node.toml", node / "receipt.json"
    Tags(store).add("tag-07", 0, SECRET)
    heard(store)
    code, _ = typed(node, "erase", toml, "--tag", "tag-07", "--receipt", file, keys="n\n")
    assert code == 1
    assert Sightings(store).count() == 30
    assert not file.exists()
    code, shown = typed(node, "erase", toml, "--tag", "tag-07", "--receipt", file, keys="y\n")
    assert code == 0, shown
    assert "30 sightings" in shown
    assert "30 catatan sinyal" in shown
    assert Sightings(store).count() == 0
    assert "tag-07" not in file.read_text()
    code, shown = typed(node, "erase", toml, "--verify", file)
    assert code == 0
    assert "in this node's journal" in shown
    (node / "kept.secret").write_text(SECRET.hex())
    assert "about this tag" in typed(node, "erase", toml, "--verify", file, "--secret-file", node / "kept.secret")[1]
    (node / "other.secret").write_text("00" * 32)
    code, shown = typed(node, "erase", toml, "--verify", file, "--secret-file", node / "other.secret")
    assert code == 7
    assert "about another tag" in shown


def test_a_receipt_that_was_changed_does_not_verify(node, store):
    toml, file = node / "node.toml", node / "receipt.json"
    Tags(store).add("tag-07", 0, SECRET)
    assert typed(node, "erase", toml, "--tag", "tag-07", "--receipt", file, "--yes")[0] == 0
    file.write_text(file.read_text().replace("0 sightings", "9 sightings"))
    code, shown = typed(node, "erase", toml, "--verify", file)
    assert code == 7
    assert "was changed" in shown


def test_a_receipt_that_the_journal_does_not_have_shows_a_store_that_was_put_back(node, store):
    toml, file = node / "node.toml", node / "receipt.json"
    Tags(store).add("tag-07", 0, SECRET)
    assert typed(node, "erase", toml, "--tag", "tag-07", "--receipt", file, "--yes")[0] == 0
    store.execute("DROP TABLE receipts")
    code, shown = typed(node, "erase", toml, "--verify", file)
    assert code == 7
    assert "put back to an older state" in shown


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--tag", "tag-70", "--receipt", "NEW"), "did you mean 'tag-07'?"),
        (("--receipt", "NEW"), "say whose data to erase in one way"),
        (("--tag", "tag-07", "--identifier", "00" * 16, "--receipt", "NEW"), "say whose data to erase in one way"),
        (("--tag", "tag-07"), "say where the receipt goes"),
        (("--identifier", "xy" * 16, "--receipt", "NEW"), "32 hexadecimal digits"),
        (("--tag", "tag-07", "--receipt", "OLD"), "is there already"),
    ],
)
def test_an_erasure_that_is_not_clear_is_refused_and_nothing_is_deleted(node, store, words, why):
    Tags(store).add("tag-07", 0, SECRET)
    heard(store)
    files = {"NEW": node / "receipt.json", "OLD": node / "node.toml"}
    code, shown = typed(node, "erase", node / "node.toml", "--yes", *(files.get(word, word) for word in words))
    assert code == 2
    assert why in shown
    assert Sightings(store).count() == 30


def test_the_secret_file_of_a_tag_in_the_register_erases_its_label_too(node, store):
    Tags(store).add("tag-07", 0, SECRET)
    (node / "kept.secret").write_text(SECRET.hex())
    file = node / "receipt.json"
    words = ("erase", node / "node.toml", "--secret-file", node / "kept.secret", "--receipt", file, "--yes")
    assert typed(node, *words)[0] == 0
    assert list(Tags(store)) == []
