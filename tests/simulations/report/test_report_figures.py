"""What is drawn is what was measured, and what cannot be drawn says why."""

from xml.etree import ElementTree

import numpy as np
import pytest

from simulations.report.drawing import LeftOut, Plot
from simulations.report.fairness import fairness, site_spreads
from simulations.report.palette import DARK, DARK_PAPER, LOOKS, PAPER
from simulations.report.reading import read
from simulations.report.report import figures


def drawn(runs):
    return {one.name: one for one in figures(runs) if isinstance(one, Plot)}


def left_out(runs):
    return {one.title: one.reason for one in figures(runs) if isinstance(one, LeftOut)}


def test_a_whole_sweep_gives_every_figure(sweep):
    assert set(drawn(read([sweep]).runs)) == {
        "error-epsilon", "gap-epsilon", "error-rounds", "error-bytes", "bytes-round", "sites", "curves",
    }  # fmt: skip


def test_the_figure_against_epsilon_has_mean_and_range_over_seeds_of_runs_that_are_done(sweep):
    runs = read([sweep]).runs
    of_median = {row[1]: row[2:] for row in drawn(runs)["error-epsilon"].rows if row[0].startswith("FedMedian")}
    for epsilon in (1.0, 4.0, 8.0):
        errors = [
            run.last("error")
            for run in runs
            if run.done
            and run.settings["strategy.name"] == "FedMedian"
            and run.settings.get("privacy.epsilon") == epsilon
        ]
        mean, low, high, count = of_median[epsilon]
        assert (mean, low, high, count) == (pytest.approx(np.mean(errors)), min(errors), max(errors), 2)


def test_runs_without_privacy_have_no_place_along_epsilon(sweep):
    rows = [row for row in drawn(read([sweep]).runs)["error-epsilon"].rows if "no privacy" in row[0]]
    assert [row[1] for row in rows] == [None]


def test_every_number_that_a_sweep_varies_has_its_figures_and_a_word_has_none(make_run, tmp_path):
    shares, sizes = (0.0, 0.2, 0.3), (2, 3)
    for share in shares:
        for size in sizes:
            for kind in ("scale", "sign-flip"):
                make_run(more={"attackers.share": share, "secure_sum.group_size": size, "attackers.kind": kind})
    plots = drawn(read([tmp_path]).runs)
    assert {name for name in plots if name.startswith(("error-", "gap-"))} - {"error-rounds", "error-bytes"} == {
        "error-attackers-share", "gap-attackers-share", "error-secure-sum-group-size", "gap-secure-sum-group-size",
    }  # fmt: skip
    rows = plots["error-attackers-share"].rows
    assert {row[1] for row in rows} == set(shares)
    assert {row[0] for row in rows} == {
        f"group size {size}, attackers {kind}" for size in sizes for kind in ("scale", "sign-flip")
    }


def test_shares_are_drawn_from_zero_in_percent_and_sites_by_their_powers(make_run, tmp_path):
    for share in (0.0, 0.2):
        for sites in (10, 1000):
            make_run(more={"attackers.share": share, "data.sites": sites})
    plots = drawn(read([tmp_path]).runs)
    by_share, by_sites = (plots[name].draw().axes[0] for name in ("error-attackers-share", "error-data-sites"))
    assert (by_share.get_xscale(), by_sites.get_xscale()) == ("linear", "log")
    assert [by_share.xaxis.get_major_formatter()(at, None) for at in by_share.get_xticks()] == ["0%", "20%"]
    assert by_sites.get_xticks().tolist() == [10, 1000]


def test_a_run_that_has_no_such_number_is_drawn_across(make_run, tmp_path):
    for cohort in (5, 11, None):
        make_run(more={} if cohort is None else {"secure_sum.min_cohort": cohort})
    assert [row[1] for row in drawn(read([tmp_path]).runs)["error-secure-sum-min-cohort"].rows] == [5, 11, None]


def test_the_gap_is_closed_from_the_baseline_to_central_training(make_run, tmp_path):
    for epsilon, error in ((1.0, 8.0), (4.0, 6.0)):
        make_run(epsilon).write_table(
            "rounds", [{"round": 1, "error": error, "baseline_error": 8.0, "central_error": 4.0}]
        )
    rows = drawn(read([tmp_path]).runs)["gap-epsilon"].rows
    assert [(row[1], row[2]) for row in rows] == [(1.0, 0.0), (4.0, 0.5)]


