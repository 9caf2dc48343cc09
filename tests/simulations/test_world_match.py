"""Comparing the world with measured data: a test sees one row a unit, and a fit finds again what was put in."""

from dataclasses import replace

import numpy as np
import pytest
import typer
from scipy.stats import ks_2samp

from simulations.datasets.files import BadData
from simulations.experiments.world import fit
from simulations.experiments.world.contacts_fit import Measured, fit_lasting, scaled
from simulations.experiments.world.likeness import Site, between_zones, clustering, repeated, samples
from simulations.experiments.world.published import KNOWN, contacts_of
from simulations.experiments.world.two_samples import LEAST, UNITS, Sample, distance, p_value, pooled
from simulations.world.bursts import ShiftedPower
from simulations.world.episodes import WINDOWS_A_DAY, Episodes
from simulations.world.places import PLACES

PLACE = PLACES["high-school"]


def ints(*values):
    return np.array(values, dtype=np.int64)


def alike_within_units(rng, middle=0.0, units=60, rows=50):
    """Rows of a unit are nearly the same: as many independent values as units."""
    values = rng.normal(middle, 1.0, units)[:, None] + rng.normal(0, 0.1, (units, rows))
    return Sample(values.ravel(), np.repeat(np.arange(units), rows))


def test_rows_of_one_unit_do_not_make_a_test_reject_and_all_rows_taken_for_independent_do():
    rng = np.random.default_rng(1)
    pairs = [(alike_within_units(rng), alike_within_units(rng)) for _ in range(30)]
    assert sum(p_value(one, other, rng)[0] < 0.05 for one, other in pairs) <= 2
    assert sum(ks_2samp(one.values, other.values).pvalue < 0.05 for one, other in pairs) >= 25


def test_a_difference_of_one_standard_deviation_is_found():
    rng = np.random.default_rng(2)
    p, units = p_value(alike_within_units(rng), alike_within_units(rng, middle=1.0), rng)
    assert p < 0.01
    assert units == 60


def test_a_test_sees_no_more_than_so_many_units_and_says_nothing_of_a_few():
    rng = np.random.default_rng(3)
    many, few = alike_within_units(rng, units=UNITS + 1, rows=2), alike_within_units(rng, units=LEAST - 1)
    assert p_value(many, many, rng)[1] == UNITS
    p, units = p_value(many, few, rng)
    assert (np.isnan(p), units) == (True, LEAST - 1)


def test_the_distance_is_nought_to_itself_and_one_to_what_does_not_overlap():
    one = Sample(np.arange(5.0), np.arange(5))
    assert distance(one, one) == 0
    assert distance(one, Sample(one.values + 10, one.units)) == 1
    assert np.isnan(distance(one, Sample(np.array([]), ints())))


def test_units_of_different_buildings_are_different_units():
    one = Sample(np.zeros(3), ints(0, 1, 1))
    assert len(np.unique(pooled([one, one]).units)) == 2
    assert len(np.unique(pooled([one, one], apart=True).units)) == 4


def test_a_value_without_a_unit_is_refused():
    with pytest.raises(ValueError, match=r"every value is of one unit, got \(3,\) and \(2,\)"):
        Sample(np.zeros(3), ints(0, 1))


# Three people, by hand: two contacts of the first two and one of the last two on one day, and one the day after.

BY_HAND = Site(
    "by hand",
    Episodes(ints(10, 20, WINDOWS_A_DAY + 5, 13), ints(3, 1, 2, 6), ints(0, 0, 0, 1), ints(1, 1, 1, 2)),
    np.array(["A", "A", "B"]),
    np.array(["pupil"] * 3),
)


def test_what_is_compared_of_a_day_is_what_happened_on_it():
    found = samples(BY_HAND, [0])
    assert sorted(found["contact duration"].values) == [pytest.approx(n / 3) for n in (1, 3, 6)]
    assert sorted(found["contact duration, weighed by time"].values * 3) == [1, *[3] * 3, *[6] * 6]
    assert found["gap between contacts of a pair"].values == pytest.approx([7 / 3])
    # The second person goes from the first contact straight to the last person: only six windows later is a gap.
    assert sorted(found["gap between contacts of a person"].values) == [pytest.approx(n / 3) for n in (1, 7)]
    assert found["partners of a person a day"].values.tolist() == [1, 2, 1]
    assert found["contacts of a pair a day"].values.tolist() == [2, 1]
    assert found["minutes of a person a day"].values == pytest.approx([4 / 3, 10 / 3, 2])


def test_shares_of_a_site_by_hand():
    assert between_zones(BY_HAND, [0]) == pytest.approx(1 / 3)
    assert repeated(BY_HAND, [0, 1]) == 1
    assert clustering(BY_HAND, [0]) == 0


def test_a_building_that_is_to_be_like_a_site_has_as_many_people_in_each_zone():
    site = replace(BY_HAND, zone=np.array(["A", "A", "B"]), role=np.array(["pupil", "teacher", "pupil"]))
    [made] = site.like(PLACE, 1, [1], 1)
    assert (made.zone.tolist(), made.role.tolist()) == (["zone 0", "zone 0", "zone 1"], ["pupil", "teacher", "pupil"])


# Fits.


def test_the_law_of_durations_is_found_again():
    law = ShiftedPower(0.6, 3.2, 180)
    found = fit_lasting(law.draw(np.random.default_rng(4), 40_000), 180)
    assert (found.shift, found.exponent) == (pytest.approx(0.6, abs=0.25), pytest.approx(3.2, abs=0.25))


def test_rates_that_were_changed_are_found_again():
    [site] = BY_HAND.like(PLACE, 3, [1], 1)
    site = replace(site, zone=np.repeat(["A", "B"], 30), role=np.array(["pupil"] * 60))
    [site] = site.like(PLACE, 3, [2], 1)
    contacts = len(site.episodes)
    wrong = replace(PLACE, within=tuple(tuple(5 * rate for rate in row) for row in PLACE.within))
    measured = Measured(site, [0, 1, 2])
    mended = scaled(wrong, measured, seed=3, buildings=8, rounds=3)
    before, after = (
        np.mean([len(one.episodes) for one in site.like(place, 3, [4], 8)]) / contacts for place in (wrong, mended)
    )
    assert before > 2.5
    assert after == pytest.approx(1, abs=0.35)


def test_what_nothing_is_fitted_to_is_refused_by_name(tmp_path):
    with pytest.raises(typer.BadParameter, match="nothing is fitted to thiers-2011: choose of lyon-school"):
        fit.main(["thiers-2011"])
    with pytest.raises(ValueError, match="no day of by hand"):
        Measured(BY_HAND, [])
    with pytest.raises(BadData, match="the world has no place like it"):
        contacts_of("exp34", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", KNOWN)
def test_how_long_contacts_and_gaps_last_on_days_kept_from_the_fit_is_not_told_apart_from_ours(name, shared_data):
    known, site = KNOWN[name], contacts_of(name, shared_data)
    held = site.days()[known.fitted :]
    real = samples(site, held)
    ours = [samples(world, world.days()) for world in site.like(known.place, len(held), [7], 3)]
    rng = np.random.default_rng(8)
    for statistic in ("contact duration", "gap between contacts of a pair", "gap between contacts of a person"):
        p, units = p_value(real[statistic], pooled([one[statistic] for one in ours], apart=True), rng)
        assert units >= 50
        assert p > 0.01, statistic
