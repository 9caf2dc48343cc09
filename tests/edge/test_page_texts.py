"""Both languages say the same, the templates say nothing by themselves, and colours can be read."""

import ast
import re
import string
import tomllib
from html.parser import HTMLParser
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from page_site import NOON, PageSite, page_folder

from edge.page.texts import LANGUAGES, MissingText, Speech, load, preferred

TEXTS = {language: load(language) for language in LANGUAGES}
TEMPLATES = sorted((page_folder() / "templates").glob("*.html"))
SPOKEN = {"aria-label", "title", "alt", "placeholder", "data-name"}
JINJA = re.compile(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", re.DOTALL)
CSS = (page_folder() / "static" / "page.css").read_text()


def speech(language, zone="Asia/Jakarta", now=NOON):
    return Speech(language, TEXTS[language], ZoneInfo(zone), now)


def values_of(text):
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_both_languages_have_the_same_texts_with_the_same_values():
    assert TEXTS["id"].keys() == TEXTS["en"].keys()
    assert len(TEXTS["en"]) > 150
    for name, text in TEXTS["en"].items():
        assert values_of(text) == values_of(TEXTS["id"][name]), name


def test_nothing_was_left_untranslated():
    same = {name for name, text in TEXTS["en"].items() if text == TEXTS["id"][name]}
    alike = {"brand", "check.disk", "check.sensing", "check_sighting.well"}
    assert {name for name in same if not name.startswith(("size.", "format."))} == alike


def test_every_text_that_is_asked_for_is_there_and_every_text_is_asked_for():
    asked = set()
    for file in TEMPLATES:
        asked |= set(re.findall(r"""(?:t|count)\(\s*["']([a-z_]+(?:\.[a-z_]+)*\.?)["']""", file.read_text()))
    for file in page_folder().rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                asked.add(node.value)
    names = {name.removesuffix(".one").removesuffix(".other") for name in TEXTS["en"]}
    # Names that are put together from parts.
    composed = (
        "check_",
        "check.",
        "mode.",
        "state.",
        "kind.",
        "meaning.",
        "nav.",
        "alerts.show_",
        "problem.",
        "privacy.",
    )
    composed += ("size.", "ago.", "format.", "password.", "live.")
    assert {name for name in names - asked if not name.startswith(composed)} == {"language.name"} - asked
    for name in asked:
        if re.fullmatch(r"(sign_in|alerts|node|account|live|foot|hours|password)\.[a-z_]+", name):
            assert name in names or name.endswith(("_", ".html")), name


class Spoken(HTMLParser):
    """Collects what a template says by itself."""

    def __init__(self):
        super().__init__()
        self.found = []
        self.attributes = []

    def handle_data(self, data):
        self.found.append(data)

    def handle_starttag(self, tag, attributes):
        self.attributes += [(tag, name, value or "") for name, value in attributes]


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: file.name)
def test_a_template_says_nothing_by_itself(file):
    parser = Spoken()
    parser.feed(JINJA.sub("", file.read_text()))
    said = parser.found + [value for _, name, value in parser.attributes if name in SPOKEN]
    assert not re.search(r"[A-Za-z]{2,}", " ".join(said))


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: file.name)
def test_a_template_needs_no_script_no_inline_style_and_nothing_from_elsewhere(file):
    parser = Spoken()
    parser.feed(JINJA.sub("", file.read_text()))
    for tag, name, value in parser.attributes:
        assert tag not in ("script", "style", "iframe")
        assert name != "style"
        assert not name.startswith("on")
        assert not re.match(r"(https?:)?//", value) or name == "xmlns"


def test_the_stylesheet_needs_nothing_from_elsewhere():
    assert "url(" not in CSS
    assert "@import" not in CSS


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        ("en-GB,en;q=0.9,id;q=0.8", "en"),
        ("id-ID,id;q=0.9,en;q=0.8", "id"),
        ("in-ID", "id"),
        ("jv,en;q=0.5", "en"),
        ("en;q=0.2, id;q=0.7", "id"),
        ("de, fr", "id"),
        ("en;q=0", "id"),
        ("", "id"),
        ("en;q=x", "id"),
    ],
)
def test_the_browsers_wish_is_met(asked, chosen):
    assert preferred(asked, "id") == chosen


