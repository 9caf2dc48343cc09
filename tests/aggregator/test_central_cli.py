"""`jaga-central` as the central team types it; what needs a broker is in tests/system/test_central_run.py."""

import json
import os
import time
from pathlib import Path

import pytest
from cryptography import x509
from learning_double import first_model
from typer.testing import CliRunner

from aggregator.cli import app
from aggregator.commands.terminal import err, out
from aggregator.records.tensors import to_safetensors
from privacy.identity.authority import CertificateAuthority, Identity, request
from privacy.identity.certificates import Role
from privacy.identity.keys import PrivateKeys
from privacy.identity.revocation import RevocationList

CARD = {"name": "zeros", "task": "halfway", "made_by": "a researcher", "data": "none", "licence": "CC0-1.0"}


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    """A screen that no table is cut off at."""
    monkeypatch.setattr(out, "width", 250)
    monkeypatch.setattr(err, "width", 250)


def central(*words: object, status: int = 0) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == status, result.output
    assert "Traceback" not in result.output
    return result.output


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    central("init", tmp_path / "centre", "--federation", "jakarta", "--broker", "mqtts://127.0.0.1:1")
    monkeypatch.chdir(tmp_path / "centre")
    return tmp_path / "centre"


def enrolled(folder: Path, name: str) -> Path:
    """A node's credentials folder, made the way its field staff and the central team make it together."""
    node = folder.parent / name
    keys = PrivateKeys.generate()
    keys.save(node)
    (node / "request.pem").write_bytes(request(keys))
    central("nodes", "enroll", "--name", name, "--request", node / "request.pem", "--out", node / "party.pem")
    return node


def test_a_federation_begins_with_an_authority_a_leader_and_a_broker(folder):
    assert Identity.load(folder / "leader").certificate.role is Role.LEADER
    assert Identity.load(folder / "broker").certificate.role is Role.BROKER
    assert oct((folder / "authority" / "authority.key").stat().st_mode)[-3:] == "600"


def test_a_federation_is_not_made_over_another(folder):
    output = central("init", folder, "--federation", "x", "--broker", "mqtts://b", status=3)
    assert "choose another folder" in output


def test_a_node_that_was_enrolled_has_a_certificate_that_fits_its_keys(folder):
    identity = Identity.load(enrolled(folder, "menteng"))
    assert identity.certificate.role is Role.NODE
    output = central("nodes", "list")
    assert "menteng" in output
    assert identity.party in output


def test_two_nodes_do_not_share_a_name(folder):
    node = enrolled(folder, "menteng")
    output = central("nodes", "enroll", "--name", "menteng", "--request", node / "request.pem", status=7)
    assert "enrolled already" in output


def test_a_request_that_is_none_is_refused(folder):
    (folder / "junk.pem").write_text("junk")
    central("nodes", "enroll", "--name", "x", "--request", folder / "junk.pem", status=9)
    assert "cannot be read" in central("nodes", "enroll", "--name", "x", "--request", folder / "none.pem", status=3)


def test_a_node_that_is_revoked_is_on_the_brokers_list(folder):
    node = Identity.load(enrolled(folder, "menteng"))
    central("nodes", "revoke", "menteng")
    revoked = x509.load_pem_x509_crl((folder / "authority" / "crl.pem").read_bytes())
    assert [entry.serial_number for entry in revoked] == [node.certificate.serial]
    assert "revoked" in central("nodes", "list")


def listed(folder: Path) -> RevocationList:
    return RevocationList.load(folder / "revocations.pem", Identity.load(folder / "leader").anchor)


def test_a_new_federation_has_a_list_that_revokes_nobody(folder):
    assert listed(folder).serials == frozenset()
    assert "good until" in central("revocations", "show")


def test_a_node_that_is_revoked_is_on_the_list_for_nodes_and_each_list_has_a_higher_number(folder):
    first, node = listed(folder), Identity.load(enrolled(folder, "menteng"))
    central("nodes", "revoke", "menteng")
    second = listed(folder)
    central("revocations", "sign", "--valid", "36h")
    third = listed(folder)
    assert first.number < second.number < third.number
    assert second.serials == third.serials == {node.certificate.serial}
    assert 35 * 3600 < third.good_until - time.time() < 36 * 3600


def test_a_leader_is_taken_back_by_its_certificate_and_anybody_by_a_serial_number(folder):
    leader = Identity.load(folder / "leader").certificate
    assert "leader" in central("revocations", "add", folder / "leader" / "party.pem", f"{2**150:x}")
    assert listed(folder).serials == {leader.serial, 2**150}
    crl = x509.load_pem_x509_crl((folder / "authority" / "crl.pem").read_bytes())
    assert {entry.serial_number for entry in crl} == {leader.serial, 2**150}
    assert "leader" in central("revocations", "show")


def test_what_names_no_certificate_of_this_authority_takes_nobody_back(folder, tmp_path):
    before = listed(folder)
    CertificateAuthority.create("jakarta").enrol("leader", Role.LEADER).save(tmp_path / "other")
    party = folder / "leader" / "party.pem"
    central("revocations", "add", party, tmp_path / "other" / "party.pem", status=9)
    assert "serial number in hex" in central("revocations", "add", party, "menteng", status=3)
    assert "at most 31d" in central("revocations", "add", party, "--valid", "32d", status=3)
    assert listed(folder) == before


