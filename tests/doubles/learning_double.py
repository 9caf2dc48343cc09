"""A tiny learning problem for the centre's tests: every node moves the model halfway to its own mean."""

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

RATE = 0.5


def halfway_app() -> ClientApp:
    """As in Flower's documentation; reads `mean` and `examples` from the node's own configuration."""
    app = ClientApp()

    @app.train()
    def train(msg: Message, context: Context) -> Message:
        mean = np.float32(context.node_config["mean"])
        arrays = ArrayRecord(
            {
                key: Array(np.asarray(a.numpy() + np.float32(RATE) * (mean - a.numpy())))
                for key, a in msg.content["arrays"].items()
            }
        )
        seen = context.state.metric_records.setdefault("seen", MetricRecord({"rounds": 0}))
        seen["rounds"] += 1
        metrics = {
            "num-examples": context.node_config["examples"],
            "rounds-seen": seen["rounds"],
            "epsilon": 0.5 * seen["rounds"],
        }
        return Message(content=RecordDict({"arrays": arrays, "metrics": MetricRecord(metrics)}), reply_to=msg)

    @app.evaluate()
    def evaluate(msg: Message, context: Context) -> Message:
        weight = next(iter(msg.content["arrays"].values())).numpy()
        error = float(np.mean((weight - context.node_config["mean"]) ** 2))
        metrics = MetricRecord({"num-examples": context.node_config["examples"], "mse": error})
        return Message(content=RecordDict({"metrics": metrics}), reply_to=msg)

    return app


def first_model(*, elements: int = 1000) -> ArrayRecord:
    """Two arrays of zeros; their names are not in alphabetical order, which is safetensors' own."""
    return ArrayRecord({"w": Array(np.zeros((elements // 20, 20), np.float32)), "b": Array(np.zeros(7, np.float32))})


def after(rounds: int, means: dict[int, float], examples: dict[int, int]) -> float:
    """What every weight is after some rounds of plain averaging, from zero."""
    centre = sum(means[n] * examples[n] for n in means) / sum(examples[n] for n in means)
    return (1 - RATE**rounds) * centre
