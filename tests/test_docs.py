"""Pages name tests that exist, and ranges that nodes go by."""

import re
from pathlib import Path

import pytest

from edge.learning.bounds import RANGES

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_names_exists(page):
    named = set(re.findall(r"`((?:tests|edge|privacy|aggregator|simulations)/[\w/]+\.py)`", page.read_text("utf-8")))
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_another_page_leads_somewhere(page):
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_table_of_ranges_is_the_one_that_nodes_go_by():
    rows = re.findall(r"^\| (`[^|]+`) \| ([\d.,e-]+) \| ([\d.,e-]+) \|$", (ROOT / "docs/privacy.md").read_text(), re.M)
    said = {
        name.strip("`"): (float(low.replace(",", "")), float(high.replace(",", "")))
        for names, low, high in rows
        for name in names.split(", ")
    }
    assert said == {name: (allowed.low, allowed.high) for name, allowed in RANGES.items()}
