"""Towns run through starsim and through our own engine, which agree where they should."""

import numpy as np
import pytest

from edge.store.slots import DAY_S, WINDOW_S
from simulations.epidemics.disease import Disease
from simulations.epidemics.figures import EpidemicFigures, Estimate
from simulations.epidemics.outbreak import NOBODY, Course, outbreaks
from simulations.epidemics.town import Layer, Town, every_contact
from simulations.experiments.town import main, where
from simulations.world.town import Town as GeneratedTown

MILD = Disease(beta=2e-5, latent_days=1.0, infectious_days=2.0)
CERTAIN = Disease(beta=1.0, latent_days=0.5, infectious_days=50.0, stages=100)


def crowd(people: int, seconds: float = 2000.0) -> Town:
    """Everybody meets everybody, every day."""
    i, j = np.triu_indices(people, 1)
    return Town(people, (Layer("crowd", i, j, np.full(len(i), seconds)),))


def generated(classes: int) -> Town:
    return Town.of(GeneratedTown(1, classes, secondary_classes=0, wards=0, days=7).settled())


def copies(town: Town, count: int) -> Town:
    """Towns that never meet, as one: many outbreaks in one go of starsim."""
    first = np.arange(count)[:, None] * town.people
    return Town(
        town.people * count,
        tuple(
            Layer(one.name, (first + one.a).reshape(-1), (first + one.b).reshape(-1), np.tile(one.seconds, count))
            for one in town.layers
        ),
    )


@pytest.fixture(scope="module")
def settled():
    return GeneratedTown(1, classes=2, secondary_classes=0, wards=0, days=3).settled()


def test_a_generated_town_keeps_its_people_and_its_time_in_contact(settled):
    town = Town.of(settled)
    assert town.people == len(settled.home)
    assert [layer.name for layer in town.layers] == ["school", "household"]
    for layer in town.layers:
        pairs = {tuple(sorted(pair)) for pair in zip(layer.a.tolist(), layer.b.tolist(), strict=True)}
        assert len(pairs) == len(layer.a)
        total = settled.layers[layer.name].length.sum() * WINDOW_S
        assert layer.seconds.sum() * settled.days == pytest.approx(total)
    assert town.network().minutes().sum() == pytest.approx(
        2 * sum(layer.seconds.sum() for layer in town.layers) / 60, rel=1e-4
    )


def test_every_contact_of_a_generated_town_is_in_its_window_once(settled):
    network = every_contact(settled)
    expected = {
        (window, a, b)
        for one in settled.layers.values()
        for window, a, b in zip(*(column.tolist() for column in one.windows()), strict=True)
    }
    assert set(zip(network.window.tolist(), network.a.tolist(), network.b.tolist(), strict=True)) == expected
    assert len(network.window) == len(expected)
    assert (network.days, network.people) == (3, len(settled.home))


def test_in_a_town_households_catch_it_from_each_other(settled):
    courses = outbreaks(Town.of(settled).network(), Disease(5e-5, 1.0, 4.0), runs=40, seed=1)
    shares = where(courses, settled)
    same = [
        settled.home[source] == settled.home[who]
        for course in courses
        for _, source, who in course.transmissions()
    ]  # fmt: skip
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["household"] > 0.5
    assert shares["household"] == pytest.approx(np.mean(same), abs=0.05)  # some of a home are of one class, too


@pytest.mark.slow
def test_the_command_compares_three_ways(capsys):
    main(classes=1, secondary=0, wards=0, runs=2, days=20.0)
    said = capsys.readouterr().out
    assert all(row in said for row in ("every contact, ours", "daily means, ours", "daily means, starsim"))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((), "got 4 and 0"),
        ((Layer("x", np.array([0]), np.array([1]), np.array([9.0])),) * 2, "give each its own name"),
        ((Layer("x", np.array([0]), np.array([4]), np.array([9.0])),), "people 0 to 4, not 0 to 3"),
    ],
)
def test_a_town_that_cannot_be_is_refused(layers, message):
    with pytest.raises(ValueError, match=message):
        Town(4, layers)


