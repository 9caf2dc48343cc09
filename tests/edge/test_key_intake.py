"""Diagnosis keys at a node's door: what is wrong is named and counted, what is here stays, the next is looked at."""

import secrets

import pytest
from structlog.testing import capture_logs

from edge.config import BadConfig, TracingTable
from edge.store.key_batches import BatchReceipt, KeyBatches
from edge.tracing.intake import KeyIntake, Refused
from privacy.boundary import topics
from privacy.boundary.directory import Directory
from privacy.boundary.envelope import Reason, Rejected, wrap
from privacy.boundary.gate import presence
from privacy.boundary.messages import EVERYONE, Header, Keys, Kind
from privacy.boundary.wire import Delivery
from privacy.identity.authority import CertificateAuthority
from privacy.identity.certificates import Role
from privacy.tokens.export import DiagnosisKeys, ExportReason, Signer, write_export
from privacy.tokens.gaen import INTERVAL_S, TemporaryExposureKey

OURS = CertificateAuthority.create("ours")
NODE, HEALTH, LEADER = (
    OURS.enrol(party, role)
    for party, role in (("node-00000000000000a7", Role.NODE), ("health", Role.HEALTH), ("leader", Role.LEADER))
)
SIGNER, OTHER_SIGNER, STRANGER = Signer.create("510"), Signer.create("510"), Signer.create("999")
NOW = int(HEALTH.certificate.not_before.timestamp() + 3600)
END = NOW // 3600 * 3600
DAY_S = 86400


