"""An outbreak feels daily durations, not when contacts were; and it feels when durations are made equal."""

import pytest

from edge.sensing.contacts import read_contacts
from simulations.epidemics.disease import FAST, SLOW
from simulations.epidemics.network import TemporalNetwork
from simulations.experiments.aggregation import compare

NEAR = 0.025
"""As a share of people: what counts as the same attack rate, or the same peak."""


def check(network, disease, runs):
    found = {name: figures for name, figures, _ in compare(network, disease, runs, seed=1)}
    full, daily, equal = found["full"], found["daily"], found["equal"]
    for figure in ("attack_rate", "peak_share"):
        truth = getattr(full, figure)
        assert abs(getattr(daily, figure).value - truth.value) < NEAR
        assert getattr(equal, figure).low - truth.high > NEAR
    assert not full.outbreak.apart(daily.outbreak)
    assert not full.r0.apart(daily.r0)
    assert equal.r0.value > full.r0.high
    return found


def test_in_the_ward_daily_durations_are_as_good_as_all_contacts_and_equal_ones_are_not(sociopatterns):
    network = TemporalNetwork.of(read_contacts(sociopatterns / "hospital_lyon_contacts.dat"))
    found = check(network, FAST, runs=300)
    assert found["full"].outbreak.apart(found["equal"].outbreak)


@pytest.mark.slow
@pytest.mark.parametrize("disease", [FAST, SLOW], ids=["fast", "slow"])
def test_in_the_school_daily_durations_are_as_good_as_all_contacts_and_equal_ones_are_not(sociopatterns, disease):
    network = TemporalNetwork.of(read_contacts(sociopatterns / "primaryschool.csv"))
    found = check(network, disease, runs=300)
    assert found["equal"].peak_day.high < found["full"].peak_day.low
