"""Exports of the health authority: every key once, hidden among others, signed twice, and never one too early."""

import re
import secrets

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from aggregator.cli import app
from aggregator.config import BadConfig
from aggregator.keys.config import ExportsTable, HealthConfig
from aggregator.keys.exports import Exporter, exporter_of
from aggregator.keys.limits import DAY_S, Limits
from aggregator.keys.records import KEPT_S, KeyRecords, StoredExport
from privacy.boundary import topics
from privacy.boundary.directory import Directory
from privacy.boundary.envelope import Envelope
from privacy.boundary.gate import presence
from privacy.boundary.messages import Case, CaseKey, Keys
from privacy.identity.authority import CertificateAuthority, Identity
from privacy.identity.certificates import Role
from privacy.tokens.export import Authority, KeyStillInUse, Signer, read_export

OURS = CertificateAuthority.create("ours")
HEALTH, NODE = OURS.enrol("health", Role.HEALTH), OURS.enrol("node-00000000000000a7", Role.NODE)
SIGNER = Signer.create("510")
END = int(HEALTH.certificate.not_before.timestamp() // 3600 * 3600) + 3600


def keys(count: int, days_ago: int = 2) -> list[CaseKey]:
    start = (END - days_ago * 86400) // 600 - 144
    return [CaseKey(secrets.token_bytes(16), start, 144, onset % 5) for onset in range(count)]


def exporter(**rules: int) -> Exporter:
    return Exporter(HEALTH, SIGNER, ExportsTable(**rules))


def opened(export: StoredExport) -> Keys:
    """As a node believes it."""
    directory = Directory(NODE)
    here = presence(HEALTH, bytes(16), online=True, software="jaga")
    directory.receive(here.topic, here.payload)
    _, body = directory.receive(topics.keys(export.region, export.batch), export.payload, now=END + 60)
    assert isinstance(body, Keys)
    return body


def read(export: StoredExport):
    return read_export(opened(export).export, SIGNER.authority, region="ID-JK", now=END + 60, exact=True)


@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 10), st.integers(5, 50))
@settings(max_examples=25, deadline=None)
def test_every_key_is_in_one_export_and_none_has_too_few(real, min_keys, padding, max_keys):
    asked = keys(real)
    made = exporter(min_keys=min_keys, padding_range=padding, max_keys=max_keys).make("ID-JK", asked, END - 3600, END)
    found = [key for export in made for key in read(export).keys]
    assert {key.key for key in asked} <= {key.key for key in found}
    assert len({key.key for key in found}) == len(found)
    for export in made:
        count = len(read(export).keys)
        assert count == export.keys
        assert min_keys <= count
        assert len([key for key in read(export).keys if key.key in {one.key for one in asked}]) <= max_keys


def test_made_up_keys_look_like_real_ones():
    asked = keys(3)
    (made,) = exporter(min_keys=50, padding_range=0).make("ID-JK", asked, END - 3600, END)
    alike = {(key.rolling_start, key.rolling_period, key.days_since_onset) for key in asked}
    found = read(made).keys
    assert {(k.rolling_start, k.rolling_period, k.days_since_onset) for k in found} == alike
    assert len({k.report_type for k in found}) == 1
    assert [k.key for k in found] == sorted(k.key for k in found), "the order says nothing"


def test_an_export_names_its_time_and_region_and_no_other_moment():
    (made,) = exporter(min_keys=10).make("ID-JK", keys(1), END - 7200, END)
    export, header = read(made), Envelope.parse(made.payload).header
    assert (export.region, export.starts_at, export.ends_at) == ("ID-JK", END - 7200, END)
    assert (header.created_at, header.expires_at) == (END, END + KEPT_S)
    assert made.batch == f"{END}-1"


@given(st.integers(0, 3 * 144), st.integers(1, 144), st.floats(0, 3 * DAY_S))
@settings(max_examples=30, deadline=None)
def test_no_export_can_hold_a_key_that_somebody_may_still_send(start, period, came_after_s):
    """Whatever was admitted, its export is made at a time when the writer itself would not object."""
    first = END // 600 - 3 * 144 + start
    one = CaseKey(b"k" * 16, first, period, 0)
    release_at = Limits().release_at(one, first * 600 + came_after_s)
    exporter(min_keys=1).make("ID-JK", [one], release_at - 3600, release_at)
    with pytest.raises(KeyStillInUse):
        exporter(min_keys=1).make("ID-JK", [one], 0, (first + period) * 600 + 7199)


