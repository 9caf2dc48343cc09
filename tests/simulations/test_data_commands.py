"""`jaga-sim data`, as it is typed."""

import pytest
from typer.testing import CliRunner

from simulations.cli import app
from simulations.datasets.card import cards


def run(*arguments, columns=80):
    return CliRunner().invoke(app, ["data", *arguments], env={"COLUMNS": str(columns)})


@pytest.mark.parametrize("columns", [80, 120])
def test_a_row_for_every_set_fits_the_terminal(tmp_path, columns):
    result = run("list", "--folder", str(tmp_path), columns=columns)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    rows = [line for line in lines if line.split(" ")[0] in cards()]
    assert len(rows) == len(cards())
    assert all(row.rstrip().endswith("missing") for row in rows)
    assert max(map(len, lines[: len(cards()) + 1])) <= columns


@pytest.mark.parametrize("name", cards())
def test_a_card_shows_all_that_is_known(name):
    result = run("show", name, columns=4000)
    card = cards()[name]
    assert result.exit_code == 0
    for text in (card.title, card.what, card.split, card.does_not_answer, card.licence, card.citation, card.commit):
        assert text in result.stdout


def test_files_that_are_here_are_as_published(shared_data):
    result = run("check", "--folder", str(shared_data))
    assert result.exit_code == 0
    assert "16 of 16" in result.stdout
    assert "missing" not in result.output


@pytest.mark.parametrize(("names", "status"), [((), 0), (("lyon-school",), 3)])
def test_what_is_missing_is_a_fault_only_where_it_was_named(tmp_path, names, status):
    result = run("check", *names, "--folder", str(tmp_path))
    assert result.exit_code == status
    assert "missing" in result.stdout


def test_a_changed_file_is_a_fault_and_is_named(tmp_path):
    (tmp_path / "tij_InVS.dat").write_text("1 2 3\n")
    result = run("check", "--folder", str(tmp_path), columns=200)
    assert result.exit_code == 3
    assert "changed" in result.stdout
    assert f"{tmp_path}/tij_InVS.dat: another checksum" in result.stderr


@pytest.mark.parametrize("command", ["show", "fetch", "check"])
def test_a_name_that_is_none_ends_with_status_3_and_those_that_there_are(command):
    result = run(command, "lyon")
    assert result.exit_code == 3
    assert "'lyon'" in result.stderr
    assert "lyon-ward" in result.stderr


def test_fetching_what_is_here_downloads_nothing_and_tells_whom_to_cite(shared_data):
    result = run("fetch", "lyon-school", "exp34", "--folder", str(shared_data))
    assert result.exit_code == 0
    assert "Gemmetto" in result.stdout
    assert "6 file(s), as published" in result.stdout


def test_fetching_beside_a_changed_file_ends_with_status_3_and_leaves_it(tmp_path):
    own = tmp_path / "primaryschool.csv"
    own.write_text("mine")
    result = run("fetch", "lyon-school", "--folder", str(tmp_path))
    assert result.exit_code == 3
    assert "move it away first" in result.stderr
    assert own.read_text() == "mine"
