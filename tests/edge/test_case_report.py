"""A clinic reports a case: these keys, this consent, and nothing else."""

import time

import pytest
from typer.testing import CliRunner

from edge.cli import app
from edge.store.cases import Cases
from edge.store.connection import Connection
from edge.store.database import Database
from edge.store.meta import Meta
from edge.store.outbox import Outbox
from edge.store.tags import Tag, Tags
from edge.tracing.report import HEALTH_CERTIFICATE, BadReport, case_keys, consent_texts
from privacy.boundary.audit import AuditLog
from privacy.boundary.envelope import Envelope
from privacy.boundary.messages import Case
from privacy.identity.authority import CertificateAuthority
from privacy.identity.certificates import Role
from privacy.tokens.tags import exposure_key

OURS = CertificateAuthority.create("ours")
PARTY = "node-00000000000000a7"
CLINIC, HEALTH = OURS.enrol(PARTY, Role.NODE), OURS.enrol("health", Role.HEALTH)
DAY_S = 86400
NOW = 20_000 * DAY_S + 12 * 3600
SECRET = b"t" * 32
TAG = Tag("tag-07", SECRET, 0.0)


# Which keys


def test_keys_are_those_of_the_last_14_days_todays_included():
    keys = case_keys(TAG, 19_995, NOW)
    assert [key.rolling_start // 144 for key in keys] == list(range(19_987, 20_001))
    assert [key.days_since_onset for key in keys] == list(range(-8, 6))
    assert all(key.key == exposure_key(SECRET, key.rolling_start // 144).key for key in keys)


def test_no_key_is_from_before_the_tag_was_handed_out():
    assert len(case_keys(Tag("tag-07", SECRET, NOW - 3 * DAY_S), 19_995, NOW)) == 4


def test_keys_too_far_from_the_onset_stay_here():
    days = [key.days_since_onset for key in case_keys(TAG, 19_980, NOW)]
    assert days == list(range(7, 15))
    with pytest.raises(BadReport, match="within 14 days"):
        case_keys(TAG, 19_970, NOW)


def test_an_onset_in_the_future_is_a_slip():
    with pytest.raises(BadReport, match="in the future"):
        case_keys(TAG, 20_001, NOW)


def test_the_consent_is_there_in_both_languages():
    texts = consent_texts("1-id")
    assert list(texts) == ["1-en", "1-id"]
    assert "voluntary" in texts["1-en"]
    assert "sukarela" in texts["1-id"]
    with pytest.raises(BadReport, match="choose 1-en, 1-id"):
        consent_texts("2-id")


# The command


@pytest.fixture
def node(tmp_path, database: Database, connection: Connection):
    """A clinic's folder, with a tag, which has heard of the health authority."""
    CLINIC.save(tmp_path / "credentials")
    (tmp_path / "store.key").write_text(database.key.reveal().hex())
    (tmp_path / "node.toml").write_text('name = "a clinic"\n')
    Tags(connection).add("tag-07", time.time() - 30 * DAY_S, SECRET)
    Meta(connection).set(HEALTH_CERTIFICATE, HEALTH.certificate.der)
    return tmp_path / "node.toml"


def report(node, *more: str, answer: str = "yes\n", **options: str):
    onset = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 2 * DAY_S))
    given = {"tag": "tag-07", "onset": onset, "consent": "1-id", "witness": "bu-ani"} | options
    arguments = [part for name, value in given.items() for part in (f"--{name}", value)]
    return CliRunner().invoke(app, ["report-case", str(node), *arguments, *more], input=answer, env={"COLUMNS": "200"})


def waiting(connection: Connection) -> list:
    return list(Outbox(connection).pending(time.time()))


def test_what_goes_out_are_the_keys_and_the_consents_version_sealed_to_the_authority(node, connection):
    done = report(node)
    assert done.exit_code == 0, done.output
    (item,) = waiting(connection)
    assert item.topic == f"jaga/1/case/{PARTY}"
    envelope = Envelope.parse(item.payload)
    envelope.verify(CLINIC.certificate)
    case = envelope.open(HEALTH.keys)
    today = int(time.time() // DAY_S)
    onset = int((time.time() - 2 * DAY_S) // DAY_S)
    assert case == Case(case_keys(Tags(connection).get("tag-07"), onset, time.time()), "1-id")
    assert len(case.keys) == 14
    assert case.keys[-1].rolling_start // 144 == today
    for secret in (b"tag-07", b"a clinic", b"bu-ani", SECRET):
        assert secret not in bytes(item.payload)


def test_the_texts_and_what_goes_out_are_shown_and_no_key_is(node, connection):
    output = report(node).output
    assert "It is voluntary" in output
    assert "Persetujuan ini sukarela" in output
    assert output.count("16 bytes") == 14
    (row,) = AuditLog(connection).rows()
    assert row.sha256.hex() in output
    for key in case_keys(Tags(connection).get("tag-07"), int((time.time() - 2 * DAY_S) // DAY_S), time.time()):
        assert key.key.hex() not in output


def test_the_consent_is_recorded_with_its_witness_and_without_the_persons_tag(node, connection):
    report(node, witness=" bu-ani ")
    (case,) = Cases(connection).all()
    assert (case.consent, case.witness, case.key_count) == ("1-id", "bu-ani", 14)
    assert waiting(connection)[0].message_id == case.message_id


@pytest.mark.parametrize("answer", ["no\n", "\n", "y\n", "yes please\n", "tidak\n"])
def test_anything_but_an_explicit_yes_sends_nothing_and_records_nothing(node, connection, answer):
    done = report(node, answer=answer)
    assert done.exit_code == 1
    assert "Nothing was sent" in done.output
    assert (waiting(connection), Cases(connection).all(), AuditLog(connection).rows()) == ([], [], [])


@pytest.mark.parametrize("answer", ["yes\n", "ya\n", "YA\n"])
def test_yes_is_said_in_either_language(node, connection, answer):
    assert report(node, answer=answer).exit_code == 0


def test_a_consent_given_before_is_not_asked_for_again(node, connection):
    assert report(node, "--consent-given", answer="").exit_code == 0
    assert len(waiting(connection)) == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"tag": "tag-70"}, "there is no tag 'tag-70'"),
        ({"consent": "9-id"}, "choose 1-en, 1-id"),
        ({"onset": "2999-01-01"}, "in the future"),
        ({"onset": "2020-01-01"}, "no key of the last 14 days"),
        ({"witness": "  "}, "name the witness"),
        ({"onset": "yesterday"}, "yesterday"),
    ],
)
def test_a_slip_is_named_and_nothing_is_sent(node, connection, options, says):
    done = report(node, **options)
    assert done.exit_code == 2
    assert says in done.output.replace("\n", " ")
    assert waiting(connection) == []


def test_a_node_that_has_not_heard_of_the_authority_says_what_to_do(node, connection):
    connection.execute("DELETE FROM meta WHERE name = ?", (HEALTH_CERTIFICATE,))
    done = report(node)
    assert done.exit_code == 2
    assert "let this node run" in done.output.replace("\n", " ")
    stranger = CertificateAuthority.create("ours").enrol("health", Role.HEALTH)
    Meta(connection).set(HEALTH_CERTIFICATE, stranger.certificate.der)
    assert "good no longer" in report(node).output.replace("\n", " ")
    assert waiting(connection) == []


def test_a_crash_between_consent_and_queue_leaves_neither(node, connection, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Outbox, "put", full)
    assert report(node).exit_code != 0
    assert (Cases(connection).all(), AuditLog(connection).rows()) == ([], [])
