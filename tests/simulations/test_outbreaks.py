"""Who is found after a case, by what could be known; what it costs, and what it averts."""

import dataclasses
import json
import math

import numpy as np
import pytest
from radios import PERFECT

from edge.sensing.contacts import Contact, read_contacts
from edge.store.slots import DAY_S
from edge.tracing.scoring import Scoring
from privacy.tokens.gaen import ReportType, TemporaryExposureKey
from simulations.epidemics.disease import Disease
from simulations.epidemics.figures import Estimate
from simulations.epidemics.network import TemporalNetwork
from simulations.epidemics.outbreak import run_outbreak
from simulations.epidemics.response import NOT_YET, Alarm, Outcome, Response, respond
from simulations.epidemics.scenario import Scenario
from simulations.epidemics.sources import (
    Alerts,
    Anybody,
    Case,
    EveryContact,
    Interview,
    Known,
    People,
    SameZone,
    Site,
    infectiousness,
)
from simulations.experiments.arms import Arm, ArmFigures, arms, at_equal_cost, follow_all
from simulations.experiments.outbreak_folder import keep
from simulations.experiments.outbreaks import main, measure
from simulations.experiments.sensed import site_of
from simulations.runs.folder import RunFolder
from simulations.world.generator import World

SURE = Scenario(
    symptomatic_share=1.0, sensitivity=1.0, compliance=1.0, adoption=1.0, consent=1.0, cooperation=1.0
)  # fmt: skip
SOURCES = [Anybody(), SameZone(), Interview(), Alerts("zone"), EveryContact()]


@pytest.fixture(scope="module")
def school():
    return site_of("school", World(seed=3, zones=2, days=2).contacts(), None, draws=1)


