"""One run: rounds of a Flower strategy over the engine's nodes, judged on held-out records.

    strategy.configure_train -> who is asked -> who answers -> the engine trains -> groups -> strategy.aggregate_train

Everything random is drawn from the run's seed and the number of the round, so a run that stopped goes on as if it had
not, and the same seed gives the same bytes.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import msgspec
import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord
from flwr.serverapp.strategy import Strategy
from numpy.typing import NDArray

from aggregator.records.tensors import from_safetensors, to_safetensors
from aggregator.strategies import registry
from aggregator.strategies.state import restore, snapshot
from aggregator.strategies.streaming import NotLinear, Streaming
from edge.learning.plain import PlainPlan
from privacy.boundary.flower import CENTRE, enter_run
from privacy.secure_sum.draw import MOST_OF_A_GROUP, merged, spread
from privacy.secure_sum.fixed_point import FixedPoint
from privacy.secure_sum.vector import Plan
from simulations.engine.bench import State
from simulations.engine.cohort import CohortExamples
from simulations.engine.engine import Engine
from simulations.engine.local import LayersOnly, PlainTraining
from simulations.engine.workers import Backend
from simulations.runs.data import Scene, liars
from simulations.runs.experiment import BadExperiment, Experiment
from simulations.runs.grid import Answer, SimulatedGrid, model_of, nodes_of
from simulations.runs.judging import Judge, SiteErrors
from simulations.runs.mechanisms import mechanism
from simulations.runs.replies import GroupMeans, Updates
from simulations.sealed import model_bytes, share_bytes
from simulations.world.pretraining import fit, pooled

CENTRAL_PULL = 0.03
"""Holds the central model near its start: it would overfit a few days otherwise, and be a weaker baseline."""
ROUND, LIARS, NOISE, ABSENT, GROUPS, PERSONAL = range(6)
"""Streams of random numbers."""

Row = dict[str, Any]


class _Checkpoint(msgspec.Struct, frozen=True):
    round: int
    model: bytes
    strategy: bytes
    taken_part: list[int]
    rounds: list[Row]
    sites: list[Row]


@dataclass(slots=True)
class Tables:
    """What a run has measured so far; columns as in `simulations.runs.folder`."""

    rounds: list[Row] = field(default_factory=list)
    sites: list[Row] = field(default_factory=list)
    timings: list[Row] = field(default_factory=list)


class Simulation:
    """A run that goes on round by round.

    Args:
        checkpoint: of the same settings, to go on from.
        workers: as of `Engine`; they change nothing in what comes out.

    Raises:
        BadExperiment: settings that do not go together, naming their key.
    """

    def __init__(
        self, settings: Experiment, scene: Scene, *, workers: int | Backend = 1, checkpoint: bytes | None = None
    ) -> None:
        logging.getLogger("flwr").setLevel(logging.ERROR)
        enter_run(1, CENTRE)
        self.settings, self._scene = settings, scene
        self.nodes = len(scene.training)
        self.tables = Tables()
        self.round = 0
        self._arrays = ArrayRecord({name: Array(value) for name, value in scene.start.items()})
        self._elements = sum(value.size for value in scene.start.values())
        self._sum = settings.secure_sum
        self._strategy, self._linear = _strategy(settings, self.nodes)
        try:
            code = self._code(_asks(self._strategy, self.nodes))
        except ValueError as why:
            raise BadExperiment(f"secure_sum.bits: {why}") from why
        self.mechanism = mechanism(settings, scene.task, self._elements, code)
        self._layers = _layers(settings, scene)
        rng = np.random.default_rng([settings.experiment.seed, LIARS])
        self._lies = liars(settings.attackers, self.nodes, rng)
        self._taken_part = np.zeros(self.nodes, np.int64)
        self._judge = Judge(scene.task, scene.held_out)
        self._bytes = (
            model_bytes(scene.start),
            model_bytes(scene.start) if self._sum is None else share_bytes(self._elements, self._sum.bits, 1),
        )
        if checkpoint is None:
            self._begin()
        else:
            self._go_on(checkpoint)
        examples = scene.lying(self._lies) if settings.attackers.kind == "label-flip" else scene.training
        cohort = CohortExamples.of_unit(scene.task, examples, self.mechanism.unit)
        self._engine = Engine(scene.task, cohort, workers=workers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._engine.close()

    @property
    def model(self) -> bytes:
        """The model as it is, as safetensors."""
        return to_safetensors(self._arrays)

    @property
    def done(self) -> bool:
        return self.round >= self.settings.experiment.rounds

    def rounds(self) -> Iterator[Row]:
        """Do the rounds that are left; each gives its row of `tables.rounds`."""
        while not self.done:
            begun = time.perf_counter()
            row = self._next()
            self.tables.timings.append({"round": self.round, "seconds": time.perf_counter() - begun})
            yield row

    def checkpoint(self) -> bytes:
        """All that is needed to go on.

        Raises:
            UnsavableStrategy: the strategy keeps something that cannot be written down.
        """
        taken_part = self._taken_part.tolist()
        held = _Checkpoint(
            self.round, self.model, snapshot(self._strategy), taken_part, self.tables.rounds, self.tables.sites
        )
        return msgspec.msgpack.encode(held)

    # --- a round -----------------------------------------------------------------------------------------------------

    def _next(self) -> Row:
        self.round += 1
        before = model_of(self._arrays)
        answered = np.zeros(self.nodes, bool)
        grid = SimulatedGrid(self.nodes, lambda state, nodes: self._train(state, nodes, answered))
        with _chance_of((self.settings.experiment.seed, ROUND, self.round)):
            tasks = self._strategy.configure_train(self.round, self._arrays, ConfigRecord(), grid)
            replies = grid.send_and_receive(tasks)
            learnt = self._strategy.aggregate_train(self.round, replies)[0] if replies else None
        if learnt is not None:
            self._arrays = ArrayRecord({name: Array(value) for name, value in model_of(learnt).items()})
        self._taken_part += answered
        summed = sum(nodes_of(one) for one in replies)
        noise_std = self._noise_std(summed, len(grid.asked))
        moved = np.concatenate([(v - before[n]).ravel() for n, v in model_of(self._arrays).items()])
        expected = noise_std * self._elements**0.5
        down, up = self._bytes
        row = {
            "round": self.round,
            "asked": len(grid.asked),
            "answered": int(answered.sum()),
            "replies": len(replies),
            "epsilon": self.mechanism.epsilon(int(self._taken_part.max()), self.settings.privacy.delta),
            "noise_std": noise_std,
            "snr": float(np.linalg.norm(moved) / expected) if expected else float("inf"),
            "up_bytes": up * int(answered.sum()),
            "down_bytes": down * len(grid.asked),
        }
        if self.done or self.round % self.settings.evaluation.every == 0:
            row |= self._judged(model_of(self._arrays), last=self.done)
        self.tables.rounds.append(row)
        return row

    def _train(self, state: State, asked: NDArray[np.int64], answered: NDArray[np.bool_]) -> list[Answer]:
        """What comes back from those that were asked: an answer a node, or a group."""
        there = asked[self._rng(ABSENT).random(self.nodes)[asked] < self.settings.availability.share]
        answered[there] = True
        groups = self._groups(asked, there)
        there, groups = there[groups >= 0], groups[groups >= 0]
        if not len(there):
            return []
        factors = np.ones(len(there))
        if self.settings.attackers.kind != "label-flip":
            flips = self.settings.attackers.kind == "sign-flip"
            factors[self._lies[there]] = -1.0 if flips else self.settings.attackers.factor
        seed = (self.settings.experiment.seed, NOISE, self.round)
        code = self._code(len(asked))
        updates = Updates(state, groups, factors, code, self.mechanism.shared, seed)
        training = (self.settings.experiment.seed, ROUND, self.round)
        parts = self._engine.train(state, self.mechanism.training, training, updates, there)
        of = dict(zip(groups[::-1].tolist(), there[::-1].tolist(), strict=True))
        least = 1 if self._sum is None else self._sum.min_cohort
        means = GroupMeans(state, code).of(parts)
        return [Answer(of[mean.group], mean.parameters, mean.nodes) for mean in means if mean.nodes >= least]

    def _groups(self, asked: NDArray[np.int64], there: NDArray[np.int64]) -> NDArray[np.int64]:
        """The group of each that answered; -1 where its group is lost. One group for a strategy that averages: it is
        given the sum of all groups' sums."""
        if self._sum is None:
            return np.zeros(len(there), np.int64) if self._linear else there
        size = self._sum.group_size or (MOST_OF_A_GROUP if self._linear else self._sum.min_cohort)
        put = spread(self._rng(GROUPS).permutation(asked).tolist(), size)
        of = np.array([put[int(node)] for node in there], np.int64)
        into = merged({int(g): int((of == g).sum()) for g in np.unique(of)}, self._sum.min_cohort)
        found = np.array([into.get(int(group), -1) for group in of], np.int64)
        return np.minimum(found, 0) if self._linear else found

    def _code(self, asked: int) -> FixedPoint | None:
        """How updates are coded in a round that asks so many nodes; None without a sum."""
        return None if self._sum is None else Plan(self._sum.bound, max(asked, 1), self._sum.bits).code

    def _noise_std(self, summed: int, asked: int) -> float:
        """Of the noise on an element of the mean update of so many nodes; 0 without noise."""
        if not summed:
            return 0.0
        code = self._code(asked)
        if self.mechanism.shared is not None and code is not None:
            return self.mechanism.shared.sigma(code) * code.step / math.sqrt(summed)
        return self.mechanism.own_noise_std / math.sqrt(summed)

    # --- judging -----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Row 0 is the model that the first round begins with."""
        start = self._judge.of(self._scene.start)
        central = float("nan")
        if self.settings.evaluation.central:
            together = pooled(self._scene.training)
            best = fit(self._scene.task, together, dict(self._scene.start), CENTRAL_PULL)
            central = self._judge.of(best).mean
        self._references = {
            "baseline_error": self._judge.baseline.mean,
            "start_error": start.mean,
            "central_error": central,
        }
        self.tables.rounds.append(
            {"round": 0, "asked": 0, "answered": 0, "replies": 0, "epsilon": 0.0, "up_bytes": 0, "down_bytes": 0}
            | {"noise_std": 0.0, "error": start.mean}
            | self._references
        )
        self._note_sites(start, None)

    def _judged(self, model: State, *, last: bool) -> Row:
        errors, personal = self._judge.of(model), None
        if last and self._layers:
            personal = self._judge.of_each(self._personal(model))
        self._note_sites(errors, personal)
        row: Row = {"error": errors.mean, **self._references}
        return row if personal is None else row | {"personal_error": personal.mean}

    def _note_sites(self, errors: SiteErrors, personal: SiteErrors | None) -> None:
        own = np.full(len(errors.examples), np.nan) if personal is None else personal.by_site
        figures = (errors.examples, errors.by_site, self._judge.baseline.by_site, own)
        columns = (self._scene.tested, *(column.tolist() for column in figures))
        self.tables.sites += [
            {"round": self.round, "site": site, "examples": n, "error": e, "baseline_error": b, "personal_error": p}
            for site, n, e, b, p in zip(*columns, strict=True)
        ]

    def _personal(self, model: State) -> Iterator[State]:
        """Each site's own model: some layers trained further at home."""
        table = self.settings.personal
        plan = PlainPlan(table.epochs, table.batch_size, table.learning_rate)
        training = LayersOnly(PlainTraining(plan), self._layers)
        each = self._engine.each(model, training, (self.settings.experiment.seed, PERSONAL))
        return ({name: values[node] for name, values in each.items()} for node in range(self.nodes))

    # --- beginnings --------------------------------------------------------------------------------------------------

    def _go_on(self, data: bytes) -> None:
        try:
            held = msgspec.msgpack.decode(data, type=_Checkpoint)
        except msgspec.MsgspecError as why:
            raise BadExperiment(
                f"the checkpoint cannot be read ({why}): remove the run's folder and start anew"
            ) from why
        self.round, self._arrays = held.round, from_safetensors(held.model)
        restore(self._strategy, held.strategy)
        self._taken_part = np.array(held.taken_part, np.int64)
        self.tables.rounds, self.tables.sites = list(held.rounds), list(held.sites)
        self._references = {name: held.rounds[0][name] for name in ("baseline_error", "start_error", "central_error")}

    def _rng(self, stream: int) -> np.random.Generator:
        return np.random.default_rng([self.settings.experiment.seed, stream, self.round])


