"""The benchmark's own arithmetic and verdicts, with no process started; and our side once, small, for real."""

import json
import os
import sys
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from privacy.boundary.messages import Encoding
from simulations.benchmarks import wire_flower
from simulations.benchmarks.cli import app
from simulations.benchmarks.procfs import family, loopback_bytes, peak_resident_bytes, resident_bytes
from simulations.benchmarks.table import Column, Outcome, Target
from simulations.benchmarks.wire import (
    CENTRE_MODELS,
    FASTER,
    LINK_BYTES,
    LINK_FACTOR,
    MAIN,
    QUICK,
    SWEEP,
    WireSettings,
    outcome,
    run_wire,
)
from simulations.benchmarks.wire_app import Diary, Mark
from simulations.benchmarks.wire_jaga import link_totals
from simulations.benchmarks.wire_measurement import Measurement, Point, RoundsWentWrong, loopback_of, seconds_of
from simulations.broker import mosquitto_program

FLOWER = Measurement("flower", MAIN, (9.0, 10.0, 30.0), 140_000_000, None, 200_000_000, None, 560_000_000)
OURS = Measurement("int8", MAIN, (0.1, 0.2, 0.1), 52_000_000, 5_010_000, 10_000_000, 70_000_000, 470_000_000)


def diary(*clocks: float, right: bool = True) -> Diary:
    marks = [Mark(1000.0 + at, at, int(100 * at), 50_000_000, 60_000_000) for at in clocks]
    return Diary(marks, right)


def missed(*measured: Measurement) -> list[str]:
    return [target.name for target in outcome(measured).targets if not target.held]


# What is made of the server's notes


@given(st.lists(st.floats(0.001, 100), min_size=2, max_size=9))
def test_each_round_counts_but_the_first(lengths):
    clocks = [sum(lengths[:n]) for n in range(len(lengths) + 1)]
    assert seconds_of(diary(*clocks)) == pytest.approx(tuple(lengths[1:]))


def test_traffic_is_that_of_the_median_round():
    assert loopback_of(diary(0, 50, 51, 53, 60)) == 200


def test_a_model_that_came_out_wrong_is_no_measurement():
    with pytest.raises(RoundsWentWrong, match="loses or changes updates"):
        seconds_of(diary(0, 1, 2, right=False))


def test_a_diary_is_read_as_it_was_written(tmp_path):
    written = diary(0, 1, 2.5)
    written.write(tmp_path / "diary.json")
    assert Diary.read(tmp_path / "diary.json") == written


def test_a_nodes_link_is_read_from_its_answers_alone():
    log = [
        '{"event": "connected"}',
        '{"event": "task answered", "sent": 10, "received": 100}',
        "Traceback, in plain text",
        '{"event": "task answered", "sent": 30, "received": 250}',
    ]
    assert link_totals("\n".join(log)) == [110, 280]


# Verdicts


def test_ours_holds_up_to_every_bound_and_not_beyond():
    useful = MAIN.model_bytes + MAIN.update_bytes(Encoding.INT8)
    at_the_limit = replace(
        OURS,
        seconds=(10.0 / FASTER,),
        link=int(LINK_FACTOR * useful) + LINK_BYTES,
        centre=int(CENTRE_MODELS * MAIN.model_bytes),
    )
    assert missed(at_the_limit, FLOWER) == []
    for worse, which in (
        ({"seconds": (0.201,)}, "Flower's time"),
        ({"link": at_the_limit.link + 1}, "link"),
        ({"centre": at_the_limit.centre + 1}, "memory of the centre"),
    ):
        (name,) = missed(replace(at_the_limit, **worse), FLOWER)
        assert which in name


def test_time_is_judged_beside_flowers_at_the_same_point_alone():
    slow = replace(OURS, seconds=(100.0,))
    assert missed(slow) == []
    assert missed(slow, replace(FLOWER, point=Point(9, MAIN.params))) == []
    assert len(missed(slow, FLOWER)) == 1


