"""The second organisation sets itself up: its keys are its own, and it decides which nodes count."""

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aggregator.cli import app
from aggregator.commands.terminal import err, out
from aggregator.config import BadConfig
from aggregator.helper.anchor import HelperAnchor
from aggregator.helper.config import HelperConfig
from aggregator.helper.desk import HelperDesk
from aggregator.helper.records import HelperRecords
from privacy.identity.authority import CertificateAuthority, Identity
from privacy.identity.certificates import Role, node_party
from privacy.secure_sum.draw import commitment_of
from privacy.secure_sum.exchange import DrawRequest, Part
from privacy.secure_sum.seeds import key_digest

NODES = [node_party(n) for n in (2, 3, 4)]
GIVEN = [f"{node}={place:064x}" for place, node in enumerate(NODES)]


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    """A screen that no table is cut off at."""
    monkeypatch.setattr(out, "width", 250)
    monkeypatch.setattr(err, "width", 250)


def central(*words, status=0):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == status, result.output
    assert "Traceback" not in result.output
    return result.output


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    central("helper", "init", tmp_path / "helper", "--broker", "mqtts://127.0.0.1:1")
    monkeypatch.chdir(tmp_path / "helper")
    return tmp_path / "helper"


@pytest.fixture
def enrolled(folder) -> Path:
    """The same, with its certificate; the central team's folder is `centre`, beside it."""
    centre = folder.parent / "centre"
    central("init", centre, "--federation", "jakarta", "--broker", "mqtts://127.0.0.1:1")
    to = folder / "credentials" / "party.pem"
    words = ("--request", folder / "request.pem", "--out", to, "--config", centre / "central.toml")
    central("helper", "enroll", *words)
    return folder


def authority(enrolled):
    passphrase = os.environ["JAGA_AUTHORITY_PASSPHRASE"].encode()
    return CertificateAuthority.load(enrolled.parent / "centre" / "authority", passphrase)


def test_its_keys_are_made_where_it_is_and_only_a_request_leaves(enrolled):
    identity = Identity.load(enrolled / "credentials")
    assert (identity.party, identity.certificate.role) == ("helper", Role.HELPER)
    own = (enrolled / "credentials" / "sealing.key").read_bytes()
    assert own not in [file.read_bytes() for file in (enrolled.parent / "centre").rglob("*.key")]
    assert oct((enrolled / "credentials" / "sealing.key").stat().st_mode)[-3:] == "600"


def test_it_tells_field_staff_the_fingerprint_that_a_node_may_pin(enrolled):
    fingerprint = Identity.load(enrolled / "credentials").keys.sealing_public.fingerprint
    shown = central("helper", "show")
    assert f'helper_key = "{fingerprint}"' in shown
    assert "node.toml, [privacy]" in " ".join(shown.split())


def test_a_helper_is_not_made_over_another(folder):
    assert "choose another folder" in central("helper", "init", folder, "--broker", "mqtts://b", status=3)


def test_nodes_are_approved_listed_and_withdrawn(folder):
    central("helper", "approve", *GIVEN)
    assert "already" in central("helper", "approve", GIVEN[0])
    central("helper", "withdraw", NODES[1])
    listed = central("helper", "list")
    assert [node in listed for node in NODES] == [True, False, True]
    assert "is not approved" in central("helper", "withdraw", NODES[1], status=3)


def test_what_is_no_node_is_not_approved_and_nothing_is_changed(folder):
    assert "jaga-central nodes list" in central("helper", "approve", GIVEN[0], "menteng", status=3)
    assert NODES[0] not in central("helper", "list")


def test_a_node_is_approved_by_its_certificate_and_then_with_its_key(enrolled):
    node = authority(enrolled).enrol(NODES[0], Role.NODE)
    (enrolled / "node.pem").write_bytes(node.certificate.pem)
    central("helper", "approve", "node.pem")
    records = HelperRecords(HelperConfig.load(Path("helper.toml")).records)
    assert {party: one.key for party, one in records.approved().items()} == {NODES[0]: key_digest(node.certificate)}
    records.close()


@pytest.mark.parametrize("given", [NODES[1], f"{NODES[1]}=", f"{NODES[1]}={'0' * 63}", f"{NODES[1]}={'G' * 64}"])
def test_a_name_alone_is_not_approved_and_the_error_says_what_to_give(given, folder):
    said = central("helper", "approve", GIVEN[0], given, status=3)
    assert "a name alone is not approved" in said
    assert "party.pem" in said
    assert NODES[0] not in central("helper", "list")


def test_a_node_is_approved_by_the_fingerprint_that_it_shows(enrolled):
    node = authority(enrolled).enrol(NODES[0], Role.NODE)
    fingerprint = key_digest(node.certificate).hex()
    central("helper", "approve", f"{NODES[0]}={fingerprint}")
    records = HelperRecords(HelperConfig.load(Path("helper.toml")).records)
    assert records.approved()[NODES[0]].key == key_digest(node.certificate)
    records.close()


def test_a_certificate_of_no_node_approves_nobody(enrolled):
    leader = authority(enrolled).enrol("leader", Role.LEADER)
    (enrolled / "leader.pem").write_bytes(leader.certificate.pem)
    assert "is of a leader" in central("helper", "approve", "leader.pem", status=3)


