"""Outbreaks on contacts keep count of people, need contact, and are the same for the same seed."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.sensing.contacts import Contact, read_contacts
from edge.store.slots import DAY_S
from simulations.epidemics.disease import FAST, Disease
from simulations.epidemics.figures import EpidemicFigures, Estimate, curves_table, infected_by_day
from simulations.epidemics.network import (
    WINDOWS_A_DAY,
    TemporalNetwork,
    daily_durations,
    equal_durations,
    mixed_evenly,
    recorded_days,
)
from simulations.epidemics.outbreak import NOBODY, Course, Outbreak, outbreaks, run_outbreak
from simulations.world.generator import World

CERTAIN = Disease(beta=1e6, latent_days=0.0, infectious_days=50.0, stages=100)
HARMLESS = Disease(beta=0.0, latent_days=1.0, infectious_days=2.0)


@pytest.fixture(scope="module")
def school():
    return TemporalNetwork.of(World(seed=3, zones=3, days=2).contacts())


def chain(people: int) -> TemporalNetwork:
    """0 meets 1, a window later 1 meets 2, and so on: once a day."""
    number = np.arange(people - 1)
    return TemporalNetwork(
        people,
        1,
        number.astype(np.int64),
        number.astype(np.int32),
        (number + 1).astype(np.int32),
        np.full(len(number), 20.0),
    )


def bytes_of(course: Course) -> bytes:
    return b"".join(getattr(course, field.name).tobytes() for field in dataclasses.fields(course))


@given(seed=st.integers(0, 2**32), people=st.integers(2, 20), beta=st.floats(0, 1), seeds=st.integers(1, 2))
@settings(max_examples=20, deadline=None)
def test_everybody_is_in_one_compartment_at_every_moment(seed, people, beta, seeds):
    course = run_outbreak(chain(people), Disease(beta, 0.5, 1.0), seed=seed, seeds=seeds)
    counts = course.compartments(np.arange(0, 50, 0.25))
    assert (counts >= 0).all()
    assert (counts.sum(axis=0) == people).all()
    assert counts[3, -1] == course.infected.sum()


def test_nobody_is_infected_without_a_contact_with_somebody_infectious(school):
    met = {(int(w), int(a), int(b)) for w, a, b in zip(school.window, school.a, school.b, strict=True)}
    for run in range(20):
        outbreak = Outbreak(school, FAST, seed=1, run=run)
        while not outbreak.over:
            outbreak.advance()
        course = outbreak.course
        for day, source, target in course.transmissions():
            window = (round(day * WINDOWS_A_DAY) + outbreak.first_day * WINDOWS_A_DAY) % (school.days * WINDOWS_A_DAY)
            assert (window, source, target) in met or (window, target, source) in met
            assert course.infectious[source] <= day < course.recovered[source]
            assert course.exposed[target] < course.infectious[target] < course.recovered[target]


def test_who_meets_nobody_is_not_infected():
    pair = TemporalNetwork.static(3, [0], [1], [DAY_S], times_a_day=WINDOWS_A_DAY)
    reached = [course.infected.tolist() for course in outbreaks(pair, CERTAIN, runs=30, seed=1)]
    assert {tuple(one) for one in reached} == {(True, True, False), (False, False, True)}


def test_an_illness_that_does_not_pass_on_stays_with_its_seeds(school):
    for course in outbreaks(school, HARMLESS, runs=5, seed=1, seeds=3):
        assert course.infected.sum() == course.seeds.sum() == 3
        assert course.transmissions() == []


def test_an_illness_that_always_passes_on_reaches_all_who_are_connected_in_time():
    course = next(one for one in outbreaks(chain(5), CERTAIN, runs=50, seed=1) if one.seeds[0])
    assert course.infected.all()
    assert course.infector.tolist() == [NOBODY, 0, 1, 2, 3]


def test_nobody_passes_on_in_the_window_in_which_they_caught_it():
    at_once = dataclasses.replace(chain(9), window=np.full(8, 5))
    for run in range(20):
        outbreak = Outbreak(at_once, CERTAIN, seed=1, run=run)
        for day in range(1, 9):
            outbreak.advance()
            seed, reached = np.flatnonzero(outbreak.course.seeds)[0], np.flatnonzero(outbreak.course.infected)
            assert reached.tolist() == list(range(max(seed - day, 0), min(seed + day, 8) + 1))


def test_the_same_seed_gives_the_same_bytes_whatever_the_threads(school):
    one, two = (outbreaks(school, FAST, runs=12, seed=5, threads=threads) for threads in (1, 2))
    assert [bytes_of(course) for course in one] == [bytes_of(course) for course in two]
    assert [bytes_of(course) for course in outbreaks(school, FAST, runs=5, seed=5)] == [bytes_of(c) for c in one[:5]]
    assert bytes_of(one[0]) != bytes_of(outbreaks(school, FAST, runs=1, seed=6)[0])
    assert len({bytes_of(course) for course in one}) == len(one)


def test_who_is_away_meets_nobody(school):
    outbreak = Outbreak(school, CERTAIN, seed=1)
    outbreak.advance(away=np.ones(school.people, bool))
    assert outbreak.course.infected.sum() == 1
    outbreak.advance()
    assert outbreak.course.infected.sum() > 1


def test_sending_home_who_was_never_infected_changes_nothing_for_others_of_the_same_seed(school):
    free = run_outbreak(school, FAST, seed=2, run=3)
    spared = ~free.infected
    assert spared.any()
    outbreak = Outbreak(school, FAST, seed=2, run=3)
    while not outbreak.over:
        outbreak.advance(away=spared)
    assert bytes_of(outbreak.course) == bytes_of(free)


def test_durations_have_the_mean_that_was_asked_for_and_a_spread_by_stages():
    crowd = TemporalNetwork.static(4000, [0], [1], [20.0])
    for stages in (1, 4):
        course = run_outbreak(crowd, Disease(0.0, 3.0, 5.0, stages), seed=1, seeds=4000)
        for times, mean in ((course.infectious, 3.0), (course.recovered - course.infectious, 5.0)):
            assert times.mean() == pytest.approx(mean, rel=0.06)
            assert times.std() == pytest.approx(mean / stages**0.5, rel=0.08)


def test_a_pair_infects_at_the_rate_of_its_seconds():
    pair = TemporalNetwork.static(2, [0], [1], [600.0], times_a_day=1)
    disease = Disease(beta=1e-3, latent_days=0.0, infectious_days=1e4)
    caught = 0
    for run in range(2000):
        outbreak = Outbreak(pair, disease, seed=1, run=run)
        outbreak.advance()
        caught += int(outbreak.course.infected.sum() == 2)
    share = Estimate.share(caught, 2000)
    assert share.low < 1 - np.exp(-0.6) < share.high


def test_looped_days_go_on_where_the_data_end():
    days = [Contact(day * DAY_S + 20 * n, "a", "b", "z", "z") for day in (5, 6) for n in range(10)]
    network = TemporalNetwork.of(days)
    assert (network.days, network.people, len(network.window)) == (2, 2, 20)
    slow = dataclasses.replace(CERTAIN, latent_days=7.0)
    course = run_outbreak(network, slow, seed=1)
    assert course.infected.all()
    assert course.exposed.max() > 2


def test_a_day_that_was_cut_short_is_left_out_of_the_loop():
    whole = [Contact(day * DAY_S + 20 * n, "a", "b", "z", "z") for day in range(3) for n in range(100)]
    stub = [Contact(3 * DAY_S + 20 * n, "a", "b", "z", "z") for n in range(9)]
    assert recorded_days(whole + stub) == range(3)
    assert recorded_days(whole + stub * 2) == range(4)
    assert TemporalNetwork.of(whole + stub).days == 3


def test_networks_that_keep_less_keep_the_time_in_contact(school):
    total = school.seconds.sum()
    assert mixed_evenly(school).seconds.sum() == pytest.approx(total)
    for less in (daily_durations(school), equal_durations(school)):
        assert less.seconds.sum() == pytest.approx(total)
        assert less.minutes().astype(bool).tolist() == school.minutes().astype(bool).tolist()
    assert daily_durations(school).minutes() == pytest.approx(school.minutes(), abs=1e-2)
    for day in equal_durations(school).minutes():
        assert np.ptp(day[day > 0]) < 1e-3
    for day, full in zip(mixed_evenly(school).minutes(), school.minutes(), strict=True):
        apart = ~np.eye(school.people, dtype=bool)
        assert np.ptp(day[apart]) < 1e-3
        assert day.sum() == pytest.approx(full.sum(), rel=1e-4)


def test_a_contact_that_is_told_twice_is_one_contact():
    once = [Contact(20 * n, "a", "b", "z", "z") for n in range(5)]
    network = TemporalNetwork.of([*once, Contact(40, "b", "a", "z", "z")])
    assert network.seconds.tolist() == [20.0] * 5


def test_a_pair_of_two_kinds_of_places_infects_at_the_rate_of_both():
    twice = TemporalNetwork.static(2, [0, 1], [1, 0], [400.0, 200.0], times_a_day=2)
    once = TemporalNetwork.static(2, [0], [1], [600.0], times_a_day=2)
    assert twice.seconds.tolist() == once.seconds.tolist() == [300.0, 300.0]


def test_figures_of_known_courses():
    never, inf = [np.inf, np.inf], np.inf
    small = Course(*(np.array([x, *never, inf]) for x in (0.0, 1.0, 2.0)), np.full(4, NOBODY, np.int32))
    large = Course(
        np.array([0.0, 1.5, 1.6, inf]),
        np.array([1.0, 2.0, 2.5, inf]),
        np.array([3.0, 5.0, 4.0, inf]),
        np.array([NOBODY, 0, 0, NOBODY], np.int32),
    )
    found = EpidemicFigures.of([small, large] * 20)
    assert found.outbreak.value == 1.0  # one of four is a quarter
    assert found.attack_rate_all.value == pytest.approx(0.5)
    assert found.r0.value == pytest.approx(1.0)
    assert infected_by_day([small, large], 5).tolist() == [[1, 1, 0, 0, 0, 0], [1, 1, 3, 2, 1, 0]]
    table = curves_table({"all": [small, large]})
    assert table.column_names == ["curve", "day", "mean", "low", "high"]
    assert table.column("mean").to_pylist() == [1.0, 1.0, 1.5, 1.0, 0.5, 0.0]
    assert table.column("high").to_pylist()[2] > table.column("mean").to_pylist()[2] > 0


def test_intervals_hold_what_they_promise():
    random = np.random.default_rng(1)
    inside = [
        (share.low <= 0.3 <= share.high, mean.low <= 0.3 <= mean.high)
        for draw in (random.random(100) < 0.3 for _ in range(200))
        for share, mean in [(Estimate.share(int(draw.sum()), 100), Estimate.mean(draw))]
    ]
    assert np.mean(inside, axis=0) == pytest.approx([0.95, 0.95], abs=0.045)
    assert Estimate.ratio([2, 4], [1, 2]).value == 2
    assert Estimate(1, 0, 2).apart(Estimate(4, 3, 5))
    assert not Estimate(1, 0, 3).apart(Estimate(4, 3, 5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"beta": -1.0}, "beta -1.0"),
        ({"beta": float("nan")}, "beta nan"),
        ({"latent_days": -0.1}, "latent_days -0.1"),
        ({"infectious_days": 0.0}, "infectious_days is 0.0"),
        ({"stages": 0}, "stages is 0"),
    ],
)
def test_an_illness_that_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(FAST, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"people": 0}, "got 0 and 1"),
        ({"people": 3}, "people are 0 to 2"),
        ({"a": np.array([0, 1])}, "one length"),
        ({"a": np.array([0, 2, 2], np.int32)}, "person 2 is in contact with themselves"),
        ({"window": np.array([0, 2, 1])}, "not in time order"),
        ({"window": np.array([0, 1, WINDOWS_A_DAY])}, "windows are 0 to 4319 in 1 days, got 0 to 4320"),
        ({"seconds": np.array([20.0, 0.0, 20.0])}, "not above 0"),
        (
            {"window": np.array([0, 7, 7]), "a": np.array([0, 1, 2]), "b": np.array([1, 2, 1])},
            "a pair is twice in window 7: add its seconds up",
        ),
    ],
)
def test_a_network_that_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(chain(4), **change)


def test_what_cannot_be_run_is_refused(school):
    with pytest.raises(ValueError, match="no contacts"):
        TemporalNetwork.of([])
    with pytest.raises(ValueError, match="times_a_day is 0"):
        daily_durations(school, 0)
    with pytest.raises(ValueError, match="5 seeds among 4"):
        run_outbreak(chain(4), FAST, seed=1, seeds=5)
    with pytest.raises(ValueError, match="seed -1"):
        run_outbreak(chain(4), FAST, seed=-1)
    with pytest.raises(ValueError, match="runs 0"):
        outbreaks(chain(4), FAST, runs=0, seed=1)
    with pytest.raises(RuntimeError, match="not over after 1000 days"):
        run_outbreak(chain(4), Disease(0.0, 1.0, 1e6), seed=1)
    with pytest.raises(ValueError, match="no runs"):
        EpidemicFigures.of([])
    with pytest.raises(ValueError, match="curves without runs: a"):
        curves_table({"a": []})
    with pytest.raises(ValueError, match="3 of 2"):
        Estimate.share(3, 2)


def test_the_real_ward_loops_four_whole_days(sociopatterns):
    ward = TemporalNetwork.of(read_contacts(sociopatterns / "hospital_lyon_contacts.dat"))
    assert (ward.people, ward.days, len(ward.window)) == (75, 4, 32_098)
