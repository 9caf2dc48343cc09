"""Epsilon is checked against independent figures: closed forms, Opacus, and distributions that err downwards.

What is secret is what a unit holds, so a sum moves by twice what it moves by when the unit is taken out: a Gaussian
with noise z is charged as one with noise z / 2, and libraries that know add and remove alone are asked about that.
"""

import math
import time

import dp_accounting
import mpmath
import numpy as np
import pytest
from dp_accounting import rdp
from dp_accounting.pld import privacy_loss_distribution as pld
from hypothesis import example, given, settings
from hypothesis import strategies as st
from opacus.accountants import RDPAccountant

from privacy.accounting.composition import (
    LEAST_NOISE,
    SHARE_OF_RENYI,
    Adjacency,
    NoiseNotFound,
    epsilon,
    fits,
    gaussian_epsilon,
    noise_multiplier_for,
)
from privacy.accounting.events import MOST_STEPS, SampledGaussian, SharedGaussian, of_units
from privacy.accounting.renyi import ORDERS, sampled_cost

DELTA = 1e-6
ADDED = Adjacency.ADDED_OR_REMOVED

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
    """A lower bound: a pair of neighbours that exists, and its loss with every rounding in the favourable direction.

    In one of them an example adds 1, in the other -1; of k examples of a unit one differs, by a k-th. (The library's
    mixtures are not asked: with a rate of 1 their tail search finds no point for some noises and raises TypeError.)
    """
    total = pld.identity(interval, pessimistic_estimate=False)
    for event in events:
        one = pld.from_gaussian_mechanism(
            event.noise_multiplier,
            sensitivity=1 if event.sampling_rate == 1 else 1 / event.examples_per_unit,
            pessimistic_estimate=False,
            value_discretization_interval=interval,
            sampling_prob=event.sampling_rate,
            use_connect_dots=False,
            neighboring_relation=dp_accounting.NeighboringRelation.REPLACE_ONE,
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


def delta_of(noise, at_epsilon):
    """Balle and Wang's theorem 8 to fifty digits."""
    shift = 1 / mpmath.mpf(noise)
    upper = mpmath.ncdf(shift / 2 - at_epsilon / shift)
    return upper - mpmath.exp(at_epsilon) * mpmath.ncdf(-shift / 2 - at_epsilon / shift)


@settings(deadline=None)
@given(st.floats(0.004, 1000), st.sampled_from([1e-12, 1e-9, 1e-6, 1e-3]))
def test_a_gaussian_s_epsilon_is_never_rounded_down(noise, delta):
    with mpmath.workdps(50):
        found = gaussian_epsilon(noise, delta)
        assert delta_of(noise, found) <= delta
        assert found < 1e-6 or delta_of(noise, found * (1 - 1e-8)) > delta * (1 - 1e-6)


@given(st.floats(0.3, 1000), st.sampled_from([1e-9, 1e-6, 1e-3]))
def test_a_gaussian_alone_costs_what_one_of_half_its_noise_does_in_closed_form(noise, delta):
    exact = dp_accounting.get_epsilon_gaussian(noise / 2, delta)
    found = epsilon([SampledGaussian(noise, 1.0, 1)], delta)
    # The filter keeps a twentieth of delta for sampled sums: that is all that it costs.
    share = delta * (1 - SHARE_OF_RENYI)
    assert found == pytest.approx(dp_accounting.get_epsilon_gaussian(noise / 2, share), rel=1e-5, abs=1e-7)
    assert exact * (1 - 1e-6) - 1e-7 <= found <= 1.006 * exact + 1e-3
    assert epsilon([SampledGaussian(noise, 1.0, 1)], delta, ADDED) == epsilon(
        [SampledGaussian(2 * noise, 1.0, 1)], delta
    )


@given(st.floats(0.05, 100), st.integers(1, 1000))
def test_a_gaussian_taken_n_times_is_one_with_less_noise(noise, steps):
    once = epsilon([SampledGaussian(noise / math.sqrt(steps), 1.0, 1)], DELTA)
    assert epsilon([SampledGaussian(noise, 1.0, steps)], DELTA) == pytest.approx(once, rel=1e-6)


@settings(max_examples=15, deadline=None)
@given(sequences)
@example([SampledGaussian(2.0, 0.5, 65), SampledGaussian(6.634471386034901, 1.0, 49)])
def test_epsilon_is_never_below_the_bound_that_errs_downwards(events):
    assert optimistic_epsilon(events) <= epsilon(events, DELTA)


@settings(max_examples=10, deadline=None)
@given(sequences)
def test_without_sampling_epsilon_is_within_a_hundredth_of_the_bound_that_errs_downwards(events):
    whole = [SampledGaussian(event.noise_multiplier, 1.0, event.steps) for event in events]
    rounded_down = GRID * sum(event.steps for event in whole)
    assert epsilon(whole, DELTA) <= 1.01 * optimistic_epsilon(whole) + rounded_down + 0.001


@settings(max_examples=25, deadline=None)
@given(st.floats(0.5, 8), st.floats(0.01, 0.95), st.integers(1, 6), st.sampled_from([1e-6, 1e-3]))
def test_one_sampled_step_costs_no_less_than_neighbours_whose_every_example_is_turned_around(noise, rate, k, delta):
    """The hockey-stick divergence of the two mixtures, by numerical integration."""
    x = np.linspace(-3 - 12 * noise, 3 + 12 * noise, 60_001)
    weights = [math.comb(k, j) * rate**j * (1 - rate) ** (k - j) for j in range(k + 1)]
    one, other = (
        sum(w * np.exp(-((x - sign * j / k) ** 2) / (2 * noise**2)) for j, w in enumerate(weights)) for sign in (1, -1)
    )
    found = epsilon([SampledGaussian(noise, rate, 1, k)], delta)
    density = np.maximum(one - math.exp(found) * other, 0) / (noise * math.sqrt(2 * math.pi))
    assert np.trapezoid(density, x) <= delta


@given(sequences)
@settings(deadline=None)
def test_sampling_never_makes_a_release_dearer(events):
    assert epsilon(events, DELTA) <= epsilon([of_units(event, 1.0000001) for event in events], DELTA)
    assert epsilon(events, DELTA, ADDED) <= epsilon(events, DELTA)


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
def test_added_or_removed_epsilon_is_what_opacus_reports_but_for_what_a_filter_costs(events):
    """Opacus takes the best of many orders after the fact, with all of delta; a filter's order is fixed in advance. Its
    share of delta costs log(20) / (a - 1) at order a, most where epsilon is large and orders are small."""
    ours, theirs = epsilon(events, DELTA, ADDED), opacus_epsilon(events)
    assert 0.8 * theirs <= ours <= 1.5 * theirs


def test_whole_orders_of_a_sampled_step_cost_what_dp_accounting_says():
    for noise, rate in ((0.7, 0.01), (2.0, 0.1), (5.0, 0.5)):
        accountant = rdp.RdpAccountant(ORDERS)
        accountant.compose(dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(noise)))
        gaussian = np.array(ORDERS) / (2 * noise**2)
        told = [sampled_cost(noise, rate, 1, order, replaced=False) for order in ORDERS]
        np.testing.assert_allclose(told, np.minimum(accountant._rdp, gaussian), rtol=1e-6, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(sequences, st.floats(0.1, 30), st.data())
def test_a_filter_that_lets_events_through_lets_any_part_of_them_through(events, within, data):
    if fits(events, within, DELTA):
        part = data.draw(st.sets(st.sampled_from(range(len(events)))))
        assert fits([events[place] for place in part], within, DELTA)


@settings(max_examples=40, deadline=None)
@given(sequences)
def test_what_costs_epsilon_fits_a_budget_of_epsilon(events):
    assert fits(events, epsilon(events, DELTA) * (1 + 1e-5), DELTA)


@pytest.mark.parametrize("noise", [5e-324, 1e-200, 1.0, 1e200])
@pytest.mark.parametrize("rate", [1e-300, 0.5, 1 - 1e-16, 1.0])
def test_absurd_numbers_neither_hang_nor_overflow(noise, rate):
    begun = time.monotonic()
    events = [SampledGaussian(noise, rate, MOST_STEPS, k) for k in (1, 64)]
    found = epsilon([*events, SharedGaussian(1e300, 1e-300, 10**6, 10**9)], DELTA)
    assert found == math.inf
    assert epsilon(events, DELTA) >= 0
    assert fits(events, 8.0, DELTA) in (True, False)
    assert time.monotonic() - begun < 10


def test_steps_add_up_however_they_are_cut():
    whole = epsilon([SampledGaussian(1.5, 0.1, 60)], DELTA)
    assert epsilon([SampledGaussian(1.5, 0.1, 20)] * 3, DELTA) == whole


def test_examples_that_share_a_unit_cost_more_than_one_alone_where_the_noise_on_the_sum_is_the_same():
    one, per_example = epsilon([SampledGaussian(6.0, 0.1, 100)], DELTA), 6.0
    three = epsilon([SampledGaussian(per_example / 3, 0.1, 100, examples_per_unit=3)], DELTA)
    assert three > 1.5 * one


def test_a_tiny_delta_costs_more():
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

    noise = noise_multiplier_for(target, DELTA, compose)
    assert 0.99 * target <= epsilon(compose(noise), DELTA) <= target
    assert fits(compose(noise), target, DELTA)


def test_a_target_below_what_is_fixed_already_is_refused_with_the_figure():
    with pytest.raises(NoiseNotFound, match=r"epsilon 1 at delta 1e-06 cannot be met: 11\.02 remains"):
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
