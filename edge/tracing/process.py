"""The tracing process: matches what waits, writes who was near, tells the site's own server, and ends.

It tells its parent what happens in lines of JSON on standard output; what was found is not in them:

    {"event": "matched", "batch": ..., "keys": ..., "seconds": ...}     a batch is done; what was found is in the store
    {"event": "refused", "batch": ..., "reason": ...}                   a batch in the store is believed no longer
    {"event": "told", "attempts": ...}                                  the site's own server took an alert
    {"event": "webhook_failed", "reason": ..., "attempts": ..., "in_s": ...}    it did not, and is told again
    {"event": "webhook_recovered"}                                      it took one that it had not taken before
    {"event": "idle"}                                                   nothing waits
    {"event": "failed", "error": ..., "reason": ...}                    it cannot go on; the reason says what to do

A crash at any step leaves the batch unmatched: what is found is written in the transaction that marks it as matched.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge.child import Event
from edge.lan import LocalUrl
from edge.proximity.closeness import Closeness
from edge.store.connection import Connection, transaction
from edge.store.exposures import Exposures
from edge.store.key_batches import KeyBatch, KeyBatches
from edge.store.site import MODES
from edge.store.slots import day_of
from edge.tracing.attenuation import AttenuationWeights
from edge.tracing.calibration import Calibration
from edge.tracing.encounters import Nearness
from edge.tracing.exposure import Exposing, Site
from edge.tracing.rooms import Receiver, Rooms
from edge.tracing.scoring import Scoring
from edge.tracing.settings import Settings
from privacy.boundary.audit import AuditLog
from privacy.boundary.gate import SiteGate
from privacy.tokens.export import Authority, ExportRefused, read_export
from privacy.tokens.gaen import INTERVAL_S

Emit = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Tracing:
    """One run of the tracing process."""

    settings: Settings
    emit: Emit
    clock: Callable[[], float] = time.time

    def run(self) -> None:
        """Do what waits.

        Raises:
            StoreError: the store cannot be used.
            ValueError: the settings contradict each other.
        """
        connection = self.settings.store().connect()
        try:
            tried: set[int] = set()
            batches = KeyBatches(connection)
            while (batch := batches.start()) is not None and batch.id not in tried:
                tried.add(batch.id)
                self._match(connection, batch)
            self._alert(connection)
            self._tell(connection)
        finally:
            connection.close()
        self.emit({"event": "idle"})

    def _match(self, connection: Connection, batch: KeyBatch) -> None:
        began, now = time.monotonic(), self.clock()
        settings = self.settings
        authority = Authority.of_pem(
            settings.authority_pem.encode(), settings.authority_key_id, settings.authority_key_version
        )
        try:
            # It was verified when it came; meanwhile the key may have been changed, or its time may be over.
            export = read_export(batch.export, authority, region=settings.region, now=now)
        except ExportRefused as why:
            with transaction(connection):
                KeyBatches(connection).matched(batch.id, (), now)
            self.emit({"event": "refused", "batch": batch.batch, "reason": str(why)})
            return
        new = KeyBatches(connection).unseen(key.key for key in export.keys)
        keys = [key for key in export.keys if key.key in new]
        found = Exposing(connection, site_of(settings, connection), Closeness.default()).of_keys(keys)
        ends = [(key.key, day_of(key.rolling_end * INTERVAL_S)) for key in keys]
        with transaction(connection):
            if KeyBatches(connection).matched(batch.id, ends, now):
                Exposures(connection).add(found, now)
                self._alert(connection)
        took = round(time.monotonic() - began, 3)
        self.emit({"event": "matched", "batch": batch.batch, "keys": len(keys), "seconds": took})

    def _alert(self, connection: Connection) -> None:
        """Also where nothing is new: the limit may have been lowered, or a server named."""
        tell = self.settings.webhook is not None
        Exposures(connection).raise_alerts(self.settings.alert_minutes, self.clock(), tell=tell)

    def _tell(self, connection: Connection) -> None:
        exposures, section = Exposures(connection), self.settings.webhook
        waiting = exposures.to_tell(self.clock())
        if section is None or not waiting:
            return
        from edge.tracing.webhook import NotDelivered, Webhook, pause_s  # noqa: PLC0415  (20 MB, for alerts alone)

        authority = None if section.authority is None else Path(section.authority)
        gate = SiteGate(AuditLog(connection, self.clock))
        webhook = Webhook(LocalUrl.parse(section.url), bytes.fromhex(section.secret), gate, authority, self.clock)
        for alert in waiting:
            attempts = alert.attempts + 1
            try:
                webhook.tell(alert)
            except NotDelivered as why:
                in_s = pause_s(attempts)
                exposures.failed(alert.id, self.clock() + in_s)
                self.emit({"event": "webhook_failed", "reason": str(why), "attempts": attempts, "in_s": in_s})
            else:
                exposures.delivered(alert.id, self.clock())
                self.emit({"event": "told", "attempts": attempts})
                if alert.attempts:
                    self.emit({"event": "webhook_recovered"})


def site_of(settings: Settings, connection: Connection) -> Site:
    """What exposures depend on, from the settings, and the corrections in the store."""
    rooms = Rooms.of(
        (Receiver(one.number, one.room, one.x_m, one.y_m) for one in settings.receivers),
        settings.adjacent,
        settings.room,
    )
    weights = AttenuationWeights(settings.attenuation_db, settings.weights)
    # A node that was in another mode before traces those days as they were, where its receivers still allow it.
    modes = [mode for mode in MODES if mode != "room" or len(settings.receivers) > 1]
    return Site(
        settings.mode,
        {mode: Nearness(mode, rooms, weights, wearer=settings.wearer) for mode in modes},
        settings.tx_power_dbm,
        Calibration.of(connection, settings.adapters),
        Scoring(*settings.infectiousness, settings.alert_minutes),
    )
