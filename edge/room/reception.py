"""The hub's side: parcels of the satellites it knows become sightings of further receivers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping

from edge.room.parcel import BadParcel, sender_of, unpack
from edge.store.connection import Connection, transaction
from edge.store.meta import Meta
from edge.store.sightings import Sightings
from edge.store.trusted_clock import TrustedClock
from privacy.identity.authority import Identity


class Reception:
    """Takes parcels in.

    Args:
        receivers: number of the receiver that each satellite stands for, by its party name.
        connect: opens the store; called for each parcel, on whichever thread brings it.

    Attributes:
        turned_away: parcels that were not believed, by the satellite's name where it is known.
    """

    def __init__(
        self,
        identity: Identity,
        receivers: Mapping[str, int],
        connect: Callable[[], Connection],
        clock: Callable[[], float] = time.time,
    ) -> None:
        if 0 in receivers.values() or len(set(receivers.values())) != len(receivers):
            raise ValueError("each satellite needs a receiver number of its own, and 0 is the hub's own adapter")
        self.turned_away: Counter[str] = Counter()
        self._identity = identity
        self._receivers = dict(receivers)
        self._connect = connect
        self._clock = clock

    @property
    def certificate(self) -> bytes:
        """The hub's own certificate (DER): what satellites seal to."""
        return self._identity.certificate.der

    def take(self, payload: bytes) -> int:
        """Store a parcel's sightings; a window that comes again is stored once. Returns how many were new.

        Raises:
            BadParcel: it is not believed, or its sender is no satellite of this hub.
            StoreError: it could not be stored; the satellite sends it again.
        """
        party = "unknown"
        try:
            sender = sender_of(self._identity, payload)
            party = sender.party
            if party not in self._receivers:
                raise BadParcel(f"{party} is no satellite of this hub: name it in [[site.satellites]]")
            now = self._clock()
            parcel = unpack(self._identity, sender, payload, receiver=self._receivers[party], now=now)
        except BadParcel:
            self.turned_away[party] += 1
            raise
        store = self._connect()
        name = f"room.taken {party}"
        try:
            with transaction(store):
                known = int(Meta(store).get(name) or b"0")
                new = [sighting for sighting in parcel.sightings if sighting.window >= known]
                Sightings(store).add(new, TrustedClock(store).now())
                Meta(store).set(name, str(max(known, parcel.until_window)).encode())
        finally:
            store.close()
        return len(new)
