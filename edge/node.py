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
from edge.credentials import WaitsForClock, load_identity
from edge.housekeeping import Housekeeping
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
from edge.store.connection import Connection as StoreConnection
from edge.store.connection import transaction
from edge.store.database import Database
from edge.store.errors import StoreFull, StoreUnavailable
from edge.store.health import State
from edge.store.inbox import Inbox, InboxItem, UnknownMessage
from edge.store.outbox import Outbox, OutboxItem
from edge.store.retention import Retention
from edge.store.site import SiteModes
from edge.store.trusted_clock import TrustedClock
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
JOIN_EVERY_S = 10.0
"""A certificate that waits for the clock is looked at this often, seconds."""
LONGEST_FETCH_S = 300.0
NO_ARRAYS = memoryview(b"")
STAYS_HERE = {
    Unaccounted: Refusal.UNACCOUNTED,
    Undeclared: Refusal.UNDECLARED,
    Unmasked: Refusal.UNMASKED,
}
"""What the centre is told where the gate does not let a reply out."""


@dataclass(frozen=True, slots=True)
class OpenTask:
    """A task from the inbox, opened: what the centre asks and until when."""

    header: Header
    task: Task


class Node:
    """One node, from its configuration to `stop`.

    What is needed to sense is needed first: the store, and its books. A certificate that only a wrong clock makes
    invalid is waited for; the line to the centre, the trainer and the gate come with it.

    Attributes:
        rotating: it stopped to give its store a new key: make it anew and run it.

    Raises:
        BadConfig, BadKey, KeyUnavailable, UntrustedCertificate, StoreError: what it needs is not in order; the message
            says what to do. `RolledBack`: the store is an old copy of itself.
        BrokenChain: the ledger or the audit log was tampered with.
    """

    _identity: Identity
    _gate: Gate
    _seeds: SeedSealer
    link: Link
    trainer: TrainerProcess

    def __init__(self, config: NodeConfig) -> None:
        self._config = config
        self._broker = BrokerUrl.parse(config.link.broker)
        self._database = Database(config.store.path, config.store_key())
        self._store: StoreConnection = self._database.connect()
        self._work = threading.Event()
        self._stopping = threading.Event()
        privacy = config.privacy
        self._clock = TrustedClock(self._store)
        self.ledger = PrivacyLedger(self._store, privacy.budget(), self._clock.now)
        self.audit = AuditLog(self._store)
        self.ledger.verify()
        self.audit.verify()
        self._only_masked = privacy.secure_sum == "required"
        self._anchor = Anchor(config.store.anchor)
        self._anchor.check(self._store)
        self._clock.look()
        self.retention = Retention(self._store, self._clock, config.store.retention_days * DAY_S)
        self._housekeeping = Housekeeping(
            self._store, self.retention, privacy.record_lifetime_days * DAY_S + CASE_LIFETIME_S
        )
        self.rotating = False
        self._joined = False
        self._missing = ""
        self._courier: Courier | None = None
        self._keeper = Keeper(self._database, self._children(), self._health)
        self._flush_at = self._join_at = 0.0
        self._training_trouble = ""
        self._join()

    def run(self) -> None:
        """Work until `stop`."""
        log.info("node starts", name=self._config.name)
        SiteModes(self._store).declare(self._config.site.mode, self._clock.date())
        self._keeper.start()
        if self._joined:
            self._start_line()
        try:
            while not self._stopping.is_set():
                self._work.clear()
                self._tick()
                while self._may_work() and (item := Inbox(self._store).next(time.time())):
                    self._do(item)
                self._work.wait(TICK_S)
        finally:
            self._keeper.stop()
            if self._joined:
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

    def _join(self) -> bool:
        """Make what needs the certificate, if that is valid by now; says whether it is."""
        try:
            identity = load_identity(self._config.credentials, clock_trusted=self._clock.verdict().trusted)
        except WaitsForClock as why:
            if not self._missing:
                log.warning("the node senses, and does not talk to the centre yet", reason=str(why))
            self._missing = str(why)
            return False
        config, privacy = self._config, self._config.privacy
        self._identity, self._missing = identity, ""
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
            self._broker,
            self._database,
            session_expiry_s=int(config.link.session_days * DAY_S),
            software=SOFTWARE,
            on_task=self._work.set,
            keys=KeyIntake.of(config.tracing),
        )
        self._seeds = SeedSealer(self._identity, self.link.directory, privacy.helper_key)
        self.trainer = TrainerProcess(self._workplace(), linger_s=config.learning.linger_s)
        self._courier = self._make_courier()
        self._joined = True
        return True

    def _start_line(self) -> None:
        log.info("node joins the federation", party=self._identity.party)
        self.link.start()
        if self._courier is not None:
            self._courier.start()

    def _may_work(self) -> bool:
        """A reply is sealed to the leader's certificate, which comes with the leader's presence; and nobody is obeyed
        without a list of revoked certificates that is good now."""
        if not self._joined or self._stopping.is_set():
            return False
        return LEADER in self.link.directory and self.link.trouble() is None

    def _tick(self) -> None:
        now_s = time.monotonic()
        if not self._joined and now_s >= self._join_at:
            self._join_at = now_s + JOIN_EVERY_S
            if self._join():
                self._start_line()
        if self._joined and self.trainer.reap_idle():
            self.link.forget_model()
        if self._joined and now_s >= self._flush_at:
            self._flush_at = now_s + FLUSH_S
            self.link.announce()
            self.link.flush_quietly()  # what another process put into the outbox, such as a case
        if WrappedKey(self._config.store.wrapped_key).rotating():
            log.info("the store is given a new key")
            self.rotating = True
            self.stop()
        if self._housekeeping.tick() and self._joined:
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
        """Health of the parts that are not supervised processes, with a short message for a technician."""
        trouble = self._training_trouble
        unlisted = self.link.trouble() if self._joined else self._missing
        parts: dict[str, tuple[State, str]] = {
            "node": ("waiting", self._missing) if self._missing else ("well", ""),
            "broker": ("well" if self._joined and self.link.connected else "waiting", self._missing),
            "revocations": ("waiting", unlisted) if unlisted else ("well", ""),
            "training": ("trouble", f"the last answer held noise alone: {trouble}") if trouble else ("well", ""),
        }
        if (verdict := self._housekeeping.verdict) is not None:
            parts["clock"] = ("trouble" if verdict.jumped else "well" if verdict.trusted else "waiting", verdict.reason)
        return parts

    def _do(self, item: InboxItem) -> None:
        try:
            self._answer(item)
        except (StoreFull, StoreUnavailable) as why:
            log.error("task put off", reason=str(why))
            self._stopping.wait(TICK_S)
        except (Rejected, UnknownMessage) as why:  # the leader was revoked, or replaced, while this was worked on
            Inbox(self._store).drop(item.message_id)
            log.error("task dropped: its leader is trusted no longer", task=item.message_id.hex(), reason=str(why))

    def _answer(self, item: InboxItem) -> None:
        attempts = Inbox(self._store).start(item.message_id)
        opened = self._open(item)
        started = time.monotonic()
        if attempts > self._config.learning.attempts:
            detail = f"{attempts - 1} attempts did not finish"
            response, arrays = Response(refusal=Refusal.GAVE_UP, detail=detail), NO_ARRAYS
        else:
            response, arrays = self._train(opened, noise_only=attempts > 1)
            if response.refusal is Refusal.NO_HELPER and self._stopping.is_set():
                return  # the helper may be there when this node is again
        self._training_trouble = response.trouble
        refusal, reply = self._release(opened, response, arrays)
        traffic = self.link.traffic()
        log.info(
            "task answered",
            run=f"{opened.header.run_id:016x}",
            task=item.message_id.hex(),
            refusal=None if refusal is None else refusal.value,
            detail=response.detail or None,
            seconds=round(time.monotonic() - started, 3),
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

    def _train(self, opened: OpenTask, *, noise_only: bool) -> tuple[Response, memoryview]:
        """What came of the task, and the packed arrays of its reply.

        Args:
            noise_only: an earlier attempt was interrupted. Jaga's own app then reads no record any more, so that the
                task costs what it would have cost.
        """
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
            helper=self._seeds.helper,
            noise_only=noise_only,
            seconds=min(left_s, learning.timeout_s),
        )
        answer = self.trainer.run(request, arrays, request.seconds)
        if answer[0].refusal is not Refusal.NO_HELPER or request.helper is not None:
            return answer
        try:  # nothing was trained or spent yet: the trainer looks at the terms first
            helper = self._seeds.wait(self._stopping)
        except NoHelper as why:
            return Response(refusal=Refusal.NO_HELPER, detail=str(why)), NO_ARRAYS
        left_s = opened.header.expires_at - time.time()
        request = msgspec.structs.replace(
            request, helper=self._seeds.told(helper), seconds=min(left_s, learning.timeout_s)
        )
        return self.trainer.run(request, arrays, request.seconds)

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
            allowed=config.privacy.allow.allowed(),
            speed=config.learning.speed,
            hold_answers=config.learning.hold_answers,
            units={name: (unit.epsilon, unit.delta) for name, unit in config.privacy.units.items()},
            nodes_of_site=config.privacy.nodes_of_site,
        )

    def _sensing_settings(self) -> Settings:
        scanner = self._config.sensing.scanner
        if scanner is None:
            raise ValueError("no scanner is configured")
        # The tables and the sections have the same kinds and fields; a test holds them to it.
        section: ScannerSection = msgspec.convert(scanner.model_dump(mode="json"), ScannerSection)
        return Settings(str(self._config.store.path), self._database.key.hex(), section)
