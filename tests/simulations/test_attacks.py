"""Every attack works if nothing stops it, canaries are as bad as can be, and verdicts follow from what was seen."""

import json
from dataclasses import replace

import msgspec
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from edge.learning.dpsgd import DpSgdPlan
from edge.learning.tasks.crowding import TASK
from privacy.accounting.composition import gaussian_epsilon
from privacy.accounting.events import SampledGaussian
from simulations.attacks import auditing
from simulations.attacks.auditing import toy_audits
from simulations.attacks.auditing_crowding import (
    charge_of_group,
    one_run_audits,
    one_run_scores,
    own_noise,
    shared_by_record,
    shared_by_site,
)
from simulations.attacks.canaries import day_removed, days_replaced, slot_removed, slot_replaced
from simulations.attacks.cli import with_verdicts
from simulations.attacks.finding import Audit, Finding, Roc
from simulations.attacks.groups import groups
from simulations.attacks.inversion import analytic
from simulations.attacks.inversion_optimised import invert, optimised, targets
from simulations.attacks.membership import Shadows, membership, properties
from simulations.attacks.parties import parties
from simulations.attacks.population import examples_of, many_minutes, slots, without_unit
from simulations.attacks.statistics import Charge, epsilon_test, mu_test
from simulations.cli import app
from simulations.engine.cohort import CohortExamples

PLAN = DpSgdPlan(1.0)


def mu_shown(score, runs):
    ins, outs = (np.array([score(there) for _ in range(runs)]) for there in (True, False))
    return mu_test(ins, outs).mu()


def test_a_finding_holds_only_if_the_attack_works_without_protection():
    assert Finding("x", "y", 1.0, 0.0, 0.1).held
    assert not Finding("x", "y", 1.0, 0.2, 0.1).held
    assert not Finding("x", "y", 0.3, 0.0, 0.1).held
    assert not Finding("x", "y", 0.6, 0.0, 0.1, "", (0.4, 0.8), (0.0, 0.1)).held
    assert Audit("x", 0.9, 1.0, 1e-6).held
    assert not Audit("x", 1.1, 1.0, 1e-6).held
    assert Audit("x", 1.1, 1.0, 1e-6, refuted=False).held
    assert not Audit("x", 0.9, 1.0, 1e-6, broken=True).held


def test_an_active_leader_gets_a_node_from_a_helper_without_rules_and_nothing_from_ours(tmp_path):
    found = groups(1, tmp_path, 2)
    assert len(found) == 9
    for one in found:
        assert (one.without, one.protected) == (1.0, 0.0), one.attack
        assert one.without_95 == pytest.approx((0.025**0.5, 1.0))


def test_curious_parties_learn_nothing_that_is_not_theirs(tmp_path):
    for one in parties(1, 125, tmp_path):
        assert one.held, one
        assert one.without_95[0] <= one.without <= one.without_95[1]


def test_an_example_is_read_from_a_clear_update_and_hardly_from_any_other():
    for one in analytic(1, 25):
        assert one.without_95[0] > 0.99
        assert one.held, one


def test_optimisation_finds_an_example_in_a_clear_update_of_each_model_and_not_under_noise():
    for one in optimised(1, 6, 3, (8.0, 1.0)):
        assert one.held, one
        assert one.without > 0.8, one
        assert one.protected < one.without - 0.3, one


def test_optimisation_finds_nothing_in_a_direction_that_is_chance():
    target = targets(1)[1]
    torch.manual_seed(1)
    model, there = target.model(), torch.randn(6, 12)
    elements = sum(parameter.numel() for parameter in model.parameters())
    found = invert(target, model, torch.randn(6, elements), None, 1)
    assert float(torch.cosine_similarity(found, there).abs().mean()) < 0.6


def test_many_logs_become_the_examples_that_the_task_makes_of_each():
    values = many_minutes(np.random.default_rng(1), 3)
    for missing in (None, 30):
        made = examples_of(values, missing=missing)
        logs = [list(zip(slots(), map(float, row), strict=True)) for row in values]
        logs = logs if missing is None else [without_unit(log, slots()[missing]) for log in logs]
        expected = CohortExamples.of([TASK.examples(log) for log in logs])
        assert torch.allclose(made.x, expected.x)
        assert torch.equal(made.y, expected.y)
        assert torch.equal(made.present, expected.present)


def test_membership_is_told_without_protection_but_not_surely_if_the_rest_is_unknown():
    rows = membership(1, Shadows(400, 1500, 3000))
    rocs = [row for row in rows if isinstance(row, Roc)]
    assert len(json.loads(msgspec.json.encode(with_verdicts(rows)))) == len(rows)
    clear = {(row.attack, row.false_positives): row for row in rocs if row.epsilon is None}
    assert len(rocs) == 5 * 4 * 2
    for row in rows:
        assert row.works, row
    assert clear["a slot's removal; known: all other records", 0.001].true_positives > 0.99
    unsure = clear["a slot's content; known: what sites are like", 0.001]
    assert 0.1 < unsure.true_positives_95[0] < unsure.true_positives_95[1] < 0.95
    for row in rocs:
        assert row.true_positives_95[0] <= row.true_positives <= row.true_positives_95[1]
        if row.epsilon is not None and row.epsilon <= 1:
            assert row.true_positives < 0.5 * clear[row.attack, row.false_positives].true_positives


def test_properties_are_told_without_noise():
    for one in properties(1, 120):
        assert one.works, one
        assert one.protected < one.without


