"""Only one coordinator runs a run: who comes second hears the first one's claim at the broker, and leaves.

A claim is a retained message on a topic of its own, over a connection of its own. The connection's will clears it, so
it goes when its process does, however that ends. It also expires unless its holder renews it: a broker that was killed
comes back with claims whose wills it forgot.
"""

from __future__ import annotations

import os
import secrets
import socket
import ssl
import threading
import time
from concurrent.futures import TimeoutError as NotInTime
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from privacy.boundary import topics
from privacy.boundary.broker import BrokerUrl, tls_context
from privacy.boundary.directory import Directory
from privacy.boundary.envelope import Rejected, wrap
from privacy.boundary.messages import EVERYONE, MESSAGE_ID_BYTES, Claim, Header, Kind
from privacy.boundary.wire import Connection, Delivery, NotConnected, PublicationRefused, Will
from privacy.identity.authority import Identity
from privacy.identity.revocation import Revocations

log = structlog.get_logger()

LEASE_S = 90.0
RENEWAL_S = 30.0
GOODBYE_S = 5.0


class RunClaimed(RuntimeError):
    """Another coordinator holds the run."""


class RunClaim:
    """This process's claim on a run, from `hold` (or `with`) to `release`."""

    def __init__(
        self,
        identity: Identity,
        url: BrokerUrl,
        run_id: int,
        *,
        credentials: Path | None = None,
        tls: ssl.SSLContext | None = None,
        connect_s: float = 30.0,
        revocations: Revocations | None = None,
    ) -> None:
        self.host = socket.gethostname()[:64] or "unknown"
        self.instance = f"{self.host[:24]}-{os.getpid()}-{secrets.token_hex(8)}"
        self._identity = identity
        self._run_id = run_id
        self._connect_s = connect_s
        self._directory = Directory(identity, revocations)
        self._topic = topics.claim(run_id, self.instance)
        self._settled = threading.Event()
        self._judging = True
        self._released = threading.Event()
        self._others: dict[str, Claim] = {}
        self._other: Claim | None = None
        if url.tls and tls is None and credentials is not None:
            tls = tls_context(credentials)
        self._connection = Connection(
            url,
            f"{identity.party}-{secrets.token_hex(MESSAGE_ID_BYTES)}",
            tls=tls,
            will=Will(self._topic, b""),
            on_connected=self._connected,
        )

    def hold(self) -> None:
        """Claim the run.

        Raises:
            RunClaimed: another coordinator was first; names it.
            NotConnected: no broker.
        """
        self._connection.subscribe(topics.claims(self._run_id), self._heard)
        self._connection.start()
        try:
            self._connection.wait_connected(self._connect_s)
            self.wait_settled(self._connect_s)
            self.check()
        except BaseException:
            self.release()
            raise
        threading.Thread(target=self._renew, name="claim", daemon=True).start()

    def wait_settled(self, timeout_s: float) -> None:
        """Wait until it is clear whose the run is; it is not for a moment after every connection.

        Raises:
            NotConnected: it is not clear after `timeout_s`.
        """
        if not self._settled.wait(timeout_s):
            raise NotConnected(f"broker {self._connection.url} did not return our own claim: may we use {self._topic}?")

    def check(self) -> None:
        """Call before what must not be done twice.

        Raises:
            RunClaimed: another coordinator has the run, for this one was cut off for too long.
        """
        if self._other is not None:
            raise RunClaimed(
                f"run {self._run_id:016x} is being run by {self._other.instance} on {self._other.host}: "
                "stop that one first, or let it finish"
            )

    def release(self) -> None:
        """Give the run up."""
        self._released.set()
        if self._connection.connected:
            farewell = self._connection.publish(self._topic, b"", retain=True)
            try:
                farewell.result(GOODBYE_S)
            except (NotInTime, PublicationRefused):
                log.warning("broker gone before the claim was cleared; it expires by itself", seconds=LEASE_S)
        self._connection.stop()

    def __enter__(self) -> Self:
        self.hold()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()

    def _connected(self) -> None:
        """Find out (again) whose the run is: what others claim comes before our own claim comes back."""
        self._judging = True
        self._settled.clear()
        self._others.clear()
        self._publish()

    def _publish(self) -> None:
        if self._released.is_set():
            return
        now = time.time()
        header = Header(
            Kind.CLAIM,
            self._identity.certificate.federation,
            self._identity.party,
            EVERYONE,
            self._run_id,
            secrets.token_bytes(MESSAGE_ID_BYTES),
            None,
            now,
            now + LEASE_S,
            False,
        )
        payload = wrap(self._identity, header, Claim(self.instance, self.host))
        self._connection.publish(self._topic, payload, retain=True, expires_in_s=LEASE_S)

    def _heard(self, delivery: Delivery) -> None:
        if not delivery.payload:
            self._others.pop(delivery.topic, None)
            return
        try:
            _, claim = self._directory.receive(delivery.topic, delivery.payload)
        except Rejected as why:
            log.warning("claim turned away", topic=delivery.topic, reason=str(why))
            return
        if not isinstance(claim, Claim) or delivery.topic != topics.claim(self._run_id, claim.instance):
            log.warning("claim turned away", topic=delivery.topic, reason="it names another instance than its topic")
        elif claim.instance != self.instance:
            self._others[delivery.topic] = claim
        elif self._judging:
            # As retained: it still stood at the broker after a reconnection, so others came later.
            self._other = None if delivery.retained else next(iter(self._others.values()), None)
            self._judging = False
            self._settled.set()

    def _renew(self) -> None:
        while not self._released.wait(RENEWAL_S):
            self._publish()
