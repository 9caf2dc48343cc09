"""Envelopes under attack: whatever a hostile wire brings is turned away by name, and never believed.

The hostile envelopes are put together here by the published layout, not by the code under test.
"""

import hashlib
import tracemalloc
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.boundary import topics
from privacy.boundary.blob import close
from privacy.boundary.directory import Directory
from privacy.boundary.envelope import CLOCK_SLACK_S, Envelope, Reason, Rejected, wrap
from privacy.boundary.messages import (
    EVERYONE,
    SEALED,
    BlobReference,
    Case,
    CaseKey,
    Claim,
    Encoding,
    Header,
    Keys,
    Kind,
    Presence,
    Refusal,
    Reply,
    Task,
    size_of,
)
from privacy.identity.authority import CertificateAuthority, Identity
from privacy.identity.certificates import Role
from privacy.identity.keys import PrivateKeys
from privacy.secure_sum.exchange import (
    SEALED_SEED_BYTES,
    SIGNATURE_BYTES,
    Draw,
    DrawRequest,
    DrawShare,
    NodeTerms,
    Part,
    SealedSeed,
    SumRefusal,
    SumRequest,
    SumShare,
)

RUN = 2**64 - 1
OURS, NAMESAKE = CertificateAuthority.create("ours"), CertificateAuthority.create("ours")
NODE_NAME, OTHER_NAME = "node-00000000000000a7", "node-00000000000000a8"
LEADER, NODE, OTHER = (
    OURS.enrol(party, role)
    for party, role in (("leader", Role.LEADER), (NODE_NAME, Role.NODE), (OTHER_NAME, Role.NODE))
)
OBSERVER, HEALTH = OURS.enrol("observer", Role.OBSERVER), OURS.enrol("health", Role.HEALTH)
HELPER = OURS.enrol("helper", Role.HELPER)
NOW = LEADER.certificate.not_before.timestamp() + 3600


def header(kind: Kind, sender: str, recipient: str, **changes) -> Header:
    fields = {
        "kind": kind,
        "federation": "ours",
        "sender": sender,
        "recipient": recipient,
        "run_id": RUN,
        "message_id": b"m" * 16,
        "reply_to": b"t" * 16 if kind is Kind.REPLY else None,
        "created_at": NOW - 1,
        "expires_at": NOW + 60,
        "sealed": kind in SEALED,
    }
    return Header(**(fields | changes))


PRESENCE = Presence(NODE.certificate.der, True, b"s" * 16, "jaga 0.1")
TASK = Task(b"flower", BlobReference(b"d" * 32, b"k" * 32, [3, 2**40]), Encoding.INT8)
REPLY = Reply(memoryview(b"flower"), memoryview(b"abc"), [3], Encoding.INT8)
CLAIM = Claim("instance", "host")
CASE = Case([CaseKey(b"k" * 16, 2_650_000, 144, -2), CaseKey(b"l" * 16, 2_650_144, 1, 14)], "1-id")
KEYS = Keys("ID-JK", "1606176000-1", b"PK export")
SEALED_SEED = SealedSeed(NodeTerms(3, 0, 0), b"s" * SEALED_SEED_BYTES, b"s" * SIGNATURE_BYTES)
SUM_REQUEST = SumRequest(
    1, Part.TRAIN, b"a" * 32, 32, 5, 2, {NODE_NAME: SEALED_SEED, OTHER_NAME: SEALED_SEED}, b"r" * 32, [NODE_NAME]
)
SUM_SHARE = SumShare(b"elements", b"scalars")
DRAWS = (
    DrawRequest(1, Part.TRAIN, b"c" * 32, [NODE_NAME] * 300, 3, 3, 60.0),
    DrawShare(Draw(b"c" * 32, b"n" * 32, 3, 2e9, b"s" * 64)),
    DrawShare(refusal=SumRefusal.NOT_APPROVED, because_of=[NODE_NAME] * 300),
)

