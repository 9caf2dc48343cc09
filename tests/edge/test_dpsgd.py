import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edge.learning.dpsgd import DpSgdPlan, NoisedMetrics, NotFinite, noised_metrics, train
from edge.learning.noise import gaussian
from edge.learning.tasks.crowding import TASK
from privacy.accounting.composition import epsilon
from privacy.accounting.events import SampledGaussian

SEEDS = st.integers(0, 2**32 - 1)


def noiseless(**options):
    """A plan whose step moves the model by minus the sum of clipped gradients."""
    return DpSgdPlan(**{"noise_multiplier": 0.0, "learning_rate": 1.0, "lot_size": 1} | options)


def squared(prediction, y):
    return (prediction.squeeze(-1) - y).square()


def flat(state):
    return np.concatenate([values.ravel() for values in state.values()]).astype(np.float64)


def weights_of(model):
    return flat({name: values.detach().numpy() for name, values in model.state_dict().items()})


def network(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


def clipped_sum(model, x, y, loss, clip):
    """The textbook, example by example."""
    total = 0.0
    for one, target in zip(x, y, strict=True):
        model.zero_grad()
        loss(model(one[None]), target[None]).sum().backward()
        gradient = np.concatenate([p.grad.numpy().ravel() for p in model.parameters()]).astype(np.float64)
        total = total + gradient * min(1.0, clip / max(np.linalg.norm(gradient), 1e-30))
    return total


@given(SEEDS, st.integers(1, 12), st.floats(0.01, 100))
@settings(deadline=None, max_examples=40)
def test_a_step_without_noise_is_the_sum_of_clipped_gradients_over_the_lot(seed, n, clip):
    model = network(seed)
    x, y = torch.randn(n, 3), torch.randn(n)
    wanted = weights_of(model) - 0.1 * clipped_sum(model, x, y, squared, clip) / 16
    outcome = train(model, x, y, squared, noiseless(clip_norm=clip, learning_rate=0.1, lot_size=16), 3)
    assert flat(outcome.state) == pytest.approx(wanted, rel=1e-4, abs=1e-5)


@given(
    st.dictionaries(st.integers(20, 40), st.floats(0, 500, width=32), min_size=1, max_size=20),
    SEEDS,
    st.floats(0.05, 2),
    st.data(),
)
@settings(deadline=None, max_examples=60)
def test_one_privacy_unit_moves_the_sum_by_no_more_than_its_examples_times_the_clip(log, seed, clip, data):
    gone = data.draw(st.sampled_from(sorted(log)))
    start = np.random.default_rng(seed).normal(size=(1, TASK.features)).astype(np.float32)

    def summed(minutes):
        model = TASK.model()
        model.load_state_dict({"linear.weight": torch.from_numpy(start.copy())})
        examples = TASK.examples(minutes)
        outcome = train(model, examples.x, examples.y, TASK.loss, noiseless(clip_norm=clip), TASK.unit_examples)
        return flat(outcome.state)

    with_it, without = summed(list(log.items())), summed([row for row in log.items() if row[0] != gone])
    # What is left is float32's rounding of weights of order 1 and of sums of up to 40 gradients.
    assert np.linalg.norm(with_it - without) <= TASK.unit_examples * clip + 1e-4


@pytest.mark.parametrize("n", [0, 5])
def test_noise_has_the_promised_size_with_data_and_without(n):
    def wide():
        torch.manual_seed(1)
        return nn.Linear(4000, 1)

    torch.manual_seed(2)
    x, y = torch.randn(n, 4000), torch.randn(n)
    plan = DpSgdPlan(noise_multiplier=1.5, clip_norm=0.25, learning_rate=2.0, lot_size=8, steps=1)
    exact = train(wide(), x, y, squared, noiseless(clip_norm=0.25, learning_rate=2.0, lot_size=8), 3)
    noised = train(wide(), x, y, squared, plan, 3)
    assert noised.noise_std == pytest.approx(1.5 * 3 * 0.25)
    noise = (flat(noised.state) - flat(exact.state)) * 8 / 2.0
    # 4001 values: their standard deviation strays by 1.1 %, their mean by 1.6 % of it; six times that is allowed.
    assert noise.std() == pytest.approx(noised.noise_std, rel=0.07)
    assert abs(noise.mean()) < 0.1 * noised.noise_std


def test_two_runs_never_have_the_same_noise():
    runs = [train(network(1), torch.zeros(0, 3), torch.zeros(0), squared, DpSgdPlan(1.0), 3) for _ in range(2)]
    assert np.abs(flat(runs[0].state) - flat(runs[1].state)).min() > 0


def test_noise_is_normal():
    noise = gaussian((200_000,))
    assert noise.std() == pytest.approx(1, rel=0.02)
    for at in (-2, -1, 0, 1, 2):
        assert (noise < at).mean() == pytest.approx(0.5 * math.erfc(-at / math.sqrt(2)), abs=0.007)


def test_without_data_nothing_is_known_of_signal_or_loss():
    outcome = train(network(1), torch.zeros(0, 3), torch.zeros(0), squared, DpSgdPlan(1.0), 3)
    assert outcome.snr == 0
    assert math.isnan(outcome.loss)


def test_the_signal_to_noise_ratio_is_that_of_the_clipped_sum():
    model = nn.Linear(1, 1, bias=False)
    outcome = train(model, torch.ones(6, 1), torch.full((6,), 1e3), squared, DpSgdPlan(2.0, clip_norm=0.5), 3)
    assert outcome.snr == pytest.approx(6 * 0.5 / (2.0 * 3 * 0.5), rel=1e-3)


def test_batches_that_happen_to_be_empty_are_only_noise():
    model = network(3)
    before = weights_of(model)
    plan = noiseless(sampling_rate=1e-12, steps=3)
    assert flat(train(model, torch.randn(9, 3), torch.randn(9), squared, plan, 3).state) == pytest.approx(before)


def test_examples_are_drawn_at_the_sampling_rate():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    plan = noiseless(sampling_rate=0.25, clip_norm=1.0)
    outcome = train(model, torch.ones(4000, 1), torch.full((4000,), 1e6), squared, plan, 3)
    assert float(outcome.state["weight"][0, 0]) == pytest.approx(1000, abs=6 * math.sqrt(4000 * 0.25 * 0.75))


def test_a_bad_example_counts_for_nothing_and_does_not_show():
    x, y = torch.randn(4, 3), torch.randn(4)
    bad_x, bad_y = torch.cat([x, torch.full((1, 3), math.nan)]), torch.cat([y, torch.tensor([math.inf])])
    good = train(network(5), x, y, squared, noiseless(), 3)
    assert flat(train(network(5), bad_x, bad_y, squared, noiseless(), 3).state) == pytest.approx(flat(good.state))


def test_a_model_that_is_not_finite_is_named():
    model = network(1)
    with torch.no_grad():
        model[0].bias[2] = math.nan
    with pytest.raises(NotFinite, match=r"parameter 0\.bias"):
        train(model, torch.zeros(0, 3), torch.zeros(0), squared, DpSgdPlan(1.0), 3)


def test_a_model_can_be_trained_again():
    model = network(1)
    x, y = torch.randn(4, 3), torch.randn(4)
    first = train(model, x, y, squared, noiseless(learning_rate=0.01), 3)
    wanted = flat(first.state) - 0.01 * clipped_sum(model, x, y, squared, 0.5)
    again = train(model, x, y, squared, noiseless(learning_rate=0.01), 3)
    assert flat(again.state) == pytest.approx(wanted, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"noise_multiplier": -1.0}, "noise_multiplier is -1"),
        ({"noise_multiplier": math.inf}, "noise_multiplier is inf"),
        ({"metrics_noise_multiplier": math.nan}, "metrics_noise_multiplier is nan"),
        ({"clip_norm": 0.0}, "clip_norm is 0"),
        ({"learning_rate": -0.1}, "learning_rate is -0.1"),
        ({"sampling_rate": 0.0}, "sampling_rate is 0"),
        ({"sampling_rate": 1.5}, "sampling_rate is 1.5"),
        ({"steps": 0}, r"steps \(0\)"),
        ({"lot_size": 0}, r"lot_size \(0\)"),
    ],
)
def test_a_plan_that_means_nothing_is_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        DpSgdPlan(**{"noise_multiplier": 1.0} | options)


