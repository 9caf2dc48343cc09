"""Every attack works where nothing stops it, and statistics that say how sure one may be say it truly."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom
from typer.testing import CliRunner

from privacy.accounting.composition import gaussian_epsilon
from simulations.attacks import auditing
from simulations.attacks.auditing import audits
from simulations.attacks.finding import (
    Audit,
    Finding,
    advantage,
    audited_epsilon,
    best_advantage,
    chance,
    clopper_pearson,
)
from simulations.attacks.groups import groups
from simulations.attacks.inversion import inversion
from simulations.attacks.membership import membership, properties
from simulations.attacks.parties import parties
from simulations.cli import app


@given(st.integers(1, 300), st.data())
@settings(max_examples=40, deadline=None)
def test_bounds_of_a_rate_are_those_of_the_book(n, data):
    k = data.draw(st.integers(0, n))
    lower, upper = clopper_pearson(k, n, 0.05)
    assert lower <= k / n <= upper
    # P(X >= k) at the lower bound, and P(X <= k) at the upper one, is 5 %.
    if k:
        assert beta.cdf(lower, k, n - k + 1) == pytest.approx(0.05)
    if k < n:
        assert beta.sf(upper, k + 1, n - k) == pytest.approx(0.05)


@pytest.mark.parametrize("z", [0.5, 1.0, 3.0])
def test_an_audit_of_a_gaussian_stays_under_the_truth(z):
    random = np.random.default_rng(1)
    found = [audited_epsilon(random.normal(1 / z, 1, 600), random.normal(0, 1, 600), 1e-6) for _ in range(40)]
    assert sum(one > gaussian_epsilon(z, 1e-6) for one in found) <= 2
    assert max(found) > 0 or z == 3.0


def test_what_is_told_apart_always_is_audited_as_far_as_the_runs_reach():
    ins, outs = np.ones(1000) + np.random.default_rng(1).normal(0, 1e-3, 1000), np.zeros(1000)
    assert audited_epsilon(ins, outs, 1e-6) > 4
    assert best_advantage(ins, outs) > 0.98
    assert advantage(50, 100) == 0
    assert advantage(40, 100) == 0


def test_a_finding_holds_only_where_the_attack_works_without_protection():
    assert Finding("x", "y", 1.0, 0.0, 0.1).held
    assert not Finding("x", "y", 1.0, 0.2, 0.1).held
    assert not Finding("x", "y", 0.3, 0.0, 0.1).held
    assert Audit("x", 0.9, 1.0, 1e-6).held
    assert not Audit("x", 1.1, 1.0, 1e-6).held
    assert not Audit("x", 0.9, 1.0, 1e-6, broken=True).held


def test_an_active_leader_gets_a_node_from_a_helper_without_rules_and_nothing_from_ours(tmp_path):
    found = groups(1, tmp_path)
    assert len(found) == 8
    for one in found:
        assert (one.without, one.protected) == (1.0, 0.0), one.attack


def test_curious_parties_learn_nothing_that_is_not_theirs(tmp_path):
    for one in parties(1, 125, tmp_path):
        assert one.held, one


def test_an_example_is_read_from_a_clear_update_and_hardly_from_any_other():
    for one in inversion(1, 25):
        assert one.without > 0.99
        assert one.held, one


def test_membership_and_properties_are_told_without_noise():
    for one in (*membership(1, 180), *properties(1, 120)):
        assert one.works, one
        assert one.protected < one.without


def test_mechanisms_lie_under_what_they_are_charged_and_broken_ones_are_found_out():
    found = audits(1, 500)
    assert [one.mechanism for one in found if not one.held] == []
    assert sum(one.broken for one in found) == 6


def test_a_mechanism_that_is_broken_unnoticed_would_fail_the_audit(monkeypatch):
    real = auditing.sample
    monkeypatch.setattr("privacy.mechanisms.shared_noise.sample", lambda sigma, n: real(max(1, sigma // 30), n))
    score = auditing._shared(auditing.SharedNoise(4.0, 0.5, 6), auditing.FixedPoint(64.0, 32, 6))
    assert not auditing._audit("shared", score, 500, 1.14).held


def test_the_command_prints_one_table_and_refuses_an_attack_that_it_does_not_know(tmp_path):
    result = CliRunner().invoke(
        app,
        ["attack", "all", "--quick", "--only", "groups", "--json", str(tmp_path / "f.json")],
        env={"COLUMNS": "160"},
    )
    assert result.exit_code == 0, result.output
    assert result.output.count("held") == 8
    assert b'"attack"' in (tmp_path / "f.json").read_bytes()
    assert CliRunner().invoke(app, ["attack", "all", "--only", "magic"]).exit_code == 3


@pytest.mark.parametrize("tries", [60, 125, 600, 3000])
def test_a_coin_is_beyond_chance_in_less_than_one_of_a_million_runs(tries):
    assert math.isclose(advantage(3, 4), 0.5)
    assert 1e-7 < binom.sf(tries * (1 + chance(tries)) / 2, tries, 0.5) < 1e-6