MESSAGES = {
    Kind.PRESENCE: (
        topics.presence(NODE_NAME),
        wrap(NODE, header(Kind.PRESENCE, NODE_NAME, EVERYONE), PRESENCE),
    ),
    Kind.TASK: (
        topics.task(NODE_NAME),
        wrap(LEADER, header(Kind.TASK, "leader", NODE_NAME), TASK, NODE.certificate),
    ),
    Kind.REPLY: (
        topics.reply(NODE_NAME),
        wrap(NODE, header(Kind.REPLY, NODE_NAME, "leader"), REPLY, LEADER.certificate),
    ),
    Kind.CLAIM: (
        topics.claim(RUN, "instance"),
        wrap(LEADER, header(Kind.CLAIM, "leader", EVERYONE), CLAIM),
    ),
    Kind.CASE: (
        topics.case(NODE_NAME),
        wrap(NODE, header(Kind.CASE, NODE_NAME, "health"), CASE, HEALTH.certificate),
    ),
    Kind.KEYS: (
        topics.keys("ID-JK", "1606176000-1"),
        wrap(HEALTH, header(Kind.KEYS, "health", EVERYONE), KEYS),
    ),
    Kind.SUM: (
        topics.sum_request("helper"),
        wrap(LEADER, header(Kind.SUM, "leader", "helper"), SUM_REQUEST, HELPER.certificate),
    ),
    Kind.SHARE: (
        topics.sum_share("leader"),
        wrap(HELPER, header(Kind.SHARE, "helper", "leader"), SUM_SHARE, LEADER.certificate),
    ),
}
BODIES = {
    Kind.PRESENCE: PRESENCE,
    Kind.TASK: TASK,
    Kind.REPLY: REPLY,
    Kind.CLAIM: CLAIM,
    Kind.CASE: CASE,
    Kind.KEYS: KEYS,
    Kind.SUM: SUM_REQUEST,
    Kind.SHARE: SUM_SHARE,
}
KINDS = st.sampled_from(sorted(MESSAGES))


def knowing(identity: Identity, *others: Identity) -> Directory:
    """A party's directory, to which others have presented themselves."""
    directory = Directory(identity)
    for other in others:
        body = Presence(other.certificate.der, True, b"s" * 16, "jaga 0.1")
        payload = wrap(other, header(Kind.PRESENCE, other.party, EVERYONE), body)
        directory.receive(topics.presence(other.party), payload, now=NOW)
    return directory


AT_LEADER = knowing(LEADER, NODE, OTHER, OBSERVER, HEALTH, HELPER)
AT_NODE = knowing(NODE, LEADER, OTHER, OBSERVER, HEALTH)
AT_HEALTH = knowing(HEALTH, NODE, OTHER, LEADER, OBSERVER)
AT_HELPER = knowing(HELPER, NODE, OTHER, LEADER, OBSERVER)


def reader(kind: Kind) -> Directory:
    readers = {Kind.TASK: AT_NODE, Kind.KEYS: AT_NODE, Kind.CASE: AT_HEALTH, Kind.SUM: AT_HELPER}
    return readers.get(kind, AT_LEADER)


def reason(topic: str, payload: bytes, directory: Directory, now: float = NOW) -> Reason:
    """Why a payload is turned away; anything else than `Rejected` is a failure."""
    with pytest.raises(Rejected) as turned_away:
        directory.receive(topic, payload, now=now)
    return turned_away.value.reason


def forged(signer: PrivateKeys, head: Header | bytes, body: bytes) -> bytes:
    """An envelope by its published layout, signed, with whatever inside."""
    head = head if isinstance(head, bytes) else msgspec.msgpack.encode(head)
    unsigned = b"JG1" + len(head).to_bytes(2, "big") + head + body
    return unsigned + signer.signing.sign(b"jaga envelope 1\x00" + hashlib.sha256(unsigned).digest())


def forged_reply(plain: bytes, head: Header | None = None) -> bytes:
    """A reply whose sender is certified, and whose contents are hostile."""
    head = head or header(Kind.REPLY, NODE_NAME, "leader")
    info = msgspec.msgpack.encode(head)
    return forged(NODE.keys, info, LEADER.keys.sealing_public.seal(plain, info=info))


# What should arrive, arrives


@pytest.mark.parametrize("kind", list(MESSAGES))
def test_a_message_arrives_as_it_was_sent(kind):
    topic, payload = MESSAGES[kind]
    head, body = reader(kind).receive(topic, payload, now=NOW)
    assert head.kind is kind
    assert body == BODIES[kind]
    assert head.run_id == RUN


