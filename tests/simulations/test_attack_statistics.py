"""Bounds of attacks and audits cover the truth as often as they say, and agree with the papers that they are from."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom, norm

from privacy.accounting.composition import gaussian_epsilon
from privacy.accounting.events import SampledGaussian
from simulations.attacks.one_run import count_correct, epsilon_at_least, guesses_for, p_value
from simulations.attacks.statistics import (
    Charge,
    Test,
    advantage,
    advantage_interval,
    advantage_test,
    chance,
    clopper_pearson,
    epsilon_of_mu,
    epsilon_test,
    mean_interval,
    mu_of,
    mu_test,
    rate_interval,
    refuting_test,
)

DELTA = 1e-6


def gaussian_scores(random, mu, n):
    return random.normal(mu, 1, n), random.normal(0, 1, n)


@given(st.integers(1, 300), st.data())
@settings(max_examples=40, deadline=None)
def test_bounds_of_a_rate_are_those_of_the_book(n, data):
    k = data.draw(st.integers(0, n))
    lower, upper = clopper_pearson(k, n, 0.05)
    assert lower <= k / n <= upper
    # P(X >= k) at the lower bound, and P(X <= k) at the upper one, is 5 %.
    if k:
        assert beta.cdf(lower, k, n - k + 1) == pytest.approx(0.05)
    if k < n:
        assert beta.sf(upper, k + 1, n - k) == pytest.approx(0.05)


@pytest.mark.parametrize("rate", [0.001, 0.03, 0.5, 0.98])
def test_the_interval_of_a_rate_misses_it_in_at_most_one_of_twenty_runs(rate):
    counts = np.arange(301)
    missed = [not low <= rate <= high for low, high in (rate_interval(int(k), 300) for k in counts)]
    # Exactly: the probability of all counts whose interval does not hold the rate.
    assert binom.pmf(counts[missed], 300, rate).sum() <= 0.05


def test_the_interval_of_an_advantage_is_that_of_its_rate():
    assert advantage_interval(100, 100)[0] == pytest.approx(2 * 0.025**0.01 - 1)
    assert advantage_interval(50, 100)[0] == 0
    assert advantage(50, 100) == advantage(40, 100) == 0
    assert math.isclose(advantage(3, 4), 0.5)


def test_the_interval_of_a_mean_covers_it_about_as_often_as_it_says():
    random = np.random.default_rng(1)
    held = 0
    for run in range(200):
        low, high = mean_interval(random.exponential(1.0, 60), run)
        held += low <= 1.0 <= high
    assert 0.86 * 200 <= held < 200


@pytest.mark.parametrize("tries", [60, 125, 600, 3000])
def test_a_coin_is_beyond_chance_in_less_than_one_of_a_million_runs(tries):
    assert 1e-7 < binom.sf(tries * (1 + chance(tries)) / 2, tries, 0.5) < 1e-6


@pytest.mark.parametrize("mu", [0.3, 1.0, 2.0])
def test_an_audit_of_a_gaussian_stays_under_the_truth(mu):
    random = np.random.default_rng(1)
    truth = gaussian_epsilon(1 / mu, DELTA)
    proven = [epsilon_test(*gaussian_scores(random, mu, 600), DELTA).epsilon(DELTA) for _ in range(40)]
    assert sum(one > truth for one in proven) <= 2
    assert max(proven) > 0 or mu == 0.3


@pytest.mark.parametrize("mu", [0.25, 1.0, 2.0])
def test_the_fit_finds_mu_of_a_gaussian(mu):
    random = np.random.default_rng(2)
    intervals = [mu_test(*gaussian_scores(random, mu, 4000)).mu() for _ in range(40)]
    assert sum(low <= mu <= high for low, high in intervals) >= 38
    assert np.mean([high - low for low, high in intervals]) < 0.7
    assert np.mean([low for low, _ in intervals]) > mu - 0.3


def test_the_lower_end_of_the_fit_proves_something_of_a_mechanism_that_is_not_gaussian():
    # Randomised response with epsilon 1 is mu-GDP for the mu of its one corner alone.
    random, truth = np.random.default_rng(3), math.e / (1 + math.e)
    corner = norm.ppf(truth) - norm.ppf(1 - truth)
    lows = []
    for _ in range(40):
        ins, outs = (random.random(4000) < rate for rate in (truth, 1 - truth))
        lows.append(Test.at(0.5, ins.astype(float), outs.astype(float)).mu()[0])
    assert sum(low > corner for low in lows) <= 2
    assert np.mean(lows) > corner - 0.2


def test_mu_and_epsilon_of_a_gaussian_are_each_others_inverse():
    for mu in (0.1, 1.0, 3.0):
        assert mu_of(epsilon_of_mu(mu, DELTA), DELTA) == pytest.approx(mu, rel=1e-6)
    assert epsilon_of_mu(0, DELTA) == 0
    assert mu_of(math.inf, DELTA) == math.inf


def test_a_charge_is_refuted_by_what_it_does_not_allow_and_by_nothing_else():
    random = np.random.default_rng(4)
    charge = Charge((SampledGaussian(1.0, 1.0, 1),))
    within = mu_of(charge.epsilon(DELTA), DELTA)
    assert not any(refuting_test(*gaussian_scores(random, within, 2000), charge).refutes(charge) for _ in range(20))
    assert refuting_test(*gaussian_scores(random, 2 * within, 8000), charge).refutes(charge)
    assert Charge(()).most_true_positives(0.1) == pytest.approx(0.1 + DELTA)
    # What a Gaussian of the charged mu reaches at one false positive of a hundred is allowed, and not much more.
    reached = norm.cdf(within + norm.ppf(0.01))
    assert reached <= charge.most_true_positives(0.01) <= reached + 0.12


def test_what_is_told_apart_always_is_audited_as_far_as_the_runs_reach():
    random = np.random.default_rng(1)
    ins, outs = np.ones(1000) + random.normal(0, 1e-3, 1000), random.normal(0, 1e-3, 1000)
    assert epsilon_test(ins, outs, DELTA).epsilon(DELTA) > 4
    assert advantage_test(ins, outs).advantage > 0.98
    assert advantage_test(ins, outs).advantage_interval()[0] > 0.95


@pytest.mark.parametrize(
    ("canaries", "guesses", "correct", "delta", "published"),
    [(1000, 100, 75, 1e-4, 0.673), (100_000, 1510, 1439, 1e-5, 2.675)],
)
def test_one_run_proves_what_the_paper_says_of_its_own_figures(canaries, guesses, correct, delta, published):
    """Steinke, Nasr and Jagielski 2023: appendix D and figure 11."""
    assert epsilon_at_least(canaries, guesses, correct, delta) == pytest.approx(published, abs=1e-3)


def test_one_run_without_delta_is_a_binomial_test():
    for guesses, correct, epsilon in ((50, 50, 1.0), (200, 150, 0.5)):
        bias = 1 / (1 + math.exp(-epsilon))
        assert p_value(1000, guesses, correct, epsilon, 0) == pytest.approx(binom.sf(correct - 1, guesses, bias))
    bias = 0.05 ** (1 / 100)
    assert epsilon_at_least(100, 100, 100, 0) == pytest.approx(math.log(bias / (1 - bias)))
    with pytest.raises(ValueError, match="must not fall"):
        p_value(10, 20, 5, 1.0, 0)


def test_one_run_is_wrong_of_randomised_response_in_at_most_one_of_twenty_runs():
    random, epsilon = np.random.default_rng(5), 1.0
    coins = random.random((400, 500)) < 0.5
    flipped = random.random((400, 500)) > 1 / (1 + math.exp(-epsilon))
    scores = np.where(coins ^ flipped, 1.0, -1.0)
    proven = [
        epsilon_at_least(500, 500, count_correct(seen, coin, 500), 0) for seen, coin in zip(scores, coins, strict=True)
    ]
    # Nothing is tighter than randomised response: it is wrong nearly as often as it may be.
    assert 1 <= sum(one > epsilon for one in proven) <= 33
    assert np.mean(proven) > 0.75


def test_one_run_abstains_if_most_canaries_are_unsure():
    assert guesses_for(6000, 1.0, DELTA) < 1000
    assert guesses_for(6000, 20.0, DELTA) == 6000
    scores = np.array([3.0, -2.0, 0.1, -0.1])
    assert count_correct(scores, np.array([True, False, False, True]), 2) == 2
    assert count_correct(scores, np.array([True, False, False, True]), 4) == 2
