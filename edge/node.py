"""A node: the file to read first. It wires what senses, what stores, what learns, and the line to the centre.

    radio -> sensing process -> store  <-> trainer process
                                  |             |
                         inbox, outbox, ledger, audit log
                                  |
    centre <- MQTT <- gate <------+

This process stays light: it imports neither torch nor Flower. What needs them runs in a child that ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import structlog

from edge.child import Child
from edge.config import DAY_S, NodeConfig
from edge.keeper import Keeper
from edge.keys.wrapped import WrappedKey
from edge.learning.process import TrainerProcess
from edge.learning.protocol import Request, Response, Workplace
from edge.link import LEADER, BlobMissing, Link
from edge.page.child import PageChild, page_settings
from edge.room.courier import Courier
from edge.room.settings import reception_settings
from edge.seeds import NoHelper, SeedSealer
from edge.sensing.child import SensingChild
from edge.sensing.settings import ScannerSection, Settings
from edge.store.anchor import Anchor
from edge.store.app_states import AppStates
from edge.store.calibration import Calibrations
from edge.store.cases import Cases
from edge.store.connection import Connection as StoreConnection
from edge.store.connection import transaction
from edge.store.database import Database
from edge.store.errors import StoreFull, StoreUnavailable
from edge.store.exposures import Exposures
from edge.store.health import State
from edge.store.inbox import Inbox, InboxItem
from edge.store.key_batches import KeyBatches
from edge.store.outbox import Outbox, OutboxItem
from edge.store.sightings import Sightings
from edge.store.site import SiteModes
from edge.store.staff import StaffSessions
from edge.tracing.child import TracingChild
from edge.tracing.intake import KeyIntake
from edge.tracing.settings import settings_of
from privacy.accounting.ledger import PrivacyLedger
from privacy.boundary import topics
from privacy.boundary.audit import AuditLog
from privacy.boundary.broker import BrokerUrl
from privacy.boundary.envelope import Envelope, Rejected
from privacy.boundary.gate import CASE_LIFETIME_S, Gate, Unaccounted, Undeclared, Unmasked
from privacy.boundary.messages import Encoding, Header, Refusal, Reply, Task
from privacy.identity.authority import Identity
from privacy.version import SOFTWARE

log = structlog.get_logger()

TICK_S = 0.5
FLUSH_S = 2.0
HOUSEKEEPING_S = 3600.0
LONGEST_FETCH_S = 300.0
NO_ARRAYS = memoryview(b"")
STAYS_HERE = {
    Unaccounted: Refusal.UNACCOUNTED,
    Undeclared: Refusal.UNDECLARED,
    Unmasked: Refusal.UNMASKED,
}
"""What the centre is told where the gate does not let a reply out."""
TOLD_BY_RECORDS = frozenset({Refusal.TRAINING_FAILED, Refusal.NOT_SUMMABLE})
"""Refusals that come after records were read: their detail is not logged."""


@dataclass(frozen=True, slots=True)
class OpenTask:
    """A task from the inbox, opened: what the centre asks and until when."""

    header: Header
    task: Task


class Node:
    """One node, from its configuration to `stop`.

    Attributes:
        rotating: it stopped to give its store a new key: make it anew and run it.

    Raises:
        BadConfig, BadKey, KeyUnavailable, UntrustedCertificate, StoreError: what it needs is not in order; the message
            says what to do. `RolledBack`: the store is an old copy of itself.
    """

    def __init__(self, config: NodeConfig) -> None:
        self._config = config
        self._identity = Identity.load(config.credentials)
        self._database = Database(config.store.path, config.store_key())
        self._store: StoreConnection = self._database.connect()
        self._work = threading.Event()
        self._stopping = threading.Event()
        privacy = config.privacy
        self.ledger = PrivacyLedger(self._store, privacy.budget())
        self.audit = AuditLog(self._store)
        self._only_masked = privacy.secure_sum == "required"
        self._anchor = Anchor(config.store.anchor)
        self._anchor.check(self._store)
        self.rotating = False
        self._gate = Gate(
            self._identity,
            self.audit,
            self.ledger,
            allow_unaccounted=privacy.allow_unaccounted_apps,
            only_masked=self._only_masked,
        )
        self.link = Link(
            self._identity,
            config.credentials,
            BrokerUrl.parse(config.link.broker),
            self._database,
            session_expiry_s=int(config.link.session_days * DAY_S),
            software=SOFTWARE,
            on_task=self._work.set,
            keys=KeyIntake.of(config.tracing),
        )
        self._seeds = SeedSealer(self._identity, self.link.directory, privacy.helper_key)
        self.trainer = TrainerProcess(self._workplace(), linger_s=config.learning.linger_s)
        self._keeper = Keeper(self._database, self._children(), self._health)
        self._courier = self._make_courier()
        self._flush_at = 0.0
        self._housekeeping_at = 0.0

    def run(self) -> None:
        """Work until `stop`."""
        log.info("node starts", name=self._config.name, party=self._identity.party)
        SiteModes(self._store).declare(self._config.site.mode, time.time())
        self.link.start()
        self._keeper.start()
        if self._courier is not None:
            self._courier.start()
        try:
            while not self._stopping.is_set():
                self._work.clear()
                self._tick()
                while self._may_work() and (item := Inbox(self._store).next(time.time())):
                    self._do(item)
                self._work.wait(TICK_S)
        finally:
            self._keeper.stop()
            if self._courier is not None:
                self._courier.stop()
            self.trainer.stop()
            self.link.stop()
            self._store.close()
            log.info("node stopped", name=self._config.name)

    def stop(self) -> None:
        """End `run` after the task in hand; from any thread or a signal handler."""
        self._stopping.set()
        self._work.set()

    def _may_work(self) -> bool:
        """A reply is sealed to the leader's certificate, which comes with the leader's presence."""
        return not self._stopping.is_set() and LEADER in self.link.directory

    def _tick(self) -> None:
        if self.trainer.reap_idle():
            self.link.forget_model()
        now = time.time()
        if now >= self._flush_at:
            self._flush_at = now + FLUSH_S
            self.link.flush_quietly()  # what another process put into the outbox, such as a case
        if WrappedKey(self._config.store.wrapped_key).rotating():
            log.info("the store is given a new key")
            self.rotating = True
            self.stop()
        if now < self._housekeeping_at:
            return
        self._housekeeping_at = now + HOUSEKEEPING_S
        try:
            oldest = now - self._config.store.retention_days * DAY_S
            Sightings(self._store).purge(oldest)
            Inbox(self._store).forget(now - DAY_S)
            KeyBatches(self._store).forget(now)
            Exposures(self._store).purge(int(oldest // DAY_S))
            Calibrations(self._store).purge(oldest)
            AppStates(self._store).purge(oldest)
            Cases(self._store).purge(now - self._config.privacy.record_lifetime_days * DAY_S - CASE_LIFETIME_S)
            StaffSessions(self._store).purge(now - DAY_S)
        except (StoreFull, StoreUnavailable) as why:
            log.error("housekeeping put off", reason=str(why))
            return
        self.link.ask_again()

    def _children(self) -> Callable[[StoreConnection], list[Child]]:
        """What makes the node's processes, once their settings are found to be right."""
        config, key = self._config, self._database.key
        sensing = self._sensing_settings() if config.sensing.scanner else None
        page = page_settings(config, key) if config.page else None
        tracing = settings_of(config, key)
        reception = reception_settings(config, key)

        def make(store: StoreConnection) -> list[Child]:
            children: list[Child] = []
            if sensing is not None:
                children.append(SensingChild(sensing))
            if page is not None:
                children.append(PageChild(page))
            if tracing is not None:
                children.append(TracingChild(tracing, store))
            if reception is not None:
                children.append(Child("reception", "edge.room", reception))
            return children

        return make

    def _health(self) -> dict[str, tuple[State, str]]:
        """How those parts are that are no processes, each with a word for a technician."""
        return {"node": ("well", ""), "broker": ("well" if self.link.connected else "waiting", "")}

    def _do(self, item: InboxItem) -> None:
        try:
            self._answer(item)
        except (StoreFull, StoreUnavailable) as why:
            log.error("task put off", reason=str(why))
            self._stopping.wait(TICK_S)

    def _answer(self, item: InboxItem) -> None:
        attempts = Inbox(self._store).start(item.message_id)
        opened = self._open(item)
        if attempts > self._config.learning.attempts:
            detail = f"{attempts - 1} attempts did not finish"
            response, arrays = Response(refusal=Refusal.GAVE_UP, detail=detail), NO_ARRAYS
        else:
            response, arrays = self._train(opened)
            if response.refusal is Refusal.NO_HELPER and self._stopping.is_set():
                return  # the helper may be there when this node is again
        refusal, reply = self._release(opened, response, arrays)
        traffic = self.link.traffic()
        log.info(
            "task answered",
            run=f"{opened.header.run_id:016x}",
            task=item.message_id.hex(),
            refusal=None if refusal is None else refusal.value,
            detail=None if response.refusal in TOLD_BY_RECORDS else response.detail or None,
            sent=traffic.sent,
            received=traffic.received,
        )
        self._anchor.write(self._store)  # before it leaves: what has left is never forgotten unnoticed
        self.link.send(reply)
        self.link.flush()

    def _open(self, item: InboxItem) -> OpenTask:
        """The task again, from its stored envelope, which was verified when it came in."""
        envelope = Envelope.parse(item.payload)
        body = envelope.open(self._identity.keys)
        if not isinstance(body, Task):
            raise TypeError(f"the inbox holds a {envelope.header.kind}, not a task")
        return OpenTask(envelope.header, body)

    def _train(self, opened: OpenTask) -> tuple[Response, memoryview]:
        """What came of the task, and the packed arrays of its reply."""
        task, learning = opened.task, self._config.learning
        arrays: bytes | memoryview = NO_ARRAYS
        left_s = opened.header.expires_at - time.time()
        if task.arrays is not None:
            try:
                # Half of what is left, so that a refusal still arrives in time.
                arrays = self.link.fetch(task.arrays, min(left_s / 2, LONGEST_FETCH_S))
            except (BlobMissing, Rejected) as why:
                return Response(refusal=Refusal.BAD_MODEL, detail=str(why)), NO_ARRAYS
        state = AppStates(self._store).get(opened.header.run_id)
        request = Request(
            flower=memoryview(task.flower),
            sizes=[] if task.arrays is None else task.arrays.sizes,
            encoding=Encoding(task.encoding),
            context=None if state is None else memoryview(state),
            helper=self._seeds.party,
        )
        answer = self.trainer.run(request, arrays, min(left_s, learning.timeout_s))
        if answer[0].refusal is not Refusal.NO_HELPER or request.helper is not None:
            return answer
        try:  # nothing was trained or spent yet: the trainer looks at the terms first
            helper = self._seeds.wait(self._stopping)
        except NoHelper as why:
            return Response(refusal=Refusal.NO_HELPER, detail=str(why)), NO_ARRAYS
        left_s = opened.header.expires_at - time.time()
        request = msgspec.structs.replace(request, helper=helper.party)
        return self.trainer.run(request, arrays, min(left_s, learning.timeout_s))

    def _release(self, opened: OpenTask, response: Response, arrays: memoryview) -> tuple[Refusal | None, OutboxItem]:
        """Through the gate and into the outbox, in one transaction: all of it happened, or none."""
        topic = topics.reply(self._identity.party)
        header = opened.header
        leader = self.link.directory.certificate(header.sender)
        reply = self._reply(opened, response, arrays)
        with transaction(self._store):
            try:
                released = self._gate.release(header, reply, leader)
            except (Unaccounted, Undeclared, Unmasked) as why:
                log.error("reply stays here", reason=str(why))
                reply = Reply(refusal=STAYS_HERE[type(why)])
                released = self._gate.release(header, reply, leader)
            if response.context is not None and reply.refusal is None:
                AppStates(self._store).keep(header.run_id, bytes(response.context), time.time())
            Inbox(self._store).answer(header.message_id, released.payload, released.sha256)
            item_id = Outbox(self._store).put(topic, None, expires_at=header.expires_at, message_id=header.message_id)
        return reply.refusal, OutboxItem(item_id, topic, released.payload, header.message_id, header.expires_at)

    def _reply(self, opened: OpenTask, response: Response, arrays: memoryview) -> Reply:
        """What the trainer answered, and where that is a share of a sum, the helper's half sealed beside it."""
        encoding = opened.task.encoding
        if response.masked is None or response.refusal is not None:
            return Reply(response.flower, arrays, response.sizes, encoding, response.refusal)
        try:
            seed = self._seeds.seal(opened.header, response.masked)
        except NoHelper as why:
            log.error("reply stays here", reason=str(why))
            return Reply(refusal=Refusal.NO_HELPER)
        return Reply(response.flower, arrays, response.sizes, encoding, None, seed)

    def _make_courier(self) -> Courier | None:
        hub = self._config.site.hub
        return None if hub is None else Courier(self._identity, self._database, hub.party, hub.url, hub.every_s)

    def _workplace(self) -> Workplace:
        config = self._config
        return Workplace(
            database=str(config.store.path),
            key=self._database.key,
            node_id=self._identity.certificate.node_id,
            app=config.learning.app,
            epsilon=config.privacy.epsilon,
            delta=config.privacy.delta,
            record_lifetime_s=config.privacy.record_lifetime_days * DAY_S,
            threads=config.learning.threads,
            node_config=config.learning.node_config,
            only_masked=self._only_masked,
            min_cohort=config.privacy.min_cohort,
            units={name: (unit.epsilon, unit.delta) for name, unit in config.privacy.units.items()},
        )

    def _sensing_settings(self) -> Settings:
        scanner = self._config.sensing.scanner
        if scanner is None:
            raise ValueError("no scanner is configured")
        # The tables and the sections have the same kinds and fields; a test holds them to it.
        section: ScannerSection = msgspec.convert(scanner.model_dump(mode="json"), ScannerSection)
        return Settings(str(self._config.store.path), self._database.key, section)
