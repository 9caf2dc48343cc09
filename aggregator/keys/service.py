"""The health authority's process: takes cases of the clinics it knows, and publishes signed exports of their keys.

    clinic's node -> jaga/1/case/… -> directory (who is it) -> limits -> records
    records -> a whole window later -> export, filled up and signed -> jaga/1/keys/REGION/BATCH, retained -> every node

A case is acknowledged when its keys are on disk. An export is on disk, and its keys are marked, before it is published;
after every connection all exports are published again as they were, for the broker may have lost them.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import structlog

from aggregator.keys.config import HealthConfig
from aggregator.keys.exports import Exporter
from aggregator.keys.limits import CaseRefusal, CaseRefused
from aggregator.keys.records import KEPT_S, KeyRecords, StoredExport
from aggregator.revocations import ListCarrier
from privacy.boundary import topics
from privacy.boundary.broker import BrokerUrl, tls_context
from privacy.boundary.directory import Directory
from privacy.boundary.envelope import Reason, Rejected
from privacy.boundary.gate import presence
from privacy.boundary.messages import MESSAGE_ID_BYTES, Case
from privacy.boundary.wire import Connection, Delivery
from privacy.identity.authority import Identity
from privacy.identity.keys import write_private
from privacy.identity.revocation import RevocationList, Revocations
from privacy.version import SOFTWARE

log = structlog.get_logger()

SESSION_S = 7 * 86400
"""For how long the broker keeps cases for an authority that is away."""
TICK_S = 1.0
FORGET_EVERY_S = 3600.0
GOODBYE_S = 5.0
CLIENT_ID_FILE, LIST_FILE = "mqtt-client-id", "revocations.der"


class KeyServer:
    """See the module.

    Args:
        clock: seconds since the epoch; what is released goes by it.
    """

    def __init__(
        self,
        config: HealthConfig,
        identity: Identity,
        records: KeyRecords,
        exporter: Exporter,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.turned_away: Counter[str] = Counter()
        self._config = config
        self._limits = config.limits.limits()
        self._identity = identity
        self._records = records
        self._exporter = exporter
        self._clock = clock
        self._list_file = config.credentials / LIST_FILE
        revocations = Revocations(identity.anchor, kept=_read(self._list_file), keep=self._keep_list)
        self._directory = Directory(identity, revocations)
        self._session = secrets.token_bytes(MESSAGE_ID_BYTES)
        self._stopping = threading.Event()
        self._forget_at = 0.0
        url = BrokerUrl.parse(config.broker)
        self._connection = Connection(
            url,
            _client_id(config.credentials, identity.party),
            tls=tls_context(config.credentials) if url.tls else None,
            will=presence(identity, self._session, online=False, software=SOFTWARE),
            session_expiry_s=SESSION_S,
            on_connected=self._connected,
        )
        self._carrier = ListCarrier(identity.anchor, revocations, self._connection, None)

    def start(self) -> None:
        """Begin to connect, in the background."""
        self._carrier.subscribe()
        self._connection.subscribe(topics.ALL_PRESENCE, self._presence)
        self._connection.subscribe(topics.ALL_CASES, self._case)
        self._connection.start()

    def wait_connected(self, timeout_s: float) -> None:
        """Wait for the broker.

        Raises:
            NotConnected: after `timeout_s`.
        """
        self._connection.wait_connected(timeout_s)

    def run(self) -> None:
        """Take and publish until `stop`."""
        self.start()
        try:
            while not self._stopping.is_set():
                self.publish(only_where_due=True)
                self._stopping.wait(TICK_S)
        finally:
            self.close()

    def stop(self) -> None:
        """End `run`; from any thread or a signal handler."""
        self._stopping.set()

    def close(self) -> None:
        """Say goodbye and disconnect."""
        if self._connection.connected:
            gone = presence(self._identity, self._session, online=False, software=SOFTWARE)
            self._connection.publish(gone.topic, gone.payload, retain=True).result(GOODBYE_S)
        self._connection.stop()

    def publish(self, *, only_where_due: bool = False) -> list[StoredExport]:
        """Make exports of all keys that may be shown by now, keep them, and send them on their way.

        Args:
            only_where_due: leave out regions whose last export is not `every_hours` old.
        """
        now = self._clock()
        self._forget(now)
        window_s = self._limits.window_s
        until = now // window_s * window_s
        made: list[StoredExport] = []
        for region, keys in self._records.due(until).items():
            last = self._records.last_end(region)
            if last is not None and last >= until:
                continue  # a window has one export; what came late goes with the next
            if only_where_due and last is not None and until < last + self._config.exports.every_hours * 3600:
                continue
            exports = self._exporter.make(region, keys, last or until - KEPT_S, until)
            self._records.keep(exports, keys, now)
            made += exports
            log.info("diagnosis keys exported", region=region, batches=len(exports), until=until)
        for export in made:
            self._send(export)
        return made

    def flush(self, timeout_s: float) -> bool:
        """Wait until the broker has every export; whether it has."""
        deadline = time.monotonic() + timeout_s
        while any(export.published_at is None for export in self._records.exports()):
            if time.monotonic() > deadline:
                return False
            self._stopping.wait(0.05)
        return True

    def _send(self, export: StoredExport) -> None:
        left_s = export.ends_at + KEPT_S - self._clock()
        topic = topics.keys(export.region, export.batch)
        publication = self._connection.publish(topic, export.payload, retain=True, expires_in_s=max(1.0, left_s))
        publication.add_done_callback(partial(self._sent, export))

    def _sent(self, export: StoredExport, publication: Future[None]) -> None:
        if not publication.cancelled() and publication.exception() is None:
            self._records.published(export, self._clock())

    def _forget(self, now: float) -> None:
        if now < self._forget_at:
            return
        self._forget_at = now + FORGET_EVERY_S
        for export in self._records.forget(now):
            self._connection.publish(topics.keys(export.region, export.batch), b"", retain=True)
            log.info("export past its time taken back", region=export.region, batch=export.batch)

    def _keep_list(self, newest: RevocationList) -> None:
        write_private(self._list_file, newest.der)

    # --- on the network's thread -------------------------------------------------------------------------------------

    def _connected(self) -> None:
        here = presence(self._identity, self._session, online=True, software=SOFTWARE)
        self._connection.publish(here.topic, here.payload, retain=True)
        for export in self._records.exports():
            self._send(export)

    def _presence(self, delivery: Delivery) -> None:
        if not delivery.payload:
            return
        try:
            header, _ = self._directory.receive(delivery.topic, delivery.payload)
        except Rejected as why:
            self._turn_away(delivery.topic, why.reason.value, str(why))
            return
        for payload in self._records.waiting(header.sender):
            self._case(Delivery(topics.case(header.sender), memoryview(payload), False))
            self._records.waited(payload)

    def _case(self, delivery: Delivery) -> None:
        party = delivery.topic.rpartition("/")[2]
        try:
            header, case = self._directory.receive(delivery.topic, delivery.payload)
        except Rejected as why:
            if why.reason is Reason.STRANGER and party not in self._directory and party in self._config.clinics:
                # Its presence is on its way: after a pause the broker sends what it kept before it sends presences.
                if not self._records.wait(party, bytes(delivery.payload), self._clock()):
                    self._turn_away(delivery.topic, CaseRefusal.TOO_MANY_CASES.value, str(why))
            else:
                self._turn_away(delivery.topic, why.reason.value, str(why))
            return
        if not isinstance(case, Case):
            raise TypeError(f"a {header.kind} where a case should be")
        region = self._config.clinics.get(party)
        now = self._clock()
        if region is None:
            # Not counted in the records: whoever is no clinic must not be able to fill them.
            self._turn_away(
                delivery.topic, CaseRefusal.UNKNOWN_CLINIC.value, f"name {party} under [clinics] to trust it"
            )
            return
        try:
            taken = self._records.take(header.message_id, party, region, case, self._limits, now)
        except CaseRefused as why:
            self._turn_away(delivery.topic, why.reason.value, str(why))
            return
        if taken is None:
            log.info("case came again", party=party)
        else:
            log.info("case taken", party=party, region=region, keys=taken.keys, left_out=taken.left_out or None)

    def _turn_away(self, topic: str, reason: str, detail: str) -> None:
        self.turned_away[reason] += 1
        log.warning("message turned away", topic=topic, reason=detail, of_this_kind=self.turned_away[reason])


def _read(file: Path) -> bytes | None:
    return file.read_bytes() if file.exists() else None


def _client_id(credentials: Path, party: str) -> str:
    """Unguessable, and the same at every start, so that the broker keeps this party's session."""
    file = credentials / CLIENT_ID_FILE
    if not file.exists():
        write_private(file, secrets.token_hex(MESSAGE_ID_BYTES).encode())
    return f"{party}-{file.read_text('ascii')}"
