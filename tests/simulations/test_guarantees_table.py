"""The table of docs/privacy.md is what the command prints."""

from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from privacy.accounting.composition import SHARE_OF_RENYI, gaussian_epsilon
from simulations.experiments.guarantees import DAY_UNITS, main, plans, rows

PAGE = Path(__file__).parents[2] / "docs" / "privacy.md"


def test_the_page_shows_the_table_as_it_is_worked_out():
    app = Typer()
    app.command()(main)
    printed = CliRunner().invoke(app, []).output
    table = [line for line in printed.splitlines() if line.startswith("|")]
    assert len(table) > 8
    assert "\n".join(table) in PAGE.read_text("utf-8")


def test_a_persons_day_is_one_gaussian_of_all_rounds_and_metrics():
    own, _ = plans(8.0, 1e-6, 10)
    squares = sum((2 * DAY_UNITS / event.noise_multiplier) ** 2 for event in own)
    day = next(row for row in rows(8.0, 1e-6, 10, [3]) if row.secret == "a person's day")
    assert day.replaced[0] == pytest.approx(gaussian_epsilon(squares**-0.5, 1e-6 * (1 - SHARE_OF_RENYI)), rel=1e-9)