def test_without_central_training_the_share_of_the_baselines_error_is_shown_and_said(make_run, tmp_path):
    for epsilon, error in ((1.0, 8.0), (4.0, 6.0)):
        make_run(epsilon).write_table("rounds", [{"round": 1, "error": error, "baseline_error": 8.0}])
    plot = drawn(read([tmp_path]).runs)["gap-epsilon"]
    assert [row[2] for row in plot.rows] == [0.0, 0.25]
    assert "no run knows the error of central training" in plot.about


def test_figures_that_one_run_cannot_give_are_left_out_and_say_why(make_run, tmp_path):
    make_run(4.0)
    reasons = left_out(read([tmp_path]).runs)
    assert reasons["Error against epsilon"] == "needs runs at two or more values of privacy.epsilon; all have ε 4"
    assert "curves.parquet" in reasons["Epidemic curves"]


def test_runs_that_know_nothing_give_no_figure_and_no_crash(bare_run, tmp_path):
    runs = read([tmp_path]).runs
    assert drawn(runs) == {}
    assert len(left_out(runs)) == len(figures(runs))


def test_a_run_that_stopped_is_drawn_by_round_and_nowhere_else(make_run, tmp_path):
    make_run(4.0, status="stopped", rounds_done=3)
    plots = drawn(read([tmp_path]).runs)
    assert set(plots) == {"error-rounds", "bytes-round"}
    assert [row[1] for row in plots["error-rounds"].rows] == [0, 1, 2, 3]
    assert "1 run not done" in plots["error-rounds"].about


def test_the_bytes_of_a_round_leave_out_round_zero(make_run, tmp_path):
    make_run()
    (row,) = drawn(read([tmp_path]).runs)["bytes-round"].rows
    assert row[1:] == (6 * 84, 6 * 2052, 6 * 6 * (84 + 2052))


def test_fairness_has_known_answers(make_run, tmp_path):
    folder = make_run()
    errors = {"a": (1.0, 2.0), "b": (3.0, 2.0), "c": (2.0, 2.0), "d": (1.0, 0.0)}
    folder.write_table(
        "sites",
        [{"round": 6, "site": site, "error": error, "baseline_error": base} for site, (error, base) in errors.items()],
    )
    runs = read([tmp_path]).runs
    (spread,) = site_spreads(runs)
    assert (spread.worst, spread.median, spread.best, spread.unknown) == (1.5, 1.0, 0.5, 1)
    assert spread.share_worse == pytest.approx(1 / 3)
    (plot,) = fairness(runs)
    assert isinstance(plot, Plot)
    assert "1 without a baseline left out" in plot.says


def test_layers_that_sites_keep_have_a_row_of_their_own(make_run, tmp_path):
    folder = make_run()
    folder.write_table("sites", [{**row, "personal_error": row["error"] / 2} for row in folder.rows("sites")])
    whole, personal = site_spreads(read([tmp_path]).runs)
    np.testing.assert_allclose(personal.relative, whole.relative / 2)
    assert personal.label.endswith("personal")


def test_many_sites_are_drawn_as_quantiles_and_counted_in_full(make_run, tmp_path):
    folder = make_run()
    rng = np.random.default_rng(1)
    rows = [{"round": 6, "site": str(n), "error": rng.gamma(4), "baseline_error": 4.0} for n in range(5000)]
    folder.write_table("sites", rows)
    (plot,) = fairness(read([tmp_path]).runs)
    assert isinstance(plot, Plot)
    assert plot.rows[0][1] == 5000
    assert len(plot.drawn().svg) < 200_000


def test_a_large_sweep_makes_several_figures_of_readable_size(make_run, tmp_path):
    for share in (0.0, 0.1, 0.2, 0.3, 0.4):
        for strategy in ("FedAvg", "FedMedian", "Krum"):
            for epsilon in (1.0, 4.0):
                make_run(epsilon, 1, strategy, name=f"a{share:g}", more={"attackers.share": share})
    plots = drawn(read([tmp_path]).runs)
    parts = [name for name in plots if name.startswith("error-rounds")]
    assert len(parts) > 1
    assert len({row[0] for name in parts for row in plots[name].rows}) == 30


