"""The quick way of clipping and Opacus' way give the same sums; what the quick way cannot do, Opacus does."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from opacus.grad_sample import GradSampleModule
from torch import nn

from edge.learning.clipping import SLACK, clipped_sum, is_linear, trained


def squared(prediction, y):
    return (prediction.squeeze(-1) - y).square()


def by_opacus(model, x, y, clip_norm):
    """Opacus' own per-example gradients, clipped as its optimiser clips them."""
    private = GradSampleModule(model, loss_reduction="sum")
    squared(private(x.clone().requires_grad_()), y).sum().backward()
    samples = [parameter.grad_sample for parameter in trained(model)]
    norms = torch.stack([s.flatten(1).norm(dim=1) for s in samples]).norm(dim=0)
    factors = (clip_norm / norms).clamp(max=1.0)
    private.to_standard_module()
    return [torch.tensordot(factors, s, dims=1).detach() for s in samples]


@st.composite
def networks(draw):
    """Multilayer perceptrons of any small shape, with and without biases."""
    torch.manual_seed(draw(st.integers(0, 2**31)))
    widths = [4, *draw(st.lists(st.integers(1, 9), max_size=3)), 1]
    layers = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs, bias=draw(st.booleans())), draw(st.sampled_from([nn.Tanh, nn.ReLU]))()]
    return nn.Sequential(*layers[:-1])


@given(networks(), st.integers(1, 20), st.floats(1e-3, 1e3))
@settings(deadline=None, max_examples=60)
def test_the_quick_sum_is_that_of_opacus(model, n, clip_norm):
    x, y = torch.randn(n, 4), torch.randn(n)
    assert is_linear(model)
    with clipped_sum(model, squared, clip_norm) as gradients:
        quick = gradients(x, y)
    for ours, theirs in zip(quick, by_opacus(model, x, y, clip_norm), strict=True):
        assert torch.allclose(ours.float(), theirs, rtol=1e-4, atol=1e-6)


@given(networks(), st.floats(1e-3, 10))
@settings(deadline=None, max_examples=40)
def test_one_example_never_moves_the_sum_by_more_than_the_clip(model, clip_norm):
    x, y = 100 * torch.randn(1, 4), 100 * torch.randn(1)
    with clipped_sum(model, squared, clip_norm) as gradients:
        assert math.sqrt(sum(float(g.square().sum()) for g in gradients(x, y))) <= clip_norm * (1 + 1e-5)


class Twice(nn.Module):
    """Uses one layer two times in a pass."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.out = nn.Linear(4, 1)

    def forward(self, x):
        return self.out(self.layer(torch.tanh(self.layer(x))))


class Sequences(nn.Module):
    """A linear layer on [n, time, features]."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x):
        return self.layer(x.reshape(len(x), 2, 2)).sum(dim=(1, 2))


@pytest.mark.parametrize(
    "model",
    [
        Twice(),
        Sequences(),
        nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 1)),
        nn.Sequential(nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 2, 2), nn.Flatten(), nn.Linear(6, 1)),
    ],
    ids=["a layer used twice", "sequences", "a norm", "a convolution"],
)
def test_what_is_not_plainly_linear_is_clipped_by_opacus(model):
    x, y = torch.randn(7, 4), torch.randn(7)
    for clip_norm in (0.05, 1e6):
        with clipped_sum(model, squared, clip_norm) as gradients:
            found = [gradients(x, y) for _ in range(2)]
        expected = by_opacus(model, x, y, clip_norm)
        for sums in found:
            assert all(torch.allclose(a.float(), b, rtol=1e-4, atol=1e-6) for a, b in zip(sums, expected, strict=True))


@pytest.mark.parametrize("model", [nn.Linear(4, 1), nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 1))])
def test_an_example_that_is_not_finite_counts_for_nothing(model):
    x, y = torch.randn(5, 4), torch.randn(5)
    bad_x, bad_y = torch.cat([x, torch.full((2, 4), math.inf)]), torch.cat([y, torch.tensor([0.0, math.nan])])
    with clipped_sum(model, squared, 0.5) as gradients:
        good, with_bad = gradients(x, y), gradients(bad_x, bad_y)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(good, with_bad, strict=True))


