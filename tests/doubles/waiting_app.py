"""A Flower app for tests: keeps no ledger, counts its runs, and waits inside a task while a file says so."""

import os
import time
from pathlib import Path

from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from edge.learning.site import Site

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    folder = Path(str(context.node_config["folder"]))
    with (folder / "runs").open("a") as runs:
        runs.write(f"{os.getpid()}\n")
    while (folder / "wait").exists():
        time.sleep(0.02)
    rounds = context.state.metric_records.setdefault("rounds", MetricRecord({"n": 0}))
    rounds["n"] += 1
    arrays = ArrayRecord({key: Array(a.numpy() + 1) for key, a in message.content["arrays"].items()})
    metrics = MetricRecord({"num-examples": 1, "rounds": rounds["n"]})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    raise RuntimeError("identifier 0123456789abcdef of a person")


def paying(site: Site) -> ClientApp:
    """The same app, which pays for each task before it starts."""
    from privacy.accounting.events import SampledGaussian
    from privacy.catalogue.columns import Mechanism
    from privacy.catalogue.use import Use

    purpose = Use.of("test", {"sightings": ["frames"]}, [Mechanism.DP_SGD]).encode()

    paid = ClientApp()

    @paid.train()
    def train_paid(message: Message, context: Context) -> Message:
        task = bytes.fromhex(message.metadata.message_id)
        entry = site.ledger.reserve(task, purpose, [SampledGaussian(4.0, 1.0, 1, 1, "test")])
        reply = train(message, context)
        site.ledger.spend(entry)
        return reply

    return paid