def test_a_frame_has_the_runs_of_one_data_set_and_its_baseline(make_run, tmp_path):
    for data in ("lyon-school", "lyon-ward"):
        for epsilon in (1.0, 4.0):
            make_run(epsilon, name=f"on-{data}", data=data)
    plot = drawn(read([tmp_path]).runs)["error-epsilon"]
    frames = plot.draw().axes
    assert [axes.get_title(loc="left") or axes.get_title() for axes in frames] == ["lyon-school", "lyon-ward"]
    assert all("baseline" in {text.get_text() for text in axes.texts} for axes in frames)
    assert {row[0] for row in plot.rows} == {"lyon-school", "lyon-ward"}


def test_errors_of_two_units_share_no_figure(make_run, tmp_path):
    for epsilon in (1.0, 4.0):
        make_run(epsilon)
        make_run(epsilon, name="walks", data="exp34", task="proximity")
    plots = drawn(read([tmp_path]).runs)
    for name in ("error-epsilon", "error-rounds", "error-bytes"):
        labels = [plots[f"{name}-task{at}"].draw().axes[0].get_ylabel() for at in (1, 2)]
        assert labels == ["error (person-minutes)", "error (Brier)"]
        assert name not in plots
    assert plots["error-rounds-task2"].title == "Error against rounds, proximity"


def test_start_baseline_and_central_training_are_drawn_where_the_runs_have_them(sweep):
    plots = drawn(read([sweep]).runs)
    for name in ("error-epsilon", "error-rounds", "error-bytes"):
        for axes in plots[name].draw().axes:
            levels = {line.get_ydata()[0] for line in axes.lines if len(set(line.get_ydata())) == 1}
            assert {7.2, 5.1} <= levels
            assert {"baseline", "central"} <= {text.get_text() for text in axes.texts}


def test_names_from_files_are_text_in_a_figure(make_run, tmp_path):
    hostile = r"$\nothing$</svg><script>alert(1)</script>&amp;"
    for at, name in enumerate((hostile, "plain")):
        folder = make_run(name=f"run{at}", more={"strategy.name": name}, curves=True)
        folder.write_table("curves", [{**row, "curve": hostile} for row in folder.rows("curves")[:60]])
    plots = drawn(read([tmp_path]).runs)
    for name in ("error-rounds", "sites", "curves"):
        whole = plots[name].drawn()
        assert "<script" not in whole.inline
        assert whole.inline.count("</svg>") == 1
        ElementTree.fromstring(whole.svg)  # noqa: S314  (we have just drawn it)


def test_the_same_numbers_are_the_same_bytes_with_fonts_and_without_dates(sweep):
    first, second = (drawn(read([sweep]).runs)["error-epsilon"].drawn() for _ in range(2))
    assert first == second
    assert b"/FontFile2" in first.pdf
    assert b"/Type3" not in first.pdf
    assert b"CreationDate" not in first.pdf
    assert b"<dc:date>" not in first.svg
    assert b"<text" not in first.svg  # letters are outlines
    assert b"<image" not in first.svg


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    channels = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_every_line_stands_out_from_paper_and_from_a_dark_page():
    for look in LOOKS:
        assert contrast(look.colour, PAPER) >= 3
        assert contrast(DARK[look.colour], DARK_PAPER) >= 3


def test_lines_are_told_apart_without_any_colour():
    assert len({look.marker for look in LOOKS}) == len({look.dash for look in LOOKS}) == len(LOOKS)


# Machado, Oliveira and Fernandes, 2009, severity 1.
PROTANOPIA = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
DEUTERANOPIA = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]


@pytest.mark.parametrize("page", ["paper", "dark"])
@pytest.mark.parametrize("seen", [np.eye(3), PROTANOPIA, DEUTERANOPIA], ids=["all", "protanopia", "deuteranopia"])
def test_six_colours_stay_apart_for_colour_blind_readers(seen, page):
    names = [look.colour if page == "paper" else DARK[look.colour] for look in LOOKS[:6]]
    colours = [np.array([int(name[at : at + 2], 16) / 255 for at in (1, 3, 5)]) for name in names]
    shown = [np.clip(np.array(seen) @ colour**2.2, 0, 1) ** (1 / 2.2) for colour in colours]
    distances = [np.linalg.norm(a - b) for place, a in enumerate(shown) for b in shown[place + 1 :]]
    assert min(distances) > 0.2  # in RGB, of at most 1.73