@pytest.mark.parametrize("kind", [Kind.TASK, Kind.REPLY, Kind.CLAIM])
def test_the_published_layout_is_what_is_read(kind):
    sender, recipient = (NODE_NAME, "leader") if kind is Kind.REPLY else ("leader", NODE_NAME)
    head = header(kind, sender, EVERYONE if kind is Kind.CLAIM else recipient)
    info, plain = msgspec.msgpack.encode(head), msgspec.msgpack.encode(BODIES[kind])
    to = LEADER if recipient == "leader" else NODE
    body = to.keys.sealing_public.seal(plain, info=info) if head.sealed else plain
    signer = NODE if sender == NODE_NAME else LEADER
    assert reader(kind).receive(MESSAGES[kind][0], forged(signer.keys, head, body), now=NOW) == (head, BODIES[kind])


def test_a_reply_s_arrays_are_views_and_not_copies():
    large = Reply(memoryview(b"f"), memoryview(bytes(5_000_000)), [5_000_000])
    payload = wrap(NODE, header(Kind.REPLY, NODE_NAME, "leader"), large, LEADER.certificate)
    tracemalloc.start()
    _, body = AT_LEADER.receive(topics.reply(NODE_NAME), payload, now=NOW)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(body.arrays) == 5_000_000
    assert peak < 6_000_000, "one opened copy, and no more"


def test_what_is_sealed_shows_nothing_of_its_body():
    secret = b"a very recognisable secret"
    payload = wrap(NODE, header(Kind.REPLY, NODE_NAME, "leader"), Reply(memoryview(secret)), LEADER.certificate)
    assert secret not in payload


# Damage


@given(KINDS, st.integers(0, 2**20), st.integers(1, 255))
def test_no_changed_byte_is_believed(kind, position, mask):
    topic, payload = MESSAGES[kind]
    changed = bytearray(payload)
    changed[position % len(payload)] ^= mask
    assert reason(topic, bytes(changed), reader(kind)) in set(Reason)


@pytest.mark.parametrize("kind", list(MESSAGES))
def test_no_byte_of_an_envelope_may_change(kind):
    topic, payload = MESSAGES[kind]
    for position in range(len(payload)):
        changed = bytearray(payload)
        changed[position] ^= 1 << position % 8
        with pytest.raises(Rejected):
            reader(kind).receive(topic, bytes(changed), now=NOW)


@pytest.mark.parametrize("kind", list(MESSAGES))
def test_no_beginning_of_an_envelope_is_believed(kind):
    topic, payload = MESSAGES[kind]
    for length in range(len(payload)):
        with pytest.raises(Rejected):
            reader(kind).receive(topic, payload[:length], now=NOW)


@given(KINDS, st.binary(min_size=1, max_size=20))
def test_nothing_may_follow_an_envelope(kind, extra):
    topic, payload = MESSAGES[kind]
    assert reason(topic, payload + extra, reader(kind)) in {Reason.BAD_SIGNATURE, Reason.MALFORMED}


@given(st.one_of(st.binary(max_size=400), st.binary(max_size=400).map(lambda junk: b"JG1\x00\x40" + junk)))
def test_random_bytes_are_turned_away(junk):
    assert reason(topics.reply(NODE_NAME), junk, AT_LEADER) is Reason.MALFORMED


@given(st.integers(0, 2**16 - 1))
def test_a_header_length_that_lies_is_turned_away(length):
    topic, payload = MESSAGES[Kind.REPLY]
    true = int.from_bytes(payload[3:5], "big")
    if length != true:
        assert reason(topic, payload[:3] + length.to_bytes(2, "big") + payload[5:], AT_LEADER) is Reason.MALFORMED


def replying() -> Envelope:
    """A verified reply over memory of its own."""
    return Envelope.parse(bytearray(MESSAGES[Kind.REPLY][1]))


def test_a_body_opened_in_its_own_memory_is_the_same_body():
    assert replying().open(LEADER.keys, in_place=True) == replying().open(LEADER.keys) == REPLY


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_body_does_not_open_in_its_own_memory_either(position, mask):
    envelope = replying()
    envelope.body[position % len(envelope.body)] ^= mask
    with pytest.raises(Rejected, match="sealed to other keys"):
        envelope.open(LEADER.keys, in_place=True)


