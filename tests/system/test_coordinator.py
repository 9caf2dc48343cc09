"""A real coordinator process over a real broker: killed at every boundary between phases, it goes on where it was."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from learning_double import after, first_model, halfway_app
from small_federation import SOON_S, SmallFederation

from aggregator.claim import RunClaim, RunClaimed
from aggregator.config import LoadedRun
from aggregator.events import EventKind, RoundEvent
from aggregator.records.database import Records
from aggregator.records.history import History
from aggregator.records.models import Models
from aggregator.records.schema import PartState, Phase, RunState
from aggregator.records.tensors import to_safetensors
from privacy.boundary import topics
from privacy.boundary.broker import BrokerUrl
from privacy.secure_sum.exchange import Part
from simulations.broker import mosquitto_program

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(mosquitto_program() is None, reason="Mosquitto is not installed"),
]

MEANS = {11: 1.0, 12: 4.0, 13: 9.0}
EXAMPLES = {11: 10, 12: 30, 13: 5}
ROUNDS = 3
PROGRAM = Path(__file__).parents[1] / "doubles" / "coordinator_process.py"

RUN = f"""
[run]
name = "test"
task = "halfway"
model = "zeros"
rounds = {ROUNDS}

[cohort]
min_nodes = 3
deadline_s = 60

[strategy]
name = "FedAvgM"
options = {{ server_momentum = 0.5, server_learning_rate = 0.8 }}

[evaluate]

[wire]
encoding = "exact"
"""


class Watched:
    """A coordinator process and the events that it has told."""

    def __init__(self, federation: SmallFederation, records: str, run: str = RUN, wait_after=None) -> None:
        self.events: list[RoundEvent] = []
        self._told = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        settings = {
            "credentials": str(federation.folder / "leader"),
            "broker": federation.url,
            "records": records,
            "run": run,
            "wait_after": wait_after,
        }
        self.process.stdin.write(json.dumps(settings))
        self.process.stdin.close()
        threading.Thread(target=self._read, daemon=True).start()
        self.errors: list[str] = []
        self._drain = threading.Thread(target=lambda: self.errors.extend(self.process.stderr), daemon=True)
        self._drain.start()

    def wait_for(self, kind: EventKind, round_number: int) -> None:
        with self._told:
            came = self._told.wait_for(
                lambda: any((e.kind, e.round) == (kind, round_number) for e in self.events), timeout=SOON_S * 2
            )
        assert came, f"no {kind} of round {round_number}: {self.errors[-20:]}"

    def finish(self) -> None:
        code = self.process.wait(60)
        self._drain.join(5)
        assert code == 0, "".join(self.errors[-30:])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def _read(self) -> None:
        for line in self.process.stdout:
            if not line.endswith("\n"):  # it was killed in the middle of it
                return
            with self._told:
                self.events.append(RoundEvent.from_json(line))
                self._told.notify_all()


@pytest.fixture
def federation(tmp_path) -> Iterator[SmallFederation]:
    federation = SmallFederation(tmp_path)
    yield federation
    federation.close()


@pytest.fixture
def processes() -> Iterator[list[Watched]]:
    started: list[Watched] = []
    yield started
    for watched in started:
        watched.kill()


@pytest.fixture
def records_url(federation) -> str:
    url = f"sqlite:///{federation.folder / 'central.db'}"
    records = Records(url)
    Models(records).add("zeros", to_safetensors(first_model()), {})
    for node_id in MEANS:
        federation.enrolled(records, node_id, f"site {node_id}")
    records.close()
    return url


@pytest.fixture
def three_nodes(federation):
    for node_id, mean in MEANS.items():
        federation.node(node_id, halfway_app(), config={"mean": mean, "examples": EXAMPLES[node_id]})


def fedavgm(rounds: int) -> float:
    """The recursion of FedAvgM on this problem, from Flower's own formula."""
    weight, momentum = 0.0, None
    for _ in range(rounds):
        gradient = weight - (weight + 0.5 * (after(10**6, MEANS, EXAMPLES) - weight))
        momentum = gradient if momentum is None else 0.5 * momentum + gradient
        weight -= 0.8 * momentum
    return weight


def final_weight(records: Records) -> float:
    (run,) = History(records).runs()
    last = History(records).rounds(run.run_id)[-1]
    values = Models(records).arrays(last.result)["w"].numpy()
    assert np.ptp(values) < 1e-6
    return float(values.flat[0])


@pytest.mark.usefixtures("three_nodes")
def test_a_run_ends_with_the_model_that_the_strategy_makes(federation, records_url, processes):
    processes.append(watched := Watched(federation, records_url))
    watched.finish()
    records = Records(records_url)
    (run,) = History(records).runs()
    assert (run.state, run.rounds_finished) == (RunState.FINISHED, ROUNDS)
    assert final_weight(records) == pytest.approx(fedavgm(ROUNDS), rel=1e-5)
    last = History(records).rounds(run.run_id)[-1]
    assert {part.node for part in last.parts} == {"site 11", "site 12", "site 13"}
    assert {part.state for part in last.parts} == {PartState.ANSWERED}
    assert {part.epsilon for part in last.parts if part.part is Part.TRAIN} == {0.5 * ROUNDS}
    assert all(part.bytes_up > 0 and part.bytes_down > 0 and part.seconds > 0 for part in last.parts)
    assert last.evaluate_metrics["mse"] > 0


