"""A new node's configuration asks for a secure sum with a helper that its owner named."""

import pytest
from typer.testing import CliRunner

from edge.cli import app
from edge.config import NodeConfig

KEY = "ab" * 32


def init(folder, *words):
    given = ["init", str(folder), "--name", "SDN 1", "--broker", "mqtts://127.0.0.1:1", *words]
    return CliRunner().invoke(app, given, env={"COLUMNS": "250"})


def privacy(folder):
    return NodeConfig.load(folder / "node.toml").privacy


@pytest.mark.parametrize("key", [KEY, "any"])
def test_a_new_node_answers_under_a_secure_sum_with_the_named_helper_alone(tmp_path, key):
    assert init(tmp_path / "n", "--helper-key", key).exit_code == 0
    assert (privacy(tmp_path / "n").secure_sum, privacy(tmp_path / "n").helper_key) == ("required", key)


def test_without_a_helper_s_key_nothing_is_made_and_the_error_says_where_to_get_it(tmp_path):
    result = init(tmp_path / "n")
    assert result.exit_code == 3
    assert "jaga-central helper show" in " ".join(result.output.split())
    assert not (tmp_path / "n").exists()


@pytest.mark.parametrize("key", ["ab" * 31, "AB" * 32, "everybody"])
def test_a_key_that_is_no_fingerprint_makes_nothing(tmp_path, key):
    result = init(tmp_path / "n", "--helper-key", key)
    assert result.exit_code == 3
    assert "64 hexadecimal digits" in " ".join(result.output.split())
    assert not (tmp_path / "n").exists()


def test_an_owner_may_do_without_a_second_organisation_and_has_to_say_so(tmp_path):
    assert init(tmp_path / "n", "--no-secure-sum").exit_code == 0
    assert (privacy(tmp_path / "n").secure_sum, privacy(tmp_path / "n").helper_key) == ("allowed", None)
