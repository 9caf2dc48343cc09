"""An outbreak in a folder for tests: a clinic, a school and a health authority around a real broker."""

import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

from alert_server import AlertServer
from heard_contacts import heard, minutes

from aggregator.keys.config import HealthConfig
from aggregator.keys.exports import exporter_of, make_export_key
from aggregator.keys.records import KeyRecords
from aggregator.keys.service import KeyServer
from edge.store.connection import Connection as Store
from edge.store.database import Database
from edge.store.exposures import Exposures
from edge.store.key_batches import KeyBatches
from edge.store.sightings import Sightings
from edge.store.tags import Tags
from privacy.boundary import topics
from privacy.boundary.broker import BrokerUrl, tls_context
from privacy.boundary.envelope import wrap
from privacy.boundary.messages import EVERYONE, Header, Keys, Kind
from privacy.boundary.wire import Connection
from privacy.identity.authority import Identity
from privacy.identity.certificates import Role, node_party
from privacy.tokens.export import DiagnosisKeys, Signer, write_export
from privacy.tokens.gaen import TemporaryExposureKey
from privacy.tokens.tags import exposure_key
from simulations.broker import BrokerCredentials, start_broker

CLINIC_ID, SCHOOL_ID = 2**64 - 3, 2**64 - 4
CLINIC, SCHOOL = node_party(CLINIC_ID), node_party(SCHOOL_ID)
DAY_S = 86400
CASE_LABEL, PUPIL, ROOM = "clinic-tag-31", "pupil-tag-07", "ruang-kelas-3B"
WINDOW_HOURS = 0.001
"""Times are cut to 3.6 s here, so that a test need not wait for the next hour."""


class Outbreak:
    """A federation with a clinic, a school and a health authority; all are stopped by `close`."""

    def __init__(self, federation, folder: Path) -> None:
        self.folder = folder
        self.secret, self.pupil = secrets.token_bytes(32), secrets.token_bytes(32)
        self.day = int(time.time() // DAY_S) - 2
        self.clock_ahead_s = 0.0
        self.server = AlertServer()
        authority = federation.authority
        authority.enrol("health", Role.HEALTH).save(folder / "h" / "health")
        authority.enrol("observer", Role.OBSERVER).save(folder / "observer")
        credentials = BrokerCredentials.in_folder(folder / "broker")
        self.broker = federation.broker = start_broker("mosquitto", folder / "mosquitto", credentials, observer=True)
        self.signer = make_export_key(folder / "h" / "export.key", folder / "h" / "export.pem", "510", "v1")
        self.clinic = federation.node(node_id=CLINIC_ID)
        self.school = federation.node(
            f'[site]\nroom = "{ROOM}"\n[tracing]\nregion = "ID-JK"\nauthority_key = "{folder}/h/export.pem"\n'
            f'max_export_bytes = 200000\nwebhook = "{self.server.url}"\nwebhook_secret = "FOLDER/hook"\n',
            node_id=SCHOOL_ID,
        )
        self.hook_secret = secrets.token_hex(32)
        (self.school.folder / "hook").write_text(self.hook_secret)
        (folder / "h" / "health.toml").write_text(
            f'broker = "{self.broker.url}"\n[clinics]\n{CLINIC} = "ID-JK"\n'
            f"[limits]\nwindow_hours = {WINDOW_HOURS}\n[exports]\nmin_keys = 100\nevery_hours = {WINDOW_HOURS}\n"
        )
        self.config = HealthConfig.load(folder / "h" / "health.toml")
        self.health = Identity.load(self.config.credentials)
        self.records = KeyRecords(self.config.records)
        self._servers: list[KeyServer] = []
        self._closing: list[Connection] = []

    def store(self, node) -> Store:
        key = bytes.fromhex((node.folder / "store.key").read_text())
        return Database(node.folder / "node.db", key).connect()

    def fill(self) -> None:
        """The clinic's tag, and the school's contacts of it: 40 minutes with a pupil, two days ago."""
        clinic, school = self.store(self.clinic), self.store(self.school)
        Tags(clinic).add(CASE_LABEL, time.time() - 30 * DAY_S, self.secret)
        Tags(school).add(PUPIL, time.time() - 30 * DAY_S, self.pupil)
        for secret in (self.secret, self.pupil):
            Sightings(school).add(heard(exposure_key(secret, self.day), minutes(self.day, 600, 40)), time.time())
        clinic.close()
        school.close()

    def authority(self) -> KeyServer:
        """The health authority's process, in this one, by a clock that can be put forward."""
        exporter = exporter_of(self.config, self.health)
        clock = lambda: time.time() + self.clock_ahead_s  # noqa: E731
        server = KeyServer(self.config, self.health, self.records, exporter, clock=clock)
        server.start()
        server.wait_connected(20)
        self._servers.append(server)
        return server

    def report(self) -> str:
        onset = time.strftime("%Y-%m-%d", time.gmtime(self.day * DAY_S))
        said = subprocess.run(
            [
                *(sys.executable, "-c", "from edge.cli import main; main()", "report-case", "node.toml"),
                *("--tag", CASE_LABEL, "--onset", onset, "--consent", "1-id", "--witness", "bu-ani", "--consent-given"),
            ],
            cwd=self.clinic.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert said.returncode == 0, said.stderr
        return said.stdout

    def publish(self, payload: bytes, batch: str, region: str = "ID-JK") -> None:
        """As whoever has the health authority's certificate."""
        if not self._closing:
            url = BrokerUrl.parse(self.broker.url)
            self._closing.append(
                Connection(url, f"health-{os.urandom(8).hex()}", tls=tls_context(self.config.credentials))
            )
            self._closing[0].start()
            self._closing[0].wait_connected(20)
        self._closing[0].publish(topics.keys(region, batch), payload, retain=True).result(20)

    def envelope(self, export: bytes, batch: str, *, created_at: float | None = None, region: str = "ID-JK") -> bytes:
        at = time.time() if created_at is None else created_at
        header = Header(
            Kind.KEYS, "test federation", "health", EVERYONE, 0, os.urandom(16), None, at, at + 14 * DAY_S, False
        )
        return bytes(wrap(self.health, header, Keys(region, batch, export)))

    def export(
        self, *, signer: Signer | None = None, region: str = "ID-JK", days_ago: int = 0, count: int = 50
    ) -> bytes:
        """Keys that nobody here has heard."""
        ends_at = (int(time.time()) - days_ago * DAY_S) // 3600 * 3600
        start = (ends_at - 3 * DAY_S) // 600
        keys = tuple(TemporaryExposureKey(os.urandom(16), start, days_since_onset=0) for _ in range(count))
        return write_export(DiagnosisKeys(region, ends_at - 3600, ends_at, keys), signer or self.signer)

    def exposures(self) -> list[tuple]:
        store = self.store(self.school)
        try:
            return [
                (
                    e.exposure.day,
                    e.exposure.subject,
                    e.exposure.room,
                    round(e.exposure.minutes, 2),
                    e.delivered_at is None,
                )
                for e in Exposures(store).stored()
            ]
        finally:
            store.close()

    def unmatched(self) -> int:
        store = self.store(self.school)
        try:
            return KeyBatches(store).waiting()
        finally:
            store.close()

    def close(self) -> None:
        for connection in self._closing:
            connection.stop()
        for server in self._servers:
            server.close()
        self.records.close()
        self.server.close()