BOUNDARIES = [
    kind
    for kind in EventKind
    if kind not in (EventKind.WAITING, EventKind.RUN_STARTED, EventKind.RUN_FINISHED)
    and kind not in (EventKind.GROUP_SUMMED, EventKind.GROUP_LOST)  # of a secure sum: test_secure_sum.py
]


@pytest.mark.usefixtures("three_nodes")
@pytest.mark.parametrize("boundary", BOUNDARIES, ids=lambda kind: kind.value.replace(" ", "-"))
def test_killed_at_any_boundary_it_goes_on_and_no_node_trains_twice(boundary, federation, records_url, processes):
    processes.append(first := Watched(federation, records_url, wait_after=[boundary.value, 2]))
    first.wait_for(boundary, 2)
    first.kill()
    processes.append(second := Watched(federation, records_url))
    second.finish()
    assert second.events[0].details["resumed"] is True
    records = Records(records_url)
    (run,) = History(records).runs()
    assert [entry.phase for entry in History(records).rounds(run.run_id)] == [Phase.FINISHED] * ROUNDS
    assert final_weight(records) == pytest.approx(fedavgm(ROUNDS), rel=1e-5)
    assert {node.trained for node in federation.nodes.values()} == {ROUNDS}


@pytest.mark.usefixtures("three_nodes")
def test_killed_before_its_first_round_and_after_its_last_it_neither_loses_nor_repeats_one(
    federation, records_url, processes
):
    for kind in (EventKind.RUN_STARTED, EventKind.RUN_FINISHED):
        processes.append(
            watched := Watched(
                federation, records_url, wait_after=[kind.value, 0 if kind is EventKind.RUN_STARTED else ROUNDS]
            )
        )
        watched.wait_for(kind, 0 if kind is EventKind.RUN_STARTED else ROUNDS)
        watched.kill()
    processes.append(again := Watched(federation, records_url))
    again.finish()
    assert {node.trained for node in federation.nodes.values()} == {ROUNDS}


def claim_of(federation: SmallFederation) -> RunClaim:
    run_id = LoadedRun.parse(RUN).run_id("small")
    return RunClaim(
        federation.leader, BrokerUrl.parse(federation.url), run_id, credentials=federation.folder / "leader"
    )


def test_a_second_coordinator_for_a_run_is_refused_by_the_name_of_the_first(federation, records_url, processes):
    processes.append(watched := Watched(federation, records_url))
    watched.wait_for(EventKind.WAITING, 1)
    second = claim_of(federation)
    with pytest.raises(RunClaimed, match=f"-{watched.process.pid}-"):
        second.hold()


def test_the_claim_of_a_coordinator_that_was_killed_is_free_at_once(federation, records_url, processes):
    processes.append(watched := Watched(federation, records_url))
    watched.wait_for(EventKind.WAITING, 1)
    watched.kill()
    with claim_of(federation) as claim:
        claim.check()
    with claim_of(federation) as claim:
        claim.check()


def test_of_two_that_claim_at_once_one_at_most_holds(federation):
    claims = [claim_of(federation) for _ in range(4)]
    refused = []

    def hold(claim: RunClaim) -> None:
        try:
            claim.hold()
        except RunClaimed:
            refused.append(claim)

    threads = [threading.Thread(target=hold, args=(claim,)) for claim in claims]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON_S)
    assert len(refused) == len(claims) - 1
    for claim in claims:
        if claim not in refused:
            claim.check()
            claim.release()


def until(happened: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SOON_S
    while not happened():
        assert time.monotonic() < deadline, what


def claims_at_the_broker(federation: SmallFederation) -> int:
    return len(federation.retained(topics.claims(LoadedRun.parse(RUN).run_id("small"))))


def has_lost(claim: RunClaim) -> bool:
    claim.wait_settled(SOON_S)
    try:
        claim.check()
    except RunClaimed:
        return True
    return False


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_claim_comes_back_after_a_restart_of_the_broker(federation, how):
    with claim_of(federation) as first:
        getattr(federation.broker, how)()
        federation.broker.restart()
        until(lambda: claims_at_the_broker(federation) == 1, "the claim comes back")
        with pytest.raises(RunClaimed, match=first.instance):
            claim_of(federation).hold()
        first.check()


def test_who_is_cut_off_while_another_claims_the_run_has_lost_it(federation):
    cut_off, other = claim_of(federation), claim_of(federation)
    cut_off.hold()
    federation.broker.kill()
    federation.broker.restart()
    other.hold()
    until(lambda: claims_at_the_broker(federation) == 2, "the one that was cut off comes back")
    until(lambda: has_lost(cut_off), "it hears that the run is another's")
    with pytest.raises(RunClaimed, match=other.instance):
        cut_off.check()
    other.check()
    for claim in (cut_off, other):
        claim.release()
