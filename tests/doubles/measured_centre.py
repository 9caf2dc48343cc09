"""A centre in a process of its own, whose memory its test reads: streams rounds of a large model, and tells its peak.

Reads JSON settings from the command line; writes one JSON object: resident bytes before the first round, and the peak
above them.
"""

import gc
import json
import sys
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord
from flwr.serverapp.strategy import FedAvg

from aggregator.grid import MqttGrid
from aggregator.memory import return_large_blocks
from aggregator.strategies.streaming import Streaming
from privacy.boundary.broker import BrokerUrl
from privacy.boundary.flower import quieten
from privacy.boundary.messages import Encoding
from privacy.identity.authority import Identity
from privacy.logs import configure_process


def resident(field: str) -> int:
    """`VmRSS` (now) or `VmHWM` (the peak), bytes."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def main() -> None:
    configure_process(messages=True)
    settings = json.loads(sys.argv[1])
    return_large_blocks()
    quieten()
    credentials, nodes = Path(settings["credentials"]), settings["nodes"]
    grid = MqttGrid(
        Identity.load(credentials),
        BrokerUrl.parse(settings["broker"]),
        1,
        credentials=credentials,
        encoding=Encoding(settings["encoding"]),
    )
    with grid:
        grid.wait_connected(30)
        while len(here := grid.get_node_ids()) < nodes:
            grid.attendance.wait_for_change(here, 1)
        strategy = Streaming(FedAvg(min_available_nodes=nodes))
        arrays = ArrayRecord({"w": Array(np.zeros(settings["elements"], np.float32))})
        gc.collect()
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5", "ascii")  # the peak begins anew
        for number in range(1, settings["rounds"] + 1):
            messages = strategy.configure_train(number, arrays, ConfigRecord(), grid)
            arrays, _ = strategy.aggregate_train(number, grid.send_and_receive(messages, timeout=60))
        peak = resident("VmHWM") - before
    sys.stdout.write(json.dumps({"before": before, "peak": peak, "weight": float(arrays["w"].numpy()[0])}))


if __name__ == "__main__":
    main()
