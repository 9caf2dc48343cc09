"""The second organisation sets itself up: its keys are its own, and it decides which nodes count."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aggregator.cli import app
from aggregator.commands.terminal import err, out
from aggregator.config import BadConfig
from aggregator.helper.config import HelperConfig
from privacy.identity.authority import CertificateAuthority, Identity
from privacy.identity.certificates import Role, UntrustedCertificate, node_party

NODES = [node_party(n) for n in (2, 3, 4)]


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


def enrolled(folder):
    centre = folder.parent / "centre"
    central("init", centre, "--federation", "jakarta", "--broker", "mqtts://127.0.0.1:1")
    to = folder / "credentials" / "party.pem"
    words = ("--request", folder / "request.pem", "--out", to, "--config", centre / "central.toml")
    return central("helper", "enroll", *words)


def test_its_keys_are_made_where_it_is_and_only_a_request_leaves(folder):
    output = enrolled(folder)
    identity = Identity.load(folder / "credentials")
    assert (identity.party, identity.certificate.role) == ("helper", Role.HELPER)
    assert identity.certificate.fingerprint in output
    own = (folder / "credentials" / "sealing.key").read_bytes()
    assert own not in [file.read_bytes() for file in (folder.parent / "centre").rglob("*.key")]
    assert oct((folder / "credentials" / "sealing.key").stat().st_mode)[-3:] == "600"


def test_both_sides_see_the_same_fingerprint(tmp_path, monkeypatch):
    made = central("helper", "init", tmp_path / "helper", "--broker", "mqtts://127.0.0.1:1")
    assert made.strip().splitlines()[-1] == enrolled(tmp_path / "helper").split("telepon:")[1].split()[0]


def test_a_helper_is_not_made_over_another(folder):
    assert "choose another folder" in central("helper", "init", folder, "--broker", "mqtts://b", status=3)


def test_nodes_are_approved_listed_and_withdrawn(folder):
    central("helper", "approve", *NODES)
    assert "already" in central("helper", "approve", NODES[0])
    central("helper", "withdraw", NODES[1])
    listed = central("helper", "list")
    assert [node in listed for node in NODES] == [True, False, True]
    assert "needs 3 of them" in listed
    assert "was not approved" in central("helper", "withdraw", NODES[1])


def test_what_is_no_node_is_not_approved_and_nothing_is_changed(folder):
    assert "jaga-central nodes list" in central("helper", "approve", NODES[0], "menteng", status=3)
    assert NODES[0] not in central("helper", "list")


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


def test_a_revocation_list_counts_only_when_its_authority_signed_it():
    ours, theirs = CertificateAuthority.create("jakarta"), CertificateAuthority.create("jakarta")
    serials = {7: datetime.now(UTC), 2**60: datetime.now(UTC)}
    assert ours.anchor.revoked_by(ours.revocation_list(serials)) == {7, 2**60}
    assert ours.anchor.revoked_by(ours.revocation_list({})) == frozenset()
    with pytest.raises(UntrustedCertificate, match="not of this federation's authority"):
        ours.anchor.revoked_by(theirs.revocation_list(serials))
    with pytest.raises(UntrustedCertificate, match="cannot be read"):
        ours.anchor.revoked_by(b"junk")
