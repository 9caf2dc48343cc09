"""Leaks of many kinds are planted in otherwise honest traffic, and each is caught; honest traffic passes."""

import base64
import gzip
import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import replace

import msgspec
import numpy as np
import pytest
import zstandard
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from privacy.boundary import blob, topics
from privacy.boundary.envelope import CONTEXT, MAGIC, wrap
from privacy.boundary.flower import array_items, enter_run, head_of, set_message_id
from privacy.boundary.messages import (
    EVERYONE,
    Body,
    Claim,
    Encoding,
    Header,
    Kind,
    Presence,
    Refusal,
    Reply,
    Task,
)
from privacy.identity.authority import CertificateAuthority, Identity
from privacy.identity.certificates import Certificate, Role
from simulations.eavesdropper import Capture
from simulations.wirecheck import Leak, WireCheck, WireReport

IDENTIFIERS = [hashlib.sha256(b"rotating %d" % i).digest()[:16] for i in range(20_000)]
PERSON_KEYS = [hashlib.sha256(b"person %d" % i).digest() for i in range(100)]
IDENTIFIER, PERSON_KEY, NAME = IDENTIFIERS[123], PERSON_KEYS[45], "1558"
ZSTD = zstandard.compress(bytes(99) + IDENTIFIER + bytes(99))
RUN, NODE_ID = 0xFEED, 7

AUTHORITY = CertificateAuthority.create("test")
LEADER = AUTHORITY.enrol("leader", Role.LEADER)
NODE = AUTHORITY.enrol(f"node-{NODE_ID:016x}", Role.NODE)
STRANGER = AUTHORITY.enrol(f"node-{666:016x}", Role.NODE)
FOREIGNER = CertificateAuthority.create("test").enrol(NODE.party, Role.NODE)
CHECK = WireCheck([*IDENTIFIERS, *PERSON_KEYS], [LEADER, NODE], names=[NAME, "1560"])


def header(kind: Kind, sender: Identity, recipient: str, **changes) -> Header:
    now = time.time()
    said = Header(
        kind, "test", sender.party, recipient, RUN, os.urandom(16), None, now, now + 60, kind in ("task", "reply")
    )
    return msgspec.structs.replace(said, **changes)


def arrays(*values: np.ndarray) -> ArrayRecord:
    return ArrayRecord({f"layer{i}": Array(value) for i, value in enumerate(values)})


def weights(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(300, 10)).astype(np.float32)


def flower(content: RecordDict | Error, *, to: Message | None = None, group: str = "") -> Message:
    enter_run(RUN, NODE_ID if to else 1)
    if to is not None:
        message = Message(content, reply_to=to)
    else:
        message = Message(content, dst_node_id=NODE_ID, message_type="train", group_id=group)
    set_message_id(message, os.urandom(16).hex())
    return message


def captured(kind: Kind, body: Body, **changes) -> Capture:
    """A message as the broker would pass it on."""
    sender, to, topic = {
        Kind.PRESENCE: (NODE, EVERYONE, topics.presence(NODE.party)),
        Kind.CLAIM: (LEADER, EVERYONE, topics.claim(RUN, "process-1")),
        Kind.TASK: (LEADER, NODE.party, topics.task(NODE.party)),
        Kind.REPLY: (NODE, "leader", topics.reply(NODE.party)),
    }[kind]
    recipient = {NODE.party: NODE.certificate, "leader": LEADER.certificate}.get(to)
    payload = wrap(sender, header(kind, sender, to, **changes), body, recipient)
    return Capture(topic, payload, kind in (Kind.PRESENCE, Kind.CLAIM))


def task(model: list[np.ndarray], config: ConfigRecord | None = None) -> tuple[Message, list[Capture]]:
    """A model in a blob, and the task that refers to it."""
    message = flower(RecordDict({"arrays": arrays(*model), "config": config or ConfigRecord({"server-round": 1})}))
    closed = blob.close(
        LEADER, header(Kind.BLOB, LEADER, EVERYONE), [a.data for _, _, a in array_items(message.content)]
    )
    body = Task(head_of(message), closed.reference, Encoding.EXACT)
    topic = topics.blob(closed.reference.digest)
    return message, [Capture(topic, closed.payload, retained=True), captured(Kind.TASK, body)]


