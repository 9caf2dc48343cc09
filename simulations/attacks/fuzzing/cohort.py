"""Nodes that believe in a larger cohort than the helper keeps: what they are charged, and what the sum really tells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flwr.app import Array, ArrayRecord, ConfigRecord
from flwr.serverapp.strategy import FedAvg

from aggregator.cohort import CohortTooSmall
from aggregator.strategies.secure_sum import SecureSum, SumSettings
from aggregator.strategies.streaming import Streaming
from edge.learning.app import app_for
from edge.learning.site import Refused, Site
from edge.learning.tasks.task import load_task
from edge.store.database import Database
from privacy.accounting.composition import epsilon
from privacy.accounting.events import SharedGaussian
from privacy.accounting.ledger import Budget, PrivacyLedger
from privacy.boundary import flower
from privacy.mechanisms.shared_noise import honest_of
from simulations.attacks.fuzzing.pair import KEY
from simulations.attacks.fuzzing.stores import Log, make_store
from simulations.attacks.fuzzing.tasks import SITE
from simulations.summed import FIRST_NODE, SummedFederation

BELIEVED, REAL = 11, 3
DELTA = 1e-6
MULTIPLIER = 1.266
"""Costs about epsilon 4 where the cohort is the one that is believed in."""


@dataclass(frozen=True, slots=True)
class Price:
    """Epsilon at `DELTA` of one round.

    Attributes:
        charged: to the ledger of a node.
        possible: of the smallest sum that the helper makes.
        true: of the sum that the leader got; 0 if it got none.
    """

    charged: float
    possible: float
    true: float


def price(folder: Path, log: Log, believed: int) -> Price:
    """Run one round of the smallest cohort that the helper allows, among nodes that believe in another."""
    folder.mkdir(parents=True)
    flower.enter_run(2**63 + 5, flower.CENTRE)
    federation = SummedFederation(folder, REAL, REAL)
    sites = [_site(folder / f"{node}.db", log, believed) for node in range(REAL)]
    try:
        answered = _round(federation, sites)
    finally:
        federation.close()
    events = [event for site in sites for entry in site.ledger.entries() for event in entry.events]
    shared = [event for event in events if isinstance(event, SharedGaussian)]
    for site in sites:
        site.connection.close()
    if not shared:
        return Price(0.0, 0.0, 0.0)
    charged = shared[0]
    smallest = SharedGaussian(charged.sensitivity, charged.noise_std, honest_of(REAL), charged.dimension, charged.unit)
    possible = epsilon([smallest], DELTA)
    return Price(epsilon([charged], DELTA), possible, possible if answered else 0.0)


def _site(path: Path, log: Log, believed: int) -> Site:
    connection = Database(make_store(path, KEY, log), KEY).connect()
    return Site(connection, PrivacyLedger(connection, Budget(1e6, DELTA, 14 * 86400.0)), min_cohort=believed)


def _round(federation: SummedFederation, sites: list[Site]) -> bool:
    """Whether the helper gave the leader its half of the sum."""
    strategy = SecureSum(Streaming(FedAvg()), SumSettings("helper", bound=64.0, min_cohort=REAL), federation)
    state = load_task("crowding").model().state_dict()
    arrays = ArrayRecord({name: Array(tensor.numpy()) for name, tensor in state.items()})
    config = ConfigRecord({"task": "crowding", **SITE, "noise-multiplier": MULTIPLIER})
    grid: Any = _Nodes()
    replies = []
    for place, task in enumerate(strategy.configure_train(1, arrays, config, grid)):
        flower.set_message_id(task, f"{place:032x}")
        try:
            replies.append(federation.answer(task, app_for(sites[task.metadata.dst_node_id - FIRST_NODE])))
        except Refused:
            continue
    if len(replies) < REAL:
        return False
    try:
        summed, _ = strategy.aggregate_train(1, replies)
    except CohortTooSmall:  # what the strategy says if the helper refuses
        return False
    return summed is not None


class _Nodes:
    """What strategies ask of a grid when they choose nodes."""

    def get_node_ids(self) -> list[int]:
        return list(range(FIRST_NODE, FIRST_NODE + REAL))
