"""A whole federation on one machine: the file to read first.

    contacts -> jaga-node x N -> SQLCipher -> DP-SGD -> masks -> MQTT broker -> leader, helper -> sums -> model
                                                            |
                                                       eavesdropper -> wire check

Every part is the real one, as a process of its own with its own certificate. The harness alone knows everything: it
made the keys, so it can open what the eavesdropper heard; it has the later days, so it can measure the model on them.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from aggregator.events import RoundEvent
from edge.learning.dpsgd import DpSgdPlan
from edge.learning.tasks.task import Task, load_task
from edge.sensing.replay import ReplayScanner
from privacy.accounting.ledger import Budget
from privacy.boundary import topics
from privacy.boundary.broker import BROKER_AUTHORITY, BrokerUrl
from privacy.boundary.messages import Kind
from privacy.identity.authority import CertificateAuthority, Identity
from privacy.identity.certificates import HELPER_PARTY, Role
from simulations.baselines import evaluate, persistence, train_centrally
from simulations.broker import BrokerCredentials, start_broker
from simulations.demo import scene as scenes
from simulations.demo.centre import Centre, CentreRun
from simulations.demo.helper import Helper
from simulations.demo.masks import mask_check
from simulations.demo.scene import Scene
from simulations.demo.sites import DAY_S, NodeBooks, Site, provision
from simulations.demo.verdict import Check, RoundFigures, Verdict, budget_check, figures, learning_check
from simulations.eavesdropper import Eavesdropper, Recording
from simulations.wirecheck import WireCheck, WireReport
from simulations.world.pretraining import State, pretrain_public_model

TASK = "crowding"
DELTA = 1e-6
RECORD_LIFETIME_S = 15 * DAY_S
SENSING_TIMEOUT_S = 600.0
ROUND_DEADLINE_S = 300.0
MIN_COHORT = 3
SUM_BOUND = 64.0
"""Largest change of a parameter that is coded: far beyond what a noised step moves. One step of the code is 4e-7."""
PUBLIC_SEED = 0
LOCAL_HOSTS = ("127.0.0.1", "localhost")


class TooSlow(TimeoutError):
    """Something did not happen in the time it should take by far."""


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """What `jaga-sim demo` was asked for; see its `--help`.

    Attributes:
        folder: must not exist; holds everything the demo makes.
        broker: address of a broker that runs already; None starts one. `broker_ca`: whom to trust for its certificate.
    """

    folder: Path
    data: Path | None = None
    metadata: Path | None = None
    nodes: int | None = None
    rounds: int = 10
    epsilon: float = 8.0
    seed: int = 1
    broker: str | None = None
    broker_ca: Path | None = None

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"--rounds {self.rounds}: at least one round is needed")
        if not 0 < self.epsilon < float("inf"):
            raise ValueError(f"--epsilon {self.epsilon}: it must be finite and above 0")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"--seed {self.seed}: it must be from 0 to 2**63 - 1")


@dataclass(frozen=True, slots=True)
class BrokerNote:
    """What the screen says of the broker; `address` is without a password."""

    kind: str
    address: str
    caveats: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DemoReport:
    """Everything a demo measured."""

    data: str
    nodes: tuple[str, ...]
    broker: BrokerNote
    rounds: tuple[RoundFigures, ...]
    sightings: int
    wire: WireReport
    verdict: Verdict


class Audience(Protocol):
    """Whoever watches: the terminal, or a test."""

    def scene(self, scene: Scene, broker: BrokerNote, plan: DpSgdPlan) -> None: ...
    def sensing(self, done: int, of: int) -> None: ...
    def training(self, event: RoundEvent) -> None: ...
    def step(self, what: str) -> None: ...


def run_demo(settings: DemoSettings, audience: Audience) -> DemoReport:
    """Run a federation from the first key to the verdict.

    Raises:
        BadScene, BadContactFile, TooFewDays, ValueError: the input makes no federation.
        BrokerUnavailable, NotConnected: no broker.
        NodeFailed, CentreFailed, HelperFailed, TooSlow: a process did not do its part.
        EavesdropperFailed: the recording is not the whole truth.
    """
    settings.folder.mkdir(parents=True)
    task = load_task(TASK)
    audience.step("preparing the world")
    scene = (
        scenes.generate(settings.folder, settings.seed, settings.nodes)
        if settings.data is None
        else scenes.load(settings.data, settings.metadata, settings.nodes)
    )
    plan = DpSgdPlan.within(settings.epsilon, DELTA, settings.rounds, task.unit_examples)
    audience.step("training the public start model")
    start = pretrain_public_model(task, PUBLIC_SEED)
    budget = Budget(settings.epsilon, DELTA, RECORD_LIFETIME_S)
    with ExitStack() as stack:
        parties = _parties(settings)
        url, note = _broker(settings, stack)
        audience.scene(scene, note, plan)
        summed = min(MIN_COHORT, len(scene.federation.zones))
        key = parties.helper.keys.sealing_public.fingerprint if summed > 1 else None
        sites = list(provision(settings.folder / "nodes", scene, parties.authority, url, budget, settings.seed, key))
        for site in sites:
            _trust(settings, site.folder / "credentials")
        helper = Helper(settings.folder / "helper")
        if summed > 1:
            helper.prepare(url, sites, summed)
            helper.start()
            stack.callback(helper.stop)
        eavesdropper = Eavesdropper(url, settings.folder / "observer", settings.folder / "wire.recording")
        eavesdropper.start()
        stack.callback(eavesdropper.stop)
        _sense(sites, stack, audience)
        centre = Centre(settings.folder / "centre")
        centre.revocations.write_bytes(parties.authority.revocation_list().pem)
        run = CentreRun(task, plan, settings.rounds, ROUND_DEADLINE_S, summed if summed > 1 else None, SUM_BOUND)
        centre.prepare(url, sites, start, run)
        for event in centre.run():
            audience.training(event)
        helper.check()
        helper.stop()
        audience.step("stopping the nodes and reading their books")
        for site in sites:
            site.stop()
        books = [site.books() for site in sites]
        eavesdropper.settle()
    audience.step("opening everything that crossed the wire")
    recording = eavesdropper.recording
    identities = [parties.leader, parties.helper, parties.observer, *(site.identity for site in sites)]
    wire = check_wire(scene, settings.seed, identities, recording)
    audience.step("measuring on the later days")
    rounds = [(figures(task, plan, scene.federation, entry, state), state) for entry, state in centre.history()]
    verdict = judge(task, scene, settings, start, rounds, books, wire, recording, gaps=eavesdropper.gaps)
    if summed > 1:
        nodes = {site.identity.party: site.identity for site in sites}
        verdict = replace(
            verdict, checks=(*verdict.checks, mask_check(recording, parties.leader, parties.helper, nodes))
        )
    return DemoReport(
        data=scene.federation.name,
        nodes=scene.federation.zones,
        broker=note,
        rounds=tuple(row for row, _ in rounds),
        sightings=sum(book.sightings for book in books),
        wire=wire,
        verdict=verdict,
    )


def check_wire(scene: Scene, seed: int, identities: Iterable[Identity], recording: Recording) -> WireReport:
    """Open everything that crossed with every party's keys, and look for every identifier of every person."""
    secrets_: set[bytes] = set()
    for zone in scene.federation.zones:
        scanner = ReplayScanner(scene.federation.contacts, zone, seed)
        secrets_ |= scanner.identifiers() | set(scanner.person_keys.values())
    return WireCheck(secrets_, identities, names=scene.people).examine(recording)


