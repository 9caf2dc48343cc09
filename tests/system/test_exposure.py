"""From a clinic's report to a school's alert, over a real broker; and nothing of the match crosses it."""

import hmac
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from outbreak import CASE_LABEL, DAY_S, PUPIL, ROOM, SCHOOL, Outbreak
from waiting import wait_until

from aggregator.keys.exports import Exporter
from edge.store.exposures import SELF
from privacy.boundary import topics
from privacy.boundary.messages import CaseKey
from privacy.identity.authority import Identity
from privacy.tokens.archive import pack
from privacy.tokens.export import DiagnosisKeys, Signer, read_export, write_export
from privacy.tokens.gaen import TemporaryExposureKey
from privacy.tokens.tags import exposure_key, identifiers
from simulations.broker import mosquitto_program
from simulations.eavesdropper import Eavesdropper
from simulations.needles import Needles
from simulations.wirecheck import WireCheck

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(mosquitto_program() is None, reason="Mosquitto is not installed"),
]


@pytest.fixture
def outbreak(federation, tmp_path) -> Iterator[Outbreak]:
    made = Outbreak(federation, tmp_path)
    made.fill()
    try:
        yield made
    finally:
        made.close()


def found(outbreak: Outbreak) -> list[tuple]:
    return [(outbreak.day, SELF, ROOM, 40.0, False), (outbreak.day, PUPIL, ROOM, 40.0, False)]


def test_a_reported_case_alerts_a_school_and_nothing_of_the_match_crosses_the_broker(outbreak, tmp_path):
    with Eavesdropper(outbreak.broker.url, tmp_path / "observer", tmp_path / "heard") as spy:
        server = outbreak.authority()
        outbreak.clinic.start()
        outbreak.school.start()
        wait_until(lambda: "connected" in outbreak.clinic.log() and "connected" in outbreak.school.log())

        # The clinic's node heard of the authority, so a report can be sealed to it while it runs.
        wait_until(lambda: _heard_of_health(outbreak), 30)
        output = outbreak.report()
        assert output.count("16 bytes") == 14
        wait_until(lambda: len(outbreak.records.pending()) == 14, 30)

        # Today's key waits until two hours after its end; the others go out with the next window.
        wait_until(server.publish, 30)
        assert server.flush(20)
        today = exposure_key(outbreak.secret, outbreak.day + 2)
        assert [pending.key.key for pending in outbreak.records.pending()] == [today.key]
        (batch,) = outbreak.records.exports()
        assert 100 <= batch.keys <= 200

        wait_until(lambda: len(outbreak.server.bodies) == 2, 60)
        wait_until(lambda: outbreak.exposures() == found(outbreak), 20)
        spy.settle()
        heard_before_restart = len(spy.recording)

        # The same batch again, as the broker delivers it after every connection.
        outbreak.school.stop()
        outbreak.school.start()
        wait_until(lambda: outbreak.school.log().count('"connected"') >= 2)
        wait_until(lambda: outbreak.school.log().count("node starts") == 2)
        server.publish()
        spy.wait_heard(heard_before_restart + 2)
        spy.settle()
        time.sleep(2)
        assert outbreak.exposures() == found(outbreak)
        assert len(outbreak.server.bodies) == 2
        assert outbreak.school.log().count("tracing matched") == 1

    _check_alerts(outbreak)
    _check_export(outbreak, batch.payload, today)
    _check_wire(outbreak, spy)


def _heard_of_health(outbreak: Outbreak) -> bool:
    store = outbreak.store(outbreak.clinic)
    try:
        return store.execute("SELECT 1 FROM meta WHERE name = 'health authority certificate'").fetchone() is not None
    finally:
        store.close()


