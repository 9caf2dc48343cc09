"""The node's line to the centre: tasks come in and are stored before they are acknowledged; replies go out until the
broker has them, over restarts and power cuts.

MQTT delivers at least once. Here a task that comes again is recognised: while it is worked on it is dropped, and when
it has its reply, that very reply goes out again.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog

from edge.revocations import StoredRevocations
from edge.store.connection import Connection as StoreConnection
from edge.store.database import Database
from edge.store.errors import StoreError, StoreFull, StoreUnavailable
from edge.store.inbox import Inbox, Receipt
from edge.store.key_batches import BatchReceipt
from edge.store.meta import Meta
from edge.store.outbox import Outbox, OutboxItem
from edge.tracing.intake import KeyIntake
from edge.tracing.report import HEALTH_CERTIFICATE
from privacy.boundary import topics
from privacy.boundary.blob import open_blob
from privacy.boundary.broker import BrokerUrl, tls_context
from privacy.boundary.directory import Directory
from privacy.boundary.envelope import Reason, Rejected
from privacy.boundary.gate import presence
from privacy.boundary.messages import MESSAGE_ID_BYTES, BlobReference, Header, Unready
from privacy.boundary.wire import Connection, Delivery, PayloadTooLarge, Traffic
from privacy.identity.authority import Identity
from privacy.identity.certificates import HEALTH_PARTY, HELPER_PARTY
from privacy.identity.revocation import BadRevocationList

log = structlog.get_logger()

LEADER = "leader"
WAITING_TASKS = 16
WAITING_KEYS = 64
CLIENT_ID = "mqtt client id"


Kept = TypeVar("Kept")


class BlobMissing(LookupError):
    """A task's arrays could not be had from the broker in time."""


