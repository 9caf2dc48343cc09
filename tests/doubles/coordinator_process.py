"""A real coordinator in a process of its own, which its test watches, and kills where it likes.

Reads JSON settings from stdin, writes each event as a JSON line to stdout, and after the events that the settings name
waits for ever, so that a kill from outside finds it exactly there.
"""

import json
import sys
import threading
from pathlib import Path

from aggregator.claim import RunClaim
from aggregator.config import LoadedRun
from aggregator.coordinator import Coordinator
from aggregator.events import RoundEvent
from aggregator.grid import MqttGrid
from aggregator.records.database import Records
from aggregator.records.models import Models
from aggregator.records.runs import Journal
from aggregator.strategies.registry import make
from privacy.boundary.broker import BrokerUrl
from privacy.boundary.flower import quieten
from privacy.identity.authority import Identity
from privacy.logs import LogFormat, configure


def main() -> None:
    settings = json.loads(sys.stdin.read())
    credentials = Path(settings["credentials"])
    identity = Identity.load(credentials)
    loaded = LoadedRun.parse(settings["run"])
    url = BrokerUrl.parse(settings["broker"])
    run_id = loaded.run_id(identity.certificate.federation)
    quieten()
    configure(LogFormat.TEXT)  # to standard error: standard output is for events

    def watch(event: RoundEvent) -> None:
        sys.stdout.write(event.as_json() + "\n")
        sys.stdout.flush()
        if [event.kind.value, event.round] == settings["wait_after"]:
            threading.Event().wait()

    file = loaded.file
    with RunClaim(identity, url, run_id, credentials=credentials) as claim:
        records = Records(settings["records"])
        journal = Journal.take(
            records,
            run_id,
            name=file.run.name,
            toml=loaded.text,
            model=Models(records).find(file.run.model).sha256,
            holder=claim.instance,
        )
        strategy = make(
            file.strategy.name,
            {"min_available_nodes": file.cohort.min_nodes, **file.strategy.options},
            streaming=file.strategy.streaming,
        )
        with MqttGrid(identity, url, run_id, credentials=credentials, encoding=file.wire.encoding) as grid:
            grid.wait_connected(30)
            Coordinator(file, grid, strategy, journal, still_ours=claim.check, on_event=watch).run()


if __name__ == "__main__":
    main()
