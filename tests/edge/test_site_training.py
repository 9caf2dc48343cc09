"""Training whose whole update is the secret, by the node's own app, summed with others' for real."""

import numpy as np
import pytest
import torch
from summed_nodes import NODES, asked_alone, sites_in, summed_round

from edge.learning.plain import PlainPlan, train_plainly
from edge.learning.site import Refused
from privacy.boundary.flower import CENTRE, enter_run
from privacy.boundary.messages import Refusal
from privacy.catalogue.use import Use
from simulations.summed import SummedFederation

CONFIG = {
    "task": "proximity",
    "mechanism": "shared-noise",
    "noise-multiplier": 1.0,
    "clip-norm": 0.5,
    "epochs": 2,
    "learning-rate": 0.5,
}


@pytest.fixture(autouse=True)
def _in_a_run():
    enter_run(1, CENTRE)


@pytest.fixture
def sites(tmp_path):
    return sites_in(tmp_path)


def test_the_sum_has_the_promised_noise_around_the_mean_of_bounded_updates(tmp_path, sites):
    federation = SummedFederation(tmp_path, NODES, NODES)
    results = [summed_round(federation, sites[:], {**CONFIG, "noise-multiplier": 8.0}, n) for n in range(1, 5)]
    weights = np.concatenate([r[0]["linear.weight"].numpy().ravel() for r in results])
    # z C / nodes, over the share of the cohort that is counted on: 6 nodes' noise, of which 4 would do.
    assert 0.3 < weights.std() / (8.0 * 0.5 / NODES * np.sqrt(NODES / 4)) < 2.0
    assert all(site.ledger.by_unit()["site"] > 0 for site in sites)
    federation.close()


def test_the_entry_names_the_mechanism_and_the_metrics_say_nothing_of_the_data(tmp_path, sites):
    federation = SummedFederation(tmp_path, NODES, NODES)
    _, metrics = summed_round(federation, sites, CONFIG)
    assert set(metrics) == {"epsilon"}
    assert metrics["epsilon"] == pytest.approx(sites[0].ledger.epsilon(), abs=1e-6)
    (entry,) = sites[0].ledger.entries()
    use = Use.decode(entry.purpose)
    assert [mechanism.value for mechanism in use.mechanisms] == ["shared-noise"]
    assert use.objections() == []
    federation.close()


def test_without_a_sum_it_is_refused_and_nothing_is_charged(sites):
    with pytest.raises(Refused) as no:
        asked_alone(sites[0], CONFIG)
    assert no.value.refusal is Refusal.BAD_TASK
    assert sites[0].ledger.entries() == []


@pytest.mark.parametrize("wrong", [{"clip-norm": 0.0}, {"epochs": 0}, {"noise-multiplier": -1.0}, {"clip-norm": 1e-12}])
def test_plans_that_make_no_sense_are_refused(tmp_path, sites, wrong):
    federation = SummedFederation(tmp_path, NODES, NODES)
    with pytest.raises(Refused) as no:
        summed_round(federation, sites, CONFIG | wrong)
    assert no.value.refusal is Refusal.BAD_TASK
    federation.close()


def test_plain_training_is_torch_s_own_sgd():
    torch.manual_seed(1)
    x, y = torch.randn(7, 2), torch.rand(7)
    ours, theirs = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    theirs.load_state_dict(ours.state_dict())

    def loss(prediction, y):
        return (prediction.squeeze(1) - y).square()

    state = train_plainly(ours, x, y, loss, PlainPlan(2, 3, 0.2, shuffled=False))
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.2)
    for _ in range(2):
        for begun in range(0, 7, 3):
            optimizer.zero_grad()
            loss(theirs(x[begun : begun + 3]), y[begun : begun + 3]).mean().backward()
            optimizer.step()
    for name, value in theirs.state_dict().items():
        np.testing.assert_allclose(state[name], value.numpy(), atol=1e-6)
