"""The directory: whom it gets to know, and when it stops believing them."""

import secrets
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from privacy.boundary import topics
from privacy.boundary.directory import Directory
from privacy.boundary.envelope import Reason, Rejected, wrap
from privacy.boundary.messages import EVERYONE, Header, Kind, Presence, Reply
from privacy.identity.authority import CertificateAuthority, Identity, request
from privacy.identity.certificates import Role, TrustAnchor
from privacy.identity.keys import PrivateKeys

OURS = CertificateAuthority.create("ours")
PARTY = "node-00000000000000a7"
LEADER, NODE = OURS.enrol("leader", Role.LEADER), OURS.enrol(PARTY, Role.NODE)
START = NODE.certificate.not_before.timestamp() + 3600


def enrolled(lifetime: timedelta, *, not_before: datetime | None = None, at: datetime | None = None) -> Identity:
    """The node with new keys, and a certificate of the given time that was looked at at another."""
    keys = PrivateKeys.generate()
    model = x509.load_pem_x509_certificate(OURS.sign(request(keys), party=PARTY, role=Role.NODE))
    begin = not_before or model.not_valid_before_utc
    builder = x509.CertificateBuilder(
        model.issuer, model.subject, model.public_key(), model.serial_number, begin, datetime.now(UTC) + lifetime
    )
    for extension in model.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    der = builder.sign(OURS.key, None).public_bytes(serialization.Encoding.DER)
    return Identity(keys, OURS.anchor.verify(der, at=at), OURS.anchor)


def presence(identity: Identity, *, created_at: float = START) -> tuple[str, bytes]:
    head = Header(
        Kind.PRESENCE,
        "ours",
        identity.party,
        EVERYONE,
        0,
        secrets.token_bytes(16),
        None,
        created_at,
        created_at + 30 * 86400,
        False,
    )
    body = Presence(identity.certificate.der, True, b"s" * 16, "jaga")
    return topics.presence(identity.party), wrap(identity, head, body)


def reply(identity: Identity, *, at: float = START) -> tuple[str, bytes]:
    head = Header(
        Kind.REPLY, "ours", identity.party, "leader", 1, secrets.token_bytes(16), b"t" * 16, at, at + 60, True
    )
    return topics.reply(identity.party), wrap(identity, head, Reply(), LEADER.certificate)


def reason(directory: Directory, message: tuple[str, bytes], now: float = START) -> Reason:
    with pytest.raises(Rejected) as turned_away:
        directory.receive(*message, now=now)
    return turned_away.value.reason


def test_a_party_knows_itself_and_nobody_else():
    directory = Directory(LEADER)
    assert "leader" in directory
    assert PARTY not in directory
    with pytest.raises(Rejected, match=f"{PARTY} has presented no certificate"):
        directory.certificate(PARTY)


def test_a_presence_introduces_its_party_and_only_then_is_it_believed():
    directory = Directory(LEADER)
    assert reason(directory, reply(NODE)) is Reason.STRANGER
    directory.receive(*presence(NODE), now=START)
    assert PARTY in directory
    assert directory.certificate(PARTY) == NODE.certificate
    head, _ = directory.receive(*reply(NODE), now=START)
    assert head.sender == PARTY


def test_what_is_checked_first_and_opened_later_is_believed_alike():
    directory = Directory(LEADER)
    with pytest.raises(Rejected, match="stranger"):
        directory.check(*reply(NODE), now=START)
    directory.receive(*presence(NODE), now=START)
    assert directory.check(*reply(NODE), now=START).open(LEADER.keys) == Reply()
    topic, payload = reply(NODE)
    with pytest.raises(Rejected, match="wrong signature"):
        directory.check(topic, payload[:-1] + bytes([payload[-1] ^ 1]), now=START)
    with pytest.raises(Rejected, match="on a topic of another"):
        directory.check(topics.reply("node-00000000000000a8"), payload, now=START)