def _check_alerts(outbreak: Outbreak) -> None:
    day = time.strftime("%Y-%m-%d", time.gmtime(outbreak.day * DAY_S))
    said = [json.loads(body) for body in outbreak.server.bodies]
    expected = {"day": day, "room": ROOM, "minutes": 40.0, "level": "alert"}
    assert sorted(said, key=lambda one: one["subject"]) == [
        {**expected, "subject": SELF},
        {**expected, "subject": PUPIL},
    ]
    for body, signature in zip(outbreak.server.bodies, outbreak.server.signatures, strict=True):
        at = signature.removeprefix("t=").partition(",")[0]
        right = hmac.new(outbreak.hook_secret.encode(), f"{at}.".encode() + body, "sha256").hexdigest()
        assert signature == f"t={at},v1={right}"


def _check_export(outbreak: Outbreak, payload: bytes, today: TemporaryExposureKey) -> None:
    """What the nodes got holds thirteen days of the case, and not the day that is not over."""
    from privacy.boundary.envelope import Envelope

    body = Envelope.parse(payload).open(outbreak.health.keys)
    export = read_export(body.export, outbreak.signer.authority, region="ID-JK", now=time.time())
    published = {key.key for key in export.keys}
    real = {exposure_key(outbreak.secret, outbreak.day + 2 - ago).key for ago in range(1, 14)}
    assert real <= published
    assert today.key not in published


def _check_wire(outbreak: Outbreak, spy: Eavesdropper) -> None:
    """Everything that crossed the broker is declared, and says nothing of who was near whom, or that anybody was."""
    shown = [
        one
        for secret in (outbreak.secret, outbreak.pupil)
        for day in range(outbreak.day - 12, outbreak.day + 3)
        for one in identifiers(secret, day)
    ]
    labels = [text.encode() for text in (CASE_LABEL, PUPIL, ROOM)]
    keys_of_the_pupil = [exposure_key(outbreak.pupil, outbreak.day + n).key for n in range(-12, 3)]
    needles = [*shown, *labels, *keys_of_the_pupil, outbreak.secret, outbreak.pupil, *outbreak.server.bodies]
    parties = [outbreak.health, *(Identity.load(n.folder / "credentials") for n in (outbreak.clinic, outbreak.school))]
    report = WireCheck(needles, parties, names=[CASE_LABEL, PUPIL, ROOM, "bu-ani", "a site"]).examine(spy.recording)
    assert report.passed, report.violations
    assert {kind for kind, count in report.by_kind.items() if count} == {"presence", "case", "keys"}
    assert report.by_kind["case"] == 1
    # What the school itself said, all of it: that it is there, or that it is not.
    said_by_school = {capture.topic for capture in spy.recording if SCHOOL in capture.topic}
    assert said_by_school == {topics.presence(SCHOOL)}
    raw = b"".join(capture.payload for capture in spy.recording)
    assert not Needles([*labels, *outbreak.server.bodies, b'"minutes"']).search(raw)


WRONG = {
    "unsigned": lambda o: (o.envelope(_unsigned(o.export()), "1-1"), "not signed"),
    "expired": lambda o: (o.envelope(o.export(days_ago=20), "1-1"), "too old"),
    "an expired envelope": (lambda o: (o.envelope(o.export(), "1-1", created_at=time.time() - 15 * DAY_S), "expired")),
    "too large": lambda o: (o.envelope(o.export(count=8000), "1-1"), "larger than this node takes"),
    "for another region": lambda o: (o.envelope(o.export(region="ID-JB"), "1-1"), "for another region"),
    "of another authority": lambda o: (o.envelope(o.export(signer=Signer.create("510")), "1-1"), "wrong signature"),
    "of an authority with another name": (
        lambda o: (o.envelope(o.export(signer=Signer.create("262")), "1-1"), "signed with another key")
    ),
    "noise": lambda o: (os.urandom(300), "malformed"),
}


def _unsigned(export: bytes) -> bytes:
    import io
    import zipfile

    with zipfile.ZipFile(io.BytesIO(export)) as archive:
        return pack(archive.read("export.bin"), b"")


