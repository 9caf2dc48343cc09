"""docs/experiments.md says what experiment files, the command and the run folder are: no key less, and none more."""

import re
import tomllib
from pathlib import Path

import pytest
import typer
from pydantic_core import PydanticUndefined

from simulations.runs.cli import run
from simulations.runs.experiment import Experiment
from simulations.runs.folder import CURVES, ROUNDS, SITES
from simulations.runs.sweep import Sweep

PAGE = (Path(__file__).parents[2] / "docs" / "experiments.md").read_text("utf-8")
ROW = re.compile(r"^\| `([^`]+)` \| ([^|]+) \|", re.MULTILINE)
NOT_SAID = "–"
TABLES = list(Experiment.model_fields)


def section(title):
    """From a heading, or a line that ends in a colon, to the next one."""
    found = re.search(rf"^(?:#+ )?{re.escape(title)}:?$(.*?)(?=^#|^`\w+\.parquet`:|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"no section {title}"
    return found[1]


def model(table):
    """The pydantic model of a table; of one that may be missing, the model without None."""
    annotation = Experiment.model_fields[table].annotation
    return next(one for one in (annotation, *getattr(annotation, "__args__", ())) if hasattr(one, "model_fields"))


def defaults(table):
    fields = model(table).model_fields.items()
    return {field.alias or name: field.get_default(call_default_factory=True) for name, field in fields}


def written(value):
    return NOT_SAID if value is PydanticUndefined or value is None else value


@pytest.mark.parametrize("table", TABLES)
def test_every_key_of_a_table_is_there_with_its_default_and_no_other(table):
    rows = {key: default.strip() for key, default in ROW.findall(section(f"`[{table}]`"))}
    if table == "experiment":
        assert rows.pop("seeds") == NOT_SAID  # which stands in files alone
    said = {
        key: text if text == NOT_SAID else tomllib.loads(f"v = {text.strip('`')}")["v"] for key, text in rows.items()
    }
    assert said == {key: written(value) for key, value in defaults(table).items()}


def test_no_table_is_there_that_an_experiment_does_not_have():
    assert re.findall(r"^### `\[(\w+)\]`", PAGE, re.MULTILINE) == TABLES


def test_every_option_of_the_command_is_there():
    app = typer.Typer()
    app.command()(run)
    options = {name for one in typer.main.get_command(app).params for name in one.opts if name.startswith("--")}
    told = {key for key, _ in ROW.findall(section("Command line"))}
    assert told == options - {"--install-completion", "--show-completion"}


@pytest.mark.parametrize(("name", "schema"), [("rounds", ROUNDS), ("sites", SITES), ("curves", CURVES)])
def test_every_column_of_a_run_s_tables_is_there(name, schema):
    if name == "curves":
        told = re.search(r"^`curves\.parquet`: (.+)$", PAGE, re.MULTILINE)[1]
    else:
        told = section(f"`{name}.parquet`")
    assert set(schema.names) <= set(re.findall(r"`(\w+)`", told))


def test_the_whole_file_that_is_shown_is_one_that_can_be_run(tmp_path):
    (text,) = re.findall(r"```toml\n(# The Lyon school.*?)```", PAGE, re.DOTALL)
    (tmp_path / "lyon.toml").write_text(text)
    sweep = Sweep.read(str(tmp_path / "lyon.toml"))
    assert len(sweep.experiments) == 12
    assert "twelve runs" in text
