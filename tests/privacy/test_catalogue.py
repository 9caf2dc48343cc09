"""What a declaration allows, and the page that is made of all of them."""

from pathlib import Path

import pytest

from privacy.catalogue.columns import Catalogue, Category, Column, Mechanism, Table, Text
from privacy.catalogue.record import record
from privacy.catalogue.use import CATALOGUE, Use

EMPTY = Text("", "")
SMALL = Catalogue(
    (
        Table(
            "t",
            EMPTY,
            EMPTY,
            EMPTY,
            (Column("a", EMPTY, Category.SPECIFIC, frozenset({Mechanism.DP_SGD})), Column("b", EMPTY)),
        ),
    )
)


def test_a_column_leaves_by_the_mechanisms_it_was_declared_for_and_by_no_other():
    assert SMALL.objections({"t": ["a"]}, [Mechanism.DP_SGD]) == []
    assert SMALL.objections({"t": ["a"]}, [Mechanism.DP_SGD, Mechanism.CONSENTED]) == [
        "nothing of t.a may leave by consented"
    ]
    assert SMALL.objections({"t": ["a", "b"]}, [Mechanism.DP_SGD]) == ["nothing of t.b may leave by dp-sgd"]
    assert SMALL.objections({"t": ["c"], "u": ["a"]}, [Mechanism.DP_SGD]) == [
        "t.c is not declared",
        "u.a is not declared",
    ]


@pytest.mark.parametrize("use", [Use.of("x", {}, [Mechanism.DP_SGD]), Use.of("x", {"t": ["a"]}, [])])
def test_a_use_that_names_no_sources_or_no_mechanism_lets_nothing_out(use):
    assert use.objections(SMALL)


def test_a_use_is_read_as_it_was_written_whatever_its_order():
    use = Use.of("train", {"t": ["b", "a"], "s": ["x"]}, [Mechanism.NOISED_METRICS, Mechanism.DP_SGD])
    assert Use.decode(use.encode()) == use
    assert (
        use.encode()
        == Use.of("train", {"s": ["x"], "t": ["a", "b", "a"]}, [Mechanism.DP_SGD, Mechanism.NOISED_METRICS]).encode()
    )
    assert Use.decode("train crowding") is None


def test_nothing_of_a_secret_a_name_or_an_exposure_leaves_by_learning():
    learnt = {Mechanism.DP_SGD, Mechanism.NOISED_METRICS, Mechanism.SHARED_NOISE}
    for table in CATALOGUE.tables:
        if table.name not in {
            "sightings",
            "listened",
            "listening",
            "guessed_stretches",
            "calibration_sessions",
            "calibration_steps",
        }:
            assert all(not column.leaves & learnt for column in table.columns), table.name


def test_every_text_is_there_in_both_languages():
    for table in CATALOGUE.tables:
        for text in (table.purpose, table.basis, table.retention, *(column.meaning for column in table.columns)):
            assert text.en
            assert text.id


def test_the_page_in_the_docs_is_the_catalogue_s():
    page = Path(__file__).parents[2] / "docs" / "personal-data.md"
    assert page.read_text("utf-8") == record(), "run `python -m privacy.catalogue docs/personal-data.md`"