@pytest.mark.parametrize("model", [nn.Linear(4, 1), nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 1))])
def test_no_example_at_all_sums_to_zero(model):
    with clipped_sum(model, squared, 0.5) as gradients:
        assert all(not g.any() for g in gradients(torch.zeros(0, 4), torch.zeros(0)))


class Spare(nn.Module):
    """Has a layer that it does not use."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 1)
        self.spare = nn.Linear(3, 3)

    def forward(self, x):
        return self.layer(x)


def test_a_layer_that_the_model_does_not_use_has_no_gradient():
    model = Spare()
    with clipped_sum(model, squared, 0.5) as gradients:
        sums = gradients(torch.randn(3, 4), torch.randn(3))
    assert [bool(g.any()) for g in sums] == [True, True, False, False]


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
    with clipped_sum(model, squared, 0.5) as gradients:
        gradients(torch.randn(3, 4), torch.randn(3))
    assert not any(layer._forward_hooks for layer in model.modules())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


ANY_FLOAT = st.one_of(
    st.sampled_from([0.0, 1e-45, -7e-46, 1e-38, 1e-23, 1e18, 1e20, 1e38, -3e38, math.inf, -math.inf, math.nan]),
    st.floats(width=32),
    st.builds(lambda sign, power: float(np.float32(sign * 10.0**power)), st.sampled_from([-1, 1]), st.floats(-44, 38)),
)
ROWS = st.one_of(
    st.lists(ANY_FLOAT, min_size=4, max_size=4),
    st.builds(
        lambda power, signs: [float(np.float32(sign * 10.0**power)) for sign in signs],
        st.floats(-44, 37),
        st.lists(st.integers(-3, 3), min_size=4, max_size=4),
    ),
)


def times(prediction, y):
    """A loss whose slope is y, whatever the model says."""
    return prediction.squeeze(-1) * y


@given(
    ROWS,
    ANY_FLOAT,
    st.floats(-6, 6).map(lambda power: 10.0**power),
    st.sampled_from(["linear", "perceptron", "norm"]),
    st.sampled_from([squared, times]),
    st.booleans(),
)
@example([1e-23] * 4, 1e18, 1e-6, "linear", times, False)
@settings(deadline=None, max_examples=800)
def test_no_input_whatever_makes_a_piece_longer_than_the_clip_norm(row, target, clip_norm, kind, loss, whole):
    torch.manual_seed(3)
    model = {
        "linear": nn.Linear(4, 1, bias=False),
        "perceptron": nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1)),
        "norm": nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 1)),
    }[kind]
    x, y = torch.tensor([row]), torch.tensor([target])
    with clipped_sum(model, loss, clip_norm) as gradients:
        sums = gradients(x, y, np.zeros(1, np.int64) if whole else None)
    assert torch.cat([g.double().view(-1) for g in sums]).norm() <= clip_norm * (1 + 1e-6)


@pytest.mark.parametrize(("feature", "slope"), [(1e-23, 1e18), (1e-30, 1e30), (1e25, 1e-20), (1e30, 1e30)])
def test_features_and_slopes_whose_squares_float32_cannot_hold_are_clipped_to_the_bound(feature, slope):
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.zero_()
    with clipped_sum(model, times, 1e-6) as gradients:
        (found,) = gradients(torch.tensor([[feature]]), torch.tensor([slope]))
    assert float(found) == pytest.approx(1e-6, rel=1e-6)


def test_one_of_thousands_of_examples_moves_the_sum_by_no_more_than_the_slack_allows():
    model, n, clip_norm = nn.Linear(3, 1, bias=False), 6000, 0.1
    x, y = torch.rand(n, 3, generator=torch.Generator().manual_seed(1)) + 1, torch.full((n,), 50.0)
    moved = []
    with clipped_sum(model, squared, clip_norm) as gradients:
        (whole,) = gradients(x, y)
        for gone in range(0, n, 300):
            kept = torch.arange(n) != gone
            (less,) = gradients(x[kept], y[kept])
            moved.append(float((whole.double() - less.double()).norm()))
    assert max(moved) <= clip_norm * (1 + SLACK)