def test_what_is_wrong_with_a_batch_is_a_clear_line_and_costs_nothing(outbreak):
    """One node, one batch after the other: each is turned away by name, and the good one after them alerts as ever."""
    outbreak.authority()
    outbreak.school.start()
    wait_until(lambda: "connected" in outbreak.school.log())
    for what, make in WRONG.items():
        payload, reason = make(outbreak)
        lines = _refusals(outbreak)
        outbreak.publish(payload, "1-1")
        wait_until(lambda lines=lines: len(_refusals(outbreak)) > len(lines), 20)
        assert _refusals(outbreak)[-1]["reason"] == reason, what
    good = outbreak.export()
    outbreak.publish(outbreak.envelope(good, "2-1"), "2-1")
    wait_until(lambda: outbreak.school.log().count("tracing matched") == 1, 30)
    outbreak.publish(outbreak.envelope(good, "3-1"), "3-1")
    wait_until(lambda: _refusals(outbreak)[-1]["reason"].startswith("replay"), 20)
    outbreak.publish(outbreak.envelope(outbreak.export(), "2-1"), "2-1")
    wait_until(lambda: "another export came under this name" in _refusals(outbreak)[-1]["reason"], 20)
    assert (outbreak.exposures(), outbreak.unmatched()) == ([], 0)

    case = TemporaryExposureKey(exposure_key(outbreak.secret, outbreak.day).key, outbreak.day * 144, days_since_onset=0)
    ends_at = int(time.time()) // 3600 * 3600
    batch = write_export(DiagnosisKeys("ID-JK", ends_at - 3600, ends_at, (case,)), outbreak.signer)
    outbreak.publish(outbreak.envelope(batch, "4-1"), "4-1")
    wait_until(lambda: outbreak.exposures() == found(outbreak), 60)
    assert "Traceback" not in outbreak.school.log()


def _refusals(outbreak: Outbreak) -> list[dict]:
    lines = [json.loads(line) for line in outbreak.school.log().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == "diagnosis keys turned away"]


def test_a_tracing_process_that_is_killed_is_started_again_and_nothing_counts_twice(outbreak):
    outbreak.authority()
    case = CaseKey(exposure_key(outbreak.secret, outbreak.day).key, outbreak.day * 144, 144, 0)
    rules = outbreak.config.exports.model_copy(update={"min_keys": 3000})
    ends_at = int(time.time()) // 60 * 60
    (large,) = Exporter(outbreak.health, outbreak.signer, rules).make("ID-JK", [case], ends_at - 60, ends_at)
    outbreak.school.start()
    wait_until(lambda: "connected" in outbreak.school.log())
    outbreak.publish(large.payload, large.batch)
    wait_until(lambda: "edge.tracing" in outbreak.school.children(), 30)
    os.kill(outbreak.school.children()["edge.tracing"], signal.SIGKILL)
    wait_until(lambda: "tracing broke off" in outbreak.school.log(), 20)
    assert outbreak.exposures() == []
    assert outbreak.unmatched() == 1
    wait_until(lambda: outbreak.exposures() == found(outbreak), 60)
    assert outbreak.school.log().count("tracing matched") == 1
    wait_until(lambda: "edge.tracing" not in outbreak.school.children(), 20)


def test_a_batch_that_came_while_the_school_was_off_is_matched_when_it_is_back(outbreak):
    """Retained, and from an authority that is itself away by then."""
    server = outbreak.authority()
    outbreak.clinic.start()
    wait_until(lambda: _heard_of_health(outbreak), 30)
    outbreak.report()
    wait_until(lambda: len(outbreak.records.pending()) == 14, 30)
    wait_until(server.publish, 30)
    assert server.flush(20)
    server.close()
    outbreak.broker.restart()
    outbreak.school.start()
    wait_until(lambda: outbreak.exposures() == found(outbreak), 60)


def test_a_case_that_was_reported_while_the_authority_was_off_is_taken_when_it_is_back(outbreak):
    first = outbreak.authority()
    outbreak.clinic.start()
    wait_until(lambda: _heard_of_health(outbreak), 30)
    first.close()
    outbreak.report()
    store = outbreak.store(outbreak.clinic)
    wait_until(lambda: store.execute("SELECT count(*) FROM outbox").fetchone() == (0,), 20)
    assert outbreak.records.pending() == []
    outbreak.authority()
    wait_until(lambda: len(outbreak.records.pending()) == 14, 30)
    (row,) = outbreak.clinic.audit().rows()
    assert (row.kind, row.recipient) == ("case", "health")