def test_a_node_that_was_approved_by_name_is_shown_as_to_be_approved_again(folder):
    central("helper", "approve", GIVEN[0])
    records = HelperRecords(HelperConfig.load(Path("helper.toml")).records)
    with records.session() as session:
        session.connection().exec_driver_sql("UPDATE approved_nodes SET key = NULL")
    records.close()
    assert "approve it again" in central("helper", "list")


def test_its_database_is_for_its_owner_alone_with_all_its_files(folder):
    records = HelperRecords(HelperConfig.load(Path("helper.toml")).records)
    records.approve(NODES[0], 1.0, bytes(32))
    files = sorted(folder.glob("helper.db*"))
    assert [file.name for file in files] == ["helper.db", "helper.db-shm", "helper.db-wal"]
    assert {oct(file.stat().st_mode)[-3:] for file in files} == {"600"}
    records.close()


def test_an_older_database_that_others_could_read_is_closed_to_them(folder):
    (folder / "helper.db").chmod(0o644)
    central("helper", "list")
    assert oct((folder / "helper.db").stat().st_mode)[-3:] == "600"


def test_a_database_from_a_backup_is_refused_and_accepted_where_the_organisation_says_so(enrolled):
    url = HelperConfig.load(Path("helper.toml")).records
    records = HelperRecords(url)
    nodes = [authority(enrolled).enrol(party, Role.NODE) for party in NODES]
    for node in nodes:
        records.approve(node.party, 1.0, key_digest(node.certificate))
    asked = DrawRequest(1, Part.TRAIN, commitment_of(b"s" * 32), sorted(NODES), 3, 3, 60.0)
    desk = HelperDesk(
        Identity.load(enrolled / "credentials").keys,
        "jakarta",
        records,
        lambda _: None,
        3,
        anchor=HelperAnchor(enrolled / "helper.anchor"),
    )
    backup = enrolled / "backup.db"
    with closing(sqlite3.connect(enrolled / "helper.db")) as there, closing(sqlite3.connect(backup)) as here:
        there.backup(here)
    assert desk.draw(7, asked).draw is not None
    records.close()
    for file in enrolled.glob("helper.db*"):
        file.unlink()
    backup.rename(enrolled / "helper.db")
    refused = central("helper", "run", status=7)
    assert "are an old copy" in refused
    assert "accept-old-records" in refused
    assert "periksa" in central("helper", "accept-old-records")
    records = HelperRecords(url)
    HelperAnchor(enrolled / "helper.anchor").check(records)
    records.close()


def test_a_certificate_of_another_authority_approves_nobody(enrolled):
    node = CertificateAuthority.create("jakarta").enrol(NODES[0], Role.NODE)
    (enrolled / "node.pem").write_bytes(node.certificate.pem)
    assert "not issued by this federation's authority" in central("helper", "approve", "node.pem", status=9)
    (enrolled / "node.pem").write_text("junk")
    assert "no certificate" in central("helper", "approve", "node.pem", status=3)


def test_revoked_certificates_are_taken_over_from_the_authority_s_own_list(enrolled):
    serials = {7: datetime.now(UTC), 2**150: datetime.now(UTC)}
    (enrolled / "crl.pem").write_bytes(authority(enrolled).broker_revocation_list(serials))
    assert "2 certificates" in central("helper", "revoke", "crl.pem")
    records = HelperRecords(HelperConfig.load(Path("helper.toml")).records)
    assert records.revoked() == {7, 2**150}
    records.close()


def test_a_revocation_list_of_another_authority_is_not(enrolled):
    theirs = CertificateAuthority.create("jakarta").broker_revocation_list({7: datetime.now(UTC)})
    (enrolled / "crl.pem").write_bytes(theirs)
    assert "not signed by this federation's authority" in central("helper", "revoke", "crl.pem", status=3)
    (enrolled / "crl.pem").write_text("junk")
    assert "no list of revoked certificates" in central("helper", "revoke", "crl.pem", status=3)


def test_a_helper_without_its_certificate_does_not_start(folder):
    assert "enrol this party again" in central("helper", "run", status=9)


def test_another_party_s_keys_do_not_make_a_helper(folder):
    CertificateAuthority.create("jakarta").enrol("leader", Role.LEADER).save(folder / "credentials")
    assert "is of a leader, not of a helper" in central("helper", "run", status=3)


@pytest.mark.parametrize("least", [-1, 0, 1])
def test_a_cohort_of_one_hides_nobody(least, folder):
    (folder / "helper.toml").write_text(f"min_cohort = {least}\n")
    with pytest.raises(BadConfig, match="min_cohort"):
        HelperConfig.load(folder / "helper.toml")


def test_paths_are_beside_the_file_and_a_server_s_database_is_left_as_it_is(folder):
    (folder / "helper.toml").write_text('records = "postgresql://jaga@db/helper"\n')
    loaded = HelperConfig.load(folder / "helper.toml")
    assert loaded.credentials == folder / "credentials"
    assert loaded.records == "postgresql://jaga@db/helper"