def test_no_beginning_of_a_body_opens_in_its_own_memory_either():
    for length in range(len(replying().body)):
        whole = replying()
        part = replace(whole, body=whole.body[:length])
        with pytest.raises(Rejected, match="sealed to other keys"):
            part.open(LEADER.keys, in_place=True)


# Msgpack that is hostile, under a signature that is good

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(max_size=70),
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(st.text(max_size=12), inner, max_size=6),
    max_leaves=20,
)


@given(ANYTHING | st.lists(ANYTHING, min_size=10, max_size=10))
def test_a_header_of_other_values_is_turned_away(values):
    payload = forged(NODE.keys, msgspec.msgpack.encode(values)[: 2**16 - 1], b"body")
    assert reason(topics.reply(NODE_NAME), payload, AT_LEADER) is Reason.MALFORMED


@given(st.binary(max_size=200) | ANYTHING.map(msgspec.msgpack.encode))
def test_a_body_of_other_values_is_turned_away(plain):
    payload = forged_reply(plain)
    if plain == b"\x80":  # an empty map is an empty reply
        assert AT_LEADER.receive(topics.reply(NODE_NAME), payload, now=NOW)[1] == Reply()
    else:
        assert reason(topics.reply(NODE_NAME), payload, AT_LEADER) is Reason.MALFORMED


BOMBS = {
    "a list that claims 2**32 - 1 items": b"\x81\xa5sizes\xdd\xff\xff\xff\xff",
    "a list of a million lengths": b"\x81\xa5sizes\xdd\x00\x0f\x42\x40" + bytes(1_000_000),
    "a map that claims 2**32 - 1 keys": b"\xdf\xff\xff\xff\xff",
    "bytes that claim 4 GB": b"\x81\xa6arrays\xc6\xff\xff\xff\xff",
    "a hundred thousand nested lists": b"\x81\xa5sizes" + b"\x91" * 100_000,
    "a hundred thousand nested maps": b"\x81\xa6flower" + b"\x81" * 100_000,
    "nesting in a field that is not there": b"\x81\xa1x" + b"\x91" * 100_000,
    "text that is not UTF-8": b"\x81\xa7refusal\xa2\xff\xfe",
    "a key that is not UTF-8": b"\x81\xa2\xff\xfe\xc0",
    "an extension type": b"\x81\xa6flower\xc7\x01\x05\x00",
    "a negative length": b"\x81\xa5sizes\x91\xff",
    "nothing": b"",
    "two bodies": b"\x80\x80",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_does_not_go_off(bomb):
    payload = forged_reply(BOMBS[bomb])
    tracemalloc.start()
    why = reason(topics.reply(NODE_NAME), payload, AT_LEADER)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert why is Reason.MALFORMED
    assert peak < 3 * len(payload) + 200_000


@pytest.mark.parametrize("bomb", [b"\xdd\xff\xff\xff\xff", b"\x91" * 60_000, b"\xdf\xff\xff\xff\xff", b"\xc1", b""])
def test_a_bomb_in_a_header_does_not_go_off(bomb):
    assert reason(topics.reply(NODE_NAME), forged(NODE.keys, bomb, b""), AT_LEADER) is Reason.MALFORMED


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (Kind.REPLY, {"flower": b"f", "names_of_pupils": "…"}),
        (Kind.CLAIM, {"instance": "instance", "host": "host", "note": "…"}),
        (Kind.CASE, {**msgspec.to_builtins(CASE, builtin_types=(bytes,)), "name": "…"}),
        (Kind.KEYS, {**msgspec.to_builtins(KEYS, builtin_types=(bytes,)), "clinic": "…"}),
    ],
)
def test_a_field_that_is_not_declared_does_not_pass(kind, fields):
    plain = msgspec.msgpack.encode(fields)
    sender, recipient, to = {
        Kind.REPLY: (NODE, "leader", LEADER),
        Kind.CLAIM: (LEADER, EVERYONE, None),
        Kind.CASE: (NODE, "health", HEALTH),
        Kind.KEYS: (HEALTH, EVERYONE, None),
    }[kind]
    info = msgspec.msgpack.encode(header(kind, sender.party, recipient))
    body = plain if to is None else to.keys.sealing_public.seal(plain, info=info)
    payload = forged(sender.keys, info, body)
    assert reason(MESSAGES[kind][0], payload, reader(kind)) is Reason.MALFORMED


