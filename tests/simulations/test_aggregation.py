"""An outbreak feels daily durations, not when contacts were; and it feels when durations are made equal."""

import dataclasses

import pytest

from edge.sensing.contacts import read_contacts
from simulations.epidemics.aggregation import NETWORKS, compare
from simulations.epidemics.network import TemporalNetwork
from simulations.world.generator import World

NEAR = 0.025
"""As a share of people: what counts as the same attack rate, or the same peak."""


def check(network, illness, runs):
    found = {one.network: one.figures for one in compare("site", network, illness, runs, seed=1)}
    full, daily, equal, mixed = (found[name] for name in NETWORKS)
    for figure in ("attack_rate", "peak_share"):
        truth = getattr(full, figure)
        assert abs(getattr(daily, figure).value - truth.value) < NEAR
        assert getattr(equal, figure).low - truth.high > NEAR
    assert not full.outbreak.apart(daily.outbreak)
    assert not full.r0.apart(daily.r0)
    assert equal.r0.value > full.r0.high
    assert mixed.attack_rate.low > equal.attack_rate.high
    return found


def test_in_the_ward_daily_durations_are_as_good_as_all_contacts_and_equal_ones_are_not(sociopatterns):
    network = TemporalNetwork.of(read_contacts(sociopatterns / "hospital_lyon_contacts.dat"))
    found = check(network, "fast", runs=300)
    assert found["full"].outbreak.apart(found["equal"].outbreak)


@pytest.mark.slow
@pytest.mark.parametrize("illness", ["fast", "slow"])
def test_in_the_school_daily_durations_are_as_good_as_all_contacts_and_equal_ones_are_not(sociopatterns, illness):
    network = TemporalNetwork.of(read_contacts(sociopatterns / "primaryschool.csv"))
    found = check(network, illness, runs=300)
    assert found["equal"].peak_day.high < found["full"].peak_day.low


def test_the_figure_has_every_network_and_is_drawn_the_same_again(tmp_path):
    from simulations.experiments.aggregation_figure import draw

    network = TemporalNetwork.of(World(seed=3, zones=2, days=1).contacts())
    spreads = [dataclasses.replace(one, ms=0.0) for one in compare("school", network, "fast", runs=10, seed=1)]
    for name in ("one.svg", "two.svg"):
        draw(spreads, tmp_path / name)
    drawn = (tmp_path / "one.svg").read_text()
    assert drawn == (tmp_path / "two.svg").read_text()
    assert all(f"<!-- {name} -->" in drawn for name in [*NETWORKS, "school: fast illness"])