def pair_site(minutes: float, days: int = 8) -> Site:
    """Person 0 meets 1 (of the same zone) and 2 (of another) every day, so many minutes; 3 meets nobody."""
    times = np.arange(int(minutes * 3))
    window = np.sort(np.concatenate([times + day * 4320 for day in range(days) for _ in range(2)]))
    other = np.tile([1, 2], len(window) // 2).astype(np.int32)
    network = TemporalNetwork(4, days, window, np.zeros_like(other), other, np.full(len(window), 20.0))
    table = network.minutes()
    return Site("pair", network, np.array([0, 0, 1, 1]), table, {"person": table[None]})


def known(site: Site, scenario: Scenario = SURE, days: int = 8, **people: np.ndarray) -> Known:
    drawn = dataclasses.replace(People.draw(4, scenario, np.random.default_rng(1)), **people)
    here = [np.ones(4, bool)] * days
    return Known(site, drawn, scenario, here, 0, np.array([1.0, np.inf, np.inf, np.inf]), 0)


def names(scores: np.ndarray) -> list[int]:
    return np.flatnonzero(scores).tolist()


def test_without_symptoms_and_response_an_outbreak_is_the_plain_one(school):
    silent = Scenario(symptomatic_share=0.0)
    for run in range(5):
        free = run_outbreak(school.network, silent.disease, seed=4, run=run)
        assert (respond(school, silent, Response(), seed=4, run=run).course.exposed == free.exposed).all()


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
@pytest.mark.parametrize("action", ["quarantine", "test"])
def test_who_is_at_home_neither_infects_nor_is_infected(school, source, action):
    for run in range(6):
        alarm = Alarm(school, SURE, Response(source, action, 5), seed=1, run=run)
        outcome = alarm.follow()
        for day, who, whom in outcome.course.transmissions():
            assert alarm.here[int(day)][who]
            assert alarm.here[int(day)][whom]
        counts = outcome.course.compartments(np.arange(0.0, 60.0))
        assert (counts.sum(axis=0) == school.network.people).all()
        assert outcome.caught_in_time <= outcome.caught <= outcome.onward.sum()
        assert outcome.in_vain <= outcome.sent_home
        assert action == "test" or outcome.tests == 0
        assert action == "quarantine" or outcome.person_days == 0


def test_what_nobody_is_allowed_to_do_changes_nothing(school):
    scenario = dataclasses.replace(SURE, compliance=0.0)
    for run in range(4):
        free = respond(school, SURE, Response(), seed=1, run=run)
        for response in (Response(Anybody(), per_case=0), Response(Alerts("zone"), "test", 0)):
            assert (respond(school, SURE, response, seed=1, run=run).course.exposed == free.course.exposed).all()
        refused = respond(school, scenario, Response(Anybody(), per_case=50), seed=1, run=run)
        assert (refused.course.exposed == free.course.exposed).all()
        assert refused.person_days == refused.sent_home == 0


def test_no_more_are_found_for_a_case_than_the_budget_allows(school):
    for budget in (1, 4):
        outcome = respond(school, SURE, Response(EveryContact(), per_case=budget), seed=2, run=1)
        assert 0 < outcome.sent_home <= budget * outcome.course.infected.sum()
        assert 0 < outcome.person_days <= outcome.sent_home * SURE.quarantine_days


def test_an_interviewer_has_only_so_many_hours(school):
    one, many = (dataclasses.replace(SURE, interviews_a_day=cases) for cases in (1, 1000))
    late, at_once = (
        sum(
            respond(school, scenario, Response(Interview(), per_case=5), seed=2, run=run).course.infected.sum()
            for run in range(5)
        )
        for scenario in (one, many)
    )
    assert late > at_once
    for run in range(5):
        plenty, no_queue = (
            respond(school, scenario, Response(source, per_case=50), seed=2, run=run)
            for scenario, source in ((many, Interview()), (one, Interview(queue=False)))
        )
        assert plenty.course.exposed.tobytes() == no_queue.course.exposed.tobytes()


def test_what_is_done_too_late_and_to_no_use_is_paid_for_too():
    lonely = pair_site(1.0)
    harmless = dataclasses.replace(SURE, disease=Disease(0.0, 1.0, 0.5))  # over before its symptoms are
    for run in range(20):
        found = respond(lonely, harmless, Response(Anybody(), per_case=2), seed=1, run=run)
        assert found.course.infected.sum() == 1
        assert (found.sent_home, found.in_vain, found.person_days) == (2, 2, 2 * harmless.quarantine_days)


def test_the_same_seed_gives_the_same_outcome(school):
    response = Response(Interview(), per_case=5)
    one, two, other = (respond(school, Scenario(), response, seed=seed, run=2) for seed in (3, 3, 4))
    assert one.course.exposed.tobytes() == two.course.exposed.tobytes()
    assert (one.found_on == two.found_on).all()
    assert one.course.exposed.tobytes() != other.course.exposed.tobytes()


@pytest.mark.slow
def test_the_same_outcomes_come_from_several_processes(school):
    those = arms(school, Scenario())[:6]
    one, two = (follow_all(school, those, runs=5, seed=1, processes=count) for count in (1, 2))
    for a, b in zip(one, two, strict=True):
        assert [outcome.course.exposed.tobytes() for outcome in a] == [o.course.exposed.tobytes() for o in b]


def test_more_adoption_only_adds_tags():
    few, many = (
        People.draw(500, dataclasses.replace(SURE, adoption=share), np.random.default_rng(1)) for share in (0.3, 0.7)
    )
    assert (few.tagged <= many.tagged).all()
    assert few.tagged.mean() == pytest.approx(0.3, abs=0.06)
    assert (few.complies == many.complies).all()


@pytest.mark.parametrize(("minutes", "found"), [(14.0, []), (15.0, [1, 2])])
def test_an_alert_needs_its_minutes_on_one_day(minutes, found):
    scores = Alerts("person").scores(Case(0, 5, 6), known(pair_site(minutes)), np.random.default_rng(1))
    assert names(scores) == found


def test_an_alert_weighs_days_by_infectiousness():
    far = Case(0, 12, 7)  # all days on which they met were 6 to 12 days before the symptoms
    assert names(Alerts("person").scores(far, known(pair_site(100.0)), np.random.default_rng(1))) == []
    early = Case(0, 8, 5)  # the last of these days was 4 before the symptoms, and counts 30 %
    for minutes, found in ((49.0, []), (51.0, [1, 2])):
        assert names(Alerts("person").scores(early, known(pair_site(minutes)), np.random.default_rng(1))) == found


def test_without_symptoms_days_count_from_the_result_as_a_clinic_reports_it():
    for minutes, found in ((14.0, []), (15.0, [1, 2])):
        case = Case(0, None, 6)
        assert names(Alerts("person").scores(case, known(pair_site(minutes)), np.random.default_rng(1))) == found


def test_minutes_with_two_cases_on_one_day_add_up_as_in_a_nodes_store():
    site, random = pair_site(10.0), np.random.default_rng(1)
    both = known(site)
    assert names(Alerts("person").scores(Case(1, 5, 6), both, random)) == []
    assert names(Alerts("person").scores(Case(2, 5, 6), both, random)) == [0]
    assert names(Alerts("person").scores(Case(2, 5, 6), known(site), random)) == []


def test_an_alert_knows_nothing_but_what_nodes_heard_and_the_report():
    site, case = pair_site(60.0), Case(0, 5, 6)
    told = known(site)
    deaf = dataclasses.replace(site, sensed={"person": np.zeros_like(site.sensed["person"])})
    assert names(Alerts("person").scores(case, known(deaf), np.random.default_rng(1))) == []
    # True contacts, zones, and who was infectious from when make no difference.
    other = dataclasses.replace(site, minutes=np.zeros_like(site.minutes), zone=np.arange(4))
    blind = dataclasses.replace(told, site=other, infectious_from=np.full(4, 9.0), exposures={})
    found = Alerts("person").scores(case, told, np.random.default_rng(1))
    assert (Alerts("person").scores(case, blind, np.random.default_rng(2)) == found).all()
    assert names(found) == [1, 2]


@pytest.mark.parametrize("days", range(-14, 15))
def test_infectiousness_is_that_of_a_node(days):
    key = TemporaryExposureKey(bytes(16), 0, 144, ReportType.CONFIRMED_TEST, days_since_onset=days)
    assert infectiousness(Scoring(), days) == Scoring().weight(key)


def test_an_alert_needs_tags_on_both_and_consent():
    site, case, random = pair_site(60.0), Case(0, 5, 6), np.random.default_rng(1)
    one_tag = np.array([True, False, True, True])
    assert names(Alerts("person").scores(case, known(site, tagged=one_tag), random)) == [2]
    assert names(Alerts("person").scores(case, known(site, tagged=~one_tag), random)) == []
    assert names(Alerts("person").scores(case, known(site, consents=np.zeros(4, bool)), random)) == []


def test_days_at_home_are_no_contacts():
    site, case = pair_site(60.0), Case(0, 5, 6)
    full = known(site)
    away = dataclasses.replace(full, here=[np.array([True, False, True, True])] * 8)
    for source in (Alerts("person"), EveryContact(), Interview()):
        full, away = (dataclasses.replace(one, exposures={}) for one in (full, away))
        assert 1 in names(sum(source.scores(case, full, np.random.default_rng(n)) for n in range(20)))
        assert 1 not in names(sum(source.scores(case, away, np.random.default_rng(n)) for n in range(20)))


@pytest.mark.parametrize("minutes", [1.0, 5.0, 20.0])
def test_an_interview_forgets_short_contacts_and_strangers(minutes):
    site, case = pair_site(minutes), Case(0, None, 6)
    one_day = known(site, dataclasses.replace(SURE, asked_days=1))
    found = np.stack([Interview().scores(case, one_day, np.random.default_rng(n)) > 0 for n in range(2000)])
    recalled = 1 - 0.5 ** (minutes / 5)
    assert found.mean(axis=0) == pytest.approx([0, recalled, recalled / 2, 0], abs=0.04)


def test_an_interview_needs_somebody_who_talks():
    silent = known(pair_site(60.0), cooperates=np.zeros(4, bool))
    assert names(Interview().scores(Case(0, 5, 6), silent, np.random.default_rng(1))) == []


def test_every_contact_counts_the_days_on_which_the_case_was_infectious():
    scores = EveryContact().scores(Case(0, 5, 6), known(pair_site(10.0)), np.random.default_rng(1))
    assert scores == pytest.approx([0, 50, 50, 0])  # days 1 to 5


def test_a_class_list_has_the_class_and_anybody_all():
    random = np.random.default_rng(1)
    assert names(SameZone().scores(Case(0, 5, 6), known(pair_site(1.0)), random)) == [0, 1]
    assert names(Anybody().scores(Case(0, 5, 6), known(pair_site(1.0)), random)) == [0, 1, 2, 3]


def test_over_a_perfect_radio_each_wearer_is_told_of_what_they_had():
    contacts = [
        one for one in World(seed=3, zones=2, days=1).contacts() if one.t < 11.5 * 3600
    ]  # beyond the first break
    site = site_of("school", contacts, PERFECT, draws=2)
    assert list(site.sensed) == ["person", "zone", "room"]
    assert site.sensed["person"].shape[0] == 2
    assert (site.sensed["person"] >= site.minutes - 1e-3).all()  # all who shared the room, too
    assert (site.sensed["zone"] == site.sensed["zone"].transpose(0, 1, 3, 2)).all()
    apart = site.zone[:, None] != site.zone
    assert site.minutes[:, apart].any()
    assert (site.sensed["room"][0] != site.sensed["room"][1]).any()


def test_a_wearer_is_told_and_not_the_other():
    once = [Contact(20 * n, "a", "b", "z", "z") for n in range(90)]
    site = site_of("two", [*once, Contact(DAY_S, "a", "b", "z", "z")], PERFECT, draws=1)
    assert site.network.days == 1
    assert site.sensed["person"][0, 0].tolist() == [[0, 30], [30, 0]]


def outcome(infected: int, person_days: int = 0) -> Outcome:
    free = respond(pair_site(1.0), Scenario(disease=Disease(0.0, 1.0, 1.0)), Response(), seed=1)
    exposed = np.r_[0.0, np.full(infected, 1.0), np.full(9 - infected, np.inf)]
    infector = np.r_[-1, np.zeros(infected), np.full(9 - infected, -1)].astype(np.int32)
    course = dataclasses.replace(
        free.course, exposed=exposed, infectious=exposed + 1, recovered=exposed + 2, infector=infector
    )
    return Outcome(course, np.full(10, NOT_YET), person_days, 2, 1, 0)


def test_figures_compare_runs_with_themselves(school):
    arm = Arm(Scenario(), Response(Anybody(), per_case=3))
    found = ArmFigures.of(school, arm, [outcome(2, 10), outcome(4, 20)], [outcome(6), outcome(6)])
    assert (found.found, found.budget, found.runs) == ("anybody", "3 a case", 2)
    assert found.averted.value == pytest.approx(0.5)
    assert found.cost.value == pytest.approx(30 / 6)
    assert found.in_vain.value == 0.5
    assert found.averted.low <= 0.5 <= found.averted.high
    with pytest.raises(ValueError, match="2 runs with a response, 1 without"):
        ArmFigures.of(school, arm, [outcome(2), outcome(4)], [outcome(6)])


def test_equal_costs_lie_between_two_budgets(school):
    arm, free = Arm(Scenario(), Response(Anybody(), per_case=3)), [outcome(8)] * 2
    rows = [
        ArmFigures.of(school, arm, [outcome(left, days * school.network.people)] * 2, free)
        for left, days in ((6, 1), (2, 3))
    ]
    between, beyond = at_equal_cost(rows, 2.0), at_equal_cost(rows, 3.1)
    assert (between.averted.value, between.spent) == (pytest.approx(0.5), 2.0)
    assert (beyond.averted.value, beyond.spent) == (pytest.approx(0.75), 3.0)
    assert at_equal_cost(rows, 0.9) is None


def test_epidemic_curves_are_kept_in_a_run_folder(school, tmp_path):
    figures, courses = measure(school, Scenario(longest_days=20), runs=2, seed=1)
    assert [row.found for row in figures if row.action == "test" and not row.tests.value] == []
    assert list(courses) == ["nobody", "interview", "alerts, zone", "alerts, room", "random testing"]
    folder, again = (
        keep(tmp_path / name, school, Scenario(), courses, runs=2, draws=1, seed=1) for name in ("one", "two")
    )
    assert RunFolder.find([tmp_path / "one"]) == [folder]
    other = keep(tmp_path, school, SURE, courses, runs=2, draws=1, seed=1)
    assert folder.path.name == again.path.name != other.path.name
    for file in ("run.json", "experiment.toml", "rounds.parquet", "curves.parquet"):
        assert (folder.path / file).read_bytes() == (again.path / file).read_bytes()
    assert (folder.info.status, folder.info.settings["scenario.adoption"], folder.rounds.num_rows) == ("done", 0.6, 0)
    rows = [row for row in folder.rows("curves") if row["curve"] == "nobody"]
    assert rows[0] == {"curve": "nobody", "day": 0.0, "mean": 1.0, "low": 1.0, "high": 1.0}


def test_there_is_an_arm_for_every_source_budget_and_adoption(school):
    found = arms(school, Scenario())
    assert len({(arm.name, arm.response.action, arm.budget, arm.scenario.adoption) for arm in found}) == len(found)
    assert {"anybody", "class list", "interview", "alerts, zone", "every contact", "random testing"} <= {
        arm.name for arm in found
    }


def test_a_figure_is_drawn_the_same_again(school, tmp_path):
    from simulations.experiments.outbreaks_figure import draw

    those = arms(school, Scenario())[2::4]  # the reference budgets, and some adoptions
    rows = [ArmFigures.of(school, arm, [outcome(2, 10)] * 2, [outcome(6)] * 2) for arm in those]
    for name in ("one", "two"):
        draw(rows, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert b"<svg" in (tmp_path / "one").read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"adoption": 1.1}, "adoption is 1.1"),
        ({"compliance": math.nan}, "compliance is nan"),
        ({"result_days": -1.0}, "result_days is -1.0"),
        ({"seeds": 0}, "seeds 0"),
        ({"half_recalled_minutes": 0.0}, "half_recalled_minutes 0.0"),
    ],
)
def test_a_scenario_that_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(Scenario(), **change)


