"""The wire check knows cases and diagnosis keys, and lets nothing hide in them."""

import os
import time
from dataclasses import replace

import pytest

from privacy.boundary import topics
from privacy.boundary.envelope import wrap
from privacy.boundary.messages import EVERYONE, Case, CaseKey, Header, Keys, Kind
from privacy.identity.authority import CertificateAuthority
from privacy.identity.certificates import Role
from privacy.tokens.archive import pack
from simulations.eavesdropper import Capture
from simulations.wirecheck import Leak, WireCheck, WireReport

OURS = CertificateAuthority.create("test")
CLINIC, HEALTH = OURS.enrol("node-0000000000000007", Role.NODE), OURS.enrol("health", Role.HEALTH)
IDENTIFIER = os.urandom(16)
CHECK = WireCheck([IDENTIFIER], [CLINIC, HEALTH], names=["tag-07"])


def case(*keys: bytes, consent: str = "1-id") -> Capture:
    body = Case([CaseKey(key, 144 * day, 144, 0) for day, key in enumerate(keys)], consent)
    payload = wrap(CLINIC, header(Kind.CASE, CLINIC.party, "health", sealed=True), body, HEALTH.certificate)
    return Capture(topics.case(CLINIC.party), bytes(payload))


def batch(export: bytes) -> Capture:
    payload = wrap(HEALTH, header(Kind.KEYS, "health", EVERYONE), Keys("ID-JK", "1-1", export))
    return Capture(topics.keys("ID-JK", "1-1"), bytes(payload), retained=True)


def header(kind: Kind, sender: str, recipient: str, *, sealed: bool = False) -> Header:
    now = time.time()
    return Header(kind, "test", sender, recipient, 0, os.urandom(16), None, now, now + 60, sealed)


def examine(*captures: Capture) -> WireReport:
    return CHECK.examine(captures)


def test_a_case_and_its_keys_pass_and_are_counted():
    report = examine(case(os.urandom(16), os.urandom(16)), batch(pack(os.urandom(400), b"signatures")))
    assert report.passed, report.violations
    assert report.by_kind == {"case": 1, "keys": 1}
    assert report.opened == 1


def test_a_batch_that_is_taken_back_passes():
    cleared = Capture(topics.keys("ID-JK", "1-1"), b"", retained=True)
    assert examine(case(os.urandom(16)), cleared).passed


@pytest.mark.parametrize(
    ("capture", "leak"),
    [
        (case(os.urandom(16), IDENTIFIER), Leak.IDENTIFIER),
        (case(os.urandom(16), consent="tag-07"), Leak.NAME),
        (batch(pack(os.urandom(40) + IDENTIFIER, b"signatures")), Leak.IDENTIFIER),
        (replace(case(os.urandom(16)), retained=True), Leak.UNDECLARED),
        (replace(case(os.urandom(16)), topic=topics.case("node-0000000000000008")), Leak.UNDECLARED),
        (replace(batch(b"PK"), topic=topics.keys("ID-JB", "1-1")), Leak.UNDECLARED),
        (replace(batch(b"PK"), topic=topics.keys("ID-JK", "tag-07")), Leak.NAME),
        (replace(batch(b"PK"), topic=topics.keys("ID-JK", "2-1")), Leak.UNDECLARED),
    ],
    ids=range(8),
)
def test_what_hides_there_is_caught(capture, leak):
    report = examine(case(os.urandom(16)), capture)
    assert leak in {violation.leak for violation in report.violations}
