"""The only door out of a node. What passes is of a declared kind, is paid for in the ledger, and is written down.

Three other things pass: a case that a clinic confirmed, under a consent recorded for this very message; and, through
`SiteGate`, what a satellite tells the hub of its room and what a site's own server is told of an alert. The last two go
to a machine in the same building.

The gate does not know what the numbers in a reply mean; it knows that a mechanism which does has reserved and spent
privacy budget for this very task. A reply without such an entry stays inside, unless the node's owner has allowed apps
that keep no ledger (for a laboratory without personal data).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from privacy.accounting.ledger import Entry, PrivacyLedger
from privacy.boundary import topics
from privacy.boundary.audit import AuditLog
from privacy.boundary.envelope import wrap, wrap_and_hash
from privacy.boundary.messages import (
    EVERYONE,
    MESSAGE_ID_BYTES,
    Case,
    Header,
    Kind,
    Presence,
    Refusal,
    Reply,
    Unready,
)
from privacy.boundary.wire import Will
from privacy.catalogue.columns import Mechanism, Sources
from privacy.catalogue.radio import HUB_SOURCES
from privacy.catalogue.tracing import ALERT_SOURCES, CASE_SOURCES
from privacy.catalogue.use import CATALOGUE, Use
from privacy.identity.authority import Identity
from privacy.identity.certificates import Certificate, Role

PRESENCE_LIFETIME_S = 400 * 86400.0
"""Longer than a certificate: a will is signed when a process starts, and must be believed however late it is sent."""


CASE_LIFETIME_S = 14 * 86400.0
"""For as long the broker keeps a case for an authority that is away; its keys are of no use after that."""


class Unaccounted(PermissionError):
    """A reply has no spent ledger entry, and this node demands one."""


class Undeclared(PermissionError):
    """A message is made of a column of which nothing may leave so, or that nobody declared."""


class Unmasked(PermissionError):
    """A reply is no share of a secure sum, and this node lets nothing else out."""


class Unconsented(PermissionError):
    """Nobody's consent is recorded for a case that should go out."""


@dataclass(frozen=True, slots=True)
class Consent:
    """What a person agreed to: the version of the text, and how many keys go out."""

    version: str
    key_count: int


class Consents(Protocol):
    """Where consents are recorded."""

    def consent_to(self, message_id: bytes) -> Consent | None:
        """The consent that was recorded for one message; None where there is none."""
        ...


def presence(
    identity: Identity, session: bytes, *, online: bool, software: str, unready: Unready | None = None
) -> Will:
    """A party's own presence, signed, as what to publish now or to leave with the broker as a will."""
    now = time.time()
    header = Header(
        Kind.PRESENCE,
        identity.certificate.federation,
        identity.party,
        EVERYONE,
        0,
        secrets.token_bytes(MESSAGE_ID_BYTES),
        None,
        now,
        now + PRESENCE_LIFETIME_S,
        False,
    )
    body = Presence(identity.certificate.der, online, session, software, unready)
    return Will(topics.presence(identity.party), bytes(wrap(identity, header, body)))


@dataclass(frozen=True, slots=True)
class Released:
    """A payload to publish, and its SHA-256."""

    payload: bytearray
    sha256: bytes


