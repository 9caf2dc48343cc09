"""The page: whole in one file, readable by everybody, with the numbers of the runs."""

import re
import subprocess
import sys
from html.parser import HTMLParser

import msgspec
import pytest
from typer.testing import CliRunner

from simulations.cli import app
from simulations.report.phrases import indonesian, number, percentage, size
from simulations.report.reading import read
from simulations.report.report import write_report

VOID = {"meta", "link", "br", "hr", "img", "input", "wbr", "path", "use", "rect", "circle"}


class Page(HTMLParser):
    """Every element with its attributes and all text below it, and a check that tags close."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[dict] = []
        self.all: list[dict] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "attrs": dict(attrs), "text": "", "under": [above["tag"] for above in self.open]}
        self.all.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.all.append({"tag": tag, "attrs": dict(attrs), "text": "", "under": []})

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def named(self, tag):
        return [element for element in self.all if element["tag"] == tag]


@pytest.fixture(scope="module")
def html(written):
    return written.page.read_text("utf-8")


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_the_page_refers_to_nothing_outside_itself(page, html):
    ids = [element["attrs"]["id"] for element in page.all if "id" in element["attrs"]]
    assert len(ids) == len(set(ids))
    for element in page.all:
        assert element["tag"] not in {"link", "img", "iframe", "object", "embed", "base", "image"}
        for attribute, value in element["attrs"].items():
            assert not attribute.startswith("on")
            if attribute in {"href", "xlink:href", "src", "srcset", "action", "data", "poster"}:
                assert value.startswith("#")
                assert value[1:] in ids
    assert "://" not in html
    assert "@import" not in html
    assert set(re.findall(r"url\((.)", html)) == {"#"}
    assert {inner in ids for inner in re.findall(r"url\(#([^)]*)\)", html)} == {True}


def test_every_figure_has_text_that_stands_for_it(page, written):
    figures = [element for element in page.named("svg") if element["attrs"].get("role") == "img"]
    assert len(figures) == len(page.named("svg")) == len(written.plots)
    texts = {element["attrs"]["id"]: element["text"] for element in page.all if "id" in element["attrs"]}
    for figure, plot in zip(figures, written.plots, strict=True):
        title, about = figure["attrs"]["aria-labelledby"].split()
        assert texts[title] == plot.title
        assert texts[about] == plot.text
        assert re.search(r"\d", texts[about])


def test_every_table_says_what_its_columns_and_rows_are(page):
    assert page.named("table")
    assert all(head["attrs"]["scope"] in {"col", "row"} for head in page.named("th"))
    assert page.named("html")[0]["attrs"]["lang"] == "en"
    assert [s for s in page.named("section") if s["attrs"].get("lang") == "id"]


def test_the_table_has_the_numbers_of_the_runs(html, sweep):
    table = re.search(r'<table class="sorts">.*?</table>', html, re.DOTALL)
    assert table is not None
    rows = [re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", table[0])]
    titles = [re.sub("<.*?>", "", title) for title in rows[0]]
    shown = {re.sub("<.*?>", "", row[0]): dict(zip(titles, row, strict=True)) for row in rows[1:]}
    runs = read([sweep]).runs
    assert set(shown) == {run.folder for run in runs}
    for run in runs:
        row = shown[run.folder]
        assert row["error"] == number(run.last("error"))
        assert row["baseline"] == number(run.last("baseline_error"))
        assert row["ε spent"] == (number(run.last("epsilon")) if run.private else "–")
        assert row["bytes up"] == size(run.total("up_bytes"))
        assert row["seed"] == str(run.seed)
        assert row["rounds"] == str(run.rounds_done)
        assert row["status"].startswith(run.status)
        assert row["strategy.name"] == run.settings["strategy.name"]
    assert "privacy.delta" not in titles


def test_sorting_has_the_measured_value_and_not_the_rounded_one(html, sweep):
    for run in read([sweep]).runs:
        assert f'data-value="{run.last("error")}"' in html


def test_a_run_that_stopped_is_shown_with_its_reason_and_nothing_is_taken_for_markup(html):
    assert "lyon-FedMedian-dp-sgd-4-3: stopped after 3 rounds: the &lt;power&gt; went" in html
    assert "<power>" not in html


def test_both_summaries_say_the_same_numbers_each_in_its_own_way(page, sweep):
    runs = [run for run in read([sweep]).runs if run.done and run.private]
    best = {}
    for run in runs:
        key = (run.settings["privacy.epsilon"], run.settings["strategy.name"])
        best.setdefault(key, []).append(run)
    lowest = min(best.values(), key=lambda seeds: sum(run.relative for run in seeds) / len(seeds))
    error = sum(run.last("error") for run in lowest) / len(lowest)
    saved = 1 - sum(run.relative for run in lowest) / len(lowest)
    english, bahasa = (s["text"] for s in page.named("section") if s["attrs"].get("class") == "card")
    assert f"is {number(error)} person-minutes" in english
    assert f"{percentage(saved)} below the baseline's 7.20" in english
    assert f"adalah {indonesian(number(error))} menit-orang" in bahasa
    assert f"{indonesian(percentage(saved))} di bawah galat acuan 7,20" in bahasa


def test_the_same_runs_are_the_same_bytes(sweep, written, tmp_path):
    paths = sorted(sweep.iterdir(), reverse=True)
    again = write_report(paths, tmp_path / "again")
    first, second = ({file.relative_to(page.parent): file.read_bytes() for file in page.parent.rglob("*.*")}
                     for page in (written.page, again.page))  # fmt: skip
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_every_figure_is_there_for_print(written):
    names = {file.name for file in (written.page.parent / "figures").iterdir()}
    assert names == {f"{plot.name}.{ending}" for plot in written.plots for ending in ("pdf", "svg")}


def test_an_earlier_reports_figures_go_and_a_folder_that_holds_no_report_keeps_its_files(bare_run, tmp_path):
    figures = tmp_path / "out" / "figures"
    figures.mkdir(parents=True)
    (figures / "mine.svg").write_text("<svg/>")
    write_report([tmp_path / "runs"], tmp_path / "out")
    assert (figures / "mine.svg").exists()
    (figures / "error-epsilon.pdf").write_bytes(b"old")
    write_report([tmp_path / "runs"], tmp_path / "out")
    assert list(figures.iterdir()) == []


def test_a_title_is_text(bare_run, tmp_path):
    written = write_report([tmp_path / "runs"], tmp_path / "out", "A <b> & C")
    assert "<title>A &lt;b&gt; &amp; C</title>" in written.page.read_text("utf-8")


def test_a_hostile_name_is_text_everywhere_on_the_page(make_run, tmp_path):
    hostile = '"><script>alert(1)</script>{{ 7 * 7 }}<!--'
    folder = make_run(name="run", more={"strategy.name": hostile, hostile: hostile}, note=hostile)
    info = folder.info
    folder.write_info(
        msgspec.structs.replace(
            info, name=hostile, data={"name": hostile, hostile: hostile, "task": hostile}, versions={hostile: hostile}
        )
    )
    folder.write_table("sites", [{**row, "site": hostile} for row in folder.rows("sites")])
    html = write_report([tmp_path / "runs"], tmp_path / "out").page.read_text("utf-8")
    page = Page(html)
    assert len(page.named("script")) == 1
    assert "alert" not in page.named("script")[0]["text"]
    assert "{{ 7 * 7 }}" in html
    assert "<!--" not in html.replace("<!-->", "")
    assert {file.name.isascii() and "<" not in file.name for file in (tmp_path / "out" / "figures").iterdir()} == {True}


def test_the_command_says_what_it_made_and_what_it_left_out(bare_run, tmp_path):
    result = CliRunner().invoke(
        app, ["report", str(tmp_path / "runs"), str(tmp_path / "[gone]"), "--out", str(tmp_path / "out")]
    )
    assert result.exit_code == 0
    assert f"left out: {tmp_path / '[gone]'}: no such folder" in result.output
    assert "no figure: Error against epsilon" in result.output
    assert (tmp_path / "out" / "report.html").is_file()


def test_the_command_without_a_run_ends_with_status_3_and_says_what_to_do(tmp_path):
    result = CliRunner().invoke(app, ["report", str(tmp_path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 3
    assert "jaga-sim run" in result.output
    assert not (tmp_path / "out").exists()


def test_the_command_whose_out_is_a_file_ends_with_status_3(bare_run, tmp_path):
    (tmp_path / "out").write_text("taken")
    result = CliRunner().invoke(app, ["report", str(tmp_path / "runs"), "--out", str(tmp_path / "out")])
    assert result.exit_code == 3
    assert str(tmp_path / "out") in result.output


def test_the_command_line_does_not_import_what_draws():
    heavy = "{'matplotlib', 'pyarrow', 'jinja2', 'torch'}"
    program = f"import sys, simulations.report.cli; sys.exit(repr({heavy} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.stderr.strip() == "set()"
