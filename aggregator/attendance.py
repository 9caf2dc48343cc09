"""Which nodes are there: what their presence messages, retained at the broker, say."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from dataclasses import dataclass

import structlog

from privacy.boundary import topics
from privacy.boundary.directory import Directory
from privacy.boundary.messages import Presence
from privacy.boundary.wire import Delivery
from privacy.identity.certificates import Role

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Attendee:
    """A node that has presented itself.

    Attributes:
        session: changes whenever the node starts anew.
        serial: of its certificate.
        ready: whether it starts tasks; a node without a good list of revoked certificates does not, and says so.
    """

    node_id: int
    party: str
    online: bool
    session: bytes
    serial: int
    ready: bool = True


class Attendance:
    """The nodes that have presented a valid certificate, and which of them are there now. Safe from any thread."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._attendees: dict[int, Attendee] = {}
        self._excluded: frozenset[int] = frozenset()
        self._changed = threading.Condition()

    def receive(self, delivery: Delivery) -> Attendee | None:
        """Take in a presence message.

        Returns:
            The node it speaks of; None where it is not a node's.

        Raises:
            Rejected: it is not to be believed.
        """
        if not delivery.payload:
            self._forget(delivery.topic)
            return None
        header, body = self._directory.receive(delivery.topic, delivery.payload)
        certificate = self._directory.certificate(header.sender)
        if not isinstance(body, Presence) or certificate.role is not Role.NODE:
            return None
        ready = body.unready is None
        attendee = Attendee(
            certificate.node_id, certificate.party, body.online, body.session, certificate.serial, ready
        )
        with self._changed:
            before = self._attendees.get(attendee.node_id)
            if body.online and body.unready is not None and (before is None or before.ready):
                log.warning("node is there and starts no task", node=attendee.party, reason=body.unready.value)
            self._attendees[attendee.node_id] = attendee
            self._changed.notify_all()
        return attendee

    def online(self) -> list[int]:
        """Ids of the nodes that are there and start tasks, in order."""
        with self._changed:
            return self._online()

    def of(self, node_id: int) -> Attendee | None:
        with self._changed:
            return self._attendees.get(node_id)

    def exclude(self, serials: Collection[int]) -> None:
        """Count nodes with these (revoked) certificates as absent from now on."""
        with self._changed:
            self._excluded = frozenset(serials)
            self._changed.notify_all()

    def look_again(self) -> None:
        """Who is there may have changed: the directory has a newer list of revoked certificates."""
        with self._changed:
            self._changed.notify_all()

    def wait_for_change(self, known: Collection[int], timeout_s: float) -> None:
        """Return when others than `known` are there, at the latest after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while set(self._online()) == set(known) and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)

    def _online(self) -> list[int]:
        return sorted(
            a.node_id
            for a in self._attendees.values()
            if a.online
            and a.ready
            and a.serial not in self._excluded
            and not self._directory.revocations.revokes(a.serial)
        )

    def _forget(self, topic: str) -> None:
        address = topics.parse(topic)
        with self._changed:
            for attendee in list(self._attendees.values()):
                if address is not None and attendee.party == address.owner:
                    del self._attendees[attendee.node_id]
            self._changed.notify_all()