def test_canaries_move_a_sum_nearly_as_far_as_their_unit_can():
    assert 0.98 < slot_removed().reach(PLAN) <= 1
    assert 1.95 < slot_replaced().reach(PLAN) <= 2
    for canary, times in ((day_removed(), 1), (days_replaced(), 2), (days_replaced(3), 2)):
        assert 0.97 * times * canary.units < canary.reach(PLAN) <= times * canary.units, canary.name
    assert days_replaced().units == 23.5


def test_neighbours_of_a_canary_differ_in_its_unit_alone():
    replaced, removed = slot_replaced(), slot_removed()
    assert len(set(replaced.inside) - set(replaced.outside)) == len(set(replaced.outside) - set(replaced.inside)) == 1
    assert set(removed.outside) < set(removed.inside)
    assert len(removed.inside) - len(removed.outside) == 1
    days = [{slot // 48 for slot, _ in set(days_replaced(n).inside) ^ set(days_replaced(n).outside)} for n in (1, 3)]
    assert [len(found) for found in days] == [1, 3]


def test_several_nodes_and_days_of_a_person_cost_what_their_composition_does():
    plan = DpSgdPlan(23.5 * 2 * 2**0.5)
    group = charge_of_group(plan.events(2, "slot"), days_replaced(2, 2))
    assert group.epsilon(1e-6) == pytest.approx(Charge((SampledGaussian(1.0, 1.0, 1),)).epsilon(1e-6), rel=1e-6)


@pytest.mark.parametrize(
    ("canary", "mu"), [(slot_removed(), 1.0), (slot_replaced(), 2.0), (slot_replaced(3), 2.0), (days_replaced(), 2.0)]
)
def test_nodes_that_add_all_noise_show_a_canary_as_far_as_theory_lets_it(canary, mu):
    low, high = mu_shown(own_noise(canary, DpSgdPlan(canary.units * canary.nodes**0.5)), 400)
    assert low <= mu
    assert high >= 0.95 * mu


def test_nodes_that_share_noise_show_a_canary_as_far_as_theory_lets_it():
    for score, mu in (
        (shared_by_record(slot_replaced(), 1.0)[0], 2.0),
        (shared_by_site(replaced=False)[0], 1.0),
        (shared_by_site(replaced=True)[0], 2.0),
    ):
        low, high = mu_shown(score, 400)
        assert low <= mu * 1.02
        assert high >= 0.9 * mu


def test_a_replaced_slot_proves_that_it_costs_more_than_a_removed_one():
    """Of noise that costs epsilon 8 at delta 1e-6 (and 2.42 at .1) if a slot is added or removed."""
    plan = DpSgdPlan(0.655)
    score = own_noise(slot_replaced(), plan)
    ins, outs = (np.array([score(there) for _ in range(1000)]) for there in (True, False))
    assert gaussian_epsilon(0.655, 1e-6) == pytest.approx(8, abs=0.05)
    assert mu_test(ins, outs).mu()[0] > 1 / 0.655
    assert epsilon_test(ins, outs, 0.1).epsilon(0.1) > gaussian_epsilon(0.655, 0.1)


def test_toy_mechanisms_lie_under_what_they_are_charged_and_broken_ones_are_found_out():
    torch.manual_seed(1)
    found = list(toy_audits(500))
    assert [one.mechanism for one in found if not one.held] == []
    assert sum(one.broken for one in found) == 6


def test_one_run_of_a_federation_tells_slots_apart_and_finds_too_little_noise_out():
    removal, replacement, broken = one_run_audits(1, 200)
    assert 0 < removal.audited < replacement.audited
    assert removal.held
    assert broken.broken
    assert broken.held
    assert broken.audited > broken.accounted
    assert removal.mu[0] <= 1.0
    assert replacement.mu[1] >= 1.6
    assert replacement.mu[0] <= 2.0


def test_without_noise_each_canary_of_one_run_is_read_exactly():
    for replaced in (False, True):
        scores, coins, _ = one_run_scores(1, 10, replace(PLAN, noise_multiplier=1e-9), replaced=replaced)
        assert np.allclose(scores, coins - 0.5, atol=1e-2)


def test_a_mechanism_that_is_broken_unnoticed_would_fail_the_audit(monkeypatch):
    real = auditing.sample
    monkeypatch.setattr("privacy.mechanisms.shared_noise.sample", lambda sigma, n: real(max(1, sigma // 30), n))
    noise, code = auditing.SharedNoise(4.0, 0.5, 6), auditing.FixedPoint(64.0, 32, 6)
    charge = Charge((noise.event(code, 4),))
    assert not auditing.audited("shared", auditing._shared(noise, code), 500, charge).held


def test_the_command_prints_tables_with_intervals_and_refuses_an_attack_that_it_does_not_know(tmp_path):
    result = CliRunner().invoke(
        app,
        ["attack", "all", "--quick", "--only", "groups", "--json", str(tmp_path / "f.json")],
        env={"COLUMNS": "200"},
    )
    assert result.exit_code == 0, result.output
    assert result.output.count("held") == 9
    assert "0.00 [0.00, 0.46]" in result.output
    figures = json.loads((tmp_path / "f.json").read_bytes())
    assert figures["confidence"] == 0.95
    assert all(row["held"] and len(row["protected_95"]) == 2 for row in figures["attacks"])
    assert CliRunner().invoke(app, ["attack", "all", "--only", "magic"]).exit_code == 3
