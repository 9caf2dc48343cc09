"""Revocation list of a node: kept in its store, and what the node forgets when the list names who gave it work.

A task of a leader whose certificate was taken back is not done, and a reply that was sealed to it does not leave; nor
does a case that was sealed to a health authority whose certificate was. All of that goes in the transaction that keeps
the list, so that a power cut leaves both or neither.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog
from cryptography import x509

from edge.store.connection import Connection, transaction
from edge.store.inbox import Inbox
from edge.store.meta import Meta
from edge.store.outbox import Outbox
from edge.tracing.report import HEALTH_CERTIFICATE
from privacy.boundary import topics
from privacy.identity.authority import Identity
from privacy.identity.certificates import Certificate
from privacy.identity.revocation import RevocationList, Revocations, seconds_since_epoch

log = structlog.get_logger()

REVOCATION_LIST = "revocation list"
LEADER_CERTIFICATE = "leader certificate"
"""Names of facts in the store: DER, as they were heard last."""


@dataclass(frozen=True, slots=True)
class StoredRevocations:
    """The node's newest list in its store.

    Attributes:
        store: the calling thread's connection.
    """

    identity: Identity
    store: Callable[[], Connection]

    def load(self, clock: Callable[[], float] = seconds_since_epoch) -> Revocations:
        """The list as it was kept, ready for newer ones."""
        kept = Meta(self.store()).get(REVOCATION_LIST)
        return Revocations(self.identity.anchor, kept=kept, keep=self._keep, clock=clock)

    def leader_is(self, certificate: Certificate) -> None:
        """Note who asks. What another leader asked is forgotten: its tasks are not this one's, and its replies are
        sealed to keys that may be in somebody's hands."""
        meta = Meta(self.store())
        known = meta.get(LEADER_CERTIFICATE)
        if known == certificate.der:
            return
        with transaction(self.store()):
            if known is not None:
                self._forget_work("the leader has another certificate")
            meta.set(LEADER_CERTIFICATE, certificate.der)

    def _keep(self, newest: RevocationList) -> None:
        store = self.store()
        with transaction(store):
            Meta(store).set(REVOCATION_LIST, newest.der)
            if self._names(newest, LEADER_CERTIFICATE):
                self._forget_work("the leader's certificate was revoked")
            if self._names(newest, HEALTH_CERTIFICATE):
                Meta(store).remove(HEALTH_CERTIFICATE)
                dropped = Outbox(store).drop(topics.case(self.identity.party))
                log.error("the health authority's certificate was revoked: report again", cases_not_sent=dropped)

    def _names(self, newest: RevocationList, fact: str) -> bool:
        der = Meta(self.store()).get(fact)
        return der is not None and x509.load_der_x509_certificate(der).serial_number in newest.serials

    def _forget_work(self, why: str) -> None:
        store = self.store()
        tasks = Inbox(store).drop_unanswered()
        replies = Outbox(store).drop(topics.reply(self.identity.party))
        if tasks or replies:
            log.warning("work of a leader is forgotten", reason=why, tasks=tasks, replies_not_sent=replies)
