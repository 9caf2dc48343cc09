"""The node's own app in Flower's own simulation engine: what a Flower user runs, and a second opinion on our engine.

    minutes that each node logs -> a store each -> `app_for(Site)` in Flower's Ray actors -> a Flower strategy

Nothing is left out: every partition has a store on disk, a ledger that can refuse, and noise. So it is slow, and no
seed repeats it; `Engine` is for many nodes. For task `crowding`: records of `proximity` are features by then, which no
store holds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from privacy.boundary.flower import quieten  # first: it switches Flower's telemetry off

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import Result, Strategy
from flwr.simulation import run_simulation
from numpy.typing import NDArray

from edge.learning.app import app_for
from edge.learning.site import Site
from edge.store.connection import Connection
from edge.store.database import Database
from edge.store.listening import Listening
from edge.store.sighting import Sighting
from edge.store.sightings import Sightings
from edge.store.slots import CLOSE_DBM, SLOT_S, WINDOW_S, WINDOWS_PER_SLOT
from privacy.accounting.ledger import Budget, PrivacyLedger
from simulations.engine.bench import State

KEY = bytes(32)
"""Of simulated stores: nobody's records are in them."""
PER_MINUTE = 60 // WINDOW_S
ROUNDING = 1e-3

Log = Sequence[tuple[int, float]]
"""(slot, close-contact person-minutes), as `Crowding.examples` takes it."""


class CannotStore(ValueError):
    """Minutes that no node could have counted; the message quotes them."""


@dataclass(frozen=True, slots=True)
class Stores:
    """A store for each node in one folder, which all of Flower's actors must see.

    Attributes:
        budget: of each node's ledger.
    """

    folder: Path
    nodes: int
    budget: Budget

    @classmethod
    def of(cls, folder: Path, nodes: Sequence[Log], budget: Budget) -> Stores:
        """Write what each node logs: tags at close range, for as many windows as the minutes have.

        Raises:
            CannotStore: see there.
        """
        folder.mkdir(parents=True, exist_ok=True)
        stores = cls(folder, len(nodes), budget)
        for number, log in enumerate(nodes):
            with stores.opened(number) as connection:
                for slot, minutes in log:
                    Listening(connection).add(slot * SLOT_S, (slot + 1) * SLOT_S, time.time())
                    Sightings(connection).add(_sightings(slot, minutes), time.time())
        return stores

    @contextmanager
    def opened(self, node: int) -> Iterator[Connection]:
        connection = Database(self.folder / f"{node}.db", KEY).connect()
        try:
            yield connection
        finally:
            connection.close()

    def ledger(self, connection: Connection) -> PrivacyLedger:
        return PrivacyLedger(connection, self.budget)


def client_app(stores: Stores) -> ClientApp:
    """For every partition the app of that node."""
    app = ClientApp()

    def answer(message: Message, context: Context) -> Message:
        with stores.opened(int(context.node_config["partition-id"])) as connection:
            return app_for(Site(connection, stores.ledger(connection)))(message, context)

    app.train()(answer)
    app.evaluate()(answer)
    return app


def simulate(
    stores: Stores, strategy: Strategy, start: State, rounds: int, train: Mapping[str, str | float]
) -> dict[str, NDArray[np.floating]]:
    """Rounds of a Flower strategy over all nodes, in Flower's simulation engine; it starts a Ray of its own.

    Args:
        train: what nodes are asked, with `task`: see `edge.learning.app.PLAN_KEYS`.

    Returns:
        The arrays after the last round.
    """
    results: list[Result] = []
    server = ServerApp()

    @server.main()
    def main(grid: Grid, _context: Context) -> None:
        arrays = ArrayRecord({name: Array(values) for name, values in start.items()})
        config = ConfigRecord(dict(train))
        results.append(strategy.start(grid, arrays, rounds, train_config=config, evaluate_config=config))

    quieten()
    run_simulation(
        server,
        client_app(stores),
        stores.nodes,
        backend_config={"init_args": {"address": "local"}, "client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
    )
    return {name: array.numpy() for name, array in results[0].arrays.items()}


def _sightings(slot: int, minutes: float) -> Iterator[Sighting]:
    windows = round(minutes * PER_MINUTE)
    if windows < 0 or abs(windows - minutes * PER_MINUTE) > ROUNDING:
        raise CannotStore(f"slot {slot} has {minutes} minutes: a store counts windows of {WINDOW_S} s, from 0 up")
    for number in range(windows):
        tag, window = divmod(number, WINDOWS_PER_SLOT)
        at = slot * WINDOWS_PER_SLOT + window
        yield Sighting(tag.to_bytes(16), at, 1, CLOSE_DBM, CLOSE_DBM**2, CLOSE_DBM, CLOSE_DBM)