@given(st.text())
def test_any_wish_gets_a_language(asked):
    assert preferred(asked, "en") in LANGUAGES


@pytest.fixture
def site(database):
    made = PageSite(database)
    made.employ()
    yield made
    made.close()


def test_a_page_comes_in_the_browsers_language_and_says_so(site):
    for language, title in (("en", "Sign in"), ("id", "Masuk")):
        answer = site.visitor(language=language).get("/sign-in")
        assert f"<h1>{title}</h1>" in answer.text
        assert f'<html lang="{language}">' in answer.text
        assert answer.headers["content-language"] == language


def test_a_switched_language_is_remembered_before_and_after_signing_in(site):
    visitor = site.visitor(language="en")
    assert visitor.send("/language", "/sign-in", language="id").headers["location"] == "/sign-in"
    assert "Masuk" in visitor.get("/sign-in").text
    visitor.sign_in()
    assert "Tidak ada peringatan baru" in visitor.get("/").text
    assert visitor.send("/language", language="en", next="/node").headers["location"] == "/node"
    assert "This node" in visitor.get("/node").text


def test_only_languages_of_the_page_are_remembered(site):
    visitor = site.visitor()
    visitor.send("/language", "/sign-in", language="../etc")
    assert "jaga_language" not in visitor.client.cookies


def test_times_are_those_of_the_site():
    assert speech("id").moment(NOON) == "24 Nov 2026, 12.00 WIB"
    assert speech("en").moment(NOON) == "24 Nov 2026, 12:00 WIB"
    assert speech("en", "Asia/Jayapura").moment(NOON) == "24 Nov 2026, 14:00 WIT"
    assert speech("id").day(int(NOON // 86400)) == "Selasa, 24 November 2026"
    assert speech("en").day(int(NOON // 86400)) == "Tuesday 24 November 2026"


def test_numbers_are_written_as_each_language_does():
    assert (speech("id").number(1234567.25, 2), speech("en").number(1234567.25, 2)) == ("1.234.567,25", "1,234,567.25")
    assert (speech("id").percent(0.74), speech("en").percent(0.74)) == ("74 %", "74%")
    assert (speech("id").exact(1e-6), speech("en").exact(1e-6)) == ("0,000001", "0.000001")
    assert speech("id").size(31_000) == "31,0 kB"
    assert speech("en").size(999) == "999 B"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-500, "just now"),
        (59, "just now"),
        (60, "1 minute ago"),
        (3599, "59 minutes ago"),
        (7200, "2 hours ago"),
        (200_000, "2 days ago"),
    ],
)
def test_how_long_ago_is_said_in_words(seconds, said):
    assert speech("en").ago(NOON - seconds) == said


def test_a_text_that_is_missing_or_lacks_a_value_is_an_error():
    with pytest.raises(MissingText, match=r"alerts\.nothing"):
        speech("en").text("alerts.nothing")
    with pytest.raises(MissingText, match="when"):
        speech("id").text("check_node.late")


def colours(block):
    return dict(re.findall(r"--([a-z-]+):\s*(#[0-9a-f]{6});", block))


LIGHT = colours(CSS.partition("@media")[0])
DARK = LIGHT | colours(CSS.partition("@media (prefers-color-scheme: dark)")[2].partition("* {")[0])


def luminance(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("ink", "ground"),
    [
        ("ink", "paper"),
        ("ink", "sheet"),
        ("ink", "pale"),
        ("ink", "red-pale"),
        ("soft", "paper"),
        ("soft", "sheet"),
        ("jaga", "paper"),
        ("jaga", "sheet"),
        ("jaga", "pale"),
        ("on-jaga", "jaga"),
        ("on-jaga", "jaga-deep"),
        ("on-amber", "amber"),
        ("red", "sheet"),
        ("red", "red-pale"),
    ],
)
def test_text_can_be_read_by_people_with_weak_eyes(scheme, ink, ground):
    """WCAG 2.2, 1.4.3: contrast of 4.5 to 1 (AA)."""
    lighter, darker = sorted((luminance(scheme[ink]), luminance(scheme[ground])), reverse=True)
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5


def test_language_files_are_nothing_but_texts():
    for language in LANGUAGES:
        table = tomllib.loads((page_folder() / "texts" / f"{language}.toml").read_text())
        assert all(isinstance(value, str | dict) for value in table.values())
