"""For which sets a helper was asked is written down once, and read back as it was, by whoever goes on with the run."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from learning_double import first_model
from sqlalchemy import inspect, update

from aggregator.records.database import Records, RecordsError
from aggregator.records.drawing import Drawing
from aggregator.records.models import Models
from aggregator.records.runs import Asked, Journal, RunMoved
from aggregator.records.schema import DrawRow, SchemaRow, SumRow
from aggregator.records.sums import SumBook
from aggregator.records.tensors import to_safetensors
from privacy.secure_sum.exchange import Draw, Part

RUN_ID = 2**64 - 5
GROUPS = [[2**64 - 9, 3, 2**63], [4, 5]]


def take(records, model, run_id=RUN_ID, holder="here-1") -> Journal:
    journal = Journal.take(records, run_id, name=f"run {run_id}", toml="text", model=model, holder=holder)
    if journal.round(1).phase is None:
        journal.plan_training(1, model, [3], [Asked(3, "ab" * 16, b"head")])
    return journal


@pytest.fixture
def book(records, model) -> SumBook:
    return SumBook(take(records, model))


def test_nothing_is_closed_at_first(book):
    assert book.closed(1, Part.TRAIN) == []


def test_groups_come_back_as_they_were_to_another_process(book, records_url, model):
    book.close(1, Part.TRAIN, GROUPS)
    again = Records(records_url)
    assert SumBook(take(again, model, holder="here-2")).closed(1, Part.TRAIN) == GROUPS
    again.close()


def test_training_evaluation_and_other_runs_are_closed_apart(book, records, model):
    other = SumBook(take(records, model, RUN_ID - 1))
    book.close(1, Part.TRAIN, GROUPS)
    book.close(1, Part.EVALUATE, GROUPS[1:])
    assert book.closed(1, Part.EVALUATE) == GROUPS[1:]
    assert book.closed(2, Part.TRAIN) == other.closed(1, Part.TRAIN) == []


def test_what_is_closed_stays_so(book):
    book.close(1, Part.TRAIN, GROUPS)
    with pytest.raises(RecordsError):
        book.close(1, Part.TRAIN, GROUPS[::-1])
    assert book.closed(1, Part.TRAIN) == GROUPS


def test_a_coordinator_that_lost_the_run_closes_nothing(book, records, model):
    take(records, model, holder="there-2")
    with pytest.raises(RunMoved, match="taken over by there-2"):
        book.close(1, Part.TRAIN, GROUPS)
    assert book.closed(1, Part.TRAIN) == []


@given(groups=st.lists(st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=5, unique=True), max_size=12))
@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_groups_come_back_in_their_order(tmp_path_factory, groups):
    records = Records(f"sqlite:///{tmp_path_factory.mktemp('book') / 'central.db'}")
    model = Models(records).add("zeros", to_safetensors(first_model()), {})
    book = SumBook(take(records, model))
    book.close(1, Part.TRAIN, groups)
    assert book.closed(1, Part.TRAIN) == groups
    records.close()


DRAWING = Drawing(b"s" * 32, (3, 2**64 - 9), 3, 3)
DRAW = Draw(b"c" * 32, b"n" * 32, 3, 2e9, b"s" * 64)


def test_a_draw_comes_back_to_another_process_before_and_after_the_helper_answered(book, records_url, model):
    assert book.drawing(1, Part.TRAIN) is None
    for drawing in (DRAWING, replace(DRAWING, draw=DRAW)):
        book.keep_drawing(1, Part.TRAIN, drawing)
        again = Records(records_url)
        other = SumBook(take(again, model, holder="here-2"))
        assert other.drawing(1, Part.TRAIN) == drawing
        assert other.drawing(1, Part.EVALUATE) is None
        again.close()
        book = SumBook(take(book.journal.records, model))
    assert "sss" not in repr(DRAWING)


def test_a_new_draw_opens_the_groups_again_and_the_answer_to_the_old_one_does_not(book):
    book.keep_drawing(1, Part.TRAIN, DRAWING)
    book.close(1, Part.TRAIN, GROUPS)
    book.keep_drawing(1, Part.TRAIN, replace(DRAWING, draw=DRAW))
    assert book.closed(1, Part.TRAIN) == GROUPS
    book.keep_drawing(1, Part.TRAIN, replace(DRAWING, secret=b"t" * 32))
    assert book.closed(1, Part.TRAIN) == []
    book.keep_drawing(1, Part.TRAIN, None)
    assert book.drawing(1, Part.TRAIN) is None


def test_a_coordinator_that_lost_the_run_draws_nothing(book, records, model):
    take(records, model, holder="there-2")
    with pytest.raises(RunMoved):
        book.keep_drawing(1, Part.TRAIN, DRAWING)
    assert book.drawing(1, Part.TRAIN) is None


def test_records_from_before_secure_sums_get_their_table_and_lose_nothing(records, records_url, model):
    journal = take(records, model)
    SumRow.__table__.drop(records.engine)
    DrawRow.__table__.drop(records.engine)
    with records.session() as session:
        session.execute(update(SchemaRow).values(version=1))
    newer = Records(records_url)
    assert {SumRow.__tablename__, DrawRow.__tablename__} <= set(inspect(newer.engine).get_table_names())
    again = take(newer, model, holder="here-2")
    assert again.asked(1, Part.TRAIN) == journal.asked(1, Part.TRAIN)
    book = SumBook(again)
    book.close(1, Part.TRAIN, GROUPS)
    assert book.closed(1, Part.TRAIN) == GROUPS
    newer.close()