@given(st.floats(0.5, 10), st.integers(1, 30), st.integers(1, 4), st.integers(0, 30))
@settings(deadline=None, max_examples=30)
def test_the_recommended_plan_spends_the_budget_and_no_more(budget, rounds, unit_examples, metrics):
    plan = DpSgdPlan.within(budget, 1e-6, rounds, unit_examples, metrics=metrics)
    spent = epsilon(plan.events(unit_examples) * rounds + plan.metrics_events() * metrics, 1e-6)
    assert 0.98 * budget <= spent <= budget


def test_the_ledger_hears_of_the_noise_a_unit_and_of_every_example_it_touches():
    plan = DpSgdPlan(noise_multiplier=2.0, sampling_rate=0.1, steps=4, metrics_noise_multiplier=5.0)
    assert plan.events(3) == [SampledGaussian(2.0, 0.1, 4, 3)]
    assert plan.metrics_events() == [SampledGaussian(5.0, 1.0, 1)]


ERRORS = st.lists(st.floats(0, 500), max_size=30)


def pair(metrics):
    """The two numbers that noise is put on."""
    return np.array([metrics.error_sum / (metrics.bound / 2) - metrics.count, metrics.count])


@given(ERRORS, ERRORS.filter(bool))
def test_a_unit_moves_noised_metrics_by_no_more_than_they_are_noised_for(errors, units):
    with_it, without = (pair(noised_metrics(some, 120.0, 0.0, 1)) for some in (errors + units, errors))
    assert np.linalg.norm(with_it - without) <= len(units) * math.sqrt(2) + 1e-9


