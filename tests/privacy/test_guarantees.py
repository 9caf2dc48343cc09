"""What is promised to persons: against closed forms, against brute force over every possible stay, and enforced."""

import math
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.accounting.composition import SHARE_OF_RENYI, epsilon, gaussian_epsilon
from privacy.accounting.events import (
    ANY,
    DAY,
    SITE,
    SampledGaussian,
    SharedGaussian,
    counts_for,
    decode_events,
    encode_events,
)
from privacy.accounting.guarantees import of_ledger, of_person_in, rounded_up
from privacy.accounting.ledger import DAY_SPREAD_S, UNIT_SPREAD_S, Budget, BudgetSpent, Limit, PrivacyLedger
from privacy.accounting.persons import of_person

DAY_S = 86400.0
DELTA = 1e-6
BUDGET = Budget(8.0, DELTA, 14 * DAY_S)
SLOT = SampledGaussian(100.0, 1.0, 1, 2, "slot", 23.5)
SHARED = SharedGaussian(2.0**20, 100 * 2.0**20 / math.sqrt(8), 8, 13, "slot", 23.5)
ID = b"m" * 16


class Clock:
    now = 1.7e9

    def __call__(self):
        return self.now


def ledger_of(budget, clock=None):
    return PrivacyLedger(sqlite3.connect(":memory:", isolation_level=None), budget, clock or Clock())


def exact(shift):
    return gaussian_epsilon(1 / shift, DELTA * (1 - SHARE_OF_RENYI))


@pytest.mark.parametrize(
    ("event", "days", "nodes", "times"),
    [
        (SLOT, 1, 1, 23.5),
        (SHARED, 1, 1, 23.5),
        (SLOT, 14, 1, 14 * 23.5),
        (SLOT, 1, 3, math.sqrt(3) * 23.5),
        (SHARED, 1, 3, 3 * 23.5),
        (SHARED, 14, 3, 14 * 3 * 23.5),
        (SampledGaussian(100.0, 1.0, 1, 1, DAY, 1.0), 14, 1, 14),
        (SharedGaussian(2.0**20, 100 * 2.0**20, 1, 13, SITE, 1.0), 14, 1, 1),
        (SharedGaussian(2.0**20, 100 * 2.0**20, 1, 13, SITE), 14, 2, 2),
        (SampledGaussian(100.0, 1.0, 1, 2, "slot"), 1, 1, 48),
        (SampledGaussian(100.0, 1.0, 1), 1, 1, 48),
    ],
)
def test_a_person_is_one_gaussian_of_so_many_times_the_shift(event, days, nodes, times):
    """2 / 100 is how far replacing one unit moves the sum, over the noise."""
    assert epsilon([of_person(event, days=days, nodes=nodes)], DELTA) == pytest.approx(exact(2 / 100 * times), rel=1e-9)


def test_twelve_half_hours_are_not_twelve_times_epsilon():
    one, twelve = SampledGaussian(5.0, 1.0, 10), SampledGaussian(5.0 / 12, 1.0, 10)
    assert epsilon([twelve], DELTA) > 2 * 12 * epsilon([one], DELTA)


def test_sampling_hides_no_day():
    sampled = SampledGaussian(100.0, 0.1, 5, 2, "slot", 23.5)
    assert of_person(sampled) == SampledGaussian(100.0 / 23.5, 1.0, 5, 1, "slot", 23.5)


def test_a_calibration_walk_tells_nothing_of_persons():
    walk = SampledGaussian(1.0, 1.0, 1, 10, "session")
    assert not counts_for(walk, DAY)
    assert of_person_in([(0.0, [walk])], BUDGET).epsilon == 0


@pytest.mark.parametrize("unit", ["slot", "session", DAY, ANY])
def test_what_is_charged_to_a_day_or_a_site_counts_for_every_smaller_unit(unit):
    for covering in (DAY, SITE):
        assert counts_for(SampledGaussian(1.0, 1.0, 1, 1, covering, 1.0), unit)


