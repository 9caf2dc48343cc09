"""The helper's process: takes a leader's requests, and answers with its half of a sum, or with why there is none.

    leader -> jaga/1/sum-request/helper -> directory (who is it) -> desk (the rules) -> records
    desk -> the sum of the masks -> sealed to the leader -> jaga/1/sum-share/leader

Requests are answered on the main thread, one after the other; the network's thread only takes them in. One that is lost
with this process is asked again by the leader, and gets the same answer.
"""

from __future__ import annotations

import queue
import secrets
import threading
import time
from collections import Counter
from concurrent.futures import TimeoutError as NotInTime
from contextlib import suppress

import structlog

from aggregator.helper.config import HelperConfig
from aggregator.helper.desk import HelperDesk
from aggregator.helper.records import HelperRecords
from aggregator.records.database import RecordsError
from privacy.boundary import topics
from privacy.boundary.broker import BrokerUrl, tls_context
from privacy.boundary.directory import Directory
from privacy.boundary.envelope import Reason, Rejected, wrap
from privacy.boundary.gate import presence
from privacy.boundary.messages import MESSAGE_ID_BYTES, Header, Kind
from privacy.boundary.wire import Connection, Delivery, PublicationRefused
from privacy.identity.authority import Identity
from privacy.identity.certificates import Certificate, UntrustedCertificate
from privacy.secure_sum.exchange import SumRefusal, SumRequest, SumShare
from privacy.version import SOFTWARE

log = structlog.get_logger()

TICK_S = 0.5
SETTLE_S = 5.0
"""After a connection the broker tells who is there; so long, a node that is not known yet may still be on its way."""
GOODBYE_S = 5.0


class HelperServer:
    """See the module."""

    def __init__(self, config: HelperConfig, identity: Identity, records: HelperRecords) -> None:
        self.turned_away: Counter[Reason] = Counter()
        self._config = config
        self._identity = identity
        self._directory = Directory(identity)
        self._desk = HelperDesk(
            identity.keys, identity.certificate.federation, records, self._certificate, config.min_cohort
        )
        self._session = secrets.token_bytes(MESSAGE_ID_BYTES)
        self._requests: queue.SimpleQueue[tuple[Header, SumRequest]] = queue.SimpleQueue()
        self._waiting: set[bytes] = set()
        self._settled_at = 0.0
        self._stopping = threading.Event()
        url = BrokerUrl.parse(config.broker)
        self._connection = Connection(
            url,
            f"{identity.party}-{secrets.token_hex(MESSAGE_ID_BYTES)}",
            tls=tls_context(config.credentials) if url.tls else None,
            will=presence(identity, self._session, online=False, software=SOFTWARE),
            on_connected=self._connected,
        )

    def run(self) -> None:
        """Answer until `stop`."""
        self._connection.subscribe(topics.ALL_PRESENCE, self._presence)
        self._connection.subscribe(topics.sum_request(self._identity.party), self._request)
        self._connection.start()
        try:
            while not self._stopping.is_set():
                try:
                    header, request = self._requests.get(timeout=TICK_S)
                except queue.Empty:
                    continue
                self._answer(header, request)
        finally:
            self._close()

    def stop(self) -> None:
        """End `run` after the request in hand; from any thread or a signal handler."""
        self._stopping.set()

    def _answer(self, header: Header, request: SumRequest) -> None:
        try:
            share = self._desk.answer(header.run_id, request)
            while share.refusal is SumRefusal.UNKNOWN and time.monotonic() < self._settled_at:
                if self._stopping.wait(TICK_S):
                    return
                share = self._desk.answer(header.run_id, request)
            self._send(header, share)
        except (RecordsError, UntrustedCertificate, Rejected, OSError) as why:
            log.error("request not answered; the leader will ask again", reason=str(why))
        finally:
            self._waiting.discard(header.message_id)

    def _send(self, asked: Header, share: SumShare) -> None:
        now = time.time()
        header = Header(
            Kind.SUM_SHARE,
            asked.federation,
            self._identity.party,
            asked.sender,
            asked.run_id,
            secrets.token_bytes(MESSAGE_ID_BYTES),
            asked.message_id,
            now,
            max(asked.expires_at, now),
            True,
        )
        payload = wrap(self._identity, header, share, self._directory.certificate(asked.sender))
        self._connection.publish(topics.sum_share(asked.sender), payload, expires_in_s=max(1.0, asked.expires_at - now))

    def _certificate(self, party: str) -> Certificate | None:
        """A party's certificate, where it has presented one that is valid and was not taken back."""
        try:
            known = self._directory.certificate(party)
        except Rejected:
            return None
        return None if known.serial in self._revoked() else known

    def _revoked(self) -> frozenset[int]:
        file = self._config.revocations
        return self._identity.anchor.revoked_by(file.read_bytes()) if file.exists() else frozenset()

    def _close(self) -> None:
        if self._connection.connected:
            gone = presence(self._identity, self._session, online=False, software=SOFTWARE)
            with suppress(NotInTime, PublicationRefused):  # the broker says the same by itself
                self._connection.publish(gone.topic, gone.payload, retain=True).result(GOODBYE_S)
        self._connection.stop()

    # --- on the network's thread -------------------------------------------------------------------------------------

    def _connected(self) -> None:
        self._settled_at = time.monotonic() + SETTLE_S
        here = presence(self._identity, self._session, online=True, software=SOFTWARE)
        self._connection.publish(here.topic, here.payload, retain=True)
        log.info("helper connected", broker=str(self._connection.url))

    def _presence(self, delivery: Delivery) -> None:
        if delivery.payload:
            try:
                self._directory.receive(delivery.topic, delivery.payload)
            except Rejected as why:
                self._turn_away(delivery.topic, why)

    def _request(self, delivery: Delivery) -> None:
        try:
            header, request = self._directory.receive(delivery.topic, delivery.payload)
        except Rejected as why:
            self._turn_away(delivery.topic, why)
            return
        if not isinstance(request, SumRequest):
            raise TypeError(f"a {header.kind} where a request should be")
        if header.message_id not in self._waiting:
            self._waiting.add(header.message_id)
            self._requests.put((header, request))

    def _turn_away(self, topic: str, why: Rejected) -> None:
        self.turned_away[why.reason] += 1
        log.warning("message turned away", topic=topic, reason=str(why), of_this_kind=self.turned_away[why.reason])
