"""Reporting a case: the day keys of one tag, under its person's consent, through the gate and into the outbox.

It works beside a node that runs: what is in the outbox the node publishes. The health authority's certificate, to which
the case is sealed, is the one that the node heard last.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files

from edge.store.cases import Cases, ReportedCase
from edge.store.connection import Connection, transaction
from edge.store.meta import Meta
from edge.store.outbox import Outbox
from edge.store.slots import day_of
from edge.store.tags import Tag
from privacy.boundary import topics
from privacy.boundary.gate import CASE_LIFETIME_S, Gate, Released
from privacy.boundary.messages import MESSAGE_ID_BYTES, Case, CaseKey
from privacy.identity.authority import Identity
from privacy.identity.certificates import Certificate, UntrustedCertificate
from privacy.tokens.gaen import ONSET_DAYS
from privacy.tokens.tags import exposure_key

REPORTED_DAYS = 14
HEALTH_CERTIFICATE = "health authority certificate"
"""Name of the fact in the store: DER, as the health authority presented it."""
LANGUAGES = ("en", "id")


class BadReport(ValueError):
    """The case cannot be reported so; the message says why."""


class UnknownAuthority(LookupError):
    """This node has not heard of the health authority yet."""


def consent_texts(version: str) -> Mapping[str, str]:
    """A consent's text in each language, by version and language (`1-id`).

    Args:
        version: the one that is read out, `1-id` or `1-en`.

    Raises:
        BadReport: there is no such version; lists those that there are.
    """
    folder = files("edge.tracing").joinpath("consent")
    known = {text.name.removesuffix(".txt"): text for text in folder.iterdir() if text.name.endswith(".txt")}
    if version not in known:
        raise BadReport(
            f"there is no consent text {version!r}: choose {', '.join(sorted(known))} / tidak ada naskah {version!r}"
        )
    number = version.rpartition("-")[0]
    wanted = [f"{number}-{language}" for language in LANGUAGES]
    return {name: known[name].read_text("utf-8") for name in wanted if name in known}


def case_keys(tag: Tag, onset_day: int, now: float) -> list[CaseKey]:
    """The tag's keys of the last `REPORTED_DAYS` days since it was enrolled, today's included: the authority holds that
    back until nobody can send it any more.

    Args:
        onset_day: of the first symptoms, or of the test, `seconds // 86400`.

    Raises:
        BadReport: the onset is in the future, or so long ago that no key is of use.
    """
    today = day_of(now)
    if onset_day > today:
        raise BadReport("the onset is in the future: give the day of the first symptoms, or of the test")
    first = max(today - REPORTED_DAYS + 1, day_of(tag.enrolled_at), onset_day - ONSET_DAYS)
    days = range(first, min(today, onset_day + ONSET_DAYS) + 1)
    if not days:
        raise BadReport(f"no key of the last {REPORTED_DAYS} days is within {ONSET_DAYS} days of that onset")
    keys = {day: exposure_key(tag.secret, day) for day in days}
    return [CaseKey(key.key, key.rolling_start, key.rolling_period, day - onset_day) for day, key in keys.items()]


def health_certificate(store: Connection, identity: Identity) -> Certificate:
    """The health authority's certificate, as this node heard it last.

    Raises:
        UnknownAuthority: it has not, or what it heard is good no longer.
    """
    der = Meta(store).get(HEALTH_CERTIFICATE)
    remedy = "let this node run, connected to the broker, and try again"
    if der is None:
        raise UnknownAuthority(f"this node has not heard of the health authority yet: {remedy}")
    try:
        return identity.anchor.verify(der, at=datetime.now(UTC))
    except UntrustedCertificate as why:
        raise UnknownAuthority(f"the health authority's certificate is good no longer ({why}): {remedy}") from why


@dataclass(frozen=True, slots=True)
class Report:
    """What went into the outbox."""

    case: Case
    recipient: str
    released: Released


def report(
    store: Connection, identity: Identity, gate: Gate, case: Case, *, witness: str, recipient: Certificate, now: float
) -> Report:
    """Record the consent, let the case through the gate and queue it, all at once or nothing of it.

    Raises:
        Unconsented, ValueError: the gate keeps it.
    """
    message_id = secrets.token_bytes(MESSAGE_ID_BYTES)
    consents = Cases(store)
    with transaction(store):
        consents.add(ReportedCase(message_id, now, case.consent, witness, len(case.keys)))
        released = gate.release_case(message_id, case, consents, recipient)
        Outbox(store).put(
            topics.case(identity.party),
            bytes(released.payload),
            expires_at=now + CASE_LIFETIME_S,
            message_id=message_id,
        )
    return Report(case, recipient.party, released)