def test_a_header_with_one_value_more_does_not_pass():
    values = [*msgspec.msgpack.decode(msgspec.msgpack.encode(header(Kind.REPLY, NODE_NAME, "leader"))), "more"]
    payload = forged(NODE.keys, msgspec.msgpack.encode(values), b"")
    assert reason(topics.reply(NODE_NAME), payload, AT_LEADER) is Reason.MALFORMED


def test_a_kind_that_is_not_declared_does_not_pass():
    values = msgspec.msgpack.decode(msgspec.msgpack.encode(header(Kind.REPLY, NODE_NAME, "leader")))
    payload = forged(NODE.keys, msgspec.msgpack.encode(["raw", *values[1:]]), b"")
    assert reason(topics.reply(NODE_NAME), payload, AT_LEADER) is Reason.MALFORMED


@pytest.mark.parametrize("kind", [Kind.REPLY, Kind.TASK, Kind.CLAIM])
def test_a_body_of_another_kind_does_not_pass(kind):
    other = {Kind.REPLY: TASK, Kind.TASK: REPLY, Kind.CLAIM: PRESENCE}[kind]
    sender, recipient = {Kind.REPLY: (NODE, "leader"), Kind.TASK: (LEADER, NODE_NAME)}.get(kind, (LEADER, EVERYONE))
    head = header(kind, sender.party, recipient)
    info, plain = msgspec.msgpack.encode(head), msgspec.msgpack.encode(other)
    to = LEADER if recipient == "leader" else NODE
    body = to.keys.sealing_public.seal(plain, info=info) if head.sealed else plain
    assert reason(MESSAGES[kind][0], forged(sender.keys, head, body), reader(kind)) is Reason.MALFORMED


@pytest.mark.parametrize("kind", list(MESSAGES))
def test_a_message_that_lies_about_its_seal_is_turned_away(kind):
    sender, recipient = {
        Kind.PRESENCE: (NODE, EVERYONE),
        Kind.TASK: (LEADER, NODE_NAME),
        Kind.REPLY: (NODE, "leader"),
        Kind.CLAIM: (LEADER, EVERYONE),
        Kind.CASE: (NODE, "health"),
        Kind.KEYS: (HEALTH, EVERYONE),
        Kind.SUM: (LEADER, "helper"),
        Kind.SHARE: (HELPER, "leader"),
    }[kind]
    head = header(kind, sender.party, recipient)
    lie = msgspec.structs.replace(head, sealed=not head.sealed)
    payload = forged(sender.keys, lie, msgspec.msgpack.encode(BODIES[kind]))
    assert reason(MESSAGES[kind][0], payload, reader(kind)) is Reason.MALFORMED


def test_a_blob_does_not_come_in_where_messages_do():
    payload = close(LEADER, header(Kind.BLOB, "leader", EVERYONE), [b"closed"]).payload
    assert reason(topics.blob(hashlib.sha256(payload).digest()), payload, AT_NODE) is Reason.WRONG_TOPIC


# Who may say what


def test_a_signature_of_another_key_is_wrong():
    topic, payload = MESSAGES[Kind.REPLY]
    envelope = Envelope.parse(payload)
    stolen = forged(OTHER.keys, envelope.header_bytes, bytes(envelope.body))
    assert reason(topic, stolen, AT_LEADER) is Reason.BAD_SIGNATURE


def test_a_party_that_has_not_presented_itself_is_a_stranger():
    assert reason(*MESSAGES[Kind.REPLY], Directory(LEADER)) is Reason.STRANGER


@pytest.mark.parametrize("party", ["leader", NODE_NAME])
def test_a_party_of_another_authority_is_a_stranger(party):
    pretender = NAMESAKE.enrol(party, Role.LEADER if party == "leader" else Role.NODE)
    payload = wrap(
        pretender,
        header(Kind.PRESENCE, party, EVERYONE),
        Presence(pretender.certificate.der, True, b"s" * 16, "jaga"),
    )
    assert reason(topics.presence(party), payload, Directory(OTHER)) is Reason.STRANGER