def test_todays_key_is_shown_tomorrow_two_hours_after_its_end(outbreak):
    """The authority's clock is put forward; a node, whose clock is not, calls such a batch what it is."""
    server = outbreak.authority()
    outbreak.clinic.start()
    outbreak.school.start()
    wait_until(lambda: _heard_of_health(outbreak), 30)
    outbreak.report()
    wait_until(lambda: len(outbreak.records.pending()) == 14, 30)
    wait_until(server.publish, 30)
    end_of_today_s = (int(time.time() // DAY_S) + 1) * DAY_S
    outbreak.clock_ahead_s = end_of_today_s + 7190 - time.time()
    assert server.publish() == []
    outbreak.clock_ahead_s = end_of_today_s + 7210 - time.time()
    (late,) = server.publish()
    assert outbreak.records.pending() == []
    wait_until(lambda: any(late.batch in line["topic"] for line in _refusals(outbreak)), 20)
    assert _refusals(outbreak)[-1]["reason"] == "expired"
    assert "good from" in _refusals(outbreak)[-1]["detail"]


def test_a_party_that_is_no_clinic_reports_in_vain(outbreak):
    outbreak.config = outbreak.config.model_copy(update={"clinics": {SCHOOL: "ID-JK"}})
    server = outbreak.authority()
    outbreak.clinic.start()
    wait_until(lambda: _heard_of_health(outbreak), 30)
    outbreak.report()
    wait_until(lambda: server.turned_away["party is not a clinic of this authority"] == 1, 30)
    assert outbreak.records.pending() == []


def test_the_authoritys_own_process_serves_and_stops(outbreak):
    command = [sys.executable, "-c", "from aggregator.cli import main; main()", "--log", "json", "keys"]
    with (outbreak.folder / "serve.log").open("wb") as log:
        process = subprocess.Popen([*command, "serve"], cwd=outbreak.folder / "h", stderr=log)
    try:
        outbreak.clinic.start()
        outbreak.school.start()
        wait_until(lambda: _heard_of_health(outbreak), 60)
        outbreak.report()
        wait_until(lambda: outbreak.exposures() == found(outbreak), 90)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    said = (outbreak.folder / "serve.log").read_text()
    assert "case taken" in said
    assert "diagnosis keys exported" in said
    listed = subprocess.run([*command, "list"], cwd=outbreak.folder / "h", capture_output=True, text=True, check=True)
    assert "ID-JK" in listed.stdout
    once = subprocess.run([*command, "publish"], cwd=outbreak.folder / "h", capture_output=True, text=True, check=False)
    assert once.returncode == 0, once.stderr
    assert "Nothing may be shown yet" in once.stdout


def test_exposures_are_listed_at_the_node_for_people_and_for_machines(outbreak):
    outbreak.authority()
    case = TemporaryExposureKey(exposure_key(outbreak.secret, outbreak.day).key, outbreak.day * 144, days_since_onset=0)
    ends_at = int(time.time()) // 3600 * 3600
    batch = write_export(DiagnosisKeys("ID-JK", ends_at - 3600, ends_at, (case,)), outbreak.signer)
    outbreak.school.start()
    outbreak.publish(outbreak.envelope(batch, "4-1"), "4-1")
    wait_until(lambda: outbreak.exposures() == found(outbreak), 60)
    command = [sys.executable, "-c", "from edge.cli import main; main()", "exposures", "node.toml"]
    options = {"cwd": outbreak.school.folder, "capture_output": True, "text": True}
    people = subprocess.run(command, check=True, **options, env={**os.environ, "COLUMNS": "200"}).stdout
    machines = [
        json.loads(line) for line in subprocess.run([*command, "--json"], check=True, **options).stdout.splitlines()
    ]
    assert "zone / zona" in people
    assert PUPIL in people
    assert [(one["subject"], one["minutes"], one["score"]) for one in machines] == [
        (SELF, 40.0, 40.0),
        (PUPIL, 40.0, 40.0),
    ]
