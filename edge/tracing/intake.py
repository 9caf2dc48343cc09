"""Diagnosis keys as they come in: believed only where all agrees, kept once, and then matched by another process.

    broker -> size -> envelope (who, when, for whom) -> region -> known? -> the export's own signature -> store

Whatever is wrong is one clear line and a count, and costs nothing else: what is here stays, and the next batch is
looked at as if nothing had been. A batch that comes again, as all do after a reconnection, is recognised by its name
and content before its signature is looked at.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import structlog

from edge.config import BadConfig, TracingTable
from edge.store.connection import Connection
from edge.store.key_batches import BatchReceipt, KeyBatches
from privacy.boundary import topics
from privacy.boundary.directory import Directory
from privacy.boundary.envelope import Reason, Rejected
from privacy.boundary.messages import Keys
from privacy.boundary.wire import Delivery
from privacy.tokens.export import Authority, ExportRefused, read_export
from privacy.tokens.export_keys import BadSigningKey

log = structlog.get_logger()


class Refused(StrEnum):
    """Why a batch was turned away, beside the reasons of the envelope and of the export."""

    TOO_LARGE = "larger than this node takes"
    REPLAYED = "replay: this very export came under another name before"
    REPLACED = "another export came under this name before"


@dataclass(frozen=True, slots=True)
class KeyIntake:
    """What the health authority of one region sends.

    Attributes:
        authority: whose signature inside an export is believed.
        max_bytes: of a message.
        refused: how often, by reason.
    """

    region: str
    authority: Authority
    max_bytes: int
    clock: Callable[[], float] = time.time
    refused: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, tracing: TracingTable) -> KeyIntake | None:
        """From the configuration; None where it names no region.

        Raises:
            BadConfig: the authority's key cannot be used.
        """
        if tracing.region is None or tracing.authority_key is None:
            return None
        return cls(tracing.region, authority_of(tracing), tracing.max_export_bytes)

    @property
    def pattern(self) -> str:
        """The topics of its batches."""
        return topics.keys_of(self.region)

    def receive(self, delivery: Delivery, directory: Directory, store: Connection) -> BatchReceipt | None:
        """Take a batch; None where it was turned away.

        Raises:
            Rejected: STRANGER, where the sender has not presented itself: it may still.
            StoreError: it could not be kept, and is to be delivered again.
        """
        if not delivery.payload:  # a batch that the authority took back; it is forgotten here by its age
            return None
        if len(delivery.payload) > self.max_bytes:
            size = f"{len(delivery.payload)} bytes, [tracing] max_export_bytes is {self.max_bytes}"
            return self._refuse(delivery, Refused.TOO_LARGE, size)
        now = self.clock()
        try:
            _, body = directory.receive(delivery.topic, delivery.payload, now=now)
        except Rejected as why:
            if why.reason is Reason.STRANGER:
                raise
            return self._refuse(delivery, why.reason, str(why))
        if not isinstance(body, Keys):
            return self._refuse(delivery, Reason.WRONG_TOPIC, type(body).__name__)
        return self._keep(delivery, body, store, now)

    def turn_away(self, delivery: Delivery, why: Rejected) -> None:
        """Of a stranger who did not present itself after all."""
        self._refuse(delivery, why.reason, str(why))

    def _keep(self, delivery: Delivery, body: Keys, store: Connection, now: float) -> BatchReceipt | None:
        batches, digest = KeyBatches(store), hashlib.sha256(body.export).digest()
        known = batches.known(digest, body.region, body.batch)
        if known is BatchReceipt.NEW:
            try:
                export = read_export(body.export, self.authority, region=self.region, now=now)
            except ExportRefused as why:
                return self._refuse(delivery, why.reason, str(why))
            known = batches.receive(digest, body.region, body.batch, export.starts_at, export.ends_at, body.export, now)
        if known is BatchReceipt.NEW:
            log.info("diagnosis keys received", batch=body.batch, keys=len(export.keys), stale=export.stale)
        elif known is BatchReceipt.OTHER_NAME:
            return self._refuse(delivery, Refused.REPLAYED, "the first copy stays")
        elif known is BatchReceipt.OTHER_CONTENT:
            return self._refuse(delivery, Refused.REPLACED, "the first copy stays")
        return known

    def _refuse(self, delivery: Delivery, reason: StrEnum, detail: str) -> BatchReceipt | None:
        self.refused[reason.value] += 1
        log.warning(
            "diagnosis keys turned away",
            topic=delivery.topic,
            reason=reason.value,
            detail=detail,
            of_this_kind=self.refused[reason.value],
        )
        return None


def authority_of(tracing: TracingTable) -> Authority:
    """The health authority's public key, as the configuration has it.

    Raises:
        BadConfig: it is missing, or none on P-256.
    """
    path = tracing.authority_key or Path()
    try:
        return Authority.of_pem(path.read_bytes(), tracing.authority_key_id, tracing.authority_key_version)
    except (OSError, BadSigningKey) as why:
        raise BadConfig(f"{path}: no key of a health authority: {why}; ask it for its export.pem") from why
