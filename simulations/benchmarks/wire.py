"""`jaga-sim bench wire`: our wire beside Flower's own, on the same machine, with the same app, in one run.

Ours: real Mosquitto with mutual TLS, real `jaga-node run`s with encrypted stores, every message signed and sealed, and
the centre's grid under Flower's FedAvg, streamed. Flower's: SuperLink and SuperNodes without TLS. The app adds one.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from privacy.boundary.messages import Encoding
from simulations.benchmarks.table import Column, Outcome, Target
from simulations.benchmarks.wire_flower import flower_deployment
from simulations.benchmarks.wire_jaga import deployment
from simulations.benchmarks.wire_measurement import Measurement, Point

MAIN = Point(8, 1_000_000)
SWEEP = (
    Point(8, 10_000),
    Point(8, 100_000),
    MAIN,
    Point(8, 4_000_000),
    Point(2, 1_000_000),
    Point(24, 1_000_000),
)
QUICK = (Point(2, 10_000), Point(2, 1_000_000), Point(4, 1_000_000))
FLOWER_ROUNDS = 5
"""A round of Flower's takes long: these are enough for a median."""

FASTER = 50.0
LINK_FACTOR = 1.02
LINK_BYTES = 4000
CENTRE_MODELS = 4.0
LARGE_MODEL_BYTES = 4_000_000
"""From this size on a model is more than the noise of a process's own memory, and the centre's is judged."""

COLUMNS = (
    Column("system", "wire"),
    Column("nodes", "nodes"),
    Column("params", "params"),
    Column("seconds", "s/round", ".3f"),
    Column("loopback", "lo MB", ",.2f", 1e6),
    Column("link", "link MB", ",.3f", 1e6),
    Column("centre", "centre", ",.1f", 1e6),
    Column("centre_models", "models", ".2f"),
    Column("broker", "broker", ",.0f", 1e6),
    Column("node", "node", ",.0f", 1e6),
)
NOTES = (
    "s/round: median after a warm-up. lo: what crossed loopback in a round, so nothing else should run meanwhile.",
    "link: what one node's connection carried in a round, both ways, with TLS and acknowledgements (kernel's count).",
    "centre: most memory (MB, and in models) beyond what it had with the model loaded and no round begun; of Flower, "
    "SuperLink and ServerApp together.",
    "broker, node: most memory (MB). Our node side is node and trainer, with torch; Flower's SuperNode and ClientApp.",
)


@dataclass(frozen=True, slots=True)
class WireSettings:
    """What to measure.

    Attributes:
        points: of our wire.
        flower: points of Flower's; none to leave it out.
        rounds: of our wire, after the warm-up.
    """

    points: tuple[Point, ...] = SWEEP
    flower: tuple[Point, ...] = (MAIN, Point(2, 10_000))
    rounds: int = 10

    def __post_init__(self) -> None:
        if not self.points or self.rounds < 1:
            raise ValueError(f"nothing to measure: {len(self.points)} points, {self.rounds} rounds")


def run_wire(settings: WireSettings, folder: Path, tell: Callable[[str], None] = lambda _: None) -> Outcome:
    """Measure, in a folder of its own; `tell` is told what is done next.

    Raises:
        RoundsWentWrong: a deployment failed, or its model came out wrong.
        BrokerUnavailable: Mosquitto is not installed, or does not start.
    """
    measured: list[Measurement] = []
    for nodes in sorted({point.nodes for point in settings.points}):
        place = folder / f"jaga-{nodes}"
        place.mkdir(parents=True)
        with deployment(place, nodes) as running:
            for point in (point for point in settings.points if point.nodes == nodes):
                for encoding in (Encoding.EXACT, Encoding.INT8):
                    tell(f"our wire, {encoding.value}: {point}")
                    measured.append(running.run(point, encoding, settings.rounds))
    for point in settings.flower:
        tell(f"Flower's wire: {point} (takes a minute or two)")
        with flower_deployment(folder / f"flower-{point.nodes}-{point.params}", point.nodes) as stock:
            measured.append(stock.run(point, FLOWER_ROUNDS))
    return outcome(measured)


def outcome(measured: Sequence[Measurement]) -> Outcome:
    """The table and the verdicts."""
    return Outcome(
        name="bench wire",
        columns=COLUMNS,
        rows=[_row(one) for one in measured],
        targets=[*_times(measured), *_links(measured), *_centres(measured)],
        setting={"cores": os.cpu_count(), "machine": platform.machine(), "flwr": version("flwr"), "load": _load()},
        notes=NOTES,
    )


def _times(measured: Sequence[Measurement]) -> Iterable[Target]:
    """Ours against Flower's at each point that both were measured at and that is as large as the main one."""
    stock = {one.point: one.seconds_a_round for one in measured if one.system == "flower"}
    for one in measured:
        if one.system != "flower" and one.point in stock and one.point.model_bytes >= MAIN.model_bytes:
            limit = stock[one.point] / FASTER
            yield Target(f"{_named(one)}: 1/{FASTER:.0f} of Flower's time a round", one.seconds_a_round, limit, "s")


def _links(measured: Sequence[Measurement]) -> Iterable[Target]:
    for one in measured:
        if one.system != "flower" and one.link is not None:
            useful = one.point.model_bytes + one.point.update_bytes(Encoding(one.system))
            name = f"{_named(one)}: link, {LINK_FACTOR:g} x (model + update) + {LINK_BYTES} B"
            yield Target(name, one.link, LINK_FACTOR * useful + LINK_BYTES, "B")


def _centres(measured: Sequence[Measurement]) -> Iterable[Target]:
    for one in measured:
        if one.system != "flower" and one.point.model_bytes >= LARGE_MODEL_BYTES:
            yield Target(f"{_named(one)}: memory of the centre", one.centre_models, CENTRE_MODELS, "models")


def _row(one: Measurement) -> dict[str, object]:
    return {
        "system": "Flower" if one.system == "flower" else f"Jaga {one.system}",
        "nodes": one.point.nodes,
        "params": one.point.params,
        "seconds": one.seconds_a_round,
        "loopback": one.loopback,
        "link": one.link,
        "centre": one.centre,
        "centre_models": one.centre_models,
        "broker": one.broker,
        "node": one.node,
        "all_seconds": list(one.seconds),
    }


def _named(one: Measurement) -> str:
    return f"{one.system}, {one.point}"


def _load() -> float:
    """Processes that waited for a core in the last minute; much above the number of cores, times mean little."""
    return round(os.getloadavg()[0], 1)
