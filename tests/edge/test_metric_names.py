"""What a reply to a sum says in the clear does not depend on the node's records: an empty store says the same."""

import msgspec
import pytest
from flwr.app import ConfigRecord
from flwr.serverapp.strategy import FedAvg
from summed_nodes import NODES, SETTINGS, Grid, sites_in, start

from aggregator.strategies.secure_sum import SecureSum
from aggregator.strategies.streaming import Streaming
from edge.learning.app import app_for
from edge.learning.site import Site
from edge.store.database import Database
from privacy.accounting.ledger import Budget, PrivacyLedger
from privacy.boundary.flower import CENTRE, enter_run, set_message_id
from privacy.secure_sum.exchange import SealedSeed
from privacy.secure_sum.terms import METRICS, SEED, SHARE, TERMS
from simulations.summed import SummedFederation

NOISE = {"task": "proximity", "noise-multiplier": 4.0, "learning-rate": 0.1}


@pytest.mark.parametrize(
    ("part", "config"),
    [
        ("train", {**NOISE, "steps": 1, "clip-norm": 0.3, "lot-size": 25}),
        ("evaluate", {**NOISE, "steps": 1, "clip-norm": 0.3, "lot-size": 25}),
        ("train", {**NOISE, "mechanism": "shared-noise", "unit": "record", "clip-norm": 0.3, "lot-size": 25}),
        ("train", {**NOISE, "mechanism": "shared-noise", "unit": "site", "clip-norm": 0.3}),
    ],
    ids=["dp-sgd", "evaluation", "shared, record", "shared, site"],
)
def test_a_store_without_records_says_the_same_metrics_lengths_cohort_and_noise(tmp_path, part, config):
    enter_run(1, CENTRE)
    federation = SummedFederation(tmp_path, NODES, NODES)
    (full, *_) = sites_in(tmp_path, 50.0)
    connection = Database(tmp_path / "empty.db", bytes(32)).connect()
    empty = Site(connection, PrivacyLedger(connection, Budget(50.0, 1e-6, 14 * 86400.0)), min_cohort=NODES)
    strategy = SecureSum(Streaming(FedAvg()), SETTINGS, federation)
    configure = strategy.configure_train if part == "train" else strategy.configure_evaluate
    task = next(iter(configure(1, start(), ConfigRecord(config), Grid())))
    set_message_id(task, "0" * 32)
    said = []
    for site in (full, empty):
        reply = federation.answer(task, app_for(site))
        terms = reply.content[TERMS]
        seed = msgspec.msgpack.decode(terms[SEED], type=SealedSeed)
        lengths = {name: (array.dtype, array.shape) for name, array in reply.content[SHARE].items()}
        said.append((list(terms[METRICS]), seed.said, lengths, len(terms[SEED])))
    assert said[0] == said[1]
    assert (said[0][1].sigma > 0) is ("mechanism" in config)
    assert said[0][1].cohort == NODES
    federation.close()
