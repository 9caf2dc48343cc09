"""Whose certificate is whose: parties present themselves on the wire, and the authority's signature vouches.

A `Directory` also is the one way in: `receive` believes a payload only when topic, certificate, signature, time and
addressee agree. A certificate that the authority's newest list names is refused from the moment that the list is here,
in whatever its party sends and in whatever should be sealed to it.
"""

from __future__ import annotations

from datetime import UTC, datetime

from privacy.boundary import topics
from privacy.boundary.envelope import Envelope, Reason, Rejected
from privacy.boundary.messages import EVERYONE, SEALED, Body, Claim, Header, Keys, Kind, Presence
from privacy.identity.authority import Identity
from privacy.identity.certificates import Certificate, UntrustedCertificate
from privacy.identity.revocation import Revocations


class Directory:
    """The certificates that this party has heard and verified, its own included.

    Args:
        revocations: the newest list that this party has; without it, one that is in memory only.
    """

    def __init__(self, identity: Identity, revocations: Revocations | None = None) -> None:
        self.identity = identity
        self.revocations = revocations or Revocations(identity.anchor)
        self._known: dict[str, Certificate] = {identity.party: identity.certificate}

    def certificate(self, party: str) -> Certificate:
        """The certificate of a party that has presented itself.

        Raises:
            Rejected: STRANGER, nobody has presented a certificate of that name that is valid still; REVOKED, it was
                taken back.
        """
        return self._certificate(party, datetime.now(UTC))

    def __contains__(self, party: str) -> bool:
        known = self._known.get(party)
        return known is not None and datetime.now(UTC) <= known.not_after and not self._is_revoked(known)

    def receive(self, topic: str, payload: bytes | memoryview, *, now: float | None = None) -> tuple[Header, Body]:
        """Believe a payload, or say why not. A presence also introduces its party.

        Raises:
            Rejected: with one of `envelope.Reason`.
        """
        envelope = self._addressed(topic, payload)
        header = envelope.header
        at = _moment(now)
        if header.kind is not Kind.PRESENCE:
            envelope.verify(self._certificate(header.sender, at), now=now)
            body = envelope.open(self.identity.keys)
            if isinstance(body, Claim) and topic != topics.claim(header.run_id, body.instance):
                raise Rejected(Reason.WRONG_TOPIC, f"a claim of {body.instance} on {topic}")
            if isinstance(body, Keys) and topic != topics.keys(body.region, body.batch):
                raise Rejected(Reason.WRONG_TOPIC, f"keys of {body.region} {body.batch} on {topic}")
            return header, body
        presence = envelope.open(self.identity.keys)
        if not isinstance(presence, Presence):
            raise Rejected(Reason.MALFORMED, "presence")
        try:
            certificate = self.identity.anchor.verify(presence.certificate, at=at)
        except UntrustedCertificate as why:
            raise Rejected(Reason.STRANGER, str(why)) from why
        self._check_revocation(certificate)
        envelope.verify(certificate, now=now)
        known = self._known.get(certificate.party)
        older = known is not None and certificate.not_before < known.not_before
        if known is not None and older and not self._is_revoked(known):  # an old presence, sent again by somebody
            raise Rejected(Reason.STRANGER, f"{certificate.party} has presented a newer certificate since")
        self._known[certificate.party] = certificate
        return header, presence

    def check(self, topic: str, payload: bytes | memoryview, *, now: float | None = None) -> Envelope:
        """Believe a payload of a party that has presented itself, and leave its body closed for later.

        Raises:
            Rejected: with one of `envelope.Reason`.
        """
        envelope = self._addressed(topic, payload)
        envelope.verify(self._certificate(envelope.header.sender, _moment(now)), now=now)
        return envelope

    def _certificate(self, party: str, at: datetime) -> Certificate:
        known = self._known.get(party)
        if known is None:
            raise Rejected(Reason.STRANGER, f"{party} has presented no certificate")
        if at > known.not_after:
            raise Rejected(Reason.STRANGER, f"certificate of {party} expired on {known.not_after:%Y-%m-%d %H:%M} UTC")
        self._check_revocation(known)
        return known

    def _is_revoked(self, certificate: Certificate) -> bool:
        return certificate.serial in self.identity.anchor.revoked or self.revocations.revokes(certificate.serial)

    def _check_revocation(self, certificate: Certificate) -> None:
        if self._is_revoked(certificate):
            raise Rejected(Reason.REVOKED, f"{certificate.party}, certificate {certificate.serial:x}")

    def _addressed(self, topic: str, payload: bytes | memoryview) -> Envelope:
        envelope = Envelope.parse(payload)
        self._check_address(topic, envelope.header)
        return envelope

    def _check_address(self, topic: str, header: Header) -> None:
        address = topics.parse(topic)
        owner = {
            Kind.PRESENCE: header.sender,
            Kind.REPLY: header.sender,
            Kind.TASK: header.recipient,
            Kind.CLAIM: f"{header.run_id:016x}",
            Kind.CASE: header.sender,
            Kind.KEYS: address and address.owner,  # a region, which the body has to name too
            Kind.SUM: header.recipient,
            Kind.SHARE: header.recipient,
        }.get(header.kind)
        if address is None or address.kind is not header.kind or address.owner != owner:
            raise Rejected(Reason.WRONG_TOPIC, f"a {header.kind} of {header.sender} on {topic}")
        everyone = header.recipient == EVERYONE and header.kind not in SEALED
        if not everyone and header.recipient != self.identity.party:
            raise Rejected(Reason.NOT_FOR_US, header.recipient)


def _moment(now: float | None) -> datetime:
    return datetime.now(UTC) if now is None else datetime.fromtimestamp(now, UTC)