# Setting up


@pytest.fixture
def authority(tmp_path):
    """A folder that `keys init` made beside a centre's."""
    run = CliRunner().invoke
    made = run(app, ["init", str(tmp_path / "c"), "--federation", "ours", "--broker", "mqtts://127.0.0.1:1"])
    assert made.exit_code == 0, made.output
    central = str(tmp_path / "c" / "central.toml")
    made = run(app, ["keys", "init", str(tmp_path / "h"), "--config", central], env={"COLUMNS": "300"})
    assert made.exit_code == 0, made.output
    return tmp_path / "h"


def test_a_new_authority_has_its_own_certificate_and_an_export_key_that_fits(authority):
    config = HealthConfig.load(authority / "health.toml")
    identity = Identity.load(config.credentials)
    assert (identity.party, identity.certificate.role) == ("health", Role.HEALTH)
    assert (authority / "export.key").stat().st_mode & 0o777 == 0o600
    made = exporter_of(config, identity)
    public = Authority.of_pem((authority / "export.pem").read_bytes(), "510", "v1")
    assert public.verifies(made.signer.sign(b"contents"), b"contents")


def test_a_second_init_touches_nothing(authority, tmp_path):
    before = (authority / "export.key").read_bytes()
    again = CliRunner().invoke(
        app, ["keys", "init", str(authority), "--config", str(tmp_path / "c" / "central.toml")], env={"COLUMNS": "300"}
    )
    assert again.exit_code == 3
    assert "is there already" in again.output
    assert (authority / "export.key").read_bytes() == before


def test_the_list_shows_what_waits_and_what_was_turned_away_and_no_key(authority):
    records = KeyRecords(HealthConfig.load(authority / "health.toml").records)
    now = END + 10.0
    asked = keys(3)
    asked = [CaseKey(key.key, key.rolling_start - 144 * at, 144, 0) for at, key in enumerate(asked)]
    records.take(b"m" * 16, "node-00000000000000a7", "ID-JK", Case(asked, "1-id"), Limits(), now)
    records.count_refusal("node-00000000000000a8", "wrong signature", now)
    records.close()
    shown = (
        CliRunner()
        .invoke(app, ["keys", "list", "--config", str(authority / "health.toml")], env={"COLUMNS": "200"})
        .output
    )
    assert re.search(r"ID-JK\s+│\s+3\s", shown)
    assert "wrong signature" in shown
    assert not any(key.key.hex() in shown for key in asked)


@pytest.mark.parametrize(
    ("toml", "why"),
    [
        ('[clinics]\n"node-1" = "ID-JK"', "not the name of a node"),
        ('[clinics]\n"node-00000000000000a7" = "a/b"', "region"),
        ("[limits]\nskew_hours = 0", "limits.skew_hours"),
        ("[limits]\nmax_keys = 31", "limits.max_keys"),
        ("[exports]\nmin_keys = 0", "exports.min_keys"),
        ('export_key = "none.key"', "restore its backup"),
        ('credentials = "../c/leader"', "not of a health authority"),
        ("nonsense = 1", "nonsense"),
    ],
)
def test_a_file_that_cannot_be_used_names_what_is_wrong(authority, toml, why):
    head = 'broker = "mqtts://127.0.0.1:1"\n'
    (authority / "health.toml").write_text(head + toml)
    told = CliRunner().invoke(
        app, ["keys", "publish", "--config", str(authority / "health.toml"), "--wait", "0.1"], env={"COLUMNS": "300"}
    )
    assert told.exit_code == 3, told.output
    assert why in told.output


def test_an_export_key_of_another_kind_is_named(authority):
    config = HealthConfig.load(authority / "health.toml")
    config.export_key.write_bytes((config.credentials / "signing.key").read_bytes())
    with pytest.raises(BadConfig, match=r"export\.key.*P-256"):
        exporter_of(config, Identity.load(config.credentials))
