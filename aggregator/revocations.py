"""Carrier of the authority's list of revoked certificates: a leader, a helper or a health authority at the broker.

It hears what the others carry, reads the file that the central team copied from the offline authority, and publishes
the newest of them, retained, on a topic of its own. So no single carrier can hold a list back, or put an old one in
the place of a new one. The list is obeyed as soon as it is here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import structlog

from privacy.boundary import topics
from privacy.boundary.wire import Connection, Delivery
from privacy.identity.certificates import TrustAnchor
from privacy.identity.revocation import RUNS_OUT_S, BadRevocationList, RevocationList, Revocations

log = structlog.get_logger()

LOOK_S = 1.0
"""A file that was copied is published after this long at most."""


class ListCarrier:
    """See the module.

    Args:
        party: whose topic to publish on; None only hears.
        file: where the central team puts a new list (PEM); looked at by `look`.
        on_new: called when a newer list is here, on the thread that found it.
    """

    def __init__(
        self,
        anchor: TrustAnchor,
        revocations: Revocations,
        connection: Connection,
        party: str | None,
        file: Path | None = None,
        *,
        on_new: Callable[[], None] = lambda: None,
    ) -> None:
        self._anchor = anchor
        self._revocations = revocations
        self._connection = connection
        self._party = party
        self._file = file
        self._on_new = on_new
        self._lock = threading.Lock()
        self._published: int | None = None
        self._seen: tuple[int, int, int] | None = None
        self._said: str | None = ""
        self._stopping = threading.Event()

    def subscribe(self) -> None:
        """Hear what others carry; before the connection starts."""
        self._connection.subscribe(topics.ALL_REVOCATIONS, self._hear)

    def connected(self) -> None:
        """Call at every connection: the broker may have lost what it kept."""
        with self._lock:
            self._published = None
        self._publish()

    def look(self) -> None:
        """Publish the file if it was changed, and say when the list runs out; call this every `LOOK_S`."""
        if self._file is not None:
            self._look_at(self._file)
        self._publish()
        said = _remark(self._revocations)
        if said != self._said and said is not None:
            log.warning("list of revoked certificates", remark=said)
        self._said = said

    def keep_looking(self) -> threading.Thread:
        """Look again and again on a thread, until `stop`; for who has no loop of its own."""
        thread = threading.Thread(target=self._keep_looking, name="revocations", daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        self._stopping.set()

    def _keep_looking(self) -> None:
        while not self._stopping.is_set():
            try:
                self.look()
            except Exception:
                log.exception("list of revoked certificates not looked at; trying again")
            self._stopping.wait(LOOK_S)

    def _look_at(self, file: Path) -> None:
        try:
            found = file.stat()
        except FileNotFoundError:
            return
        state = (found.st_mtime_ns, found.st_size, found.st_ino)
        if state == self._seen:
            return
        self._seen = state
        try:
            self._take(RevocationList.load(file, self._anchor).der)
        except (BadRevocationList, OSError) as why:
            log.error("file with the list of revoked certificates is not published", file=str(file), reason=str(why))

    def _hear(self, delivery: Delivery) -> None:
        if not delivery.payload:
            return
        try:
            self._take(delivery.payload)
        except BadRevocationList as why:
            log.warning("list of revoked certificates turned away", topic=delivery.topic, reason=str(why))

    def _take(self, encoded: bytes | memoryview) -> None:
        known = self._revocations.newest
        try:
            self._revocations.receive(encoded)
        finally:  # it is obeyed though it could not be kept
            newest = self._revocations.newest
            if newest is not None and newest is not known:
                log.info("list of revoked certificates received", number=newest.number, revoked=len(newest.serials))
                self._on_new()
                self._publish()

    def _publish(self) -> None:
        newest = self._revocations.newest
        with self._lock:
            if self._party is None or newest is None or newest.number == self._published:
                return
            if not self._connection.connected:
                return
            self._published = newest.number
        self._connection.publish(topics.revocations(self._party), newest.der, retain=True)


def _remark(revocations: Revocations) -> str | None:
    trouble = revocations.problem()
    if trouble is not None:
        return f"{trouble}; nodes do not train"
    if revocations.seconds_left() < RUNS_OUT_S:
        return "it runs out within three days, and nodes do not train after that: publish a new one"
    return None
