"""One ledger for several privacy units: each has its own budget, and what is of the whole site counts for all."""

import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.accounting.composition import epsilon
from privacy.accounting.events import ANY, SITE, SampledGaussian, SharedGaussian, counts_for
from privacy.accounting.ledger import UNIT_SPREAD_S, Budget, BudgetSpent, Limit, PrivacyLedger

DAY = 86400.0
BUDGET = Budget(8.0, 1e-6, 7 * DAY, {"site": Limit(2.0, 1e-6)})
# Noise 2 and 8000 are 1 and 4000 over what replacing a unit moves a sum by.
SLOT, SESSION = SampledGaussian(2.0, 1.0, 1, 1, "slot"), SampledGaussian(2.0, 1.0, 1, 1, "session")
WHOLE = SharedGaussian(1000, 8000, 1, 10)
ID = b"m" * 16


class Clock:
    now = 1e6

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledger(clock):
    return PrivacyLedger(sqlite3.connect(":memory:", isolation_level=None), BUDGET, clock)


def test_units_do_not_eat_each_other_s_budget(ledger):
    for event in (SLOT, SESSION, SLOT, SESSION):
        ledger.reserve(ID, "x", [event])
    assert ledger.by_unit() == {
        "session": epsilon([SESSION] * 2, 1e-6),
        "site": 0.0,
        "slot": epsilon([SLOT] * 2, 1e-6),
    }
    with pytest.raises(BudgetSpent, match="for one slot") as no:
        ledger.reserve(ID, "x", [SLOT])
    assert no.value.unit == "slot"


def test_what_is_of_the_whole_site_counts_for_every_unit_and_has_its_own_limit(ledger):
    ledger.reserve(ID, "x", [SLOT])
    before = ledger.by_unit()["slot"]
    ledger.reserve(ID, "x", [WHOLE])
    after = ledger.by_unit()
    assert after["slot"] > before
    assert after["site"] == epsilon([WHOLE], 1e-6)
    with pytest.raises(BudgetSpent, match=r"of 2 .* for one site"):
        ledger.reserve(ID, "x", [WHOLE] * 4)


def test_an_event_without_a_unit_counts_for_all_but_the_whole_site(ledger):
    ledger.reserve(ID, "x", [SLOT])
    ledger.reserve(ID, "x", [SampledGaussian(2.0, 1.0, 1)])
    assert ledger.by_unit()["slot"] == epsilon([SLOT] * 2, 1e-6)
    assert ledger.by_unit()["site"] == 0
    with pytest.raises(BudgetSpent):
        ledger.reserve(ID, "x", [SampledGaussian(2.0, 1.0, 1)])


events = st.sampled_from(
    [
        SampledGaussian(3.0, 1.0, 1, 1, "slot"),
        SampledGaussian(4.0, 1.0, 2, 1, "session"),
        SampledGaussian(6.0, 1.0, 1),
        SharedGaussian(1000, 10_000, 1, 10),
    ]
)
steps = st.lists(st.tuples(st.floats(0, 3 * DAY), st.lists(events, min_size=1, max_size=3), st.booleans()), max_size=25)


@given(steps)
@settings(max_examples=60, deadline=None)
def test_no_window_of_a_record_s_life_ever_holds_more_than_its_unit_s_budget(asked):
    """By brute force: for every moment at which a record may be made, all that touched it while it lived."""
    clock = Clock()
    ledger = PrivacyLedger(sqlite3.connect(":memory:", isolation_level=None), BUDGET, clock)
    granted = []
    for wait, wanted, finishes in asked:
        clock.now += wait
        try:
            entry = ledger.reserve(ID, "x", wanted)
        except BudgetSpent:
            continue
        if finishes:
            clock.now += 60
            ledger.spend(entry)
        granted.append((*ledger.reading_window(entry), wanted))
    for born in sorted({moment for after, until, _ in granted for moment in (after, until, until - UNIT_SPREAD_S)}):
        # A unit whose rows were logged from `born` on, over its spread.
        touched = [
            event
            for after, until, wanted in granted
            if after < born + UNIT_SPREAD_S and born <= until
            for event in wanted
        ]
        for unit in ("slot", "session", SITE):
            mine = [event for event in touched if counts_for(event, unit)]
            assert epsilon(mine, 1e-6) <= BUDGET.of(unit).epsilon


def test_a_limit_is_checked_as_a_budget_is():
    with pytest.raises(ValueError, match="epsilon"):
        Limit(0, 1e-6)
    with pytest.raises(ValueError, match="delta"):
        Limit(1, 1)
    assert counts_for(SampledGaussian(1.0, 1.0, 1, 1, ANY), "slot")