def test_a_certificate_shown_by_another_than_its_owner_introduces_nobody():
    """Certificates are public: the leader's is no proof of being the leader."""
    directory = Directory(OTHER)
    shown = Presence(LEADER.certificate.der, True, b"s" * 16, "jaga")
    as_leader = forged(NODE.keys, header(Kind.PRESENCE, "leader", EVERYONE), msgspec.msgpack.encode(shown))
    assert reason(topics.presence("leader"), as_leader, directory) is Reason.BAD_SIGNATURE
    as_itself = forged(NODE.keys, header(Kind.PRESENCE, NODE_NAME, EVERYONE), msgspec.msgpack.encode(shown))
    assert reason(topics.presence(NODE_NAME), as_itself, directory) is Reason.STRANGER
    assert "leader" not in directory
    assert NODE_NAME not in directory


def test_a_name_that_is_not_the_certificate_s_is_a_stranger_s():
    own = Presence(NODE.certificate.der, True, b"s" * 16, "jaga")
    payload = forged(NODE.keys, header(Kind.PRESENCE, OTHER_NAME, EVERYONE), msgspec.msgpack.encode(own))
    assert reason(topics.presence(OTHER_NAME), payload, Directory(LEADER)) is Reason.STRANGER


def test_a_message_for_another_federation_is_a_stranger_s():
    payload = forged_reply(b"\x80", header(Kind.REPLY, NODE_NAME, "leader", federation="theirs"))
    assert reason(topics.reply(NODE_NAME), payload, AT_LEADER) is Reason.STRANGER


@pytest.mark.parametrize(
    ("kind", "sender", "recipient"),
    [
        (Kind.TASK, OTHER, NODE_NAME),
        (Kind.TASK, OBSERVER, NODE_NAME),
        (Kind.CLAIM, OTHER, EVERYONE),
        (Kind.REPLY, LEADER, "leader"),
        (Kind.REPLY, OBSERVER, "leader"),
        (Kind.CASE, LEADER, "health"),
        (Kind.CASE, OBSERVER, "health"),
        (Kind.KEYS, LEADER, EVERYONE),
        (Kind.KEYS, OTHER, EVERYONE),
        (Kind.SUM, NODE, "helper"),
        (Kind.SUM, OBSERVER, "helper"),
        (Kind.SHARE, NODE, "leader"),
        (Kind.SHARE, LEADER, "leader"),
    ],
)
def test_a_role_may_send_its_own_kinds_alone(kind, sender, recipient):
    to = {"leader": LEADER, NODE_NAME: NODE, "health": HEALTH, "helper": HELPER}.get(recipient)
    payload = wrap(sender, header(kind, sender.party, recipient), BODIES[kind], to and to.certificate)
    topic = {
        Kind.TASK: topics.task(recipient),
        Kind.CLAIM: topics.claim(RUN, "instance"),
        Kind.REPLY: topics.reply(sender.party),
        Kind.CASE: topics.case(sender.party),
        Kind.KEYS: MESSAGES[Kind.KEYS][0],
        Kind.SUM: topics.sum_request(recipient),
        Kind.SHARE: topics.sum_share(recipient),
    }[kind]
    assert reason(topic, payload, reader(kind)) is Reason.NOT_ENTITLED


def test_a_broker_is_there_to_carry_and_not_to_speak():
    broker = OURS.enrol("broker", Role.BROKER)
    body = Presence(broker.certificate.der, True, b"s" * 16, "jaga")
    payload = wrap(broker, header(Kind.PRESENCE, "broker", EVERYONE), body)
    assert reason(topics.presence("broker"), payload, Directory(LEADER)) is Reason.NOT_ENTITLED


# Whom it is for


@pytest.mark.parametrize("kind", list(MESSAGES))
@pytest.mark.parametrize(
    "topic",
    [
        topics.presence(OTHER_NAME),
        topics.task(OTHER_NAME),
        topics.reply(OTHER_NAME),
        topics.claim(1, "instance"),
        topics.claim(RUN, "another"),
        topics.blob(b"d" * 32),
        topics.case(OTHER_NAME),
        topics.keys("ID-JB", "1606176000-1"),
        topics.keys("ID-JK", "1606176000-2"),
        "jaga/1/task/leader",
        "jaga/2/reply/" + NODE_NAME,
        "",
    ],
)
def test_a_message_played_again_on_another_topic_is_turned_away(kind, topic):
    assert reason(topic, MESSAGES[kind][1], reader(kind)) is Reason.WRONG_TOPIC


