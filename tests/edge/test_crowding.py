import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.learning.tasks.crowding import CLOCK_MARKS, LAGS, SLOTS_A_DAY, TASK
from edge.learning.tasks.task import Examples, UnknownTask, load_task

LOGS = st.dictionaries(
    st.integers(0, 3 * SLOTS_A_DAY), st.integers(0, 900).map(lambda windows: windows / 3), max_size=60
)


def rows(examples):
    """Everything there is to an example, by its slot."""
    return {s: (*x, y) for s, x, y in zip(examples.units, examples.x.tolist(), examples.y.tolist(), strict=True)}


@given(LOGS.filter(bool), st.data())
def test_a_slot_taken_away_takes_its_own_examples_along_and_changes_no_other(log, data):
    gone = data.draw(st.sampled_from(sorted(log)))
    before = rows(TASK.examples(list(log.items())))
    after = rows(TASK.examples([(slot, minutes) for slot, minutes in log.items() if slot != gone]))
    assert after.items() <= before.items()
    assert before.keys() - after.keys() <= set(range(gone, gone + LAGS + 1))
    assert len(before) - len(after) <= TASK.unit_examples


@given(LOGS)
def test_there_is_an_example_exactly_where_a_slot_and_those_before_it_on_its_day_are_logged(log):
    whole = {s for s in log if s % SLOTS_A_DAY >= LAGS and all(s - lag in log for lag in range(1, LAGS + 1))}
    assert set(TASK.examples(list(log.items())).units) == whole


@given(LOGS)
def test_persistence_is_the_minutes_of_the_slot_before(log):
    examples = TASK.examples(list(log.items()))
    assert TASK.baseline(examples.x).tolist() == pytest.approx([log[slot - 1] for slot in examples.units], rel=1e-5)
    assert examples.y.tolist() == pytest.approx([log[slot] for slot in examples.units])


@given(LOGS)
@settings(deadline=None)
def test_a_fresh_model_forecasts_persistence(log):
    examples = TASK.examples(list(log.items()))
    forecast = TASK.forecast(TASK.model()(examples.x))
    assert forecast.tolist() == pytest.approx(TASK.baseline(examples.x).tolist(), rel=1e-5)


@given(LOGS)
def test_the_clock_is_two_neighbouring_marks_that_add_up_to_one(log):
    for features in TASK.examples(list(log.items())).x.tolist():
        marks = features[LAGS:]
        shown = [mark for mark, weight in enumerate(marks) if weight > 0]
        assert len(marks) == CLOCK_MARKS
        assert sum(marks) == pytest.approx(1)
        assert len(shown) == 2
        assert (shown[1] - shown[0]) % CLOCK_MARKS in {1, CLOCK_MARKS - 1}


def test_the_same_hour_of_another_day_looks_the_same():
    today, tomorrow = ([(day * SLOTS_A_DAY + 18, 30.0), (day * SLOTS_A_DAY + 19, 40.0)] for day in (0, 1))
    assert torch.equal(TASK.examples(today).x, TASK.examples(tomorrow).x)


def test_one_example_in_numbers():
    examples = TASK.examples([(20, 100.0), (21, 400.0)])
    assert examples.units == (21,)
    assert examples.y.tolist() == [400.0]
    assert examples.x[0, 0] == pytest.approx(0.25)  # a quarter of the root of 100 over 100 minutes
    assert examples.x[0, LAGS + 5] == pytest.approx(1 - 1.5 / 4)  # 10:45 lies between the marks of 10:00 ...
    assert examples.x[0, LAGS + 6] == pytest.approx(1.5 / 4)  # ... and of 12:00


def test_the_loss_of_a_right_forecast_is_nothing():
    right = TASK.forecast(torch.tensor([0.0, 0.5, 1.5]))
    assert TASK.loss(torch.tensor([0.0, 0.5, 1.5]), right).tolist() == pytest.approx([0, 0, 0], abs=1e-10)


def test_a_node_that_logged_nothing_has_no_examples_of_the_usual_shape():
    assert TASK.examples([]).x.shape == (0, TASK.features)


@pytest.mark.parametrize("minutes", [-1.0, float("nan"), float("inf")])
def test_minutes_that_cannot_be_are_quoted(minutes):
    with pytest.raises(ValueError, match=f"slot 7 has {minutes} minutes"):
        TASK.examples([(7, minutes)])


def test_a_slot_that_comes_twice_is_refused():
    with pytest.raises(ValueError, match="2 rows name 1 slots"):
        TASK.examples([(7, 1.0), (7, 2.0)])


def test_the_task_is_found_by_its_name():
    assert load_task("crowding") is TASK


def test_a_task_that_is_not_there_is_answered_with_those_that_are():
    with pytest.raises(UnknownTask, match=r"'crowd' .*crowding"):
        load_task("crowd")


def test_examples_of_different_lengths_do_not_pass():
    with pytest.raises(ValueError, match=r"got \[2, 1\], \[1\] and 1"):
        Examples(torch.zeros(2, 1), torch.zeros(1), (5,))