def reply(
    *values: np.ndarray,
    metrics: MetricRecord | None = None,
    config: ConfigRecord | None = None,
    tail: bytes = b"",
    **changes,
) -> Capture:
    asked, _ = task([weights()])
    content = RecordDict(
        {"arrays": arrays(*values), "metrics": metrics or MetricRecord({"loss": 0.5, "num-examples": 32})}
    )
    if config is not None:
        content["config"] = config
    message = flower(content, to=asked)
    packed = [array.data for _, _, array in array_items(message.content)]
    body = Reply(memoryview(head_of(message) + tail), memoryview(b"".join(packed)), [len(data) for data in packed])
    return captured(Kind.REPLY, body, **changes)


def presence(**changes) -> Capture:
    said = {"certificate": NODE.certificate.der, "online": True, "session": os.urandom(16), "software": "jaga 0.1.0"}
    return captured(Kind.PRESENCE, Presence(**(said | changes)))


def honest() -> list[Capture]:
    """One round as it should be."""
    return [
        presence(),
        captured(Kind.CLAIM, Claim("process-1", "centre")),
        *task([weights(), np.arange(3000)])[1],
        reply(weights(1)),
        Capture(topics.claim(RUN, "process-1"), b"", retained=True),
    ]


def examine(*planted: Capture) -> WireReport:
    return CHECK.examine([*honest(), *planted])


def sealed_badly(plain: bytes) -> Capture:
    """A reply sealed and signed as it should be, with any bytes inside."""
    head = msgspec.msgpack.encode(header(Kind.REPLY, NODE, "leader"))
    assert LEADER.certificate.sealing_key is not None
    return signed(NODE, head, LEADER.certificate.sealing_key.seal(plain, info=head), topics.reply(NODE.party))


def signed(sender: Identity, head: bytes, body: bytes, topic: str) -> Capture:
    unsigned = MAGIC + len(head).to_bytes(2, "big") + head + body
    return Capture(topic, unsigned + sender.keys.signing.sign(CONTEXT + hashlib.sha256(unsigned).digest()))


def test_honest_traffic_passes_and_is_counted():
    captures = honest()
    report = CHECK.examine(captures)
    assert report.violations == []
    assert report.passed
    assert report.by_kind == {"presence": 1, "claim": 1, "blob": 1, "task": 1, "reply": 1, "cleared": 1}
    assert (report.payloads, report.opened, report.identifiers) == (6, 3, 20_100)
    assert report.bytes == sum(len(capture.payload) for capture in captures)


def test_a_blob_that_crosses_before_its_task_is_opened_with_the_tasks_key():
    blob_first = task([weights()])[1]
    assert CHECK.examine(blob_first).opened == 2
    assert CHECK.examine(blob_first[::-1]).passed


@pytest.mark.parametrize("refusal", Refusal)
def test_a_refusal_in_fixed_words_passes(refusal):
    assert examine(captured(Kind.REPLY, Reply(refusal=refusal))).passed


@pytest.mark.parametrize("captures", [[], [presence()]])
def test_nothing_heard_and_nothing_looked_for_prove_nothing(captures):
    assert not WireCheck([] if captures else IDENTIFIERS, [LEADER, NODE]).examine(captures).passed


def test_an_iterator_is_refused_because_the_check_needs_two_passes():
    with pytest.raises(TypeError, match="twice"):
        CHECK.examine(iter(honest()))


Plant = Callable[[], Capture | list[Capture]]


def replied(content: RecordDict | Error) -> Reply:
    """A reply without array bytes."""
    return Reply(memoryview(head_of(flower(content, to=task([weights()])[0]))))


