"""`jaga-sim bench proximity` on real recordings, whole; and the model that it writes is the one nodes come with."""

import json

import pytest
from typer.testing import CliRunner

from edge.proximity.closeness import Closeness
from simulations.benchmarks.cli import app

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(600)]


def run(shared_data, *words):
    folders = ["--exp34", str(shared_data / "exp34"), "--nist", str(shared_data / "nist_rpi")]
    result = CliRunner().invoke(app, ["proximity", *folders, *map(str, words)], env={"COLUMNS": "120"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_every_target_holds_and_privacy_costs_little(shared_data, tmp_path):
    result = run(shared_data, "--draws", "2", "--json", tmp_path / "figures.json")
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert [target["held"] for target in figures["targets"]] == [True] * 4
    found = {(row["data"], row["model"], row["epsilon"]): row for row in figures["rows"]}
    plain, central = found["exp34", "two features", None], found["exp34", "central", None]
    assert plain["auc_bounds"][0] == pytest.approx(0.745, abs=0.005)  # the published baseline is 0.742
    private = {epsilon: found["exp34", "federated", epsilon]["auc_bounds"][0] for epsilon in (8.0, 4.0, 1.0)}
    assert private[8.0] > plain["auc_bounds"][0] + 0.005
    assert private[8.0] == pytest.approx(central["auc_bounds"][0], abs=0.01)
    assert (
        found["NIST", "federated", 8.0]["balanced_bounds"][0]
        > found["NIST", "single frames", None]["balanced_bounds"][0]
    )


def test_the_packaged_model_is_what_the_command_writes(shared_data, tmp_path):
    assert run(shared_data, "--write-model", tmp_path / "model.json").exit_code == 0
    written, packaged = Closeness.load(tmp_path / "model.json"), Closeness.default()
    assert written.weights == pytest.approx(packaged.weights, abs=1e-4)
    assert (written.intercept, written.threshold) == pytest.approx((packaged.intercept, packaged.threshold), abs=1e-4)
    assert (written.curve.level_dbm, written.curve.fall_db) == pytest.approx(
        (packaged.curve.level_dbm, packaged.curve.fall_db), abs=1e-3
    )
    assert dict(written.card) == dict(packaged.card)
