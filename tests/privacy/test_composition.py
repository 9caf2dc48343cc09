"""Epsilon is checked against independent figures: closed forms, Opacus, and a distribution that errs downwards."""

import math

import dp_accounting
import pytest
from dp_accounting.pld import privacy_loss_distribution as pld
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from opacus.accountants import RDPAccountant

from privacy.accounting.composition import LEAST_NOISE, NoiseNotFound, epsilon, noise_multiplier_for
from privacy.accounting.events import SampledGaussian

DELTA = 1e-6

sequences = st.lists(
    st.builds(
        SampledGaussian,
        noise_multiplier=st.floats(1.0, 20),
        sampling_rate=st.sampled_from([0.01, 0.1, 0.5, 1.0]),
        steps=st.integers(1, 100),
        examples_per_unit=st.sampled_from([1, 1, 3]),
    ),
    min_size=1,
    max_size=3,
)


GRID = 1e-3


def optimistic_epsilon(events, interval=GRID):
    """A lower bound: the privacy loss distribution with every rounding in the favourable direction."""
    total = pld.identity(interval, pessimistic_estimate=False)
    for event in events:
        k, q = event.examples_per_unit, event.sampling_rate
        one = pld.from_mixture_gaussian_mechanism(
            event.noise_multiplier,
            [j / k for j in range(k + 1)],
            [math.comb(k, j) * q**j * (1 - q) ** (k - j) for j in range(k + 1)],
            pessimistic_estimate=False,
            value_discretization_interval=interval,
            use_connect_dots=False,
        )
        total = total.compose(one.self_compose(event.steps))
    return total.get_epsilon_for_delta(DELTA)


def opacus_epsilon(events):
    accountant = RDPAccountant()
    accountant.history = [(event.noise_multiplier, event.sampling_rate, event.steps) for event in events]
    return accountant.get_epsilon(DELTA)


def test_nothing_released_costs_nothing():
    assert epsilon([], DELTA) == 0


def test_no_noise_costs_everything():
    assert epsilon([SampledGaussian(0.0, 0.001, 1), SampledGaussian(9.0, 0.5, 3)], DELTA) == math.inf


@given(st.floats(0.3, 1000), st.sampled_from([1e-9, 1e-6, 1e-3]))
def test_a_gaussian_alone_costs_what_the_closed_form_says(noise, delta):
    exact = dp_accounting.get_epsilon_gaussian(noise, delta)
    assert epsilon([SampledGaussian(noise, 1.0, 1)], delta) == pytest.approx(exact, rel=1e-5, abs=1e-7)


@given(st.floats(0.05, 100), st.integers(1, 1000))
def test_a_gaussian_taken_n_times_is_one_with_less_noise(noise, steps):
    once = epsilon([SampledGaussian(noise / math.sqrt(steps), 1.0, 1)], DELTA)
    assert epsilon([SampledGaussian(noise, 1.0, steps)], DELTA) == pytest.approx(once, rel=1e-6)


@settings(max_examples=5, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(sequences)
def test_epsilon_is_never_below_the_bound_that_errs_downwards_and_never_far_above(events):
    lower = optimistic_epsilon(events)
    rounded_down = GRID * sum(event.steps for event in events)
    assert lower <= epsilon(events, DELTA) <= 1.01 * lower + rounded_down + 0.001


@settings(max_examples=5, deadline=None)
@given(sequences, sequences)
def test_more_releases_never_cost_less_and_order_does_not_matter(first, second):
    both = epsilon(first + second, DELTA)
    # Each figure is a bound within a few parts in a thousand, so two of them may cross by as little.
    assert both >= max(epsilon(first, DELTA), epsilon(second, DELTA)) * 0.998
    assert epsilon(second + first, DELTA) == pytest.approx(both, rel=1e-9)


@pytest.mark.parametrize(
    "events",
    [
        [SampledGaussian(1.0, 0.01, 1000)],
        [SampledGaussian(4.0, 1.0, 10)],
        [SampledGaussian(2.0, 0.1, 200), SampledGaussian(8.0, 1.0, 10)],
        [SampledGaussian(0.8, 0.05, 50), SampledGaussian(1.1, 0.05, 70)],
    ],
)
def test_epsilon_is_at_most_what_opacus_reports_and_within_a_fifth_of_it(events):
    ours, theirs = epsilon(events, DELTA), opacus_epsilon(events)
    assert 0.8 * theirs <= ours <= theirs


def test_steps_add_up_however_they_are_cut():
    whole = epsilon([SampledGaussian(1.5, 0.1, 60)], DELTA)
    assert epsilon([SampledGaussian(1.5, 0.1, 20)] * 3, DELTA) == whole


def test_examples_that_share_a_unit_cost_more_than_one_alone_where_the_noise_on_the_sum_is_the_same():
    one, per_example = epsilon([SampledGaussian(6.0, 0.1, 100)], DELTA), 6.0
    three = epsilon([SampledGaussian(per_example / 3, 0.1, 100, examples_per_unit=3)], DELTA)
    assert three > 1.5 * one


def test_where_delta_is_too_small_for_the_loss_distribution_renyi_still_bounds():
    events = [SampledGaussian(2.0, 0.1, 100, examples_per_unit=2)]
    assert epsilon(events, DELTA) < epsilon(events, 1e-12) < math.inf


@settings(max_examples=4, deadline=None)
@given(
    st.floats(0.5, 20),
    st.sampled_from([(1.0, 1, 50), (0.1, 1, 100), (0.25, 5, 30)]),
)
def test_the_noise_found_spends_the_budget_to_the_last_hundredth(target, schedule):
    rate, examples, steps = schedule

    def compose(noise):
        return [SampledGaussian(noise, rate, steps, examples), SampledGaussian(40.0, 1.0, 1)]

    cost = epsilon(compose(noise_multiplier_for(target, DELTA, compose)), DELTA)
    assert 0.99 * target <= cost <= target


def test_a_target_below_what_is_fixed_already_is_refused_with_the_figure():
    with pytest.raises(NoiseNotFound, match=r"epsilon 1 at delta 1e-06 cannot be met: 4\.887 remains"):
        noise_multiplier_for(1, DELTA, lambda noise: [SampledGaussian(noise, 1.0, 1), SampledGaussian(1.0, 1.0, 1)])


def test_a_target_that_costs_nothing_gets_the_least_noise():
    assert noise_multiplier_for(1, DELTA, lambda noise: []) == LEAST_NOISE


def test_a_cost_that_jumps_over_the_target_settles_just_above_the_jump():
    def compose(noise):
        return [SampledGaussian(noise, 1.0, 100 if noise < 10 else 1)]

    noise = noise_multiplier_for(3, DELTA, compose)
    assert noise == pytest.approx(10)
    assert epsilon(compose(noise), DELTA) <= 3


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-6])
def test_a_delta_that_is_no_probability_is_refused(delta):
    with pytest.raises(ValueError, match="delta"):
        epsilon([SampledGaussian(1.0, 1.0, 1)], delta)


@pytest.mark.parametrize("target", [0.0, -1.0, math.inf, math.nan])
def test_a_target_that_is_no_budget_is_refused(target):
    with pytest.raises(ValueError, match="epsilon"):
        noise_multiplier_for(target, DELTA, lambda noise: [])
