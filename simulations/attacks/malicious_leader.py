"""A leader that lies: it asks a node anything, and reads records from everything but the noised sum.

Neighbouring stores are asked the same through the real trainer process. Whatever differs between them for another
reason than noise tells the leader about one slot or one person, and no ledger counts it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edge.learning.tasks.task import load_task
from simulations.attacks.finding import Finding
from simulations.attacks.fuzzing.canaries import canaries, careless_traceback, found_in, provocations
from simulations.attacks.fuzzing.careless import APP as CARELESS
from simulations.attacks.fuzzing.clip_audit import SLACK, audit_clipping, careless_ratio
from simulations.attacks.fuzzing.cohort import BELIEVED, REAL, price
from simulations.attacks.fuzzing.mutation import Mutation
from simulations.attacks.fuzzing.oracle import Asks, careless, example_count, existence_task, read_half_hour
from simulations.attacks.fuzzing.pair import KEY, UNREADABLE, Pair, Station
from simulations.attacks.fuzzing.search import BROKEN, TIME, Difference, Search, Tally
from simulations.attacks.fuzzing.stores import Log, Neighbours, minutes_of, neighbours, site_log, write_log
from simulations.attacks.fuzzing.tasks import BASES, FuzzTask, Leader

ALONE = "one example, or none"
"""The pair on which an app that is broken on purpose shows itself."""
QUICK_PAIRS = ("a slot holds something else", ALONE)
CARELESS_TASKS = 40
TASKS, QUICK_TASKS = 1000, 150
PATIENT_FROM = 1000
"""With so many tasks some may run into the time limit of 15 s."""
TIMED = (
    *(FuzzTask(base) for base in BASES),
    FuzzTask("site", (Mutation("config", "epochs", "i:100"), Mutation("config", "batch-size", "i:1"))),
    FuzzTask("site", (Mutation("config", "epochs", "i:5000"), Mutation("config", "batch-size", "i:1"))),
    FuzzTask("dp-sgd", (Mutation("config", "steps", "i:500"),)),
)
CLIPPING_TRIES = 200


class NothingTested(RuntimeError):
    """No honest task was answered from records: that no difference was found means nothing."""


@dataclass(slots=True)
class Report:
    """Rows of the table, and the tasks that told two stores apart."""

    findings: list[Finding] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    tallies: dict[str, Tally] = field(default_factory=dict)

    @property
    def held(self) -> bool:
        return all(row.held for row in self.findings)


def malicious_leader(
    seed: int, folder: Path, *, tasks: int, seconds: float = 3600.0, quick: bool = False
) -> Iterator[Report]:
    """Run all of it, and give the report after each part.

    Args:
        tasks: about how many are sent to pairs of stores.
        seconds: at most so long for these.
    """
    report, leader = Report(), Leader(folder)
    for part in (_fuzzed(seed, folder, leader, tasks, seconds, quick=quick), _named(seed, folder, leader)):
        for findings, differences, tally in part:
            report.findings += findings
            report.differences += differences
            report.tallies.update(tally)
            yield report


def findings(seed: int, folder: Path, *, quick: bool = False) -> list[Finding]:
    """All rows, as a step of `jaga-sim attack all`."""
    *_, report = malicious_leader(seed, folder, tasks=QUICK_TASKS if quick else TASKS, quick=quick)
    return report.findings


Part = tuple[list[Finding], list[Difference], dict[str, Tally]]


def _fuzzed(seed: int, folder: Path, leader: Leader, tasks: int, seconds: float, *, quick: bool) -> Iterator[Part]:
    pairs = [pair for pair in neighbours(seed) if not quick or pair.name in QUICK_PAIRS]
    alone = next(pair for pair in pairs if pair.name == ALONE)
    shown, shown_late = _careless(seed, folder / "careless", leader, alone)
    for number, logs in enumerate(pairs):
        rng = random.Random(f"{seed} {logs.name}")
        with Pair(folder / f"pair{number}", logs) as pair:
            until = time.monotonic() + seconds / len(pairs)
            search = Search(pair, leader, rng, until=until)
            reads = search.reads_records()
            tally = search.run(tasks // len(pairs), patient=tasks >= PATIENT_FROM)
        if not (reads and tally.sees):
            refused = tally.refused.most_common(3)
            raise NothingTested(f"{logs.name}: the answers are not made of the stores' records (refused: {refused})")
        told_apart = [one for one in tally.differences if one.field != BROKEN]
        row = Finding(
            f"neighbouring stores: {logs.name}",
            f"refusals, frames, charges and logs of {tally.tasks} tasks",
            shown,
            float(bool(told_apart)),
            0.0,
            f"{len(told_apart)} kinds of difference; answered {sum(tally.answered.values())}",
        )
        yield [row], tally.differences, {logs.name: tally}
    with Pair(folder / "timed", alone, hold_answers=True) as pair:
        search = Search(pair, leader, random.Random(seed))
        for task in TIMED:
            search.time_task(task)
    late = [one for one in search.tally.differences if one.field == TIME]
    saw = f"when {search.tally.tasks} tasks are answered, five times each"
    yield [Finding(f"time of an answer: {ALONE}", saw, shown_late, float(bool(late)), 0.0)], late, {}


def _careless(seed: int, folder: Path, leader: Leader, alone: Neighbours) -> tuple[float, float]:
    """The same search on an app that is broken on purpose: what it finds in answers and logs, and in time."""
    with Pair(folder, alone, app=CARELESS, hold_answers=True) as pair:
        search = Search(pair, leader, random.Random(seed))
        search.run(CARELESS_TASKS, patient=False)
        search.time_task(FuzzTask("site"))
    fields = {one.field for one in search.tally.differences}
    return float({"refusal", "log"} <= fields), float(TIME in fields)


def _named(seed: int, folder: Path, leader: Leader) -> Iterator[Part]:
    """Attacks that are known by name, each against a node without the protection and against the real one."""
    log = site_log(seed)
    yield [_oracle(folder / "oracle", leader, log), _existence(folder / "existence", leader, log)], [], {}
    yield [_logs(folder / "logs", leader, log), _clipping(seed, folder / "clipping", leader, log)], [], {}
    yield [_cohort(folder / "cohort", log)], [], {}


def _oracle(folder: Path, leader: Leader, log: Log) -> Finding:
    slots = sorted(log)
    before, last = {slot: log[slot] for slot in slots[:-1]}, {slots[-1]: log[slots[-1]]}
    true, count = dict(minutes_of(log))[slots[-2]], example_count(before)
    grown: dict[int, dict[bytes, int]] = {slot: dict(heard) for slot, heard in before.items()}
    bare = read_half_hour(careless(lambda: grown), lambda: grown.update({s: dict(h) for s, h in last.items()}), count)
    station = Station(folder, before)
    station.start()
    real = read_half_hour(_asks(station, leader), lambda: write_log(station.store, last), count)
    spent = station.epsilon
    station.stop()
    found = "nothing" if real.minutes is None else f"{real.minutes:.3f} person-minutes"
    note = f"true {true:.3f}; read {found} in {real.rounds} rounds for epsilon {spent:.4f}"
    saw = f"whether each of {bare.rounds} tasks was refused"
    return Finding("a half hour, by halving", saw, float(bare.right(true)), float(real.right(true)), 0.0, note)


def _existence(folder: Path, leader: Leader, log: Log) -> Finding:
    slots = sorted(log)
    none, one = ({slot: log[slot] for slot in slots[:count]} for count in (1, 2))
    task, words = existence_task(), []
    for name, held in (("none", none), ("one", one)):
        station = Station(folder / name, held)
        station.start()
        words.append(station.ask(leader.sendable(task)).refusal)
        station.stop()
    bare = [careless(lambda held=held: held)(task) for held in (none, one)]  # type: ignore[misc]
    note = " / ".join(word or "answered" for word in words)
    without, protected = float(bare[0] != bare[1]), float(words[0] != words[1])
    return Finding("is there any example?", "the answer at a learning rate of 1e39", without, protected, 0.0, note)


def _logs(folder: Path, leader: Leader, log: Log) -> Finding:
    wanted, tasks = canaries(KEY, log), list(provocations())
    station = Station(folder, log)
    station.start()
    found: dict[str, str] = {}
    for task in tasks:
        seen = station.ask(leader.sendable(task))
        found = {**found_in(seen.log, wanted), **found}
        if seen.charge.startswith(UNREADABLE):
            station.start()
    station.stop()
    without = len(found_in(careless_traceback(KEY, log), wanted)) / len(wanted)
    note = "; ".join(f"{what} ({match})" for what, match in found.items())
    return Finding(
        "personal data in logs", f"standard error under {len(tasks)} faults", without, float(bool(found)), 0.0, note
    )


def _clipping(seed: int, folder: Path, leader: Leader, log: Log) -> Finding:
    task = load_task("crowding")
    examples = task.examples(minutes_of(log))
    station = Station(folder, log)
    station.start()
    asks = _asks(station, leader)
    worst = audit_clipping(lambda one: not asks(one), task, examples, CLIPPING_TRIES, seed)
    station.stop()
    note = f"longest is {worst.ratio:.7f} C, at clip norm {worst.clip_norm:g}; {worst.accepted} accepted"
    saw = f"gradients clipped by {worst.tried} clip norms, excess over C"
    return Finding(
        "clipping at odd numbers", saw, _excess(careless_ratio(task, examples)), _excess(worst.ratio), SLACK, note
    )


def _cohort(folder: Path, log: Log) -> Finding:
    honest, deceived = price(folder / "honest", log, REAL), price(folder / "deceived", log, BELIEVED)
    bare = 0.0
    if honest.true and deceived.charged:  # the sum works, so it is no accident if it fails for the deceived
        bare = _excess(deceived.possible / deceived.charged)
    protected = _excess(deceived.true / deceived.charged) if deceived.charged else 0.0
    note = f"charged {deceived.charged:.2f}, true {deceived.true:.2f}; honest {honest.charged:.2f}, {honest.true:.2f}"
    saw = f"a sum of {REAL} nodes that believe in {BELIEVED}: true over charged epsilon, excess"
    return Finding("a cohort that nobody signed", saw, bare, protected, 0.0, note)


def _asks(station: Station, leader: Leader) -> Asks:
    return lambda task: station.ask(leader.sendable(task)).refusal


def _excess(ratio: float) -> float:
    return min(1.0, max(0.0, ratio - 1))


def one_task(task: FuzzTask, seed: int, folder: Path) -> list[Difference]:
    """Send one task to all pairs of stores."""
    leader, found = Leader(folder), list[Difference]()
    for number, logs in enumerate(neighbours(seed)):
        with Pair(folder / f"pair{number}", logs, hold_answers=True) as pair:
            search = Search(pair, leader, random.Random(seed))
            search.try_task(task)
            search.time_task(task)
            found += search.tally.differences
    return found