class Link:
    """One node's MQTT side.

    Args:
        on_task: called, on the network's thread, when there is work in the inbox, or keys to match.
        keys: takes diagnosis keys; None where this node does not trace.
    """

    def __init__(
        self,
        identity: Identity,
        credentials: Path,
        url: BrokerUrl,
        database: Database,
        *,
        session_expiry_s: int,
        software: str,
        on_task: Callable[[], None],
        keys: KeyIntake | None = None,
    ) -> None:
        self.rejected: Counter[Reason] = Counter()
        self._identity = identity
        self._database = database
        self._threads = threading.local()
        self._stored = StoredRevocations(identity, self._store)
        self.revocations = self._stored.load()
        self.directory = Directory(identity, self.revocations)
        self._on_task = on_task
        self._keys = keys
        self._software = software
        self._session = secrets.token_bytes(MESSAGE_ID_BYTES)
        self._waiting: deque[Delivery] = deque(maxlen=WAITING_TASKS)
        self._waiting_keys: deque[Delivery] = deque()
        self._publishing: set[int] = set()
        self._lock = threading.Lock()
        self._announcing = threading.Lock()
        self._announced: bool | None = None
        self._logged: bool | None = None
        self._unstored = False
        self._model: tuple[bytes, bytes | memoryview] | None = None
        suffix = Meta(self._store()).get_or_make(CLIENT_ID, lambda: secrets.token_bytes(MESSAGE_ID_BYTES))
        self._connection = Connection(
            url,
            f"{identity.party}-{suffix.hex()}",
            tls=tls_context(credentials) if url.tls else None,
            will=presence(identity, self._session, online=False, software=software),
            session_expiry_s=session_expiry_s,
            on_connected=self._connected,
        )

    def start(self) -> None:
        self._connection.subscribe(topics.ALL_REVOCATIONS, self._revocations)
        self._connection.subscribe(topics.presence(LEADER), self._presence)
        self._connection.subscribe(topics.presence(HELPER_PARTY), self._helper)
        self._connection.subscribe(topics.task(self._identity.party), self._task)
        self._connection.subscribe(topics.presence(HEALTH_PARTY), self._health)
        if self._keys is not None:
            self._connection.subscribe(self._keys.pattern, self._batch)
        self._connection.start()

    def stop(self) -> None:
        """Say goodbye: the centre hears that this node is off."""
        if self._connection.connected:
            gone = presence(self._identity, self._session, online=False, software=self._software)
            self._connection.publish(gone.topic, gone.payload, retain=True)
        self._connection.stop()
        self._store().close()

    @property
    def connected(self) -> bool:
        return self._connection.connected

    def traffic(self) -> Traffic:
        return self._connection.traffic()

    def trouble(self) -> str | None:
        """Why no task may be started now, in words for a technician; None if one may."""
        return self.revocations.problem()

    def announce(self) -> None:
        """Tell the log and the centre whether this node takes work, if that has changed; call this now and then."""
        with self._announcing:
            trouble = self.trouble()
            ready = trouble is None
            if ready is not self._logged:
                self._logged = ready
                if trouble is not None:
                    log.warning("no task is started", reason=trouble)
                else:
                    log.info("tasks may be started: the list of revoked certificates is good")
            if ready is self._announced or not self.connected:
                return
            self._announced = ready
            unready = None if ready else Unready.NO_REVOCATION_LIST
            here = presence(self._identity, self._session, online=True, software=self._software, unready=unready)
            self._connection.publish(here.topic, here.payload, retain=True)

    def fetch(self, reference: BlobReference, timeout_s: float) -> bytes | memoryview:
        """The joined arrays that a task refers to: those of the task before, or from the broker, which retains them.

        A round's evaluation brings the model that the next training brings again, so the last ones are kept: in
        memory, because an SD card wears out and the broker has them for who restarts.

        Raises:
            BlobMissing: the broker did not deliver them in time.
            Rejected: what it delivered is not what the task names.
        """
        known = self._model
        if known is None or known[0] != reference.digest:
            self._model = None
            payload = self._fetch_payload(reference.digest, timeout_s)
            arrays = open_blob(payload, reference, in_place=not payload.readonly)
            known = self._model = reference.digest, arrays
        return known[1]

    def forget_model(self) -> None:
        """Give back the memory of the arrays that were fetched last."""
        self._model = None

    def send(self, item: OutboxItem) -> None:
        """Publish what is in the outbox; it leaves it when the broker has acknowledged it."""
        with self._lock:
            if item.id in self._publishing:
                return
            self._publishing.add(item.id)
        left_s = max(1.0, item.expires_at - time.time())
        try:
            publication = self._connection.publish(item.topic, item.payload, expires_in_s=left_s)
        except PayloadTooLarge as why:
            log.error("reply cannot be sent, and is taken from the outbox", reason=str(why))
            publication = Future()
            publication.set_result(None)
        publication.add_done_callback(partial(self._sent, item.id))

    def flush(self) -> None:
        """Publish all that waits in the outbox and is not on its way."""
        outbox = Outbox(self._store())
        now = time.time()
        outbox.drop_expired(now)
        for item in outbox.pending(now, without=self._publishing):
            self.send(item)

    def flush_quietly(self) -> None:
        """The same now and then: where the store or the broker cannot just now, the next time will do."""
        if not self.connected:
            return
        try:
            self.flush()
        except (StoreFull, StoreUnavailable) as why:
            log.debug("outbox not looked at", reason=str(why))

    def ask_again(self) -> None:
        """Have the broker deliver again what the store could not take; call this now and then."""
        if self._unstored and self.connected:
            self._unstored = False
            self._connection.ask_again()

    def _sent(self, item_id: int, publication: Future[None]) -> None:
        if not publication.cancelled() and publication.exception() is None:
            Outbox(self._store()).sent(item_id)
        with self._lock:  # last, so that `flush` does not find an item that has just been sent
            self._publishing.discard(item_id)

    def _connected(self) -> None:
        self._announced = None
        self.announce()
        log.info("connected", broker=str(self._connection.url))
        self.flush()

    def _presence(self, delivery: Delivery) -> None:
        try:
            self.directory.receive(delivery.topic, delivery.payload)
        except Rejected as why:
            self._turn_away(delivery, why)
            return
        self._kept(lambda: self._stored.leader_is(self.directory.certificate(LEADER)))
        while self._waiting:
            self._task(self._waiting.popleft())
        self._on_task()

    def _revocations(self, delivery: Delivery) -> None:
        """The authority's list of revoked certificates; whoever carried it."""
        if not delivery.payload:  # its carrier took it back; what is known stays
            return
        try:
            new = self._kept(lambda: self.revocations.receive(delivery.payload))
        except BadRevocationList as why:
            log.warning("list of revoked certificates turned away", topic=delivery.topic, reason=str(why))
            return
        newest = self.revocations.newest
        if new and newest is not None:
            log.info("list of revoked certificates received", number=newest.number, revoked=len(newest.serials))
            self.announce()
            self._on_task()

    def _helper(self, delivery: Delivery) -> None:
        """The second aggregator presents itself: what is summed is sealed to it."""
        if not delivery.payload:
            return
        try:
            self.directory.receive(delivery.topic, delivery.payload)
        except Rejected as why:
            self._turn_away(delivery, why)

    def _task(self, delivery: Delivery) -> None:
        try:
            header, _ = self.directory.receive(delivery.topic, delivery.payload)
        except Rejected as why:
            if why.reason is Reason.STRANGER and LEADER not in self.directory:
                self._waiting.append(delivery)  # its sender's presence is on its way
            else:
                self._turn_away(delivery, why)
            return
        store = self._store()
        try:
            receipt = Inbox(store).receive(header.message_id, header.run_id, bytes(delivery.payload), header.expires_at)
        except StoreError:
            self._unstored = True
            raise
        if receipt is Receipt.ANSWERED:
            self._answer_again(store, header)
        elif receipt is Receipt.NEW:
            self._on_task()

    def _health(self, delivery: Delivery) -> None:
        """The health authority presents itself: what it signs is believed, and what is reported is sealed to it."""
        try:
            self.directory.receive(delivery.topic, delivery.payload)
        except Rejected as why:
            self._turn_away(delivery, why)
            return
        self._kept(lambda: self._keep_certificate(self.directory.certificate(HEALTH_PARTY).der))
        while self._waiting_keys:
            self._batch(self._waiting_keys.popleft())

    def _keep_certificate(self, der: bytes) -> None:
        meta = Meta(self._store())
        if meta.get(HEALTH_CERTIFICATE) != der:
            meta.set(HEALTH_CERTIFICATE, der)

    def _batch(self, delivery: Delivery) -> None:
        keys = self._keys
        if keys is None:
            return
        try:
            receipt = self._kept(lambda: keys.receive(delivery, self.directory, self._store()))
        except Rejected as why:
            if HEALTH_PARTY in self.directory:
                keys.turn_away(delivery, why)
            elif len(self._waiting_keys) < WAITING_KEYS:
                self._waiting_keys.append(delivery)  # its sender's presence is on its way
            else:
                self._unstored = True  # the broker keeps them all
            return
        if receipt is BatchReceipt.NEW:
            self._on_task()

    def _kept(self, keep: Callable[[], Kept]) -> Kept:
        """Do what writes to the store; where that fails, the broker is asked again later."""
        try:
            return keep()
        except StoreError:
            self._unstored = True
            raise

    def _answer_again(self, store: StoreConnection, header: Header) -> None:
        topic = topics.reply(self._identity.party)
        Outbox(store).put(topic, None, expires_at=header.expires_at, message_id=header.message_id)
        self.flush()

    def _turn_away(self, delivery: Delivery, why: Rejected) -> None:
        self.rejected[why.reason] += 1
        log.warning(
            "message turned away", topic=delivery.topic, reason=str(why), of_this_kind=self.rejected[why.reason]
        )

    def _fetch_payload(self, digest: bytes, timeout_s: float) -> memoryview:
        topic = topics.blob(digest)
        arrived: Future[memoryview] = Future()

        def take(delivery: Delivery) -> None:
            if delivery.payload and not arrived.done():
                arrived.set_result(delivery.payload)

        self._connection.subscribe(topic, take)
        try:
            return arrived.result(timeout_s)
        except TimeoutError as why:
            raise BlobMissing(f"model {digest.hex()[:16]}… did not come in {timeout_s:.0f} s") from why
        finally:
            self._connection.unsubscribe(topic)

    def _store(self) -> StoreConnection:
        """This thread's own connection to the store."""
        connection: StoreConnection | None = getattr(self._threads, "connection", None)
        if connection is None:
            connection = self._threads.connection = self._database.connect()
        return connection