def test_a_presence_that_is_turned_away_introduces_nobody():
    directory = Directory(LEADER)
    topic, payload = presence(NODE)
    for bad in (payload[:-1], payload[:-1] + bytes([payload[-1] ^ 1]), b""):
        with pytest.raises(Rejected):
            directory.receive(topic, bad, now=START)
    assert reason(directory, (topic, payload), now=START + 40 * 86400) is Reason.EXPIRED
    assert PARTY not in directory


def test_a_certificate_that_expires_while_it_is_known_is_believed_no_longer():
    """A centre runs for months, and a node that is to be out must be out without a restart."""
    soon = enrolled(timedelta(hours=1))
    directory = Directory(LEADER)
    directory.receive(*presence(soon), now=START)
    end = soon.certificate.not_after.timestamp()
    assert directory.receive(*reply(soon, at=end), now=end)
    assert reason(directory, reply(soon, at=end + 1), now=end + 1) is Reason.STRANGER
    with pytest.raises(Rejected, match="expired on"):
        directory.check(*reply(soon, at=end + 1), now=end + 1)


def test_nothing_is_sealed_to_a_certificate_that_has_expired():
    ended = enrolled(-timedelta(seconds=1), at=NODE.certificate.not_before + timedelta(minutes=30))
    directory = Directory(LEADER)
    directory.receive(*presence(ended, created_at=START - 1800), now=START - 1800)
    assert PARTY not in directory
    with pytest.raises(Rejected, match=f"certificate of {PARTY} expired on"):
        directory.certificate(PARTY)


def test_a_revoked_certificate_introduces_nobody():
    anchor = TrustAnchor(OURS.certificate, frozenset({NODE.certificate.serial}))
    directory = Directory(Identity(LEADER.keys, LEADER.certificate, anchor))
    assert reason(directory, presence(NODE)) is Reason.STRANGER


def test_a_renewed_certificate_takes_over_and_an_old_presence_played_again_does_not():
    """Whoever keeps a broker's old traffic must not be able to have tasks sealed to keys that were replaced."""
    renewed = enrolled(timedelta(days=1), not_before=NODE.certificate.not_before + timedelta(seconds=1))
    directory = Directory(LEADER)
    directory.receive(*presence(NODE), now=START)
    directory.receive(*presence(renewed), now=START)
    assert directory.certificate(PARTY) == renewed.certificate
    assert reason(directory, presence(NODE)) is Reason.STRANGER
    assert directory.certificate(PARTY) == renewed.certificate
    directory.receive(*presence(renewed, created_at=START - 60), now=START)  # its will, signed before


def revoking(*identities: Identity, number: int) -> bytes:
    return OURS.revocation_list({one.certificate.serial: datetime.now(UTC) for one in identities}, number=number).der


def test_a_list_takes_a_known_party_away_at_once_and_nothing_brings_it_back():
    directory = Directory(LEADER)
    directory.receive(*presence(NODE), now=START)
    directory.revocations.receive(revoking(NODE, number=1))
    assert PARTY not in directory
    for message in (reply(NODE), presence(NODE)):
        assert reason(directory, message) is Reason.REVOKED
    with pytest.raises(Rejected, match="revoked"):
        directory.check(*reply(NODE), now=START)
    with pytest.raises(Rejected, match="revoked"):
        directory.certificate(PARTY)  # nothing is sealed to it


def test_a_party_that_was_revoked_comes_back_with_another_certificate_be_it_an_older_one():
    """The newer of two may be the stolen one."""
    again = OURS.enrol(PARTY, Role.NODE)
    later = again.certificate.not_before + timedelta(seconds=1)
    stolen = enrolled(timedelta(days=1), not_before=later)
    directory = Directory(LEADER)
    directory.receive(*presence(stolen), now=START)
    assert reason(directory, presence(again)) is Reason.STRANGER
    directory.revocations.receive(revoking(stolen, number=1))
    directory.receive(*presence(again), now=START)
    assert directory.certificate(PARTY) == again.certificate