METRICS_ONLY = replied(RecordDict({"metrics": MetricRecord({"loss": 1.0})}))
IDENTIFIERS_PLANTED: dict[str, tuple[str, Plant]] = {
    "in array bytes": (
        "raw",
        lambda: reply(np.frombuffer(os.urandom(64) + IDENTIFIER + os.urandom(64), np.uint8)),
    ),
    "in float bytes": (
        "raw",
        lambda: reply(np.frombuffer(os.urandom(3) + IDENTIFIER + os.urandom(1), np.float32)),
    ),
    "one float a byte": ("raw", lambda: reply(np.array([0.5, *IDENTIFIER, 0.5], np.float32))),
    "one integer a byte, in metrics": (
        "raw",
        lambda: reply(weights(), metrics=MetricRecord({"histogram": list(PERSON_KEY)})),
    ),
    "hex in a metric's name": (
        "hex",
        lambda: reply(weights(), metrics=MetricRecord({f"seen-{IDENTIFIER.hex()}": 3})),
    ),
    "upper hex in a string": (
        "hex",
        lambda: reply(weights(), config=ConfigRecord({"note": f"0x{IDENTIFIER.hex().upper()}"})),
    ),
    "base64 in a config value": (
        "base64",
        lambda: reply(weights(), config=ConfigRecord({"note": base64.b64encode(b"ab" + IDENTIFIER + b"c").decode()})),
    ),
    "urlsafe base64 in a config value": (
        "base64",
        lambda: reply(weights(), config=ConfigRecord({"note": base64.urlsafe_b64encode(b"a" + PERSON_KEY).decode()})),
    ),
    "in a zstd-compressed field": (
        "zstd",
        lambda: reply(
            weights(), config=ConfigRecord({"cache": zstandard.compress(bytes(99) + IDENTIFIER + bytes(99))})
        ),
    ),
    "hex in gzip in base64": (
        "hex inside gzip inside base64",
        lambda: reply(
            weights(),
            config=ConfigRecord({"cache": base64.b64encode(gzip.compress(IDENTIFIER.hex().encode())).decode()}),
        ),
    ),
    "from the centre, in a task": (
        "raw",
        lambda: task([weights()], ConfigRecord({"look-for": IDENTIFIER}))[1],
    ),
    "a person's key in a blob": (
        "raw",
        lambda: task([np.frombuffer(os.urandom(100) + PERSON_KEY, np.uint8)])[1],
    ),
    "compressed in a blob": (
        "zstd",
        lambda: task([np.frombuffer(zstandard.compress(bytes(99) + PERSON_KEY + bytes(99)), np.uint8)])[1],
    ),
    "on a retained message": ("base64", lambda: presence(software=base64.b64encode(IDENTIFIER).decode())),
    "as a session number": ("raw", lambda: presence(session=IDENTIFIER)),
    "as a message's id": ("raw", lambda: reply(weights(), message_id=IDENTIFIER)),
    "in the open": ("raw", lambda: Capture("debug/log", b"heard " + IDENTIFIER)),
    "in JSON in the open": ("hex", lambda: Capture("debug/log", b'{"id": "%s"}' % IDENTIFIER.hex().encode(), True)),
    "compressed in the open": ("hex inside gzip", lambda: Capture("x", gzip.compress(IDENTIFIER.hex().encode()))),
    "in a topic": ("hex", lambda: Capture(f"seen/{IDENTIFIER.hex()}", b"")),
    "in a user property": (
        "hex",
        lambda: replace(presence(), properties={"UserProperty": [("who", IDENTIFIER.hex())]}),
    ),
    "in correlation data": ("raw", lambda: replace(presence(), properties={"CorrelationData": IDENTIFIER})),
    "after the Flower message's fields": (
        "raw",
        lambda: reply(weights(), tail=b"\xfa\xff\x01\x10" + IDENTIFIER),
    ),
    "sealed, but no message": ("raw", lambda: sealed_badly(b"\x00" + IDENTIFIER)),
}
"""How each is planted, and the form that the report must name."""


@pytest.mark.parametrize("how", IDENTIFIERS_PLANTED)
def test_an_identifier_is_caught(how):
    form, plant = IDENTIFIERS_PLANTED[how]
    planted = plant()
    report = examine(*(planted if isinstance(planted, list) else [planted]))
    assert not report.passed
    assert form in {violation.form for violation in report.violations if violation.leak is Leak.IDENTIFIER}


@pytest.mark.parametrize("how", IDENTIFIERS_PLANTED)
def test_the_report_does_not_repeat_the_leak(how):
    planted = IDENTIFIERS_PLANTED[how][1]()
    report = examine(*(planted if isinstance(planted, list) else [planted]))
    said = " ".join(map(str, report.violations)).lower()
    for secret in (IDENTIFIER, PERSON_KEY):
        assert secret.hex() not in said
        assert base64.b64encode(secret).decode().lower() not in said


NAMES_PLANTED: dict[str, Plant] = {
    "as a metric's name": lambda: reply(weights(), metrics=MetricRecord({NAME: 3})),
    "as a config value": lambda: reply(weights(), config=ConfigRecord({"who": NAME})),
    "in a list": lambda: reply(weights(), config=ConfigRecord({"who": ["nobody", NAME]})),
    "as an array's name": lambda: captured(Kind.REPLY, replied(RecordDict({NAME: arrays(weights())}))),
    "as a claim's host": lambda: captured(Kind.CLAIM, Claim("process-1", NAME)),
    "as software": lambda: presence(software=NAME),
    "in a topic": lambda: Capture(f"seen/{NAME}", b""),
    "in the open": lambda: Capture("debug", NAME.encode() + b"\n"),
    "in a property": lambda: replace(presence(), properties={"UserProperty": [("who", NAME)]}),
    "as a task's group": lambda: captured(
        Kind.TASK, Task(head_of(flower(RecordDict({"c": ConfigRecord({"a": 1})}), group=NAME)), None, Encoding.EXACT)
    ),
}


