"""The derivative that is written down, beside autograd's."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import binary_cross_entropy_with_logits, huber_loss, mse_loss

from edge.learning.tasks.crowding import TASK as CROWDING
from edge.learning.tasks.proximity import TASK as PROXIMITY
from simulations.engine.derivative import derivative_of


def entropy(prediction, y):
    return binary_cross_entropy_with_logits(prediction, y, reduction="none")


def squared(prediction, y):
    return mse_loss(prediction, y, reduction="none")


def robust(prediction, y):
    return huber_loss(prediction, y, reduction="none")


def pinball(prediction, y):
    return torch.where(y > prediction, 0.9 * (y - prediction), 0.1 * (prediction - y))


def branching(prediction, y):
    """What it computes depends on a value: no trace follows that."""
    return squared(prediction, y) if y.max() > 1 else entropy(prediction, y)


def by_size(prediction, y):
    """A trace writes the size down as it was."""
    return squared(prediction, y) * len(prediction)


def switching(prediction, y):
    return squared(prediction, y) if len(prediction) < 5 else robust(prediction, y)


LOSSES = [CROWDING.loss, PROXIMITY.loss, entropy, squared, robust, pinball, branching, by_size, switching]
WRITTEN = LOSSES[:6]
NUMBERS = st.floats(-50, 50, width=32)


def autograd(loss, prediction, y, weights):
    leaf = prediction.clone().requires_grad_()
    (loss(leaf, y) * weights).sum().backward()
    return leaf.grad


@pytest.mark.parametrize("loss", LOSSES)
@given(examples=st.lists(st.tuples(NUMBERS, NUMBERS, st.floats(0, 4, width=32)), min_size=1, max_size=20))
@settings(deadline=None, max_examples=30)
def test_it_is_autograd_s_derivative(loss, examples):
    prediction, y, weights = torch.tensor(examples).unbind(1)
    with torch.no_grad():
        found = derivative_of(loss)(prediction, y, weights)
    torch.testing.assert_close(found, autograd(loss, prediction, y, weights), rtol=1e-5, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("loss", WRITTEN)
def test_a_usual_loss_needs_no_graph(loss):
    ones, written = torch.ones(3), derivative_of(loss)
    with torch.profiler.profile() as seen:
        written(ones, ones, ones)
    assert not any("evaluate_function" in event.key for event in seen.key_averages())


def test_a_loss_that_ignores_the_prediction_says_so():
    ones = torch.ones(3)
    with pytest.raises(RuntimeError, match="does not require grad"):
        derivative_of(lambda _prediction, y: y)(ones, ones, ones)