def judge(
    task: Task,
    scene: Scene,
    settings: DemoSettings,
    start: State,
    rounds: list[tuple[RoundFigures, State]],
    books: list[NodeBooks],
    wire: WireReport,
    recording: Recording,
    *,
    gaps: int,
) -> Verdict:
    """Measure the final model against its baselines, and check every claim."""
    federation = scene.federation
    final = rounds[-1][1] if rounds else start
    federated, naive = evaluate(task, final, federation), persistence(task, federation)
    epsilon = max(book.epsilon for book in books)
    return Verdict(
        start=evaluate(task, start, federation).mean,
        persistence=naive.mean,
        federated=federated.mean,
        central=evaluate(task, train_centrally(task, federation, start), federation).mean,
        slots=federated.slots,
        epsilon=epsilon,
        epsilon_allowed=settings.epsilon,
        delta=DELTA,
        checks=(
            Check(
                "every round was finished",
                len(rounds) == settings.rounds,
                f"{len(rounds)} of {settings.rounds} rounds, "
                f"{min((row.participants for row, _ in rounds), default=0)} to "
                f"{max((row.participants for row, _ in rounds), default=0)} of {len(books)} nodes in each",
            ),
            learning_check(federated, naive),
            budget_check(epsilon, settings.epsilon, DELTA),
            Check(
                "nothing personal crossed the wire",
                wire.passed,
                f"{wire.payloads} payloads ({wire.bytes:,} bytes), {wire.opened} of them opened, searched for "
                f"{wire.identifiers:,} identifiers in raw, hex and base64 form; {len(wire.violations)} violations",
            ),
            hearing_check(recording, books, gaps),
        ),
    )