def test_a_list_that_runs_out_or_is_missing_is_said_in_passing(folder):
    assert "ends on" not in central("nodes", "list")
    central("revocations", "sign", "--valid", "2d")
    assert "the list of revoked certificates ends on" in central("nodes", "list")
    (folder / "revocations.pem").unlink()
    assert "no list of revoked certificates" in central("nodes", "list")
    assert "revocations sign" in central("revocations", "publish", status=3)


def test_an_older_list_is_not_published(folder):
    (folder / "old.pem").write_bytes((folder / "revocations.pem").read_bytes())
    central("revocations", "sign")
    assert "not reached" in central("revocations", "publish", "--wait", "0.1", status=4)  # there is no broker here
    assert "is older than" in central("revocations", "publish", "old.pem", "--wait", "0.1", status=3)


def test_the_authority_s_key_is_encrypted_and_a_wrong_passphrase_signs_nothing(folder, monkeypatch):
    assert b"ENCRYPTED" in (folder / "authority" / "authority.key").read_bytes()
    monkeypatch.setenv("JAGA_AUTHORITY_PASSPHRASE", "another passphrase")
    assert "Incorrect password" in central("revocations", "sign", status=9)
    monkeypatch.delenv("JAGA_AUTHORITY_PASSPHRASE")
    assert "no terminal to ask at" in central("revocations", "sign", status=3)


def test_a_passphrase_that_is_short_makes_no_federation(tmp_path, monkeypatch):
    monkeypatch.setenv("JAGA_AUTHORITY_PASSPHRASE", "short")
    assert "at least 12 letters" in central(
        "init", tmp_path / "x", "--federation", "x", "--broker", "mqtts://b", status=3
    )
    assert not (tmp_path / "x" / "authority").exists()


def test_a_key_from_before_signs_with_a_warning_until_it_is_encrypted(tmp_path, monkeypatch):
    central("init", tmp_path / "x", "--federation", "x", "--broker", "mqtts://b", "--no-passphrase")
    monkeypatch.chdir(tmp_path / "x")
    assert "authority encrypt" in central("revocations", "sign")
    (tmp_path / "words").write_text("four words are enough\n")
    monkeypatch.setenv("JAGA_AUTHORITY_NEW_PASSPHRASE_FILE", str(tmp_path / "words"))
    central("authority", "encrypt")
    assert (tmp_path / "x" / "authority" / "authority.key").stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("JAGA_AUTHORITY_PASSPHRASE_FILE", str(tmp_path / "words"))
    assert "authority encrypt" not in central("revocations", "sign")


def test_a_model_is_registered_with_its_card(folder):
    (folder / "zeros.safetensors").write_bytes(to_safetensors(first_model()))
    (folder / "card.json").write_text(json.dumps(CARD))
    central("models", "add", "zeros.safetensors", "--card", "card.json")
    output = central("models", "list")
    assert "zeros" in output
    assert "a researcher" in output


@pytest.mark.parametrize(
    ("card", "says"),
    [({k: v for k, v in CARD.items() if k != "licence"}, "licence: Field required"), ("[", "no card that can be read")],
)
def test_a_card_that_says_too_little_is_refused(folder, card, says):
    (folder / "zeros.safetensors").write_bytes(to_safetensors(first_model()))
    (folder / "card.json").write_text(card if isinstance(card, str) else json.dumps(card))
    assert says in central("models", "add", "zeros.safetensors", "--card", "card.json", status=3)


def test_a_file_that_is_no_model_is_refused(folder):
    (folder / "zeros.safetensors").write_text("junk")
    (folder / "card.json").write_text(json.dumps(CARD))
    assert "no safetensors" in central("models", "add", "zeros.safetensors", "--card", "card.json", status=3)


RUN = '[run]\nname = "first"\ntask = "halfway"\nmodel = "zeros"\nrounds = 1\n'


@pytest.mark.parametrize(
    ("text", "status", "says"),
    [
        ("[run]\n", 3, "run.name: field required"),
        (RUN + '[strategy]\nname = "FedAvgg"\n', 3, "did you mean FedAvg"),
        (RUN + '[strategy]\nname = "FedAdam"\noptions = { etta = 1.0 }\n', 3, "did you mean eta"),
        (RUN + '[strategy]\nname = "FedMedian"\n', 3, "streaming = false"),
        (RUN, 7, "no model 'zeros' is registered"),
    ],
)
def test_a_run_file_that_cannot_work_fails_before_anything_is_sent(folder, text, status, says):
    (folder / "run.toml").write_text(text)
    assert says in central("run", "run.toml", status=status)


def test_records_that_are_damaged_have_an_exit_status_of_their_own(folder):
    (folder / "central.db").write_bytes(b"damaged " * 1000)
    for name in ("central.db-wal", "central.db-shm"):
        (folder / name).unlink(missing_ok=True)
    assert "restore it from a backup" in central("runs", "list", status=7)


def test_keys_that_are_missing_have_an_exit_status_of_their_own(folder):
    (folder / "leader" / "signing.key").unlink()
    (folder / "run.toml").write_text(RUN)
    central("run", "run.toml", status=9)


def test_no_central_file_says_what_makes_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "jaga-central init" in central("runs", "list", status=3)


def test_a_run_that_never_was_is_named(folder):
    assert "no run 'x'" in central("runs", "show", "x", status=7)


def test_wrong_usage_is_status_2():
    central("nodes", "enroll", status=2)


def test_help_names_every_exit_status():
    output = central("--help")
    for status in ("2 wrong usage", "3 a file", "4 broker", "5 too few", "6 another", "7 the records", "8 ", "9 keys"):
        assert status in " ".join(output.split())
    assert os.environ["FLWR_TELEMETRY_ENABLED"] == "0"