@pytest.mark.parametrize("how", NAMES_PLANTED)
def test_a_persons_name_is_caught(how):
    report = examine(NAMES_PLANTED[how]())
    assert Leak.NAME in {violation.leak for violation in report.violations}


def test_a_number_that_happens_to_hold_a_name_is_no_leak():
    metrics = MetricRecord({"num-examples": 1558, "loss": 1558.0})
    assert examine(reply(weights(), metrics=metrics, config=ConfigRecord({"note": "11558 of 15580"}))).passed


def unknown_kind() -> Capture:
    raw = msgspec.to_builtins(header(Kind.REPLY, NODE, "leader"), builtin_types=(bytes,))
    head = msgspec.msgpack.encode(["diary", *raw[1:]])
    return signed(NODE, head, b"dear diary", f"{topics.PREFIX}/diary/{NODE.party}")


def damaged(capture: Capture) -> Capture:
    return replace(capture, payload=capture.payload[:-1] + bytes([capture.payload[-1] ^ 1]))


def named(party: str, other: Identity) -> Certificate:
    """A certificate with other keys than the party of that name has."""
    return replace(other.certificate, party=party)


UNDECLARED_PLANTED: dict[str, tuple[Leak, Plant]] = {
    "plaintext on a topic of its own": (Leak.UNDECLARED, lambda: Capture("debug/log", b"all is well")),
    "plaintext on one of ours": (Leak.UNDECLARED, lambda: Capture(topics.reply(NODE.party), b"all is well")),
    "nothing, on a topic of its own": (Leak.UNDECLARED, lambda: Capture("ping", b"")),
    "nothing, where a reply should be": (Leak.UNDECLARED, lambda: Capture(topics.reply(NODE.party), b"")),
    "a kind that is not declared": (Leak.UNDECLARED, unknown_kind),
    "a kind on another's topic": (Leak.UNDECLARED, lambda: replace(reply(weights()), topic=topics.task(NODE.party))),
    "a party on another's topic": (Leak.UNDECLARED, lambda: replace(presence(), topic=topics.presence("leader"))),
    "a reply that the broker was told to keep": (Leak.UNDECLARED, lambda: replace(reply(weights()), retained=True)),
    "a wrong signature": (Leak.UNDECLARED, lambda: damaged(presence())),
    "a truncated envelope": (Leak.UNDECLARED, lambda: replace(presence(), payload=presence().payload[:40])),
    "a sender nobody knows": (
        Leak.UNDECLARED,
        lambda: Capture(
            topics.reply(STRANGER.party),
            wrap(STRANGER, header(Kind.REPLY, STRANGER, "leader"), METRICS_ONLY, LEADER.certificate),
        ),
    ),
    "a sender that is somebody else": (
        Leak.UNDECLARED,
        lambda: Capture(
            topics.reply(NODE.party),
            wrap(FOREIGNER, header(Kind.REPLY, NODE, "leader"), METRICS_ONLY, LEADER.certificate),
        ),
    ),
    "a node that gives tasks": (
        Leak.UNDECLARED,
        lambda: Capture(
            topics.task(NODE.party),
            wrap(NODE, header(Kind.TASK, NODE, NODE.party), Task(b"", None, Encoding.EXACT), NODE.certificate),
        ),
    ),
    "an error in free text": (Leak.UNDECLARED, lambda: captured(Kind.REPLY, replied(Error(0, "KeyError: somebody")))),
    "another certificate in a presence": (Leak.UNDECLARED, lambda: presence(certificate=b"see you at eight")),
    "bytes between the declared fields": (
        Leak.UNDECLARED,
        lambda: sealed_badly(
            msgspec.msgpack.encode(msgspec.to_builtins(METRICS_ONLY, builtin_types=(bytes,)) | {"extra": 1})
        ),
    ),
    "a field said twice": (
        Leak.UNDECLARED,
        lambda: sealed_badly(b"\x86\xa6flower\xc4\x05hello" + msgspec.msgpack.encode(METRICS_ONLY)[1:]),
    ),
    "bytes after the arrays": (
        Leak.UNDECLARED,
        lambda: captured(Kind.REPLY, msgspec.structs.replace(METRICS_ONLY, arrays=memoryview(b"more than said"))),
    ),
    "a refusal with something to it": (
        Leak.UNDECLARED,
        lambda: captured(Kind.REPLY, msgspec.structs.replace(METRICS_ONLY, refusal=Refusal.BAD_TASK)),
    ),
    "a property that is not declared": (
        Leak.UNDECLARED,
        lambda: replace(presence(), properties={"ContentType": "text/plain", "MessageExpiryInterval": 60}),
    ),
    "sealed to somebody else": (
        Leak.UNOPENED,
        lambda: Capture(
            topics.reply(NODE.party),
            wrap(NODE, header(Kind.REPLY, NODE, "leader"), METRICS_ONLY, named("leader", STRANGER)),
        ),
    ),
    "a blob that no task refers to": (Leak.UNOPENED, lambda: task([weights(9)])[1][0]),
}


