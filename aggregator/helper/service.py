"""The helper's process: hears what leaders ask, and answers for whole groups, by the rules of `helper.desk`.

    leader -> jaga/1/sum/helper -> directory (who is it) -> desk (may it be answered) -> jaga/1/share/leader

It opens seeds and adds up masks, which is work; so that is done on a thread of its own, one request after the other.
The same request, asked again because its answer was lost, waits in line once.
"""

from __future__ import annotations

import queue
import secrets
import threading
import time
from collections import Counter
from concurrent.futures import TimeoutError as NotInTime
from dataclasses import replace

import structlog

from aggregator.helper.anchor import HelperAnchor
from aggregator.helper.config import HelperConfig
from aggregator.helper.desk import HelperDesk
from aggregator.helper.records import HelperRecords, RevocationListRow
from aggregator.records.database import RecordsError
from aggregator.records.revocations import stored_revocations
from aggregator.revocations import ListCarrier
from privacy.boundary import topics
from privacy.boundary.broker import BrokerUrl, tls_context
from privacy.boundary.directory import Directory
from privacy.boundary.envelope import Reason, Rejected, wrap
from privacy.boundary.gate import presence
from privacy.boundary.messages import MESSAGE_ID_BYTES, Header, Kind
from privacy.boundary.wire import Connection, Delivery, PublicationRefused
from privacy.identity.authority import Identity
from privacy.identity.certificates import Certificate
from privacy.secure_sum.exchange import DrawRequest, DrawShare, SumRefusal, SumRequest, SumShare
from privacy.version import SOFTWARE

log = structlog.get_logger()

WAITING_REQUESTS = 64
TICK_S = 0.5
SETTLE_S = 60.0
"""After a power cut of the whole centre, nodes take so long at most to find the broker and present themselves again
(`client.RECONNECT_S`): until then an unknown node is no reason for a refusal."""
GOODBYE_S = 5.0


class HelperServer:
    """See the module.

    Raises:
        HelperRolledBack: the records are an old copy of themselves.
    """

    def __init__(self, config: HelperConfig, identity: Identity, records: HelperRecords) -> None:
        self.turned_away: Counter[Reason] = Counter()
        self._identity = identity
        self._records = records
        revocations = stored_revocations(identity.anchor, records, RevocationListRow)
        believing = replace(identity, anchor=replace(identity.anchor, revoked=records.revoked()))
        self._directory = Directory(believing, revocations)
        anchor = HelperAnchor(config.anchor)
        anchor.check(records)
        self._desk = HelperDesk(
            identity.keys,
            identity.certificate.federation,
            records,
            self._certificate_of,
            config.min_cohort,
            anchor=anchor,
            quorum=config.quorum,
        )
        self._session = secrets.token_bytes(MESSAGE_ID_BYTES)
        self._stopping = threading.Event()
        self._asked: queue.Queue[tuple[Header, SumRequest | DrawRequest]] = queue.Queue(WAITING_REQUESTS)
        self._in_line: set[bytes] = set()
        self._settled_at = 0.0
        url = BrokerUrl.parse(config.broker)
        self._connection = Connection(
            url,
            f"{identity.party}-{secrets.token_hex(MESSAGE_ID_BYTES)}",
            tls=tls_context(config.credentials) if url.tls else None,
            will=presence(identity, self._session, online=False, software=SOFTWARE),
            on_connected=self._connected,
        )
        self._carrier = ListCarrier(identity.anchor, revocations, self._connection, identity.party, config.revocations)

    def run(self) -> None:
        """Answer until `stop`."""
        self._carrier.subscribe()
        self._connection.subscribe(topics.ALL_PRESENCE, self._presence)
        self._connection.subscribe(topics.sum_request(self._identity.party), self._request)
        self._connection.start()
        self._carrier.keep_looking()
        try:
            while not self._stopping.is_set():
                try:
                    header, request = self._asked.get(timeout=TICK_S)
                except queue.Empty:
                    continue
                self._answer(header, request)
        finally:
            self._close()

    def stop(self) -> None:
        """End `run` after the request in hand; from any thread or a signal handler."""
        self._stopping.set()

    def _answer(self, header: Header, request: SumRequest | DrawRequest) -> None:
        try:
            share = self._share(header, request)
            if share.refusal is SumRefusal.UNKNOWN and time.monotonic() < self._settled_at:
                log.info("nodes have yet to present themselves; the leader asks again", nodes=share.because_of)
            else:
                self._send(header, share)
        except (RecordsError, Rejected) as why:
            log.error("request not answered; the leader asks again", reason=str(why))
        finally:
            self._in_line.discard(header.message_id)

    def _share(self, header: Header, request: SumRequest | DrawRequest) -> SumShare | DrawShare:
        if isinstance(request, DrawRequest):
            return self._desk.draw(header.run_id, request)
        return self._desk.answer(header.run_id, request)

    def _send(self, asked: Header, share: SumShare | DrawShare) -> None:
        now = time.time()
        header = Header(
            Kind.SHARE,
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
        left_s = max(1.0, asked.expires_at - now)
        self._connection.publish(topics.sum_share(asked.sender), payload, expires_in_s=left_s)

    def _certificate_of(self, party: str) -> Certificate | None:
        try:
            return self._directory.certificate(party)
        except Rejected:
            return None

    def _close(self) -> None:
        self._carrier.stop()
        if self._connection.connected:
            gone = presence(self._identity, self._session, online=False, software=SOFTWARE)
            try:
                self._connection.publish(gone.topic, gone.payload, retain=True).result(GOODBYE_S)
            except (NotInTime, PublicationRefused):
                log.warning("the broker did not take the goodbye")
        self._connection.stop()

    # --- on the network's thread -------------------------------------------------------------------------------------

    def _connected(self) -> None:
        self._settled_at = time.monotonic() + SETTLE_S
        here = presence(self._identity, self._session, online=True, software=SOFTWARE)
        self._connection.publish(here.topic, here.payload, retain=True)
        self._carrier.connected()
        log.info("connected", broker=str(self._connection.url))

    def _presence(self, delivery: Delivery) -> None:
        if not delivery.payload:
            return
        try:
            self._directory.receive(delivery.topic, delivery.payload)
        except Rejected as why:
            self._turn_away(delivery.topic, why)

    def _request(self, delivery: Delivery) -> None:
        try:
            header, body = self._directory.receive(delivery.topic, delivery.payload)
        except Rejected as why:
            self._turn_away(delivery.topic, why)
            return
        if not isinstance(body, SumRequest | DrawRequest) or header.message_id in self._in_line:
            return
        try:
            self._asked.put_nowait((header, body))
        except queue.Full:
            log.warning("too many requests wait; the leader asks again", waiting=WAITING_REQUESTS)
            return
        self._in_line.add(header.message_id)

    def _turn_away(self, topic: str, why: Rejected) -> None:
        self.turned_away[why.reason] += 1
        log.warning("message turned away", topic=topic, reason=str(why), of_this_kind=self.turned_away[why.reason])