def test_a_message_for_another_party_is_turned_away():
    payload = wrap(LEADER, header(Kind.TASK, "leader", OTHER_NAME), TASK, OTHER.certificate)
    assert reason(topics.task(OTHER_NAME), payload, AT_NODE) is Reason.NOT_FOR_US


@pytest.mark.parametrize(("kind", "sender"), [(Kind.TASK, LEADER), (Kind.REPLY, NODE)])
def test_what_is_sealed_is_for_one_party_and_never_for_all(kind, sender):
    head = header(kind, sender.party, EVERYONE)
    to = NODE if kind is Kind.TASK else LEADER
    info = msgspec.msgpack.encode(head)
    body = to.keys.sealing_public.seal(msgspec.msgpack.encode(BODIES[kind]), info=info)
    topic = topics.task(EVERYONE) if kind is Kind.TASK else topics.reply(NODE_NAME)
    assert reason(topic, forged(sender.keys, head, body), reader(kind)) is Reason.NOT_FOR_US


def test_a_seal_to_other_keys_cannot_be_opened():
    head = header(Kind.REPLY, NODE_NAME, "leader")
    info = msgspec.msgpack.encode(head)
    body = OTHER.keys.sealing_public.seal(msgspec.msgpack.encode(REPLY), info=info)
    assert reason(topics.reply(NODE_NAME), forged(NODE.keys, head, body), AT_LEADER) is Reason.CANNOT_OPEN


def test_a_sealed_body_cannot_be_taken_over_into_an_envelope_of_one_s_own():
    """A node that copies another's sealed reply and signs it as its own: the seal is bound to the header."""
    stolen = bytes(Envelope.parse(MESSAGES[Kind.REPLY][1]).body)
    payload = forged(OTHER.keys, header(Kind.REPLY, OTHER_NAME, "leader"), stolen)
    assert reason(topics.reply(OTHER_NAME), payload, AT_LEADER) is Reason.CANNOT_OPEN


# Time


@pytest.mark.parametrize("kind", list(MESSAGES))
def test_a_message_is_good_in_its_time_and_a_clock_s_slack_alone(kind):
    topic, payload = MESSAGES[kind]
    for good in (NOW - 1 - CLOCK_SLACK_S, NOW + 60 + CLOCK_SLACK_S):
        assert reader(kind).receive(topic, payload, now=good)
    for bad in (NOW - 2 - CLOCK_SLACK_S, NOW + 61 + CLOCK_SLACK_S):
        assert reason(topic, payload, reader(kind), now=bad) is Reason.EXPIRED


def test_a_clock_that_is_off_by_a_day_is_named():
    topic, payload = MESSAGES[Kind.REPLY]
    with pytest.raises(Rejected, match=f"{NODE_NAME} is 24.0 hours ahead; set its clock, or this machine's"):
        AT_LEADER.receive(topic, payload, now=NOW - 1 - 86400)
    with pytest.raises(Rejected, match=r"good from 20.*, and here it is 20") as late:
        AT_LEADER.receive(topic, payload, now=NOW + 86400)
    assert "ahead" not in str(late.value)


@pytest.mark.parametrize(
    "times",
    [
        {"created_at": float("nan")},
        {"expires_at": float("nan")},
        {"created_at": float("nan"), "expires_at": float("nan")},
        {"created_at": float("inf"), "expires_at": float("inf")},
        {"created_at": NOW + 3600, "expires_at": NOW + 7200},
        {"created_at": NOW + 3600, "expires_at": NOW - 3600},
        {"expires_at": float("-inf")},
    ],
)
def test_times_that_are_no_times_are_never_good(times):
    payload = forged_reply(b"\x80", header(Kind.REPLY, NODE_NAME, "leader", **times))
    assert reason(topics.reply(NODE_NAME), payload, AT_LEADER) is Reason.EXPIRED


# What must not even be sent