@pytest.mark.parametrize(
    ("a", "b", "seconds", "message"),
    [
        ([0], [1, 2], [9.0], "columns of 1, 2 and 1 rows"),
        ([1], [1], [9.0], "person 1 is paired"),
        ([0], [1], [0.0], "above 0"),
        ([0], [1], [DAY_S + 1.0], "above 0"),
    ],
)
def test_a_layer_that_cannot_be_is_refused(a, b, seconds, message):
    with pytest.raises(ValueError, match=message):
        Layer("x", np.array(a), np.array(b), np.array(seconds))


@pytest.mark.slow
def test_starsim_refuses_what_cannot_be_run():
    from simulations.epidemics.starsims import spread_in_town

    with pytest.raises(ValueError, match="0 people to start with"):
        spread_in_town(crowd(3), MILD, [], seed=1)
    with pytest.raises(ValueError, match="of 0 to 2"):
        spread_in_town(crowd(3), MILD, [3], seed=1)
    with pytest.raises(ValueError, match="step_days 0"):
        spread_in_town(crowd(3), MILD, [0], seed=1, step_days=0)


@pytest.mark.slow
def test_starsim_keeps_who_infected_whom_and_when():
    from simulations.epidemics.starsims import spread_in_town

    course = spread_in_town(copies(crowd(20), 2), CERTAIN, [3], seed=1, days=10)
    assert course.infected.tolist() == [True] * 20 + [False] * 20
    assert np.flatnonzero(course.seeds).tolist() == [3]
    for day, source, target in course.transmissions():
        assert course.infectious[source] <= day + 1e-6
        assert day < course.recovered[source]
        assert source // 20 == target // 20
    again = spread_in_town(copies(crowd(20), 2), CERTAIN, [3], seed=1, days=10)
    assert (again.exposed == course.exposed).all()
    nothing = spread_in_town(crowd(20), Disease(0.0, 1.0, 2.0), [3], seed=1, days=10)
    assert nothing.infected.sum() == 1
    assert (nothing.infector == NOBODY).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("town", "disease", "count"),
    [(crowd(50), MILD, 150), (generated(classes=3), Disease(6e-5, 1.0, 3.0, stages=2), 150)],
    ids=["crowd", "town"],
)
def test_starsim_and_our_engine_agree_in_small_steps(town, disease, count):
    from simulations.epidemics.starsims import spread_in_town

    people = town.people
    seeds = np.arange(count) * people + np.random.default_rng(1).integers(people, size=count)
    course = spread_in_town(copies(town, count), disease, seeds.tolist(), seed=1, days=60, step_days=0.1)
    theirs = _figures([_part(course, copy * people, people) for copy in range(count)])
    ours = _figures(outbreaks(town.network(), disease, runs=600, seed=1))
    assert not any(theirs[name].apart(ours[name]) for name in ours), (theirs, ours)
    assert ours["attack rate"].high - ours["attack rate"].low < 0.08
    # The comparison would see half as much contact again.
    longer = tuple(Layer(one.name, one.a, one.b, one.seconds * 1.5) for one in town.layers)
    more = _figures(outbreaks(Town(people, longer).network(), disease, runs=600, seed=1))
    assert any(theirs[name].apart(more[name]) for name in more), (theirs, more)


def _part(course: Course, start: int, people: int) -> Course:
    mine = slice(start, start + people)
    infector = np.where(course.infector[mine] == NOBODY, NOBODY, course.infector[mine] - start).astype(np.int32)
    return Course(course.exposed[mine], course.infectious[mine], course.recovered[mine], infector)


def _figures(courses: list[Course]) -> dict[str, Estimate]:
    found = EpidemicFigures.of(courses)
    return {"outbreak": found.outbreak, "attack rate": found.attack_rate_all, "r0": found.r0, "peak": found.peak_share}
