"""The tracing process, run in this one: what waits is matched once, alerts are told until they are taken."""

import hashlib
import json
import secrets
import sqlite3
import time
from dataclasses import replace

import msgspec
import pytest
from heard_contacts import heard, minutes

from edge.config import NodeConfig
from edge.settings_line import encode
from edge.store.calibration import StoredCorrections
from edge.store.exposures import SELF, Exposures
from edge.store.key_batches import KeyBatches
from edge.store.sightings import Sightings
from edge.store.tags import Tags
from edge.tracing import process as module
from edge.tracing.process import Tracing
from edge.tracing.settings import BadSettings, Settings, read_settings, settings_of
from privacy.tokens.export import DiagnosisKeys, Signer, write_export
from privacy.tokens.gaen import TemporaryExposureKey
from privacy.tokens.tags import exposure_key

SIGNER = Signer.create("510")
TODAY = int(time.time() // 86400)
DAY = TODAY - 2
CASE_SECRET, TAG = b"c" * 32, b"t" * 32


def public_pem() -> bytes:
    from cryptography.hazmat.primitives import serialization

    return SIGNER.authority.public_key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


@pytest.fixture
def settings(database, tmp_path) -> Settings:
    (tmp_path / "export.pem").write_bytes(public_pem())
    (tmp_path / "store.key").write_text(database.key.reveal().hex())
    (tmp_path / "hook.secret").write_text("a secret of sixteen or more")
    (tmp_path / "node.toml").write_text(
        'name = "a school"\n[site]\nroom = "kelas 1"\n[tracing]\nregion = "ID-JK"\nauthority_key = "export.pem"\n'
        'webhook = "http://127.0.0.1:9/"\nwebhook_secret = "hook.secret"\n'
    )
    made = settings_of(NodeConfig.load(tmp_path / "node.toml"), database.key)
    assert made is not None
    return made


def published(*keys: TemporaryExposureKey, signer: Signer = SIGNER, region: str = "ID-JK") -> bytes:
    ends_at = TODAY * 86400
    made_up = [replace(keys[0], key=secrets.token_bytes(16)) for _ in range(20)]
    return write_export(DiagnosisKeys(region, ends_at - 14400, ends_at, (*keys, *made_up)), signer)


def case(onset: int = 0) -> TemporaryExposureKey:
    return replace(exposure_key(CASE_SECRET, DAY), days_since_onset=onset)


def receive(connection, file: bytes, batch: str = "1-1") -> None:
    KeyBatches(connection).receive(
        hashlib.sha256(file).digest(), "ID-JK", batch, 0.0, TODAY * 86400.0, file, time.time()
    )


def run(settings: Settings, clock=time.time) -> list[dict]:
    events: list[dict] = []
    Tracing(settings, events.append, clock).run()
    return events


@pytest.fixture
def contact(connection):
    """The case, and a tag of the site, 40 minutes together two days ago."""
    Tags(connection).add("tag-1", 0.0, TAG)
    for key in (exposure_key(CASE_SECRET, DAY), exposure_key(TAG, DAY)):
        Sightings(connection).add(heard(key, minutes(DAY, 600, 40)), 0.0)


def rows(connection) -> list[tuple]:
    return [
        (e.exposure.day, e.exposure.subject, e.exposure.room, round(e.exposure.minutes, 3), e.alerted_at is not None)
        for e in Exposures(connection).stored()
    ]


FOUND = [(DAY, SELF, "kelas 1", 40.0, True), (DAY, "tag-1", "kelas 1", 40.0, True)]


def test_a_batch_is_matched_scored_and_alerted_once(settings, connection, contact):
    receive(connection, published(case()))
    events = run(settings)
    assert [e["event"] for e in events if e["event"] != "webhook_failed"] == ["matched", "idle"]
    assert events[0]["keys"] == 21
    assert rows(connection) == FOUND
    assert [e["event"] for e in run(settings)] == ["idle"]
    assert rows(connection) == FOUND


def test_events_say_nothing_of_what_was_found(settings, connection, contact):
    receive(connection, published(case()))
    said = json.dumps(run(settings))
    for secret in ("tag-1", "kelas 1", "40", case().key.hex()):
        assert secret not in said.replace('"keys": 21', ""), secret


def test_a_key_that_comes_again_in_another_batch_counts_once(settings, connection, contact):
    receive(connection, published(case()))
    run(settings)
    receive(connection, published(case()), "2-1")
    run(settings)
    assert rows(connection) == FOUND


def test_two_cases_in_two_batches_add_up(settings, connection, contact):
    second = TemporaryExposureKey(b"2" * 16, DAY * 144, days_since_onset=0)
    Sightings(connection).add(heard(second, minutes(DAY, 600, 5)), 0.0)
    for at, key in enumerate((case(), second)):
        receive(connection, published(key), f"{at}-1")
        run(settings)
    assert rows(connection)[0] == (DAY, SELF, "kelas 1", 45.0, True)


def test_too_little_is_kept_and_no_alert(settings, connection, contact):
    receive(connection, published(case(onset=-4)))  # 40 minutes at 30 %
    run(settings)
    assert [row[-1] for row in rows(connection)] == [False, False]
    assert [round(e.exposure.score, 3) for e in Exposures(connection).stored()] == [12, 12]


def test_a_limit_that_was_lowered_alerts_the_next_time(settings, connection, contact):
    receive(connection, published(case(onset=-4)))
    run(settings)
    run(msgspec.structs.replace(settings, alert_minutes=10.0))
    assert [row[-1] for row in rows(connection)] == [True, True]


@pytest.mark.parametrize("step", ["Exposing", "read_export", "Exposures"])
def test_a_crash_at_any_step_leaves_the_batch_to_be_matched_again(step, settings, connection, contact, monkeypatch):
    receive(connection, published(case()))
    real = getattr(module, step)

    def crash(*args: object, **options: object) -> None:
        raise sqlite3.DatabaseError("power cut")

    monkeypatch.setattr(module, step, crash)
    with pytest.raises(sqlite3.DatabaseError):
        run(settings)
    assert KeyBatches(connection).waiting() == 1
    assert connection.execute("SELECT count(*) FROM exposures").fetchone() == (0,)
    monkeypatch.setattr(module, step, real)
    run(settings)
    assert rows(connection) == FOUND


def test_a_batch_whose_authority_is_believed_no_longer_is_let_go_with_a_word(settings, connection, contact):
    receive(connection, published(case(), signer=Signer.create("510")))
    refused, idle = run(settings)
    assert (refused["event"], idle["event"]) == ("refused", "idle")
    assert "wrong signature" in refused["reason"]
    assert KeyBatches(connection).waiting() == 0
    assert rows(connection) == []


def test_an_alert_is_told_again_after_growing_pauses(settings, connection, contact):
    """Nobody listens on that port."""
    receive(connection, published(case()))
    now = time.time()
    failed = [e for e in run(settings, lambda: now) if e["event"] == "webhook_failed"]
    assert [e["in_s"] for e in failed] == [30.0, 30.0]
    assert "127.0.0.1:9" in failed[0]["reason"]
    assert [e["event"] for e in run(settings, lambda: now + 29)] == ["idle"]
    again = [e for e in run(settings, lambda: now + 31) if e["event"] == "webhook_failed"]
    assert [(e["attempts"], e["in_s"]) for e in again] == [(2, 60.0), (2, 60.0)]
    assert all(e.delivered_at is None for e in Exposures(connection).stored())


def test_without_a_server_alerts_wait_for_nobody(settings, connection, contact):
    receive(connection, published(case()))
    assert [e["event"] for e in run(msgspec.structs.replace(settings, webhook=None))] == ["matched", "idle"]
    assert Exposures(connection).next_try_at() is None


def test_settings_go_through_the_pipe_and_wrong_ones_are_named_without_their_value(settings):
    line = encode(settings)
    assert read_settings(line) == settings
    secret = settings.key.reveal().hex()
    with pytest.raises(BadSettings, match="hexadecimal") as why:
        read_settings(line.replace(secret.encode(), secret[:-2].encode()))
    assert secret[:-2] not in str(why.value)
    with pytest.raises(BadSettings, match="alert_minutes"):
        read_settings(line.replace(b'"alert_minutes":15.0', b'"alert_minutes":"soon"'))


def test_an_adapter_that_was_calibrated_counts_by_its_correction(settings, connection, contact):
    """40 minutes at 50 dB; an adapter that hears 30 dB too much makes them 80 dB, which count for nothing."""
    StoredCorrections(connection).set({"hci0": -30.0}, {}, 0.0)
    receive(connection, published(case()))
    run(msgspec.structs.replace(settings, adapters=("hci0",)))
    assert rows(connection) == []