@pytest.mark.parametrize(
    ("head", "body", "recipient", "why"),
    [
        (header(Kind.TASK, "leader", NODE_NAME), REPLY, NODE, "cannot carry Reply"),
        (header(Kind.TASK, "leader", NODE_NAME, sealed=False), TASK, NODE, "sealed=False"),
        (header(Kind.CLAIM, "leader", EVERYONE, sealed=True), CLAIM, None, "sealed=True"),
        (header(Kind.BLOB, "leader", EVERYONE), TASK, None, "cannot carry Task"),
        (header(Kind.TASK, "leader", NODE_NAME), TASK, None, f"certificate of {NODE_NAME}"),
        (header(Kind.TASK, "leader", NODE_NAME), TASK, OTHER, f"certificate of {NODE_NAME}"),
        (header(Kind.CLAIM, "leader", EVERYONE, run_id=-1), CLAIM, None, "turn away.*>= 0"),
        (header(Kind.CLAIM, "leader", EVERYONE, message_id=b"short"), CLAIM, None, "turn away"),
        (header(Kind.CLAIM, "x" * 65, EVERYONE), CLAIM, None, "turn away.*64"),
        (header(Kind.CLAIM, "leader", EVERYONE), Claim("i", "h" * 65), None, "turn away.*host"),
        (header(Kind.TASK, "leader", NODE_NAME), Task(b"", None, "zip"), NODE, "turn away.*zip"),
        (header(Kind.CASE, NODE_NAME, "health"), Case([], "1-id"), HEALTH, "turn away.*>= 1"),
        (header(Kind.CASE, NODE_NAME, "health"), Case(CASE.keys * 16, "1-id"), HEALTH, "turn away.*<= 30"),
        (header(Kind.CASE, NODE_NAME, "health"), Case([CaseKey(b"k", 1, 1, 0)], "1-id"), HEALTH, "turn away.*16"),
        (header(Kind.CASE, NODE_NAME, "health"), Case([CaseKey(b"k" * 16, 1, 145, 0)], "1"), HEALTH, "turn away.*144"),
        (header(Kind.CASE, NODE_NAME, "health"), Case([CaseKey(b"k" * 16, 1, 1, 15)], "1"), HEALTH, "turn away.*14"),
        (header(Kind.CASE, NODE_NAME, "health"), CASE, LEADER, "certificate of health"),
        (header(Kind.KEYS, "health", EVERYONE), Keys("ID/JK", "1-1", b""), None, "turn away.*regex"),
        (header(Kind.KEYS, "health", EVERYONE), Keys("ID-JK", "+", b""), None, "turn away.*regex"),
    ],
)
def test_a_message_that_nobody_would_take_is_not_made(head, body, recipient, why):
    with pytest.raises(ValueError, match=why):
        wrap(LEADER, head, body, recipient and recipient.certificate)


def test_a_refusal_is_one_of_the_fixed_words():
    with pytest.raises(ValueError, match="turn away"):
        wrap(
            NODE,
            header(Kind.REPLY, NODE_NAME, "leader"),
            Reply(refusal="KeyError: 'Ayu, class 3b'"),
            LEADER.certificate,
        )
    for refusal in Refusal:
        assert len(refusal.value) < 80


@pytest.mark.parametrize(
    "head",
    [
        header(Kind.TASK, "leader", EVERYONE, sealed=False),
        header(Kind.BLOB, "leader", NODE_NAME),
        header(Kind.BLOB, "leader", EVERYONE, sealed=True),
    ],
)
def test_a_blob_has_the_header_of_a_blob(head):
    with pytest.raises(ValueError, match="not the header of a blob"):
        close(LEADER, head, [])


@pytest.mark.parametrize("body", DRAWS, ids=lambda body: type(body).__name__)
def test_a_draw_crosses_as_a_sum_does_and_the_other_way_it_is_turned_away(body):
    there, back = (LEADER, HELPER), (HELPER, LEADER)
    asks = isinstance(body, DrawRequest)
    sender, recipient = there if asks else back
    kind, other = (Kind.SUM, Kind.SHARE) if asks else (Kind.SHARE, Kind.SUM)
    payload = wrap(sender, header(kind, sender.party, recipient.party), body, recipient.certificate)
    assert Envelope.parse(payload).open(recipient.keys) == body
    assert len(payload) <= size_of(body) + 2048
    with pytest.raises(ValueError, match="cannot carry"):
        wrap(sender, header(other, sender.party, recipient.party), body, recipient.certificate)
