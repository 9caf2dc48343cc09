"""An app that is broken on purpose: it refuses, writes and takes its time by what is in the store.

That the fuzzer finds it shows that the fuzzer can find something.
"""

from __future__ import annotations

import sys
import time

from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from edge.learning.site import Refused, Site
from privacy.boundary.messages import Refusal

APP = "simulations.attacks.fuzzing.careless:app_for"
FEW = 2
"""With fewer slots than this there is no example of the task `crowding`."""
WORK_S = 0.3
LARGE = 1e38
"""A learning rate at which it says that its update is not finite."""


def app_for(site: Site) -> ClientApp:
    """Return the app of one node."""
    app = ClientApp()

    @app.train()
    def train(message: Message, _context: Context) -> Message:
        slots = int(site.connection.execute("SELECT count(*) FROM listening").fetchone()[0])
        configs = [record for record in message.content.values() if isinstance(record, ConfigRecord)]
        rates = [rate for config in configs if isinstance(rate := config.get("learning-rate"), float)]
        if rates and rates[0] >= LARGE and slots >= FEW:
            raise Refused(Refusal.NOT_SUMMABLE, "the update is not finite")
        if slots >= FEW:
            time.sleep(WORK_S)
        sys.stderr.write(f"trained on {slots} slots\n")
        return Message(RecordDict({"metrics": MetricRecord({"num-examples": 1.0})}), reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, _context: Context) -> Message:
        return Message(RecordDict({"metrics": MetricRecord({"num-examples": 1.0})}), reply_to=message)

    return app
