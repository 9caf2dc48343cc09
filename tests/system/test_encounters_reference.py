"""Two real data sets, whole, through a worn node and a store of its own for each of their people (75 and 242)."""

import pytest

from edge.sensing.contacts import read_contacts
from simulations.experiments.encounters import through_worn_nodes
from simulations.experiments.pair_days import long_ones, true_minutes

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]


def test_the_hospital_ward_has_exactly_the_long_pair_days_that_were_measured(sociopatterns, tmp_path):
    contacts = read_contacts(sociopatterns / "hospital_lyon_contacts.dat")
    found, truth = through_worn_nodes(contacts, tmp_path), true_minutes(contacts)
    assert found == pytest.approx(truth, abs=1e-3)
    assert len(long_ones(found)) == 153
    assert long_ones(found) == long_ones(truth)


@pytest.mark.slow
def test_the_primary_school_has_exactly_the_long_pair_days_that_were_measured(sociopatterns, tmp_path):
    contacts = read_contacts(sociopatterns / "primaryschool.csv")
    found, truth = through_worn_nodes(contacts, tmp_path), true_minutes(contacts)
    assert found == pytest.approx(truth, abs=1e-3)
    assert len(long_ones(found)) == 651
    assert long_ones(found) == long_ones(truth)