@given(ERRORS.filter(bool))
def test_metrics_without_noise_are_the_mean_of_clipped_errors(errors):
    metrics = noised_metrics(errors, 120.0, 0.0, 2)
    assert metrics.mean_error == pytest.approx(np.clip(errors, 0, 120).mean(), abs=1e-9)
    assert metrics.count == len(errors)


def test_the_noise_of_metrics_has_the_promised_size():
    drawn = [noised_metrics([30.0] * 500, 120.0, 4.0, 2) for _ in range(2000)]
    noise = np.array([pair(metrics) for metrics in drawn])
    assert drawn[0].noise_std == pytest.approx(4.0 * 2 * math.sqrt(2))
    assert noise.std(axis=0) == pytest.approx([drawn[0].noise_std] * 2, rel=0.1)
    assert np.corrcoef(noise.T)[0, 1] == pytest.approx(0, abs=0.14)
    # A sixteenth of the mean is noise here, so the delta method holds.
    assert np.std([m.mean_error for m in drawn]) == pytest.approx(np.mean([m.mean_error_std for m in drawn]), rel=0.1)
    assert np.mean([m.mean_error for m in drawn]) == pytest.approx(30, abs=0.5)


def test_metrics_of_nodes_add_up():
    one, other = NoisedMetrics(600.0, 20.0, 120.0, 3.0), NoisedMetrics(900.0, 30.0, 120.0, 4.0)
    assert one + other == NoisedMetrics(1500.0, 50.0, 120.0, 5.0)
    assert (one + other).mean_error == 30.0


def test_metrics_clipped_differently_do_not_add_up():
    with pytest.raises(ValueError, match=r"clipped to 120\.0 and to 60\.0"):
        NoisedMetrics(1.0, 1.0, 120.0, 1.0) + NoisedMetrics(1.0, 1.0, 60.0, 1.0)


def test_a_node_without_examples_releases_noise_and_claims_no_mean_from_it():
    silent = noised_metrics([], 120.0, 1.0, 2)
    assert silent.count != 0
    unknown = NoisedMetrics(silent.error_sum, -abs(silent.count), 120.0, silent.noise_std)
    assert math.isnan(unknown.mean_error)
    assert unknown.mean_error_std == math.inf
    assert unknown.snr == 0


def test_an_error_that_is_no_number_counts_as_the_largest():
    assert noised_metrics([math.nan, math.inf, 0.0], 120.0, 0.0, 2).mean_error == pytest.approx(80)
