"""What sites and federated data refuse to be."""

import pytest

from simulations.datasets.federated import FederatedData, SiteData
from simulations.datasets.sociopatterns import federation
from simulations.world.generator import World

A = SiteData("3A", [(1, 2.0)], [(60, 1.0)])


@pytest.mark.parametrize(
    ("values", "named"),
    [(("", [1], [2]), "has a name"), (("3A", [], []), "'3A' has no record")],
)
def test_a_site_without_a_name_or_a_record_is_refused(values, named):
    with pytest.raises(ValueError, match=named):
        SiteData(*values)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (("", "crowding", (A,)), "a name and a task"),
        (("lyon", "", (A,)), "a name and a task"),
        (("lyon", "crowding", (A, A)), "several sites are called 3A"),
        (("lyon", "crowding", ()), r"none of 0 site\(s\) has a record to learn from"),
        (("lyon", "crowding", (SiteData("3A", [], [1]),)), "to learn from"),
        (("lyon", "crowding", (SiteData("3A", [1], []),)), "to be judged on"),
    ],
)
def test_data_that_nothing_can_be_learnt_from_or_judged_on_are_refused(values, named):
    with pytest.raises(ValueError, match=named):
        FederatedData(*values)


def test_one_site_may_only_learn_and_another_only_judge():
    sites = (SiteData("A", [1], []), SiteData("B", [], [1]))
    assert FederatedData("pis", "proximity", sites).sites == sites


def test_a_federation_of_contacts_is_split_as_its_zones_are():
    school = federation("world", World(seed=1, zones=3, days=3).contacts())
    assert [site.name for site in school.sites] == list(school.zones)
    assert all(site.training == school.training(site.name) for site in school.sites)
    assert all(site.held_out == school.held_out(site.name) for site in school.sites)