def test_what_cannot_be_done_is_refused(school):
    with pytest.raises(ValueError, match="action 'pray'"):
        Response(Anybody(), "pray")
    with pytest.raises(ValueError, match="per_case -1"):
        Response(Anybody(), per_case=-1)
    with pytest.raises(ValueError, match="tested_daily 2"):
        Response(tested_daily=2)
    with pytest.raises(ValueError, match="draws is 0"):
        site_of("x", [Contact(20, "a", "b", "z", "z")], None, 0)
    with pytest.raises(ValueError, match="do not fit"):
        dataclasses.replace(school, zone=np.zeros(3))
    with pytest.raises(ValueError, match="what mode zone senses"):
        dataclasses.replace(school, sensed={"zone": school.sensed["zone"][0]})


@pytest.mark.slow
def test_in_the_real_ward_knowing_every_contact_beats_sending_anybody_home(sociopatterns):
    site = site_of("ward", read_contacts(sociopatterns / "hospital_lyon_contacts.dat"), None, draws=1)
    full = dataclasses.replace(Scenario(), adoption=1.0)
    free, anybody, every, alerted, few = follow_all(
        site,
        [
            Arm(full, Response()),
            Arm(full, Response(Anybody(), per_case=10)),
            Arm(full, Response(EveryContact(), per_case=10)),
            Arm(full, Response(Alerts("zone"), per_case=10)),
            Arm(dataclasses.replace(full, adoption=0.3), Response(Alerts("zone"), per_case=10)),
        ],
        runs=200,
        seed=1,
    )

    def averted(outcomes: list[Outcome]) -> Estimate:
        before, after = (np.array([one.onward.sum() for one in those]) for those in (free, outcomes))
        return Estimate.ratio(before - after, before)

    def cost(outcomes: list[Outcome]) -> Estimate:
        saved = [one.onward.sum() - other.onward.sum() for one, other in zip(free, outcomes, strict=True)]
        return Estimate.ratio([one.person_days for one in outcomes], saved)

    assert averted(every).low > averted(alerted).value > averted(few).high > 0
    assert cost(every).high < cost(anybody).low


@pytest.mark.slow
def test_the_experiment_answers_without_any_data(tmp_path, capsys):
    main(
        None, runs=2, draws=1, all_arms=True, figure=tmp_path / "outbreaks.svg", out=tmp_path, json_file=tmp_path / "x"
    )
    said = capsys.readouterr().out
    assert "averted at equal costs" in said
    assert "generated ward, test" in said
    assert len(RunFolder.find([tmp_path])) == 2
    assert (tmp_path / "outbreaks.svg").stat().st_size > 1000
    assert {row["found"] for row in json.loads((tmp_path / "x").read_text())} >= {"alerts, zone", "random testing"}
