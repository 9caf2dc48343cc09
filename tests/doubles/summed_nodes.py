"""Nodes with a few calibration walks each, trained by the node's own app and summed for real."""

import time

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.serverapp.strategy import FedAvg

from aggregator.strategies.secure_sum import SecureSum, SumSettings
from aggregator.strategies.streaming import Streaming
from edge.learning.app import app_for
from edge.learning.site import Site
from edge.learning.tasks.proximity import TASK
from edge.proximity.closeness import Closeness
from edge.proximity.session import Session, Step
from edge.proximity.stats import Stats
from edge.store.calibration import Calibrations
from edge.store.database import Database
from privacy.accounting.ledger import Budget, PrivacyLedger
from privacy.boundary.flower import set_message_id

NODES = 6
SETTINGS = SumSettings("helper", bound=64.0, min_cohort=NODES)


class Grid:
    def get_node_ids(self):
        return list(range(2, 2 + NODES))


def sites_in(folder, epsilon=17.0):
    """`NODES` sites that differ, each told that a sum is over all of them.

    A round with noise 1 costs epsilon 11.02 by replacement (a Gaussian with noise 1 / 2), two cost 16.89.
    """
    found = []
    for node in range(NODES):
        connection = Database(folder / f"{node}.db", bytes(32)).connect()
        curve = Closeness.default().curve
        for number in range(5):
            steps = [
                Step(metres, False, Stats.of_frames([round(curve.at(metres) + 30 + node)] * 20, 1, 1))
                for metres in (0.5, 1.0, 2.0, 3.0, 4.0)
            ]
            Calibrations(connection).add(Session("hci0", "tag", float(number), tuple(steps)), time.time())
        budget = Budget(epsilon, 1e-6, 14 * 86400.0)
        found.append(Site(connection, PrivacyLedger(connection, budget), min_cohort=NODES))
    return found


def start(value=0.0):
    arrays = {name: tensor.numpy() + np.float32(value) for name, tensor in TASK.model().state_dict().items()}
    return ArrayRecord({name: Array(values) for name, values in arrays.items()})


def summed_round(federation, sites, config, number=1, *, arrays=None, settings=SETTINGS):
    """What the centre makes of one round: (arrays, metrics)."""
    made = SecureSum(Streaming(FedAvg()), settings, federation)
    asked = list(made.configure_train(number, arrays or start(), ConfigRecord(config), Grid()))
    for place, task in enumerate(asked):
        set_message_id(task, f"{number:016x}{place:016x}")
    replies = [federation.answer(task, app_for(sites[task.metadata.dst_node_id - 2])) for task in asked]
    return made.aggregate_train(number, replies)


def asked_alone(site, config):
    """The same task without the terms of a sum."""
    message = Message(RecordDict({"arrays": start(), "config": ConfigRecord(config)}), 2, "train")
    set_message_id(message, "0" * 32)
    return app_for(site)(message, Context(1, 2, {}, RecordDict(), {}))