releases = st.lists(
    st.tuples(
        st.integers(0, 60 * 24),
        st.sampled_from(
            [
                SLOT,
                SHARED,
                SampledGaussian(20.0, 1.0, 2, 1, SITE, 1.0),
                SampledGaussian(9.0, 1.0, 1, 1, "session"),
                SharedGaussian(3, 3, 2, 5, "slot", 2.0),
            ]
        ),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(releases, st.sampled_from([1, 2, 5]), st.sampled_from([1, 3]), st.sampled_from([4.0, 7.5]))
def test_no_stay_of_any_beginning_costs_more_than_the_worst_that_is_reported(made, days, nodes, lifetime):
    made = sorted(made, key=lambda one: one[0])
    budget = Budget(8.0, DELTA, lifetime * DAY_S)
    told = of_person_in([(hour * 3600.0, [event]) for hour, event in made], budget, days, nodes).epsilon
    worst, reach = 0.0, lifetime * DAY_S + DAY_SPREAD_S
    for begins in range(-20 * 24, 61 * 24, 1):
        touched = []
        for hour, event in made:
            seen = sum(0 <= (hour - begins - 24 * i) * 3600.0 < reach for i in range(days))
            if seen and event.unit != "session":
                touched.append(of_person(event, days=seen, nodes=nodes))
        worst = max(worst, epsilon(touched, DELTA)) if begins % 24 in {hour % 24 for hour, _ in made} else worst
    assert told == pytest.approx(worst, rel=1e-9)


def test_without_a_limit_for_a_day_nothing_is_refused_for_it():
    ledger = ledger_of(BUDGET)
    for _ in range(20):
        ledger.reserve(ID, "x", [SLOT])
    assert "day" not in ledger.by_unit()
    assert of_ledger(ledger)[1].epsilon > BUDGET.epsilon


@pytest.mark.parametrize(("nodes", "granted"), [(1, 7), (4, 1)])
def test_a_limit_for_a_day_counts_slots_as_often_as_a_day_has_them_and_for_every_node_of_the_site(nodes, granted):
    """The day's shift is 2 * 23.5 / 100 * sqrt(nodes releases), and .47 sqrt(7) = 1.24 costs epsilon 6.3."""
    ledger = ledger_of(Budget(8.0, DELTA, 14 * DAY_S, {DAY: Limit(exact(0.47 * math.sqrt(7.5)), DELTA)}, nodes))
    for _ in range(granted):
        ledger.reserve(ID, "x", [SLOT])
    with pytest.raises(BudgetSpent, match="for one day") as refused:
        ledger.reserve(ID, "x", [SLOT])
    assert refused.value.unit == DAY
    assert ledger.by_unit()[DAY] == pytest.approx(exact(0.47 * math.sqrt(granted * nodes)), rel=1e-9)


def test_a_limit_for_a_day_counts_what_is_charged_to_the_site():
    ledger = ledger_of(Budget(1e3, DELTA, 14 * DAY_S, {DAY: Limit(4.0, DELTA)}))
    whole = SampledGaussian(2.0, 1.0, 1, 1, SITE)
    with pytest.raises(BudgetSpent, match="for one day"):
        ledger.reserve(ID, "x", [whole])


def test_a_day_is_charged_for_a_day_longer_than_a_slot():
    """Its rows are logged over a day more, so two slots of it may be read a day further apart."""
    clock = Clock()
    ledger = ledger_of(Budget(8.0, DELTA, 14 * DAY_S, {DAY: Limit(1e3, DELTA)}), clock)
    ledger.reserve(ID, "x", [SLOT])
    clock.now += 14 * DAY_S + UNIT_SPREAD_S + 1
    assert ledger.by_unit() == {DAY: pytest.approx(exact(0.47), rel=1e-9)}
    clock.now += DAY_S
    assert ledger.by_unit() == {DAY: 0.0}


def test_the_rows_of_a_ledger_name_units_days_and_nodes_with_both_adjacencies():
    ledger = ledger_of(Budget(8.0, DELTA, 14 * DAY_S, {DAY: Limit(100.0, DELTA)}, 3))
    ledger.reserve(ID, "x", [SLOT])
    rows = of_ledger(ledger)
    assert [(row.unit, row.days, row.nodes, row.limit) for row in rows] == [
        ("slot", 1, 1, 8.0),
        (DAY, 1, 1, None),
        (DAY, 1, 3, 100.0),
        (DAY, 14, 1, None),
        (DAY, 14, 3, None),
    ]
    assert [row.epsilon for row in rows] == sorted(row.epsilon for row in rows)
    assert all(row.added < row.epsilon for row in rows)


def test_events_from_before_days_were_known_are_charged_for_a_day_of_slots():
    written = encode_events([SampledGaussian(9.0, 1.0, 1, 2, "slot"), SampledGaussian(9.0, 1.0, 1, 9, "session")])
    old = written.replace(b'"version":3', b'"version":2').replace(b',"day_units":0.0', b"")
    assert [event.day_units for event in decode_events(old)] == [48.0, 0.0]


@given(st.floats(1e-12, 1e9))
def test_no_figure_is_rounded_down(figure):
    shown = float(rounded_up(figure).replace(",", ""))
    assert figure <= shown <= figure * 1.011 + 1e-12
    assert rounded_up(math.inf) == "∞"
    assert rounded_up(0.0) == "0"