class Gate:
    """Lets replies out of one node.

    Args:
        allow_unaccounted: let replies of apps without a ledger entry out too; the audit log says so each time.
        only_masked: let nothing out that is no share of a secure sum.
    """

    def __init__(
        self,
        identity: Identity,
        audit: AuditLog,
        ledger: PrivacyLedger,
        *,
        allow_unaccounted: bool = False,
        only_masked: bool = False,
    ) -> None:
        self._identity = identity
        self._audit = audit
        self._ledger = ledger
        self._allow_unaccounted = allow_unaccounted
        self._only_masked = only_masked

    def release(self, task: Header, reply: Reply, recipient: Certificate) -> Released:
        """Let out the reply to `task`; what goes out is in the audit log when this returns.

        Raises:
            Unaccounted: the reply carries content, and no spent ledger entry pays for it.
            Unmasked: it carries content in the clear, which this node does not let out.
            Undeclared: an entry that pays for it names sources of which nothing may leave by its mechanisms.
        """
        paying = [entry for entry in self._ledger.entries_of(task.message_id) if entry.spent_at is not None]
        entries = [entry.number for entry in paying]
        if reply.refusal is None and not entries and not self._allow_unaccounted:
            raise Unaccounted(
                f"reply to task {task.message_id.hex()} has no spent ledger entry: its app must use a mechanism that "
                "reserves budget, or the node's owner must allow unaccounted apps"
            )
        if reply.refusal is None:
            _check_sources(paying)
        if self._only_masked and reply.refusal is None and reply.seed is None:
            raise Unmasked(
                f"reply to task {task.message_id.hex()} is no share of a secure sum, which this node demands"
            )
        now = time.time()
        header = Header(
            Kind.REPLY,
            task.federation,
            self._identity.party,
            recipient.party,
            task.run_id,
            secrets.token_bytes(MESSAGE_ID_BYTES),
            task.message_id,
            now,
            max(task.expires_at, now),
            True,
        )
        payload, digest = wrap_and_hash(self._identity, header, reply, recipient)
        self._audit.append(
            kind=Kind.REPLY.value,
            recipient=recipient.party,
            payload=payload,
            sha256=digest,
            entries=entries,
            note=_note(reply, paid=bool(entries)),
        )
        return Released(payload, digest)

    def release_case(self, message_id: bytes, case: Case, consents: Consents, recipient: Certificate) -> Released:
        """Let out a case, to the health authority alone; what goes out is in the audit log when this returns.

        Raises:
            Unconsented: no consent is recorded for `message_id`, or it is to other keys or another text.
            Undeclared: nothing of a tag may leave by consent.
            ValueError: the recipient is not a health authority.
        """
        if objections := CATALOGUE.objections(CASE_SOURCES, (Mechanism.CONSENTED,)):
            raise Undeclared(f"a case cannot go out: {'; '.join(objections)}")
        given = consents.consent_to(message_id)
        if given != Consent(case.consent, len(case.keys)):
            raise Unconsented(
                f"case {message_id.hex()} has {len(case.keys)} keys under consent {case.consent!r}, and recorded is "
                f"{given}: record the person's consent first"
            )
        if recipient.role is not Role.HEALTH:
            raise ValueError(f"a case is for the health authority, and {recipient.party} is a {recipient.role}")
        now = time.time()
        header = Header(
            Kind.CASE,
            self._identity.certificate.federation,
            self._identity.party,
            recipient.party,
            0,
            message_id,
            None,
            now,
            now + CASE_LIFETIME_S,
            True,
        )
        payload, digest = wrap_and_hash(self._identity, header, case, recipient)
        note = f"{len(case.keys)} day keys of a confirmed case, with consent {case.consent}"
        self._audit.append(kind=Kind.CASE.value, recipient=recipient.party, payload=payload, sha256=digest, note=note)
        return Released(payload, digest)


@dataclass(frozen=True, slots=True)
class SiteDelivery:
    """Something that may go to a machine in the same building.

    Attributes:
        kind: name of it in the audit log.
        mechanism: by which the columns of `sources` must be allowed to leave.
    """

    kind: str
    mechanism: Mechanism
    sources: Sources


SIGHTINGS_TO_HUB = SiteDelivery("sightings", Mechanism.ROOM_HUB, HUB_SOURCES)
ALERT_TO_SITE_SERVER = SiteDelivery("alert", Mechanism.SITE_ALERT, ALERT_SOURCES)


class SiteGate:
    """Lets deliveries out to machines in the same building."""

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit

    def release(self, delivery: SiteDelivery, recipient: str, payload: bytes, note: str) -> bytes:
        """Write down that a payload is about to leave, and return it. One that is sent again is written down again.

        Raises:
            Undeclared: a column that it is made of may not leave by its mechanism; nothing was written.
        """
        if objections := CATALOGUE.objections(delivery.sources, (delivery.mechanism,)):
            raise Undeclared(f"{delivery.kind} cannot go out: {'; '.join(objections)}")
        self._audit.append(kind=delivery.kind, recipient=recipient, payload=payload, note=note)
        return payload


def _check_sources(paying: Sequence[Entry]) -> None:
    for entry in paying:
        use = Use.decode(entry.purpose)
        objections = [f"its purpose {entry.purpose!r} names no sources"] if use is None else use.objections()
        if objections:
            raise Undeclared(
                f"ledger entry {entry.number} does not let its work out: {'; '.join(objections)}. Declare in "
                "privacy/catalogue what may leave and how, or let the app use another mechanism"
            )


def _note(reply: Reply, *, paid: bool) -> str:
    if reply.refusal is not None:
        return f"refused: {Refusal(reply.refusal).value}"
    what = "model update and noised metrics" if paid else "unaccounted: this app keeps no privacy ledger"
    return what if reply.seed is None else f"masked share of a sum: {what}"
