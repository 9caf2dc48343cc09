"""A sum of coded contributions is the weighted mean that Flower would have made of the updates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.secure_sum.fixed_point import NotEncodable
from privacy.secure_sum.vector import ImpossibleSum, Plan, Vector, VectorMismatch, check_weight, contribution, mean

BASE = {"w": np.array([[1.0, -2.0], [0.5, 3.0]], np.float32), "b": np.array([0.25], np.float32)}
PLAN = Plan(bound=4.0, most=64, weight_bound=100.0)
NODES = st.lists(
    st.tuples(
        st.integers(1, 100),
        st.lists(st.floats(-3, 3), min_size=5, max_size=5),
        st.floats(-1e5, 1e5),
    ),
    min_size=1,
    max_size=20,
)


def update(change):
    values = np.array(change, np.float64)
    return {"w": BASE["w"] + values[:4].reshape(2, 2), "b": BASE["b"] + values[4:]}


def summed(vectors):
    return Vector(sum(v.elements for v in vectors), sum(v.scalars for v in vectors))


@given(NODES)
def test_the_sum_of_contributions_is_the_weighted_mean(nodes):
    vectors = [contribution(PLAN, BASE, update(change), w, {"loss": loss}) for w, change, loss in nodes]
    weights = [w for w, *_ in nodes]
    check_weight(PLAN, summed(vectors), len(nodes))
    found = mean(PLAN, BASE, ["loss"], summed(vectors))
    assert found.weight == pytest.approx(sum(weights))
    assert found.metrics["loss"] == pytest.approx(np.average([n[2] for n in nodes], weights=weights), abs=1e-3)
    for name in BASE:
        wanted = np.average([update(change)[name] for _, change, _ in nodes], axis=0, weights=weights)
        assert found.arrays[name] == pytest.approx(wanted, abs=len(nodes) * PLAN.code.step * 100 / sum(weights))
    assert sum(v.saturated for v in vectors) == 0


def test_a_change_beyond_the_bound_is_set_to_it_and_counted_on_the_node():
    vector = contribution(PLAN, BASE, update([9, -9, 0, 0, 0]), 100, {})
    assert vector.saturated == 2
    assert mean(PLAN, BASE, [], vector).arrays["w"][0] == pytest.approx([1 + 4, -2 - 4], abs=1e-4)


def test_a_weight_beyond_the_bound_counts_as_the_bound():
    assert mean(PLAN, BASE, [], contribution(PLAN, BASE, BASE, 1e9, {})).weight == pytest.approx(100)


@pytest.mark.parametrize("claimed", [-1.0, 201.0, 1e4])
def test_a_weight_that_no_two_nodes_have_is_told_of(claimed):
    honest = contribution(PLAN, BASE, BASE, 50, {})
    lie = Vector(honest.elements, _steps(claimed - 50))
    with pytest.raises(ImpossibleSum, match="2 nodes have 0 to 200 together"):
        check_weight(PLAN, summed([honest, lie]), 2)


def _steps(weight):
    return np.array([round(weight / PLAN.weight_code.step)], np.int64).view(np.uint64)


@given(st.lists(st.integers(0, 2**32 - 1), min_size=5, max_size=5), st.floats(1e-6, 100))
def test_whatever_a_node_sends_the_mean_moves_by_the_bound_at_most(elements, weight):
    liar = Vector(np.array(elements, np.uint32), contribution(PLAN, BASE, BASE, weight, {}).scalars)
    found = mean(PLAN, BASE, [], liar)
    assert all(np.abs(found.arrays[name] - BASE[name]).max() <= PLAN.bound + 1e-12 for name in BASE)


def test_no_weight_at_all_leaves_the_base():
    found = mean(PLAN, BASE, ["loss"], contribution(PLAN, BASE, update([1] * 5), 0, {"loss": 1.0}))
    assert found.weight == 0
    assert found.metrics == {}
    assert all((found.arrays[name] == BASE[name]).all() for name in BASE)


@pytest.mark.parametrize(
    ("arrays", "weight"),
    [({"w": BASE["w"]}, 1), ({"w": BASE["w"][0], "b": BASE["b"]}, 1), (BASE, -1), (BASE, float("nan"))],
    ids=["an array missing", "another shape", "a negative weight", "a weight that is no number"],
)
def test_a_contribution_that_does_not_fit_is_refused(arrays, weight):
    with pytest.raises(VectorMismatch):
        contribution(PLAN, BASE, arrays, weight, {})


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(broken):
    with pytest.raises(NotEncodable):
        contribution(PLAN, BASE, update([broken, 0, 0, 0, 0]), 1, {})
    with pytest.raises(NotEncodable):
        contribution(PLAN, BASE, BASE, 1, {"loss": broken})


def test_an_infinite_weight_is_refused():
    with pytest.raises(NotEncodable):
        contribution(PLAN, BASE, BASE, float("inf"), {})


def test_a_sum_of_another_length_is_refused():
    vector = contribution(PLAN, BASE, BASE, 1, {})
    with pytest.raises(VectorMismatch, match="5 elements and 1 scalars, expected 5 and 2"):
        mean(PLAN, BASE, ["loss"], vector)
