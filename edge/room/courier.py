"""The satellite's side: every few minutes, what was heard since the last time goes to the hub."""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter

import structlog

from edge.lan import LocalUrl, NotLocal, resolve
from edge.room.parcel import MOST_ROWS, Parcel, pack
from edge.sensing.sightings import Sighting
from edge.store.database import Database
from edge.store.errors import StoreError
from edge.store.listening import Listening
from edge.store.meta import Meta
from edge.store.sightings import Sightings
from edge.store.slots import WINDOW_S
from privacy.boundary.audit import AuditLog
from privacy.boundary.gate import SIGHTINGS_TO_HUB, SiteGate
from privacy.identity.authority import Identity
from privacy.identity.certificates import Certificate, Role, UntrustedCertificate

log = structlog.get_logger()

PATH = "/site/sightings"
CERTIFICATE_PATH = "/site/certificate"
LONGEST_BACKOFF_S = 3600.0
TIMEOUT_S = 20.0
MOST_CERTIFICATE_BYTES = 8192
SENT_UNTIL = "room.sent_until"
"""Name of the fact up to which window, exclusive, the hub has everything."""


class HubUnreachable(ConnectionError):
    """The hub did not take a parcel; it is packed again later."""


class Courier:
    """Carries sightings to the hub, on a thread of its own.

    Args:
        party: the hub's name, as in its certificate.
        url: `http://HOST:PORT` or `https://…` of the hub's page, on a private address. Parcels are sealed and signed,
            so nothing rests on TLS here.
        every_s: how often, seconds.

    Raises:
        NotLocal: the address is none, or is not on the site's own network.
    """

    def __init__(self, identity: Identity, database: Database, party: str, url: str, every_s: float = 300.0) -> None:
        self._every_s = every_s
        self._identity = identity
        self._database = database
        self._party = party
        self._url = LocalUrl.parse(url)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="courier", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(TIMEOUT_S)

    def deliver(self) -> int:
        """Send everything that is new; returns how many sightings the hub has taken.

        Raises:
            HubUnreachable: the hub is away, is another one, or turned a parcel away.
            StoreError: this node's store.
        """
        store = self._database.connect()
        try:
            meta, gate = Meta(store), SiteGate(AuditLog(store))
            until = int((Listening(store).until() or 0.0) // WINDOW_S)
            since = int(meta.get(SENT_UNTIL) or b"0")
            if until <= since:
                return 0
            hub = self._hub()
            taken = 0
            for parcel in _parcels(Sightings(store).between(since * WINDOW_S, until * WINDOW_S), until):
                note = f"{len(parcel.sightings)} sightings to this room's hub, on the site's own network"
                packed = pack(self._identity, hub, parcel)
                self._ask("POST", PATH, gate.release(SIGHTINGS_TO_HUB, hub.party, packed, note))
                taken += len(parcel.sightings)
                meta.set(SENT_UNTIL, str(parcel.until_window).encode())
            return taken
        finally:
            store.close()

    def _work(self) -> None:
        pause, failing = self._every_s, False
        while not self._stopping.wait(pause):
            try:
                taken = self.deliver()
            except (HubUnreachable, StoreError) as why:
                if not failing:
                    log.error("the hub of this room does not take sightings; they are kept", reason=str(why))
                failing, pause = True, min(2 * pause, LONGEST_BACKOFF_S)
                continue
            if failing:
                log.info("the hub of this room takes sightings again", sightings=taken)
            failing, pause = False, self._every_s

    def _hub(self) -> Certificate:
        der = self._ask("GET", CERTIFICATE_PATH, None)
        try:
            hub = self._identity.anchor.verify(der)
        except UntrustedCertificate as why:
            raise HubUnreachable(f"what answers for the hub is not of this federation: {why}") from why
        if hub.party != self._party or hub.role is not Role.NODE:
            raise HubUnreachable(f"{hub.party} answers where {self._party} should: mend `url` or `party` in [site.hub]")
        return hub

    def _ask(self, method: str, path: str, body: bytes | None) -> bytes:
        try:
            connection = self._connection()
        except (OSError, NotLocal) as why:
            raise HubUnreachable(f"{self._url.host}: {why}") from why
        try:
            connection.request(method, path, body, {"Content-Type": "application/octet-stream"} if body else {})
            answer = connection.getresponse()
            said = answer.read(MOST_CERTIFICATE_BYTES)
        except (OSError, http.client.HTTPException) as why:
            raise HubUnreachable(f"{self._url.host}:{self._url.port}: {why or type(why).__name__}") from why
        finally:
            connection.close()
        if answer.status not in (200, 204):
            reason = said.decode("utf-8", "replace")[:200]
            raise HubUnreachable(f"the hub answers {answer.status}: {reason}")
        return said

    def _connection(self) -> http.client.HTTPConnection:
        address, port = resolve(self._url.host, self._url.port), self._url.port
        if self._url.scheme == "http":
            return http.client.HTTPConnection(address, port, timeout=TIMEOUT_S)
        # A page's certificate is signed by itself. What is believed is the party's certificate, and the seal.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection(address, port, timeout=TIMEOUT_S, context=context)


def _parcels(rows: Iterator[Sighting], until_window: int) -> Iterator[Parcel]:
    """Whole windows, as many as fit; own rows only, for what satellites of this node's heard is not passed on."""
    waiting: list[Sighting] = []
    for window, group in groupby((row for row in rows if row.receiver == 0), key=attrgetter("window")):
        heard = list(group)
        if len(waiting) + len(heard) > MOST_ROWS:
            yield Parcel(window, waiting)
            waiting = []
        waiting += heard
    yield Parcel(until_window, waiting)
