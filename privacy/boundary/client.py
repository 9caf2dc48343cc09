"""paho's MQTT client, for slow lines and for brokers that talk nonsense."""

from __future__ import annotations

import threading
from contextlib import suppress

import paho.mqtt.client as mqtt
import structlog
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from privacy.boundary.lean import LeanClient

log = structlog.get_logger()

RECONNECT_S = (1, 60)
"""The first pause before connecting again, and the longest."""


class PatientClient(LeanClient):
    """An MQTT 5 client whose messages are acknowledged by hand, and whose network thread ends with `stop` alone."""

    def __init__(self, client_id: str) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5, manual_ack=True)
        self.reconnect_delay_set(*RECONNECT_S)
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Say goodbye and wait for the network's thread, unless this is it."""
        self._stopping.set()
        self.disconnect()
        self.loop_stop()

    def loop_misc(self) -> MQTTErrorCode:
        """Hang up on a broker that does not answer a ping, but not while a ping waits behind an upload.

        paho takes a ping for sent when it joins the queue: what takes longer than two keepalives to upload would never
        arrive, however often it is sent again. Meanwhile the kernel watches the line (`wire.DEAD_LINE_MS`).
        """
        return MQTTErrorCode.MQTT_ERR_SUCCESS if self.want_write() else super().loop_misc()

    def loop_forever(self, timeout: float = 1.0, retry_first_connection: bool = False) -> MQTTErrorCode:
        """Run the network's thread; a packet that paho cannot read costs the connection, not the thread."""
        while True:
            try:
                return super().loop_forever(timeout, retry_first_connection)
            except Exception:
                log.exception("the broker sent what cannot be read; connecting again")
            if self._stopping.wait(RECONNECT_S[0]):
                return MQTTErrorCode.MQTT_ERR_SUCCESS
            with suppress(OSError):  # not there: the loop goes on trying
                self.reconnect()
