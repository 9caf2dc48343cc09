"""Run folders that are whole, broken, and none at all."""

import json
import math
import shutil

import pytest

from simulations.report.lines import lines
from simulations.report.reading import NothingToReport, read


def test_a_run_is_read_as_it_was_written(make_run, tmp_path):
    folder = make_run(4.0, 2, curves=True)
    (run,) = read([tmp_path]).runs
    rows = folder.rows("rounds")
    assert run.last("error") == rows[-1]["error"]
    assert run.total("up_bytes") == 6 * 6 * 84
    assert run.settings["privacy.epsilon"] == 4.0
    assert sorted(run.curves) == ["classes alternate", "no measures"]
    assert run.sites is not None
    assert dict(zip(run.sites.names, run.sites.error, strict=True)) == {
        row["site"]: row["error"] for row in folder.rows("sites")
    }


def test_only_the_last_round_of_the_sites_is_read(make_run, tmp_path):
    folder = make_run()
    rows = folder.rows("sites")
    earlier = [{**row, "round": 3, "error": 99.0} for row in rows]
    folder.write_table("sites", rows + earlier)
    (run,) = read([tmp_path]).runs
    assert run.sites is not None
    assert run.sites.error.max() < 99
    assert len(run.sites.names) == len(rows)


def test_a_run_without_privacy_has_no_budget_whatever_its_settings_say(make_run, tmp_path):
    make_run(8.0, mechanism="none")
    (run,) = read([tmp_path]).runs
    assert not run.private
    assert "privacy.epsilon" not in run.settings


def test_what_was_not_measured_is_not_a_number(make_run, tmp_path):
    folder = make_run()
    folder.write_table("rounds", [{"round": 0, "error": 5.0}, {"round": 1}])
    (run,) = read([tmp_path]).runs
    assert run.last("error") == 5.0
    assert math.isnan(run.last("central_error"))
    assert math.isnan(run.bytes_in_total)


@pytest.mark.parametrize(
    ("file", "content"),
    [("run.json", b"{"), ("run.json", b'{"foreign": 1}'), ("rounds.parquet", b"PAR1"), ("sites.parquet", b"")],
)
def test_a_broken_folder_is_named_and_the_others_are_read(make_run, tmp_path, file, content):
    make_run(seed=1)
    broken = make_run(seed=2)
    (broken.path / file).write_bytes(content)
    reading = read([tmp_path])
    assert [run.seed for run in reading.runs] == [1]
    (warning,) = reading.warnings
    assert str(broken.path / file) in warning


@pytest.mark.parametrize("more", [{}, {"what_is_yet_to_come": 1}])
def test_a_run_of_a_newer_schema_is_named_with_both_schemas(make_run, tmp_path, more):
    make_run(seed=1)
    newer = make_run(seed=2).path / "run.json"
    newer.write_text(json.dumps({**json.loads(newer.read_text()), "schema": 2, **more}))
    reading = read([tmp_path])
    assert [run.seed for run in reading.runs] == [1]
    assert reading.warnings == (f"{newer}: has schema 2, and this Jaga reads 1: use the version that wrote it",)


def test_characters_that_steer_are_shown_as_unknown(make_run, tmp_path):
    folder = make_run(name="ly\u202eon", note="a\x1b[31mred", more={"strategy.name": "a\nb"})
    folder.write_table("sites", [{**row, "site": f"{row['site']}\x00"} for row in folder.rows("sites")])
    (run,) = read([tmp_path]).runs
    assert (run.name, run.note, run.settings["strategy.name"]) == ("ly\ufffdon", "a\ufffd[31mred", "a\ufffdb")
    assert run.sites is not None
    assert (run.folder + "".join(run.sites.names)).isprintable()


@pytest.mark.parametrize("missing", ["run.json", "rounds.parquet"])
def test_a_run_that_misses_a_file_is_named(make_run, tmp_path, missing):
    make_run(seed=1)
    broken = make_run(seed=2)
    (broken.path / missing).unlink()
    (warning,) = read([tmp_path]).warnings
    assert str(broken.path) in warning
    assert missing in warning


def test_a_run_that_has_just_begun_is_one_without_numbers(bare_run, tmp_path):
    bare_run.write_table("rounds", [])
    (run,) = read([tmp_path]).runs
    assert (run.status, run.rounds_done) == ("running", 0)
    assert math.isnan(run.last("error"))


def test_a_foreign_folder_a_file_and_a_missing_one_are_named(make_run, tmp_path):
    make_run()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "notes.txt").write_text("hello")
    paths = [tmp_path / "runs", tmp_path / "foreign", tmp_path / "foreign" / "notes.txt", tmp_path / "gone"]
    warnings = read(paths).warnings
    assert [str(path) in warning for path, warning in zip(paths[1:], warnings, strict=True)] == [True] * 3


def test_a_run_that_is_there_twice_counts_once_and_a_copy_is_named(make_run, tmp_path):
    folder = make_run()
    assert read([tmp_path, folder.path, tmp_path / "runs"]).warnings == ()
    shutil.copytree(folder.path, tmp_path / "copies" / folder.path.name)
    reading = read([tmp_path])
    assert len(reading.runs) == 1
    assert "the same run as" in reading.warnings[0]


@pytest.mark.parametrize("names", [[], ["gone"], ["empty"]])
def test_nothing_to_report_on_says_what_to_do(tmp_path, names):
    (tmp_path / "empty").mkdir()
    with pytest.raises(NothingToReport, match="jaga-sim run"):
        read([tmp_path / name for name in names])


def test_a_world_of_each_seeds_own_makes_no_lines_of_the_seeds(make_run, tmp_path):
    for seed in (1, 2):
        make_run(seed=seed, more={"data.world_seed": seed})
    assert len(lines(read([tmp_path]).runs)) == 1


def test_a_world_that_was_named_does(make_run, tmp_path):
    for world in (7, 8):
        make_run(more={"data.world_seed": world})
    assert len(lines(read([tmp_path]).runs)) == 2