def hearing_check(recording: Recording, books: list[NodeBooks], gaps: int) -> Check:
    """Whether the eavesdropper heard every reply that the nodes' audit logs say went out, and no other."""
    heard = {
        hashlib.sha256(capture.payload).digest()
        for capture in recording
        if capture.payload and (address := topics.parse(capture.topic)) and address.kind is Kind.REPLY
    }
    logged = {row.sha256 for book in books for row in book.audit if row.kind == Kind.REPLY}
    missed, unlogged = len(logged - heard), len(heard - logged)
    return Check(
        "the eavesdropper heard what the audit logs say, and nothing else",
        not missed and not unlogged and not gaps,
        f"{len(logged)} replies in the nodes' audit logs; {missed} of them unheard, {unlogged} heard and not logged, "
        f"{gaps} gaps in hearing",
    )


@dataclass(frozen=True, slots=True)
class _Parties:
    authority: CertificateAuthority
    leader: Identity
    helper: Identity
    observer: Identity


def _parties(settings: DemoSettings) -> _Parties:
    authority = CertificateAuthority.create(f"demo {secrets.token_hex(4)}")
    leader, observer = authority.enrol("leader", Role.LEADER), authority.enrol("observer", Role.OBSERVER)
    helper = authority.enrol(HELPER_PARTY, Role.HELPER)
    for folder, identity in (("centre/leader", leader), ("helper/credentials", helper), ("observer", observer)):
        identity.save(settings.folder / folder)
        _trust(settings, settings.folder / folder)
    authority.enrol("broker", Role.BROKER, LOCAL_HOSTS).save(settings.folder / "broker" / "credentials")
    return _Parties(authority, leader, helper, observer)


def _trust(settings: DemoSettings, credentials: Path) -> None:
    if settings.broker_ca is not None:
        shutil.copyfile(settings.broker_ca, credentials / BROKER_AUTHORITY)


def _broker(settings: DemoSettings, stack: ExitStack) -> tuple[str, BrokerNote]:
    """The broker's URL, and what to say of it."""
    if settings.broker is not None:
        caveat = "This broker is not the demo's own: what it enforces is not known here."
        return settings.broker, BrokerNote("external", str(BrokerUrl.parse(settings.broker)), (caveat,))
    folder = settings.folder / "broker"
    credentials = BrokerCredentials.in_folder(folder / "credentials")
    broker = stack.enter_context(start_broker("auto", folder, credentials, observer=True))
    return broker.url, BrokerNote(broker.kind, broker.url, broker.caveats)


def _sense(sites: list[Site], stack: ExitStack, audience: Audience) -> None:
    """Start the nodes and wait until each has heard its days and stored them."""
    for site in sites:
        site.start()
        stack.callback(site.stop)
    for done in _finished(sites):
        audience.sensing(done, len(sites))


def _finished(sites: list[Site]) -> Iterator[int]:
    deadline = time.monotonic() + SENSING_TIMEOUT_S
    while True:
        done = sum(site.sensed.is_set() for site in sites)
        yield done
        if done == len(sites):
            return
        if time.monotonic() > deadline:
            late = ", ".join(site.zone for site in sites if not site.sensed.is_set())
            raise TooSlow(f"after {SENSING_TIMEOUT_S:.0f} s these nodes still replay: {late}; see their node.log")
        for site in sites:
            site.check()
        next(site for site in sites if not site.sensed.is_set()).sensed.wait(0.2)