def test_memory_is_judged_where_a_model_is_more_than_noise():
    fat = replace(OURS, centre=10**9, point=Point(8, 10_000), link=1)
    assert missed(fat) == []


def test_the_sweep_has_what_the_targets_speak_of():
    assert MAIN in SWEEP
    assert {point.params for point in SWEEP if point.nodes == 8} == {10_000, 100_000, 1_000_000, 4_000_000}
    assert {point.nodes for point in SWEEP if point.params == 1_000_000} == {2, 8, 24}
    assert any(point.model_bytes >= MAIN.model_bytes for point in QUICK)


# The table


def test_the_table_fits_a_terminal_of_eighty_columns():
    console = Console(width=80, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    wide = replace(OURS, point=Point(24, 4_000_000), loopback=1_170_000_000, centre=321_000_000, link=32_047_158)
    outcome([wide, FLOWER]).show(console)
    assert "…" not in console.export_text().partition("\nlink:")[0]


def test_the_file_has_every_figure_and_the_verdict(tmp_path):
    result = outcome([OURS, FLOWER])
    result.write(tmp_path / "wire.json")
    figures = json.loads((tmp_path / "wire.json").read_text())
    assert figures["held"] is result.held
    assert [row["all_seconds"] for row in figures["rows"]] == [list(OURS.seconds), list(FLOWER.seconds)]
    assert [target["held"] for target in figures["targets"]] == [target.held for target in result.targets]


def test_a_benchmark_without_targets_or_with_a_hole_in_its_table_is_not_made():
    target = Target("t", 1, 2)
    with pytest.raises(ValueError, match="could not fail"):
        Outcome("b", (), (), ())
    with pytest.raises(ValueError, match="no value for x"):
        Outcome("b", (Column("x", "x"),), ({"y": 1},), (target,))


@given(st.floats(0, 1e12), st.floats(0, 1e12))
def test_a_target_holds_exactly_where_the_measure_is_within_its_limit(measured, limit):
    target = Target("t", measured, limit)
    assert target.held == (measured <= limit)
    assert str(target).startswith("held" if target.held else "MISSED")


# The kernel's figures


def test_a_process_finds_itself_in_its_family_and_its_memory():
    assert family(os.getpid())[0] == os.getpid()
    assert 0 < resident_bytes() <= peak_resident_bytes()
    assert loopback_bytes() >= 0


def test_a_process_that_is_gone_has_no_memory():
    gone = 2**22 + 1  # above the kernel's largest pid
    assert (resident_bytes(gone), family(gone)) == (0, [gone])


# The command


@pytest.mark.parametrize(("option", "value"), [("--nodes", "0"), ("--params", "-1"), ("--rounds", "none")])
def test_a_value_that_makes_no_sense_is_named(option, value):
    result = CliRunner().invoke(app, ["wire", option, value])
    assert result.exit_code == 2
    assert option in result.output


def test_nothing_to_measure_is_an_error():
    with pytest.raises(ValueError, match="nothing to measure"):
        WireSettings(points=())


def test_a_missing_flower_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="leave Flower out"):
        wire_flower._program("flower-superlink")


@pytest.mark.system
@pytest.mark.skipif(mosquitto_program() is None, reason="Mosquitto is not installed")
def test_our_side_measures_a_small_point_for_real(tmp_path):
    point, told = Point(2, 10_000), []
    result = run_wire(WireSettings((point,), (), rounds=2), tmp_path / "bench", told.append)
    rows = {row["system"]: row for row in result.rows}
    assert set(rows) == {"Jaga exact", "Jaga int8"}
    assert rows["Jaga exact"]["link"] > 2 * point.model_bytes > rows["Jaga int8"]["link"] > 1.25 * point.model_bytes
    assert all(row["seconds"] > 0 and row["node"] > 10_000_000 for row in rows.values())
    assert [target.name for target in result.targets if not target.held] == []
    assert len(told) == 2
    assert msgspec.json.encode(result.rows)