@pytest.mark.parametrize("how", UNDECLARED_PLANTED)
def test_what_is_not_declared_or_cannot_be_opened_is_caught(how):
    leak, plant = UNDECLARED_PLANTED[how]
    report = examine(plant())
    assert {violation.leak for violation in report.violations} == {leak}
    assert not report.passed


def test_the_same_violation_many_times_is_one_line_with_a_count():
    report = examine(*[Capture("debug/log", b"all is well")] * 5)
    (violation,) = report.violations
    assert (violation.topic, violation.times) == ("debug/log", 5)
    assert str(violation) == "debug/log: not a declared message (malformed) so that nobody can vouch for it, 5 x"


def test_a_blob_whose_task_was_missed_can_be_vouched_for_with_its_reference():
    message = flower(RecordDict({"arrays": arrays(weights())}))
    data = [array.data for _, _, array in array_items(message.content)]
    closed = blob.close(LEADER, header(Kind.BLOB, LEADER, EVERYONE), data)
    capture = Capture(topics.blob(closed.reference.digest), closed.payload, retained=True)
    assert not CHECK.examine([capture]).passed
    assert WireCheck(IDENTIFIERS, [LEADER], references=[closed.reference]).examine([capture]).passed


@given(st.binary(max_size=2000), st.text(max_size=30))
def test_random_bytes_are_never_taken_for_an_identifier(payload, topic):
    report = CHECK.examine([Capture(topic, payload), Capture(topics.reply(NODE.party), payload), sealed_badly(payload)])
    assert Leak.IDENTIFIER not in {violation.leak for violation in report.violations}


@given(st.binary(max_size=300) | st.binary(max_size=40).map(lambda junk: bytes(METRICS_ONLY.flower)[:-20] + junk))
def test_a_flower_message_that_is_none_is_caught_and_breaks_nothing(junk):
    report = CHECK.examine([captured(Kind.REPLY, Reply(memoryview(junk)))])
    assert {violation.leak for violation in report.violations} <= {Leak.UNDECLARED}
    assert report.passed is (report.by_kind == {"reply": 1})


@given(st.binary(max_size=60))
def test_a_header_that_is_none_is_caught_and_breaks_nothing(junk):
    report = CHECK.examine([signed(NODE, junk, b"", topics.reply(NODE.party))])
    assert {violation.leak for violation in report.violations} == {Leak.UNDECLARED}


def test_a_list_of_revoked_certificates_is_a_declared_message_and_a_forged_one_is_not():
    topic = topics.revocations("leader")
    own, theirs = AUTHORITY.revocation_list().der, CertificateAuthority.create("test").revocation_list().der
    in_envelope = captured(Kind.CLAIM, Claim("process-1", "centre")).payload
    assert examine(Capture(topic, own, retained=True), Capture(topic, b"", retained=True)).passed
    for capture in (
        Capture(topic, theirs, retained=True),
        Capture(topic, own + b"a record", retained=True),
        Capture(topics.revocations(STRANGER.party), own, retained=True),
        Capture(topic, bytes(in_envelope), retained=True),
    ):
        assert [one.leak for one in examine(capture).violations] == [Leak.UNDECLARED]


def test_an_envelope_that_calls_itself_a_list_of_revoked_certificates_is_none():
    claim = captured(Kind.CLAIM, Claim("process-1", "centre"))
    named = claim.payload.replace(b"\xa5claim", b"\xabrevocations")
    assert [one.leak for one in examine(replace(claim, payload=named)).violations] == [Leak.UNDECLARED]