def export(*, region: str = "ID-JK", ends_at: int = END, signer: Signer = SIGNER) -> bytes:
    keys = tuple(
        TemporaryExposureKey(secrets.token_bytes(16), (ends_at - 3 * DAY_S) // INTERVAL_S, days_since_onset=0)
        for _ in range(5)
    )
    return write_export(DiagnosisKeys(region, ends_at - 4 * 3600, ends_at, keys), signer)


def delivery(
    file: bytes,
    batch: str = f"{END}-1",
    *,
    region: str = "ID-JK",
    by=HEALTH,
    created_at: int = END,
    lives_s: int = 14 * DAY_S,
) -> Delivery:
    header = Header(
        Kind.KEYS,
        "ours",
        by.party,
        EVERYONE,
        0,
        secrets.token_bytes(16),
        None,
        float(created_at),
        float(created_at + lives_s),
        False,
    )
    payload = bytes(wrap(by, header, Keys(region, batch, file)))
    return Delivery(topics.keys(region, batch), memoryview(payload), True)


@pytest.fixture
def directory() -> Directory:
    made = Directory(NODE)
    for identity in (HEALTH, LEADER):
        here = presence(identity, bytes(16), online=True, software="jaga")
        made.receive(here.topic, here.payload)
    return made


@pytest.fixture
def intake() -> KeyIntake:
    return KeyIntake("ID-JK", SIGNER.authority, 100_000, lambda: float(NOW))


def test_a_batch_that_is_right_is_kept(intake, directory, connection):
    assert intake.receive(delivery(export()), directory, connection) is BatchReceipt.NEW
    assert KeyBatches(connection).waiting() == 1
    assert not intake.refused


def test_one_that_comes_again_is_recognised_without_a_word(intake, directory, connection):
    file = export()
    intake.receive(delivery(file), directory, connection)
    assert intake.receive(delivery(file), directory, connection) is BatchReceipt.KNOWN
    assert KeyBatches(connection).waiting() == 1
    assert not intake.refused


def damaged(file: bytes) -> bytes:
    changed = bytearray(file)
    changed[200] ^= 1
    return bytes(changed)


def forged() -> Delivery:
    good = delivery(export())
    payload = bytearray(good.payload)
    payload[-1] ^= 1
    return Delivery(good.topic, memoryview(payload), True)


def elsewhere() -> Delivery:
    return Delivery(topics.keys("ID-JK", "7-7"), delivery(export()).payload, True)


WRONG = {
    "too large": (lambda: delivery(export() + bytes(100_000)), Refused.TOO_LARGE),
    "an envelope that was changed": (forged, Reason.BAD_SIGNATURE),
    "on another batch's topic": (elsewhere, Reason.WRONG_TOPIC),
    "by the leader, who is no health authority": (lambda: delivery(export(), by=LEADER), Reason.NOT_ENTITLED),
    "an envelope that expired": (
        lambda: delivery(export(), created_at=END - 20 * DAY_S, lives_s=14 * DAY_S),
        Reason.EXPIRED,
    ),
    "no export at all": (lambda: delivery(b"PK\x03\x04 nonsense"), ExportReason.NO_ARCHIVE),
    "an export that ended long ago, in a new envelope": (
        lambda: delivery(export(ends_at=END - 15 * DAY_S)),
        ExportReason.EXPIRED,
    ),
    "an export from the future": (lambda: delivery(export(ends_at=END + DAY_S)), ExportReason.NOT_YET),
    "an export for another region, under ours": (lambda: delivery(export(region="ID-JB")), ExportReason.WRONG_REGION),
    "signed by nobody we know": (lambda: delivery(export(signer=STRANGER)), ExportReason.WRONG_KEY),
    "signed with another key of that name": (lambda: delivery(export(signer=OTHER_SIGNER)), ExportReason.BAD_SIGNATURE),
    "an export that was changed": (lambda: delivery(damaged(export())), None),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_one_line_and_a_count_and_nothing_is_lost(what, intake, directory, connection):
    make, reason = WRONG[what]
    intake.receive(delivery(export(), f"{END}-9"), directory, connection)
    with capture_logs() as lines:
        assert intake.receive(make(), directory, connection) is None
    (line,) = lines
    assert line["event"] == "diagnosis keys turned away"
    assert line["log_level"] == "warning"
    assert line["of_this_kind"] == 1
    if reason is not None:
        assert line["reason"] == reason.value
        assert intake.refused == {reason.value: 1}
    assert KeyBatches(connection).waiting() == 1, "the batch before is there still"
    assert intake.receive(delivery(export()), directory, connection) is BatchReceipt.NEW, "and the next is taken"


def test_an_export_that_was_recorded_and_comes_under_another_name_is_a_replay(intake, directory, connection):
    file = export()
    intake.receive(delivery(file, "1-1"), directory, connection)
    assert intake.receive(delivery(file, "2-1"), directory, connection) is None
    assert intake.receive(delivery(export(), "1-1"), directory, connection) is None
    assert intake.refused == {Refused.REPLAYED.value: 1, Refused.REPLACED.value: 1}
    assert KeyBatches(connection).waiting() == 1


def test_an_authority_that_has_not_presented_itself_is_waited_for_by_the_caller(intake, connection):
    with pytest.raises(Rejected, match="stranger"):
        intake.receive(delivery(export()), Directory(NODE), connection)
    assert not intake.refused


def test_a_batch_that_is_taken_back_changes_nothing(intake, directory, connection):
    intake.receive(delivery(export()), directory, connection)
    cleared = Delivery(topics.keys("ID-JK", f"{END}-1"), memoryview(b""), False)
    assert intake.receive(cleared, directory, connection) is None
    assert KeyBatches(connection).waiting() == 1
    assert not intake.refused


# Configuration


def test_a_node_without_a_region_takes_no_keys():
    assert KeyIntake.of(TracingTable()) is None


def test_a_key_of_the_wrong_kind_is_named_with_its_file(tmp_path):
    file = tmp_path / "export.pem"
    for content in (None, b"nothing", HEALTH.certificate.pem):
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(BadConfig, match=r"export\.pem: no key of a health authority"):
            KeyIntake.of(TracingTable(region="ID-JK", authority_key=file))


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({"region": "ID-JK"}, "come together"),
        ({"authority_key": "x"}, "come together"),
        ({"region": "a/b", "authority_key": "x"}, "pattern"),
        ({"webhook": "http://8.8.8.8/", "webhook_secret": "s"}, "not on the site's own network"),
        ({"webhook": "http://10.0.0.1/"}, "needs webhook_secret"),
        ({"attenuation_db": (60.0, 50.0, 70.0)}, "do not rise"),
        ({"weights": (0.5, 1.0, 0.5, 0.0)}, "do not rise with attenuation"),
        ({"weights": (2.0, 1.0, 0.5, 0.0)}, r"within 0\.\.1"),
        ({"infectiousness": (0.3, 3.0)}, r"2\.5"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(table, why):
    with pytest.raises(ValueError, match=why):
        TracingTable(**table)