@contextmanager
def _chance_of(seed: tuple[int, ...]) -> Iterator[None]:
    """What strategies draw from (Flower's sampling is Python's `random`) is seeded, and the caller's is put back."""
    callers = random.getstate(), np.random.get_state()
    first, second = np.random.SeedSequence(seed).generate_state(2).tolist()
    random.seed(first)
    np.random.seed(second)
    try:
        yield
    finally:
        random.setstate(callers[0])
        np.random.set_state(callers[1])


def _strategy(settings: Experiment, nodes: int) -> tuple[Strategy, bool]:
    """The strategy, and whether the mean of all replies is all it needs."""
    name, options, rounds = settings.strategy.name, settings.strategy.options, settings.experiment.rounds
    try:
        made = registry.make(name, options, streaming=False, rounds=rounds)
    except registry.BadStrategy as why:
        raise BadExperiment(f"strategy.name: {why}") from why
    if not 0 < (share := getattr(made, "fraction_train", 1.0)) <= 1:
        raise BadExperiment(f"strategy.options.fraction_train: {share} of the nodes; it must be above 0 and at most 1")
    if mu := getattr(made, "proximal_mu", 0):
        raise BadExperiment(f"strategy.options.proximal_mu: {mu} is for nodes that add FedProx's term; Jaga's do not")
    for option in ("min_available_nodes", "min_train_nodes"):
        if (needed := getattr(made, option, 0)) > nodes:
            raise BadExperiment(f"strategy.options: {name} waits for {needed} nodes ({option}), and there are {nodes}")
    try:
        Streaming(made)
    except NotLinear:
        return made, False
    return made, True


def _asks(strategy: Strategy, nodes: int) -> int:
    """How many nodes a strategy of Flower asks in each round; of one that does not say, all."""
    share, least = getattr(strategy, "fraction_train", 1.0), getattr(strategy, "min_train_nodes", 0)
    return min(nodes, max(int(nodes * share), least))


def _layers(settings: Experiment, scene: Scene) -> frozenset[str]:
    """Names of the parameters that each node keeps for itself."""
    layers = frozenset(name.strip() for name in settings.personal.layers.split(",") if name.strip())
    if layers and scene.tested != scene.names:
        raise BadExperiment("personal.layers: sites that are tested elsewhere have no layers of their own there")
    if unknown := layers - scene.start.keys():
        raise BadExperiment(
            f"personal.layers: the model has no {', '.join(sorted(unknown))}; it has {', '.join(scene.start)}"
        )
    return layers
