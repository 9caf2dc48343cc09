"""`python -m simulations.benchmarks.wire_centre SETTINGS`: our centre, in a process of its own."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from aggregator.grid import MqttGrid
from aggregator.memory import return_large_blocks
from aggregator.strategies.streaming import Streaming
from privacy.boundary.broker import BrokerUrl
from privacy.boundary.flower import quieten
from privacy.boundary.messages import Encoding
from privacy.identity.authority import Identity
from privacy.logs import LogFormat, configure
from simulations.benchmarks.wire_app import averaging, run_rounds

CONNECT_S = 30.0
PRESENT_S = 120.0


class NodesMissing(RuntimeError):
    """Not all nodes presented themselves in time."""


@dataclass(frozen=True, slots=True)
class CentreSettings:
    """What the centre is told."""

    credentials: str
    broker: str
    run_id: int
    encoding: str
    nodes: int
    params: int
    rounds: int
    diary: str

    def write(self, path: Path) -> Path:
        path.write_text(json.dumps(asdict(self)), "utf-8")
        return path


def run(settings: CentreSettings) -> None:
    credentials = Path(settings.credentials)
    grid = MqttGrid(
        Identity.load(credentials),
        BrokerUrl.parse(settings.broker),
        settings.run_id,
        credentials=credentials,
        encoding=Encoding(settings.encoding),
        revocation_file=credentials / "revocations.pem",
    )
    with grid:
        grid.wait_connected(CONNECT_S)
        here: list[int] = []
        while len(here) < settings.nodes:
            known = here
            grid.attendance.wait_for_change(known, PRESENT_S)
            here = grid.get_node_ids()
            if here == known:
                raise NodesMissing(f"{len(here)} of {settings.nodes} nodes are there after {PRESENT_S:.0f} s more")
        diary = run_rounds(grid, lambda: Streaming(averaging(settings.nodes)), settings.params, settings.rounds)
        diary.write(Path(settings.diary))


if __name__ == "__main__":
    configure(LogFormat.JSON)
    quieten()
    return_large_blocks()
    run(CentreSettings(**json.loads(Path(sys.argv[1]).read_text("utf-8"))))
